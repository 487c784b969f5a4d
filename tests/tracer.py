"""Walk one packet through a Ruleset as the kernel would: netdev ingress, prerouting, then input or postrouting.

Knows every statement that `enforcer.ruleset.nft` can express, and raises `CannotTrace` on anything else: a Ruleset
that says something new must be taught here before it can be tested. What the kernel knows beside the packet — the
flow, what the router's own addresses are, which interfaces were made anew under an old name — is in `Packet` and
`Tracer`. Three kernel habits that matter here:

- A statement that cannot read its field (a port of a packet without one, the flow of an untracked packet, an IPv4
  field of an IPv6 packet) ends the *rule*, never the packet.
- A dispatch without a matching element goes on with the next rule; a map that is loaded without one ends the rule.
- `goto` comes back to where the last `jump` came from; in a base chain the end means the policy, which is accept.

    Tracer(ruleset).forward(Packet(iif="v-ecs-a", oif="v-ecs-b", …))  ──▶  Trace(accepted, path, lookups, …)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Network, ip_address
from typing import Any

from packets import ICMPV6, TCP, UDP, Packet

from enforcer.ruleset.nft import (
    Chain,
    Counter,
    Dispatch,
    Element,
    Field,
    InSet,
    Interval,
    KeyType,
    Load,
    Log,
    Match,
    Ruleset,
    Set,
    SetMark,
    SetPriority,
    Table,
    Throttle,
    UseTimeout,
    Verdict,
)


class CannotTrace(Exception):
    """The Ruleset uses something that the tracer has not been taught."""


class _Unreadable(Exception):
    """The packet has no such field: the rule ends."""


@dataclass
class Trace:
    """How far a packet came and what it cost; `path` has `chain:number` for every rule that was evaluated."""

    accepted: bool = True
    by: str = ""
    path: list[str] = field(default_factory=list)
    lookups: int = 0
    mark: int = 0
    priority: int = 0
    flow_mark: int = 0
    timeout: str = ""

    @property
    def rules(self) -> int:
        return len(self.path)


class Tracer:
    """A kernel with one Ruleset loaded; `renewed` interfaces have another index than when it was loaded."""

    def __init__(self, ruleset: Ruleset, renewed: tuple[str, ...] = ()) -> None:
        self.tables = {table.family: _Loaded(table) for table in ruleset.tables}
        self.renewed = renewed

    def forward(self, packet: Packet) -> Trace:
        """Let the packet pass all the hooks on its way: from a wire or from this host, to a wire or to this host."""
        trace = Trace(mark=packet.mark, flow_mark=packet.flow.mark, priority=packet.priority)
        if packet.iif:
            self._hook(packet, trace, "netdev", "ingress")
            if packet.arp:
                return trace
            self._hook(packet, trace, "inet", "prerouting")
        self._hook(packet, trace, "inet", "postrouting" if packet.oif else "input")
        return trace

    def overtaken(self, packet: Packet, by: Tracer) -> Trace:
        """Let the packet pass its first hooks here, and the last one in what a change has put in force meanwhile."""
        trace = Trace(mark=packet.mark, flow_mark=packet.flow.mark, priority=packet.priority)
        self._hook(packet, trace, "netdev", "ingress")
        self._hook(packet, trace, "inet", "prerouting")
        by._hook(packet, trace, "inet", "postrouting" if packet.oif else "input")
        return trace

    def ingress(self, packet: Packet) -> Trace:
        """Let the packet pass only what is before connection tracking."""
        trace = Trace(mark=packet.mark, flow_mark=packet.flow.mark, priority=packet.priority)
        self._hook(packet, trace, "netdev", "ingress")
        return trace

    def _hook(self, packet: Packet, trace: Trace, family: str, hook: str) -> None:
        if not trace.accepted or family not in self.tables:
            return
        table = self.tables[family]
        for chain in table.chains.values():
            here = chain.hook and chain.hook.hook == hook and chain.hook.device in ("", packet.iif)
            if here and self._chain(packet, trace, table, chain) == "drop":
                trace.accepted = False
                return

    def _chain(self, packet: Packet, trace: Trace, table: _Loaded, chain: Chain) -> str:
        """Run a chain; "accept", "drop", or "return" at its end."""
        for number, entry in enumerate(chain.rules):
            trace.path.append(f"{chain.name}:{number}")
            try:
                verdict, by = self._rule(packet, trace, table, entry.statements)
            except _Unreadable:
                continue
            if verdict is None:
                continue
            trace.by = by or entry.comment or trace.by
            match verdict.kind:
                case "accept" | "drop" | "return":
                    return verdict.kind
                case "goto":
                    return self._chain(packet, trace, table, table.chains[verdict.chain])
                case "jump":
                    outcome = self._chain(packet, trace, table, table.chains[verdict.chain])
                    if outcome != "return":
                        return outcome
                case _:
                    raise CannotTrace(f"verdict {verdict}")
        return "return"

    def _rule(
        self, packet: Packet, trace: Trace, table: _Loaded, statements: tuple[Any, ...]
    ) -> tuple[Verdict | None, str]:
        for statement in statements:
            match statement:
                case Match():
                    if not self._matches(packet, trace, statement):
                        return None, ""
                case InSet(fields, name, negated, mask):
                    trace.lookups += 1
                    key = self._key(packet, trace, fields)
                    found = table.find(name, key if mask is None else (key[0] & mask,), set_of=None)
                    if (found is not None) == negated:
                        return None, ""
                case Dispatch(fields, name):
                    trace.lookups += 1
                    found = table.find(name, self._key(packet, trace, fields), set_of="verdict")
                    if found is not None:
                        assert isinstance(found.value, Verdict)
                        return found.value, found.comment
                    return None, ""
                case Load(fields, name):
                    trace.lookups += 1
                    found = table.find(name, self._key(packet, trace, fields), set_of="classid")
                    if found is None:
                        return None, ""
                    assert isinstance(found.value, int)
                    trace.by = found.comment or trace.by
                    trace.priority = found.value
                case SetPriority(value):
                    trace.priority = value
                case SetMark(Field.MARK, keep, bits):
                    trace.mark = trace.mark & keep | bits
                case SetMark(Field.CT_MARK, keep, bits):
                    trace.flow_mark = self._flow_mark(packet, trace) & keep | bits
                case UseTimeout(name):
                    assert name in table.timeouts, name
                    trace.timeout = name
                case Counter() | Throttle() | Log():
                    pass
                case Verdict():
                    return statement, ""
                case _:
                    raise CannotTrace(f"statement {statement}")
        return None, ""

    def _key(self, packet: Packet, trace: Trace, fields: tuple[Field, ...]) -> tuple[Any, ...]:
        return tuple(self.read(packet, trace, one) for one in fields)

    def _flow_mark(self, packet: Packet, trace: Trace) -> int:
        if packet.flow.state in ("invalid", "untracked"):
            raise _Unreadable
        return trace.flow_mark

    def _matches(self, packet: Packet, trace: Trace, match_: Match) -> bool:
        value = self.read(packet, trace, match_.field)
        if match_.mask is not None:
            value &= match_.mask
        match match_.op:
            case "==":
                return _equal(match_.field, value, match_.value)
            case "!=":
                return not _equal(match_.field, value, match_.value)
            case ">=":
                assert isinstance(match_.value, int)
                return bool(value >= match_.value)
            case _:
                raise CannotTrace(f"operator {match_.op}")

    def read(self, packet: Packet, trace: Trace, what: Field) -> Any:
        """Read a field of the packet as the kernel does; the rule ends where there is none."""
        flow = packet.flow
        tracked = flow.state not in ("invalid", "untracked")
        icmp6 = packet.kind == "ip6" and packet.protocol == ICMPV6
        values: dict[Field, tuple[bool, Any]] = {
            Field.IIF: (True, self._index(packet.iif)),
            Field.OIF: (True, self._index(packet.oif)),
            Field.IIFNAME: (True, packet.iif),
            Field.OIFNAME: (True, packet.oif),
            Field.NFPROTO: (True, {"ip": "ipv4", "ip6": "ipv6"}.get(packet.kind)),
            Field.PROTOCOL: (True, packet.kind),
            Field.L4PROTO: (packet.kind != "arp", packet.protocol),
            Field.MARK: (True, trace.mark),
            Field.PRIORITY: (True, trace.priority),
            Field.ETHER_SOURCE: (True, packet.mac),
            Field.ETHER_TYPE: (True, packet.kind),
            Field.IPV4_SOURCE: (packet.kind == "ip", packet.source),
            Field.IPV4_DESTINATION: (packet.kind == "ip", packet.destination),
            Field.IPV6_SOURCE: (packet.kind == "ip6", packet.source),
            Field.IPV6_DESTINATION: (packet.kind == "ip6", packet.destination),
            Field.IPV6_HOPLIMIT: (packet.kind == "ip6", packet.hoplimit),
            Field.ARP_OPERATION: (packet.arp is not None, packet.arp and packet.arp[0]),
            Field.ARP_SENDER_ETHER: (packet.arp is not None, packet.arp and packet.arp[1]),
            Field.ARP_SENDER_IP: (packet.arp is not None, packet.arp and packet.arp[2]),
            Field.ICMPV6_TYPE: (icmp6 and not packet.short, packet.sport >> 8),
            Field.DESTINATION_PORT: (packet.kind != "arp" and not packet.short, packet.dport),
            Field.SOURCE_PORT: (packet.kind != "arp" and not packet.short, packet.sport),
            Field.UDP_SOURCE_PORT: (packet.protocol == UDP and not packet.short, packet.sport),
            Field.UDP_DESTINATION_PORT: (packet.protocol == UDP and not packet.short, packet.dport),
            Field.TCP_FLAGS: (packet.protocol == TCP and not packet.short, packet.flags),
            Field.NS_TARGET: (packet.target is not None, packet.target),
            Field.FIB_SOURCE_TYPE: (packet.kind != "arp", packet.source_kind),
            Field.FIB_DESTINATION_TYPE: (packet.kind != "arp", packet.destination_kind),
            Field.CT_STATE: (True, flow.state),
            Field.CT_DIRECTION: (tracked, "reply" if flow.reply else "original"),
            Field.CT_STATUS: (tracked, "dnat" if flow.dnat else ""),
            Field.CT_MARK: (tracked, trace.flow_mark),
            Field.CT_ORIGINAL_DPORT: (tracked, flow.original_port),
            Field.CT_ORIGINAL_IPV4_DESTINATION: (tracked and packet.kind == "ip", flow.original_destination),
            Field.CT_ORIGINAL_IPV6_DESTINATION: (tracked and packet.kind == "ip6", flow.original_destination),
        }
        if what not in values:
            raise CannotTrace(f"field {what}")
        readable, value = values[what]
        if not readable:
            raise _Unreadable
        return value

    def _index(self, interface: str) -> str:
        """Stand for an interface's index by its name; one made anew has another."""
        return f"{interface} again" if interface in self.renewed else interface


class _Loaded:
    """A table with its sets indexed."""

    def __init__(self, table: Table) -> None:
        self.chains = {chain.name: chain for chain in table.chains}
        self.timeouts = {timeout.name for timeout in table.timeouts}
        self._sets = {entry.name: entry for entry in table.sets}
        self._exact: dict[str, dict[Any, Element]] = {}
        for entry in table.sets:
            if not entry.interval:
                self._exact[entry.name] = {element.key: element for element in entry.elements}
                assert len(self._exact[entry.name]) == len(entry.elements), f"{entry.name}: duplicate elements"

    def find(self, name: str, key: tuple[Any, ...], *, set_of: str | None) -> Element | None:
        """Find the element with the key; the kernel would refuse a set of another type."""
        entry = self._sets[name]
        assert entry.value == set_of, f"{name} is no {set_of or 'set'}"
        assert len(entry.key) == len(key), f"{name}: key of {len(key)} parts"
        plain = tuple(int(part) if hasattr(part, "packed") else part for part in key)
        if not entry.interval:
            return self._exact[name].get(plain)
        found = [element for element in entry.elements if _covers(entry, element, plain)]
        assert len(found) <= 1, f"{name}: overlapping elements {found}"
        return found[0] if found else None


def _covers(entry: Set, element: Element, key: tuple[Any, ...]) -> bool:
    for part, value in zip(element.key, key, strict=True):
        if isinstance(part, Interval):
            if not part.first <= value <= part.last:
                return False
        elif part != value:
            return False
    return True


def _equal(what: Field, value: Any, wanted: str | int) -> bool:
    """Compare as nft reads the word: lists of states, prefixes, ranges."""
    if isinstance(wanted, int) or what.type in (KeyType.ETHER, KeyType.IFNAME):
        return bool(value == wanted)
    if what in (Field.CT_STATE, Field.CT_STATUS):
        return value in wanted.split(",")
    if what.type is KeyType.IPV6:
        return value in IPv6Network(wanted)
    if what.type is KeyType.IPV4:
        return bool(value == ip_address(wanted))
    if what is Field.ICMPV6_TYPE:
        first, _, last = wanted.partition("-")
        return int(first) <= value <= int(last or first)
    if what in _WORDS:
        return bool(value == wanted)
    raise CannotTrace(f"{what} with the word {wanted!r}")


_WORDS = (
    Field.NFPROTO,
    Field.PROTOCOL,
    Field.ETHER_TYPE,
    Field.ARP_OPERATION,
    Field.FIB_SOURCE_TYPE,
    Field.FIB_DESTINATION_TYPE,
    Field.CT_DIRECTION,
)
