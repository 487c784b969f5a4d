"""Whether the objects of a policy fit together: every name exists, is unique, and means something that fits.

Each check is a generator of faults over the `Draft`; all of them run, so that one reading shows all mistakes. Where
addresses lie is asked in `placement`. Every check is linear or n·log n in the size of the file.
Example: a rule's `remote_group: Sg-Q` yields `'Sg-Q' is not defined; did you mean 'Sg-B'?`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from enforcer.model.groups import Rule
from enforcer.model.reading.document import Fault
from enforcer.model.reading.draft import Draft, PlacedNic
from enforcer.model.reading.placement import misplacements
from enforcer.model.topology import Listener, LoadBalancer
from enforcer.model.words.wording import Place, shown

KINDS = {
    "vpcs": "VPC",
    "peerings": "peering",
    "address_groups": "address group",
    "security_groups": "security group",
    "ecs": "ECS",
    "external_hosts": "external host",
    "load_balancers": "load balancer",
}
# SRC and DST of the command line name any of these by one word.
HOSTS = ("ecs", "external_hosts", "load_balancers")


def disagreements(draft: Draft) -> Iterator[Fault]:
    """Yield everything about the draft's sound items that does not fit together."""
    yield from _names_are_unique(draft)
    yield from _subnet_names_are_unique(draft)
    yield from _peerings(draft)
    yield from _remotes(draft)
    yield from _nic_references(draft)
    yield from _interfaces_are_unique(draft)
    yield from _routes(draft)
    yield from _eips(draft)
    yield from _balancers(draft)
    yield from misplacements(draft)


def _names_are_unique(draft: Draft) -> Iterator[Fault]:
    hosts: dict[str, str] = {}
    for section, kind in KINDS.items():
        seen = hosts if section in HOSTS else {}
        for index, written in draft.listed_names(section):
            name = unicodedata.normalize("NFC", written)
            if name in seen:
                message = f"{shown(name)} is already the name of {_other(seen[name], kind)}; choose another name"
                yield Fault((section, index, "name"), message)
            seen.setdefault(name, kind)


def _other(first: str, kind: str) -> str:
    if first == kind:
        return f"another {kind}"
    return f"{'an' if first[0] in 'Eae' else 'a'} {first}"


def _subnet_names_are_unique(draft: Draft) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for index, vpc in draft.vpcs:
        for position, subnet in enumerate(vpc.subnets):
            if subnet.name in seen:
                message = f"{shown(subnet.name)} is already a subnet of {seen[subnet.name]}; choose another name"
                yield Fault(("vpcs", index, "subnets", position, "name"), message)
            seen.setdefault(subnet.name, vpc.name)


def _peerings(draft: Draft) -> Iterator[Fault]:
    vpcs = draft.names("vpcs")
    seen: dict[frozenset[str], str] = {}
    for index, peering in draft.peerings:
        for side, vpc in enumerate(peering.vpcs):
            if message := vpcs.missing(vpc):
                yield Fault(("peerings", index, "vpcs", side), message)
        pair = frozenset(peering.vpcs)
        if pair in seen:
            message = f"{' and '.join(peering.vpcs)} are already joined by {shown(seen[pair])}; leave one peering out"
            yield Fault(("peerings", index, "vpcs"), message)
        seen.setdefault(pair, peering.name)


def _remotes(draft: Draft) -> Iterator[Fault]:
    groups, address_groups = draft.names("security_groups"), draft.names("address_groups")
    versions = {group.name: group.ip_version for _, group in draft.address_groups}
    for index, group in draft.security_groups:
        for position, rule in group.listed():
            place: Place = ("security_groups", index, "rules", position)
            if rule.remote_group is not None and (message := groups.missing(rule.remote_group)):
                yield Fault((*place, "remote_group"), message)
            if (remote := rule.remote_address_group) is None:
                continue
            if message := address_groups.missing(remote):
                yield Fault((*place, "remote_address_group"), message)
            elif versions.get(remote, rule.family) != rule.family:
                yield Fault((*place, "remote_address_group"), _family_message(rule, remote))


def _family_message(rule: Rule, remote: str) -> str:
    other = 10 - rule.family
    return (
        f"{shown(remote)} has IPv{other} addresses, the rule's ethertype is IPv{rule.family}; "
        f"write ethertype: IPv{other}, or an IPv{rule.family} address group"
    )


def _nic_references(draft: Draft) -> Iterator[Fault]:
    groups = draft.names("security_groups")
    for placed in draft.nics:
        if message := draft.subnet_names.missing(placed.nic.subnet):
            yield Fault((*placed.place, "subnet"), message)
        for position, group in enumerate(placed.nic.security_groups):
            if message := groups.missing(group):
                yield Fault((*placed.place, "security_groups", position), message)


def _interfaces_are_unique(draft: Draft) -> Iterator[Fault]:
    seen: dict[tuple[str, str], PlacedNic] = {}
    for placed in draft.nics:
        if placed.nic.interface is None:
            continue
        first = seen.setdefault((placed.nic.netns, placed.nic.interface), placed)
        if first is not placed:
            owner = f"{first.ecs.name}:{first.nic.name}"
            message = f"{shown(placed.nic.interface)} is already the interface of {owner} in the same namespace"
            yield Fault((*placed.place, "interface"), f"{message}; each NIC is behind its own")


def _routes(draft: Draft) -> Iterator[Fault]:
    for index, vpc in draft.vpcs:
        for position, route in enumerate(vpc.routes):
            place: Place = ("vpcs", index, "routes", position, "next_hop")
            if message := draft.nic_names.missing(route.next_hop):
                yield Fault(place, message)
                continue
            hop = draft.nics_by_name.get(route.next_hop)
            if hop is None or hop.vpc is None:
                continue
            if hop.vpc.name != vpc.name:
                message = f"{shown(route.next_hop)} is in {hop.vpc.name}, not in {vpc.name}; name a NIC of this VPC"
                yield Fault(place, message)
            elif hop.nic.address(route.destination.version) is None:
                family = f"IPv{route.destination.version}"
                yield Fault(place, f"{shown(route.next_hop)} has no {family} address; name a NIC that has one")


def _eips(draft: Draft) -> Iterator[Fault]:
    external = {address: host.name for _, host in draft.external_hosts for address in host.addresses}
    addresses: set[object] = set()
    owners: dict[Place, str] = {}
    for index, eip in draft.eips:
        if eip.address in addresses:
            yield Fault(("eips", index, "address"), f"'{eip.address}' is already an EIP; write each EIP once")
        elif eip.address in external:
            owner = external[eip.address]
            yield Fault(("eips", index, "address"), f"'{eip.address}' is the address of {owner}; choose another")
        addresses.add(eip.address)
        if message := draft.nic_names.missing(eip.ecs):
            yield Fault(("eips", index, "ecs"), message)
        elif placed := draft.nics_by_name.get(eip.ecs):
            yield from _eip_owner(("eips", index, "ecs"), eip.ecs, placed, owners)
            owners.setdefault(placed.place, str(eip.address))


def _eip_owner(place: Place, name: str, placed: PlacedNic, owners: dict[Place, str]) -> Iterator[Fault]:
    if placed.nic.address(4) is None:
        yield Fault(place, f"{shown(name)} has no IPv4 address; an EIP needs a NIC with one")
    if placed.place in owners:
        message = f"{shown(name)} already has the EIP {owners[placed.place]}; a NIC has at most one"
        yield Fault(place, message)


def _balancers(draft: Draft) -> Iterator[Fault]:
    for index, balancer in draft.load_balancers:
        if message := draft.subnet_names.missing(balancer.subnet):
            yield Fault(("load_balancers", index, "subnet"), message)
        for position, listener in enumerate(balancer.listeners):
            yield from _backends(draft, balancer, listener, ("load_balancers", index, "listeners", position))


def _backends(draft: Draft, balancer: LoadBalancer, listener: Listener, above: Place) -> Iterator[Fault]:
    vpc, _ = draft.subnets.get(balancer.subnet, (None, None))
    for position, backend in enumerate(listener.backends):
        place: Place = (*above, "backends", position, "ecs")
        if message := draft.nic_names.missing(backend.ecs):
            yield Fault(place, message)
            continue
        placed = draft.nics_by_name.get(backend.ecs)
        if placed is None:
            continue
        family = balancer.address.version
        if placed.nic.address(family) is None:
            message = f"{shown(backend.ecs)} has no IPv{family} address as the balancer has; name a NIC that has one"
            yield Fault(place, message)
        here, there = (vpc and vpc.name), (placed.vpc and placed.vpc.name)
        if here and there and here != there and (here, there) not in draft.peered:
            message = f"{shown(backend.ecs)} is in {there}, which is not peered with the balancer's {here}"
            yield Fault(place, f"{message}; peer them or choose another backend")
