"""Random flows that go for the edges of a scene: around every port, type and address that a rule names."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from random import Random

import policies

from enforcer.model import ICMP, ICMPV6, TCP, UDP, IPAddress, NicRef, Policy, Rule
from fuzz.scenes import PREFIXES
from fuzz.shots import SCTP, SYN, Flow
from fuzz.stage import ADDRESSES, OUTSIDE, ROUTED, VIRTUAL_IPS, VPC, forwarded, way

OTHERS = {
    4: (0, 2, 4, 5, 7, 16, 18, 41, 46, 47, 47, 47, 48, 50, 51, 254, 255, SCTP, SCTP),
    6: (2, 4, 5, 7, 16, 18, 41, 46, 47, 47, 47, 48, 254, 255, SCTP, SCTP),
}
"""Extension headers are no protocols of IPv6; 33 and 136 have trackers that want more than a header of ours."""
TYPES = {4: (8, 8, 8, 13, 15, 17, 0, 3, 5, 11, 14, 18, 40), 6: (128, 128, 128, 139, 129, 140, 1, 2, 3, 100, 200)}
"""Requests, and what begins nothing (S13). Neighbour discovery has tests of its own."""
STRAY = (0x10, 0x12, 0x04, 0x11, 0x00, 0x18, 0x14)
ICMP_OF = {4: ICMP, 6: ICMPV6}


class Aim:
    """Draws flows for one policy; `keys` are never used twice while connection tracking remembers them."""

    def __init__(self, rng: Random, policy: Policy, keys: Keys) -> None:
        self._rng, self._policy, self._keys = rng, policy, keys
        self._borders = {family: self._edges(family) for family in (4, 6)}
        self._rules = {ref.label: list(_rules(policy, ref)) for ref in policy.nics()}

    def _edges(self, family: int) -> list[IPAddress]:
        found = {a for a in policies.borders(self._policy, family) if forwarded(a)}
        for text in PREFIXES[family]:
            network = ip_network(text)
            behind = (network[-1] + 1,) if network.prefixlen > 1 else ()
            found |= {address for address in (network[0], network[-1], *behind) if forwarded(address)}
        return sorted(found)

    def flow(self) -> Flow | None:
        """Draw a flow; None if the draw came to nothing: no way, or a tuple that is in use."""
        rng = self._rng
        family = rng.choice((4, 4, 6))
        sender = rng.choice([*ADDRESSES, "r", "q"])
        own = ip_address(ADDRESSES[sender][family == 6])
        destination = self._destination(sender, family)
        receiver = way(VPC[sender], destination)
        source = self._source(sender, own, family)
        if receiver is None or receiver == sender or {receiver, sender} == set(OUTSIDE.values()):
            return None
        aimed = rng.choice([r for r in (*self._rules[sender], *self._rules[receiver]) if r.family == family] or [None])
        protocol = aimed.protocol if aimed is not None and aimed.protocol is not None and rng.random() < 0.7 else None
        if protocol is None or (protocol not in (TCP, UDP, ICMP_OF[family]) and protocol not in OTHERS[family]):
            protocol = rng.choice((TCP, TCP, TCP, UDP, UDP, ICMP_OF[family], rng.choice(OTHERS[family])))
        stranger = rng.random() < 0.01
        key = self._keys.take(protocol, source, destination, ported=protocol in (TCP, UDP, SCTP, ICMP_OF[family]))
        if key is None:
            return None
        common = (sender, receiver, source, destination, protocol, key)
        if protocol in (TCP, UDP):
            flags = rng.choice(STRAY) if protocol == TCP and rng.random() < 0.05 else SYN
            return Flow(*common, port=self._port(aimed), flags=flags, stranger=stranger)
        if protocol == ICMP_OF[family]:
            kind, code = self._kind(aimed, family)
            return Flow(*common, icmp_type=kind, icmp_code=code, stranger=stranger)
        return Flow(*common, port=7 if protocol == SCTP else 0, stranger=stranger)

    def _destination(self, sender: str, family: int) -> IPAddress:
        rng, six = self._rng, family == 6
        match rng.choice(("nic", "nic", "nic", "edge", "edge", "routed")):
            case "nic":
                return ip_address(ADDRESSES[rng.choice([name for name in ADDRESSES if name != sender])][six])
            case "edge":
                return rng.choice(self._borders[family])
            case _:
                network = ip_network(rng.choice(list(ROUTED.values()))[six])
                return ip_address(
                    rng.choice((VIRTUAL_IPS[six], network[rng.choice((0, 3, 4, 5, 7, 8, 127, 128, 255))]))
                )

    def _source(self, sender: str, own: IPAddress, family: int) -> IPAddress:
        rng = self._rng
        if sender in OUTSIDE.values():
            return rng.choice((own, *rng.sample(self._borders[family], 3)))
        if sender == "b" and rng.random() < 0.3:
            network = ip_network(ROUTED["b"][family == 6])
            return ip_address(rng.choice((VIRTUAL_IPS[family == 6], network[rng.choice((3, 4, 7, 8))])))
        if sender == "f" and rng.random() < 0.5:
            return rng.choice((*self._borders[family], ip_network(ROUTED["f"][family == 6])[rng.randrange(1, 99)]))
        return own if rng.random() < 0.95 else rng.choice(self._borders[family])

    def _port(self, aimed: Rule | None) -> int:
        rng = self._rng
        if aimed is not None and aimed.ports and rng.random() < 0.8:
            ports = rng.choice(aimed.ports)
            edges = (ports.first - 1, ports.first, ports.first, ports.last, ports.last, ports.last + 1)
            drawn = rng.choice((*edges, rng.randint(ports.first, ports.last)))
        else:
            drawn = rng.choice((*policies.PORTS, rng.randint(1, 65535)))
        # DHCP has tests of its own: in the stage nobody serves it.
        return drawn if 1 <= drawn <= 65535 and drawn not in (67, 68, 546, 547) else 22

    def _kind(self, aimed: Rule | None, family: int) -> tuple[int, int]:
        kind = aimed.icmp_type if aimed is not None and aimed.icmp_type in TYPES[family] else None
        code = aimed.icmp_code if aimed is not None else None
        drawn = self._rng.choice(TYPES[family]) if kind is None or self._rng.random() < 0.2 else kind
        return drawn, self._rng.choice((0, 1, 255)) if code is None or self._rng.random() < 0.3 else code


class Keys:
    """Source ports and ICMP identifiers, each used once until connection tracking is emptied."""

    def __init__(self) -> None:
        self._next = 1025
        self._pairs: set[tuple[int, frozenset[IPAddress]]] = set()

    def take(self, protocol: int, source: IPAddress, destination: IPAddress, *, ported: bool) -> int | None:
        """Return a fresh key, 0 for a protocol without; None if there is none left for this flow."""
        if not ported:
            pair = (protocol, frozenset((source, destination)))
            fresh = pair not in self._pairs and source != destination
            self._pairs.add(pair)
            return 0 if fresh else None
        if self._next > 65000 or source == destination:
            return None
        self._next += 2  # odd: the lab's SCTP packets have odd ports
        return self._next


def _rules(policy: Policy, ref: NicRef) -> Iterator[Rule]:
    for group in ref.nic.security_groups:
        yield from policy.group(group).rules
