"""Ask a compiled Program about a packet: address map, local class, regions — what the kernel's lookups will do."""

from __future__ import annotations

from bisect import bisect_right

from first_match import Answer

from enforcer.compiler.program import REST, AddressMap, NamespaceProgram, NicProgram, Region, SidePolicy
from enforcer.model import Direction, IPAddress


def judge(
    program: NamespaceProgram, nic: NicProgram, direction: Direction, peer: IPAddress, protocol: int, subkey: int
) -> Answer:
    """Walk a packet through the Program: one side of one NIC."""
    sides = next(sides for sides in program.sides_of(nic) if sides.family == peer.version)
    policy = program.policy(sides.ingress if direction is Direction.INGRESS else sides.egress)
    addresses = next(addresses for addresses in program.addresses if addresses.family == peer.version)
    region = find(policy, class_of(addresses, int(peer)), protocol, subkey)
    if region is None:
        return Answer(allowed=False)
    return Answer(region.decider.action == "allow", str(region.decider))


def class_of(addresses: AddressMap, peer: int) -> int:
    """Look an address up: single addresses first, then the piece that it lies in."""
    at = bisect_right(addresses.hosts, (peer, 1 << 64)) - 1
    if at >= 0 and addresses.hosts[at][0] == peer:
        return addresses.hosts[at][1]
    return next(number for piece, number in addresses.pieces if piece.first <= peer <= piece.last)


def find(policy: SidePolicy, number: int, protocol: int, subkey: int) -> Region | None:
    """Find the region of a packet; more than one is a bug of its own."""
    local = dict(policy.locals).get(number, REST)
    for asked in dict.fromkeys((local, REST)):
        regions = next(entry.regions for entry in policy.classes if entry.number == asked)
        found = [
            region
            for region in regions
            if region.protocols.first <= protocol <= region.protocols.last
            and region.subkeys.first <= subkey <= region.subkeys.last
        ]
        assert len(found) <= 1, f"regions overlap: {found}"
        if found:
            return found[0]
    return None


def nic_of(program: NamespaceProgram, label: str) -> NicProgram:
    return next(nic for nic in program.nics if nic.label == label)
