"""Whether addresses lie where they must: in their subnet, once in a VPC, and in no network that overlaps another.

Overlapping ranges in VPCs that are not peered are normal and stay unmentioned (S18).
Example: two NICs of one VPC with 192.168.0.11 yield a fault at the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from enforcer.model.reading.document import Fault
from enforcer.model.reading.draft import Draft
from enforcer.model.topology import Subnet, Vpc
from enforcer.model.words.addresses import IPAddress, IPNetwork
from enforcer.model.words.wording import Place, shown


def misplacements(draft: Draft) -> Iterator[Fault]:
    """Yield every address and network of the draft that lies wrong."""
    yield from _subnets_overlap(draft)
    yield from _peered_vpcs_overlap(draft)
    yield from _route_destinations(draft)
    yield from _nic_addresses(draft)
    yield from _balancer_addresses(draft)
    yield from _addresses_are_unique(draft)
    yield from _macs_are_unique(draft)
    yield from _eips_lie_outside(draft)


@dataclass(frozen=True, slots=True)
class _Placed:
    """One network of a subnet and where it is written."""

    network: IPNetwork
    subnet: Subnet
    vpc: Vpc
    place: Place

    def order(self) -> tuple[int, int, int]:
        return (self.network.version, int(self.network.network_address), self.network.prefixlen)


def _networks(index: int, vpc: Vpc) -> Iterator[_Placed]:
    for position, subnet in enumerate(vpc.subnets):
        place = ("vpcs", index, "subnets", position)
        if subnet.cidr is not None:
            yield _Placed(subnet.cidr, subnet, vpc, (*place, "cidr"))
        if subnet.ipv6_cidr is not None:
            yield _Placed(subnet.ipv6_cidr, subnet, vpc, (*place, "ipv6_cidr"))


def _overlaps(networks: Iterable[_Placed]) -> Iterator[tuple[_Placed, _Placed]]:
    """Yield each network that lies in one before it in address order; CIDRs nest or are apart, so one suffices."""
    around: _Placed | None = None
    for placed in sorted(networks, key=_Placed.order):
        if around and around.network.version == placed.network.version and _within(placed.network, around.network):
            yield around, placed
        else:
            around = placed


def _within(inner: IPNetwork, outer: IPNetwork) -> bool:
    return inner.version == outer.version and inner.prefixlen >= outer.prefixlen and inner.network_address in outer


def _subnets_overlap(draft: Draft) -> Iterator[Fault]:
    for index, vpc in draft.vpcs:
        for one, other in _overlaps(_networks(index, vpc)):
            first, second = sorted((one, other), key=lambda placed: placed.place[3])
            message = f"'{second.network}' overlaps {first.network} of {first.subnet.name}; give each subnet its own"
            yield Fault(second.place, message)


def _peered_vpcs_overlap(draft: Draft) -> Iterator[Fault]:
    networks = {vpc.name: tuple(_networks(index, vpc)) for index, vpc in draft.vpcs}
    for index, peering in draft.peerings:
        one, other = (networks.get(vpc, ()) for vpc in peering.vpcs)
        for first, second in _overlaps((*one, *other)):
            if first.vpc.name != second.vpc.name:
                message = (
                    f"{first.vpc.name} and {second.vpc.name} cannot be peered, {first.network} of {first.subnet.name} "
                    f"overlaps {second.network} of {second.subnet.name}; renumber one of them"
                )
                yield Fault(("peerings", index, "vpcs"), message)
                break


def _route_destinations(draft: Draft) -> Iterator[Fault]:
    for index, vpc in draft.vpcs:
        networks = [placed.network for placed in _networks(index, vpc)] if vpc.routes else []
        for position, route in enumerate(vpc.routes):
            own = next((network for network in networks if _within(route.destination, network)), None)
            if own is not None:
                message = f"'{route.destination}' lies in the VPC's own {own}, which is reached without a route"
                yield Fault(("vpcs", index, "routes", position, "destination"), f"{message}; leave it out")


def _nic_addresses(draft: Draft) -> Iterator[Fault]:
    for placed in draft.nics:
        if placed.subnet is not None:
            for position, address in enumerate(placed.nic.addresses):
                if message := address_fault(address, placed.subnet):
                    yield Fault((*placed.place, "addresses", position), message)


def _balancer_addresses(draft: Draft) -> Iterator[Fault]:
    for index, balancer in draft.load_balancers:
        _, subnet = draft.subnets.get(balancer.subnet, (None, None))
        if subnet is not None and (message := address_fault(balancer.address, subnet)):
            yield Fault(("load_balancers", index, "address"), message)


def address_fault(address: IPAddress, subnet: Subnet) -> str | None:
    """Return what is wrong with an address in a subnet, or None."""
    network = subnet.cidr if address.version == 4 else subnet.ipv6_cidr
    if network is None:
        field = "cidr" if address.version == 4 else "ipv6_cidr"
        return f"'{address}' is IPv{address.version} and {subnet.name} has no {field}; give the subnet one"
    if address not in network:
        return f"'{address}' is not in {network} of {subnet.name}; write an address of the subnet"
    if address.version == 4 and network.prefixlen < 31 and address in (network[0], network[-1]):
        word = "network" if address == network[0] else "broadcast"
        return f"'{address}' is the {word} address of {subnet.name}; write another address of the subnet"
    return None


def _addresses_are_unique(draft: Draft) -> Iterator[Fault]:
    owners: dict[tuple[str, IPAddress], tuple[str, Place]] = {}
    for vpc, address, owner, place in _vpc_addresses(draft):
        first, where = owners.setdefault((vpc, address), (owner, place))
        if where[:-1] != place[:-1]:
            yield Fault(place, f"'{address}' is already an address of {first} in {vpc}; write each address once")


def _vpc_addresses(draft: Draft) -> Iterator[tuple[str, IPAddress, str, Place]]:
    for placed in draft.nics:
        for position, address in enumerate(placed.nic.addresses if placed.vpc else ()):
            name = placed.vpc.name if placed.vpc else ""
            yield name, address, f"{placed.ecs.name}:{placed.nic.name}", (*placed.place, "addresses", position)
    for index, balancer in draft.load_balancers:
        vpc, _ = draft.subnets.get(balancer.subnet, (None, None))
        if vpc is not None:
            yield vpc.name, balancer.address, balancer.name, ("load_balancers", index, "address")


def _macs_are_unique(draft: Draft) -> Iterator[Fault]:
    owners: dict[tuple[str, str], str] = {}
    for placed in draft.nics:
        if placed.nic.mac is None or placed.vpc is None:
            continue
        owner = f"{placed.ecs.name}:{placed.nic.name}"
        first = owners.setdefault((placed.vpc.name, placed.nic.mac), owner)
        if first != owner:
            message = f"{shown(placed.nic.mac)} is already the MAC address of {first} in {placed.vpc.name}"
            yield Fault((*placed.place, "mac"), f"{message}; each NIC has its own")


def _eips_lie_outside(draft: Draft) -> Iterator[Fault]:
    networks = [placed for index, vpc in draft.vpcs for placed in _networks(index, vpc) if placed.network.version == 4]
    lengths = sorted({placed.network.prefixlen for placed in networks})
    by_network = {(placed.network.prefixlen, int(placed.network.network_address)): placed for placed in networks}
    for index, eip in draft.eips:
        for length in lengths:
            start = int(eip.address) >> (32 - length) << (32 - length)
            if (placed := by_network.get((length, start))) is not None:
                message = f"'{eip.address}' lies in {placed.network} of {placed.subnet.name}; choose a public address"
                yield Fault(("eips", index, "address"), message)
                break
