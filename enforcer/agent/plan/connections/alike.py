"""One side's verdict for a hundred thousand conversations: asked of the oracle once for all that it treats alike. Pure.

    judge = Judge(policy)
    judge.allows(nic, Direction.INGRESS, peer, own, traffic)    what `evaluate_side(…).allowed` says

What the oracle compares a peer with is known from the policy – *terms*: prefixes, address groups, the members of each
group as seen from each VPC, and a few addresses of S15. For it, peers are alike if they are in the same of those terms
that rules about this traffic name; ports are alike between two neighbouring borders of rules; NICs are alike with the
same groups, ECS type and subnet. Decides nothing itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator

from enforcer.model import TCP, UDP, Direction, Family, IPAddress, NicRef, Policy, Rule, Traffic
from enforcer.semantics import Oracle, SideVerdict, evaluate_side
from enforcer.semantics.matching import speaks_of
from enforcer.semantics.sides import DHCP6_SERVER, DHCP6_SERVERS, DHCP_BROADCAST, DHCP_SERVER, may_use

FAMILIES: tuple[Family, ...] = (4, 6)
_Key = tuple[object, ...]


class Judge:
    """A policy that is asked about many conversations."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.oracle = Oracle(policy)
        self._classes = {family: _Classes(_pieces(policy, family)) for family in FAMILIES}
        self._ports = sorted(set(_port_borders(policy)))
        self._profiles: dict[_Key, int] = {}
        self._profile_of: dict[tuple[str, str], int] = {}
        self._class_of: dict[IPAddress, int] = {}
        self._numbers: dict[frozenset[object], int] = {}
        self._inside: list[frozenset[object]] = []
        self._terms: dict[_Key, frozenset[object]] = {}
        self._own: dict[tuple[str, str, IPAddress], bool] = {}
        self._known: dict[_Key, bool] = {}
        self._found: dict[_Key, bool] = {}

    def allows(self, ref: NicRef, direction: Direction, peer: IPAddress, own: IPAddress, traffic: Traffic) -> bool:
        """Say whether the NIC lets it pass; `own` is the packet's address on the NIC's side (S16)."""
        asked = (
            self._profile(ref),
            direction,
            peer.version,
            traffic.protocol,
            self._port(traffic),
            traffic.icmp_type,
            traffic.icmp_code,
        )
        # A host without an address (S15) is asked about by itself: there are few of them.
        special = own if own.is_unspecified or (own.version == 6 and own.is_link_local) else None
        key = (asked, self._class(peer), self.may_use(ref, own), special)
        found = self._known.get(key)
        if found is None:
            if asked not in self._terms:
                self._terms[asked] = self._named(ref, direction, peer.version, traffic)
            alike = (asked, self._inside[key[1]] & self._terms[asked], *key[2:])
            if alike not in self._found:
                self._found[alike] = self.verdict(ref, direction, peer, own, traffic).allowed
            found = self._known[key] = self._found[alike]
        return found

    def _named(self, ref: NicRef, direction: Direction, family: Family, traffic: Traffic) -> frozenset[object]:
        """Return the terms that the NIC's rules about some traffic name, and those of S15."""
        rules = (one.rule for one in self.oracle.ranked(ref, direction, family) if speaks_of(one.rule, traffic))
        return frozenset(_unasked(self.policy)).union(*(_terms_of(rule, ref.vpc.name) for rule in rules))

    def verdict(
        self, ref: NicRef, direction: Direction, peer: IPAddress, own: IPAddress, traffic: Traffic
    ) -> SideVerdict:
        """Ask the oracle itself: the verdict with its reason."""
        return evaluate_side(self.oracle, ref, direction, peer, traffic, own=own)

    def may_use(self, ref: NicRef, address: IPAddress) -> bool:
        """Say whether the NIC may send from the address, and receive at it (S6, S16)."""
        if not ref.nic.source_dest_check:
            return True
        key = (ref.ecs.name, ref.nic.name, address)
        found = self._own.get(key)
        if found is None:
            found = self._own[key] = may_use(ref, address)
        return found

    @property
    def asked(self) -> int:
        """How many questions the oracle was asked."""
        return len(self._found)

    def _profile(self, ref: NicRef) -> int:
        name = (ref.ecs.name, ref.nic.name)
        found = self._profile_of.get(name)
        if found is None:
            nic = ref.nic
            key = (nic.security_groups, ref.ecs.type_class, ref.vpc.name, nic.subnet, nic.port_security)
            found = self._profile_of[name] = self._profiles.setdefault(key, len(self._profiles))
        return found

    def _class(self, address: IPAddress) -> int:
        """Return a number for the terms that contain the address."""
        found = self._class_of.get(address)
        if found is None:
            terms = self._classes[address.version].terms(int(address))
            found = self._numbers.setdefault(terms, len(self._inside))
            if found == len(self._inside):
                self._inside.append(terms)
            self._class_of[address] = found
        return found

    def _port(self, traffic: Traffic) -> int | None:
        if traffic.port is None or traffic.protocol not in (TCP, UDP):
            return None
        return bisect_right(self._ports, traffic.port)


class _Classes:
    """The address space of a family, cut at every border of every term: which terms is an address in?"""

    def __init__(self, terms: Iterable[tuple[object, int, int]]) -> None:
        events: dict[int, list[tuple[object, int]]] = {}
        for term, first, last in terms:
            events.setdefault(first, []).append((term, 1))
            events.setdefault(last + 1, []).append((term, -1))
        self._borders = sorted(events)
        self._inside = [frozenset[object]()]
        depth: Counter[object] = Counter()  # ranges of an address group may overlap
        for border in self._borders:
            for term, change in events[border]:
                depth[term] += change
                if not depth[term]:
                    del depth[term]
            self._inside.append(frozenset(depth))

    def terms(self, address: int) -> frozenset[object]:
        """Return the terms that contain an address."""
        return self._inside[bisect_right(self._borders, address)]


def _terms_of(rule: Rule, vpc: str) -> tuple[object, ...]:
    """Name the term that a rule of a NIC in a VPC compares the peer with."""
    if rule.remote_group is not None:
        return ((rule.remote_group, vpc),)
    remote = rule.remote_ip_prefix or rule.remote_address_group
    return () if remote is None else (remote,)


def _pieces(policy: Policy, family: Family) -> Iterator[tuple[object, int, int]]:
    """Yield the pieces of all terms: the term, the first and the last address."""
    for ref in policy.nics():
        views = [(name, vpc) for name in ref.nic.security_groups for vpc in policy.reachable_from(ref.vpc.name)]
        for address in ref.nic.addresses:
            if address.version == family:
                yield from ((view, int(address), int(address)) for view in views)
    for prefix in {rule.remote_ip_prefix for group in policy.security_groups for rule in group.rules}:
        if prefix is not None and prefix.version == family:
            yield prefix, int(prefix.network_address), int(prefix.broadcast_address)
    for addresses in policy.address_groups:
        for entry in addresses.ranges:
            if entry.first.version == family:
                yield addresses.name, int(entry.first), int(entry.last)
    yield from ((each, int(each), int(each)) for each in _unasked(policy) if each.version == family)


def _unasked(policy: Policy) -> Iterator[IPAddress]:
    """Yield the addresses that S15 speaks of: DHCP servers and gateways."""
    yield from (DHCP_BROADCAST, DHCP6_SERVERS)
    for vpc in policy.vpcs:
        for subnet in vpc.subnets:
            if subnet.cidr is not None and subnet.cidr.num_addresses > 2:
                yield subnet.cidr[1]


def _port_borders(policy: Policy) -> Iterator[int]:
    for group in policy.security_groups:
        for rule in group.rules:
            for ports in rule.ports:
                yield from (ports.first, ports.last + 1)
    for server in (DHCP_SERVER, DHCP6_SERVER):
        yield from (server, server + 1)
