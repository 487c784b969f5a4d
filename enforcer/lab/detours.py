"""Custom routes of a VPC, and the ways past them: `detours(policy, vpc, router, hops)`. Pure.

A custom route stands in the router's main table, and the most specific counts. Towards the Internet – external hosts
and EIPs; a lab's Internet has nobody else – three things differ:

- A NIC with an EIP uses it: packets from its address find the Internet's addresses in a table of their own, before
  the main table. That holds for the instance that the route leads through, too.
- What an instance passes on leaves it where it came in, from the NIC's own address if the NIC has an EIP: nobody else
  would configure NAT in a lab's guest.
- IPv6 knows no EIPs, so nothing would tell what an instance passes on from what it is given: external hosts are
  reached directly, past every custom route.

    ecs-b ── router ── nat (10.1.0.13) ── router, from 10.1.0.13: table 90 ── up-inet, the EIP of nat
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final

from enforcer.lab import nat
from enforcer.lab.plan import LINK_LOCAL, PolicyRule, Route, guest_interface, network_of
from enforcer.model import Family, IPAddress, IPNetwork, NicRef, Policy, Vpc
from enforcer.model.layout import UPLINK

DIRECT_METRIC, CUSTOM_METRIC = 5, 10
"""Which of two routes to one network is taken: the smaller; peerings, uplink and holes have larger ones."""
INTERNET_TABLE: Final = 90
"""The router's table for NICs with an EIP."""
TRANSIT_TABLES: Final = 50
"""The table for what an instance passes on from its n-th NIC is this plus n."""


@dataclass(frozen=True, slots=True)
class Hop:
    """A NIC that a custom route may lead to: the router's interface, the instance's, and its IPv4 gateway."""

    ref: NicRef
    port: str
    netns: str
    interface: str
    gateway: IPAddress | None


@dataclass(frozen=True, slots=True)
class Detours:
    """What custom routes add to a plan."""

    routes: tuple[Route, ...]
    rules: tuple[PolicyRule, ...]


def detours(policy: Policy, vpc: Vpc, router: str, nics: tuple[Hop, ...]) -> Detours:
    """Return the custom routes of a VPC whose NICs are `nics`, and what makes the Internet different."""
    hops = {(nic.ref.ecs.name, nic.ref.nic.name): nic for nic in nics}
    routes: list[Route] = []
    for route in vpc.routes:
        ref = policy.nic_ref(route.next_hop)
        address = ref.nic.address(4 if route.destination.version == 4 else 6)
        if address is not None:
            port = hops[ref.ecs.name, ref.nic.name].port
            routes.append(Route(router, route.destination, port, address, metric=CUSTOM_METRIC))
    if nat.internet_networks(policy, vpc):
        direct = _internet(policy, vpc, 6)
        routes += [Route(router, one, UPLINK, LINK_LOCAL[0], metric=DIRECT_METRIC) for one in direct]
    internet, rules = _internet(policy, vpc, 4), []
    public = [nic.ref.nic.address(4) for nic in nics if policy.eip_of(nic.ref) is not None]
    if internet and public:
        routes += [Route(router, one, UPLINK, LINK_LOCAL[0], table=INTERNET_TABLE) for one in internet]
        rules = [PolicyRule(router, network_of(own), INTERNET_TABLE) for own in public if own is not None]
    for name in dict.fromkeys((ref.ecs.name, ref.nic.name) for ref in _next_hops(policy, vpc) if internet):
        more, rule = _transit(vpc, hops[name], internet)
        routes += more
        rules.append(rule)
    return Detours(tuple(routes), tuple(rules))


def _transit(vpc: Vpc, hop: Hop, internet: tuple[IPNetwork, ...]) -> tuple[list[Route], PolicyRule]:
    """Let what comes in by a NIC for the Internet leave by it, and the answers that come back for the VPC."""
    table = TRANSIT_TABLES + hop.ref.ecs.nics.index(hop.ref.nic)
    own = (subnet.cidr for subnet in vpc.subnets if subnet.cidr is not None)
    routes = [Route(hop.netns, one, hop.interface, hop.gateway, table=table) for one in (*internet, *own)]
    return routes, PolicyRule(hop.netns, IPv4Network("0.0.0.0/0"), table, hop.interface)


def guest_nat(policy: Policy, ecs: str) -> str:
    """Return the NAT table of an instance that custom routes lead through and that has an EIP, else ""."""
    hops = {ref.nic.name: ref for vpc in policy.vpcs for ref in _next_hops(policy, vpc) if ref.ecs.name == ecs}
    return nat.guest_script(
        (guest_interface(name), own, _inside(policy, ref.vpc, 4))
        for name, ref in hops.items()
        if policy.eip_of(ref) is not None and (own := ref.nic.address(4)) is not None
    )


def _next_hops(policy: Policy, vpc: Vpc) -> list[NicRef]:
    """Return the NICs that IPv4 routes of a VPC lead to."""
    return [policy.nic_ref(route.next_hop) for route in vpc.routes if route.destination.version == 4]


def _internet(policy: Policy, vpc: Vpc, family: Family) -> tuple[IPNetwork, ...]:
    """Return the Internet's addresses to which a custom route of the VPC would lead, each as a network."""
    listed = [address for host in policy.external_hosts for address in host.addresses]
    everywhere = dict.fromkeys((*listed, *(eip.address for eip in policy.eips)))
    inside = _inside(policy, vpc, family)
    return tuple(
        network_of(address)
        for address in everywhere
        if address.version == family
        and any(address in route.destination for route in vpc.routes)
        and not any(address in network for network in inside)
    )


def _inside(policy: Policy, vpc: Vpc, family: Family) -> tuple[IPNetwork, ...]:
    """Return the networks of the VPC and its peers: what never leaves the cloud."""
    near = (vpc, *map(policy.vpc, policy.peers_of(vpc.name)))
    networks = (network for one in near for subnet in one.subnets for network in subnet.networks)
    return tuple(network for network in networks if network.version == family)
