"""Can A's packets get to B at all, and which addresses do they carry (S18)? Security groups are not asked here.

1. `endpoint` turns a word of the command line into an `Endpoint`: names first, then addresses. One number may belong
   to different hosts of VPCs that overlap, so an address is read from where the other end stands (`endpoints`).
2. `path` says whether there is a way, in words, and the two addresses that the two ends see: a way over the Internet
   shows the EIPs, a way inside shows the private addresses.

Example: from ecs-a with the EIP 198.51.100.10 to my-pc, `path(…).source` is 198.51.100.10.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from unicodedata import normalize

from enforcer.errors import UsageError
from enforcer.model.instances import ExternalHost
from enforcer.model.policy import NicRef, Policy
from enforcer.model.topology import LoadBalancer
from enforcer.model.words.addresses import IPAddress, IPNetwork
from enforcer.model.words.protocols import Family
from enforcer.model.words.wording import shown, suggestion


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a conversation; an address that nobody in the policy has is neither NIC, host nor balancer.

    `addresses` are those by which the end is meant: all of a NIC, or the one that was asked for – a private address,
    a virtual IP, or the NIC's EIP, and then the way leads over the Internet.
    """

    label: str
    nic: NicRef | None
    external: ExternalHost | None
    addresses: tuple[IPAddress, ...]
    balancer: LoadBalancer | None = None

    def address(self, family: Family) -> IPAddress | None:
        """Return the first address of `family`."""
        return next((address for address in self.addresses if address.version == family), None)


@dataclass(frozen=True, slots=True)
class Path:
    """One concrete way for a packet, or why there is none.

    `source` is the peer that the receiver sees, `destination` what the sender puts in; None without a way.
    """

    exists: bool
    reason: str
    source: IPAddress | None = None
    destination: IPAddress | None = None


def endpoints(policy: Policy, src: str, dst: str) -> tuple[Endpoint, Endpoint]:
    """Return both ends of a question, an address read from where the other end stands."""
    if _parsed(policy, src) is None:
        source = endpoint(policy, src)
        return source, endpoint(policy, dst, near=source)
    if _parsed(policy, dst) is None:
        target = endpoint(policy, dst)
        return endpoint(policy, src, near=target), target
    try:
        source = endpoint(policy, src)
    except UsageError:
        target = endpoint(policy, dst)
        return endpoint(policy, src, near=target), target
    return source, endpoint(policy, dst, near=source)


def endpoint(policy: Policy, text: str, near: Endpoint | None = None) -> Endpoint:
    """Return what an ECS, `ecs:nic`, an external host, a load balancer or an address means; `near` is the other end.

    Raise UsageError, with a suggestion, for a word that means nothing, or an address that means several hosts.
    """
    address = _parsed(policy, text)
    if address is not None:
        return _of_address(policy, text, address, near)
    word = normalize("NFC", text)
    named = policy.hosts.get(word)
    if named is None:
        mend = (
            suggestion(word, policy.hosts)
            or "; write an ECS, ecs:nic, an external host, a load balancer or an IP address"
        )
        raise UsageError(f"{shown(text)} is not in the policy{mend}")
    match named:
        case NicRef():
            return Endpoint(text, named, None, named.nic.addresses)
        case ExternalHost():
            return Endpoint(text, None, named, named.addresses)
        case LoadBalancer():
            return Endpoint(text, None, None, (named.address,), named)


def _parsed(policy: Policy, text: str) -> IPAddress | None:
    if normalize("NFC", text) in policy.hosts or "%" in text:
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None


def _of_address(policy: Policy, text: str, address: IPAddress, near: Endpoint | None) -> Endpoint:
    home = None if near is None else home_of(policy, near)
    nobody = Endpoint(text, None, None, (address,))
    if home is not None:
        for vpc in (home, *policy.peers_of(home)):
            if (owner := next(_owners(policy, text, address, vpc), None)) is not None:
                return owner
            if any(address in subnet for subnet in policy.vpc(vpc).subnets):
                return nobody
    for host in policy.external_hosts:
        if address in host.addresses:
            return Endpoint(text, None, host, (address,))
    for eip in policy.eips:
        if address == eip.address:
            return Endpoint(text, policy.nic_ref(eip.ecs), None, (address,))
    owners = [owner for vpc in policy.vpcs if (owner := next(_owners(policy, text, address, vpc.name), None))]
    if len(owners) > 1 and home is None:
        places = " and ".join(f"{_owner_name(owner)} in {home_of(policy, owner)}" for owner in owners)
        raise UsageError(f"{shown(text)} is an address of {places}; write the name of the one you mean")
    return owners[0] if owners else nobody


def _owner_name(owner: Endpoint) -> str:
    return owner.balancer.name if owner.balancer else owner.nic.label if owner.nic else owner.label


def _owners(policy: Policy, text: str, address: IPAddress, vpc: str) -> Iterator[Endpoint]:
    """Yield who has `address` in `vpc`: by private address, as a balancer, as a virtual IP (its first NIC)."""
    refs = [ref for ref in policy.nics() if ref.vpc.name == vpc]
    yield from (Endpoint(text, ref, None, (address,)) for ref in refs if address in ref.nic.addresses)
    for balancer in policy.load_balancers:
        if balancer.address == address and policy.vpc_of_subnet(balancer.subnet).name == vpc:
            yield Endpoint(text, None, None, (address,), balancer)
    networks = [network for subnet in policy.vpc(vpc).subnets for network in subnet.networks]
    for ref in refs:
        if any(address in allowed and _names_hosts(allowed, networks) for allowed in ref.nic.allowed_addresses):
            yield Endpoint(text, ref, None, (address,))


def _names_hosts(allowed: IPNetwork, networks: list[IPNetwork]) -> bool:
    """Return whether an allowed network means hosts – one address, or a part of a subnet – not what is forwarded."""
    return allowed.num_addresses == 1 or any(
        one.version == allowed.version and one.prefixlen < allowed.prefixlen and allowed.network_address in one
        for one in networks
    )


def home_of(policy: Policy, end: Endpoint) -> str | None:
    """Return the VPC that an end is in; None outside of the cloud."""
    if end.nic is not None:
        return end.nic.vpc.name
    return None if end.balancer is None else policy.vpc_of_subnet(end.balancer.subnet).name


def path(policy: Policy, src: Endpoint, dst: Endpoint, family: Family) -> Path:
    """Return the way of a first packet from `src` to `dst`.

    1. An end that was named by its EIP is reached, and seen, over the Internet.
    2. Both ends in VPCs: the same one, peered ones, or a custom route through an instance with a NIC in both.
    3. One end outside: IPv4 needs an EIP, the NIC's own or that of the instance on the most specific custom route;
       IPv6 needs none, its addresses are global, unless two VPCs have them, and no custom route applies.
    4. An address that nobody has: nothing is known against it.
    """
    source, destination = src.address(family), dst.address(family)
    if source is None or destination is None:
        return Path(False, f"{(src if source is None else dst).label} has no IPv{family} address")
    if _by_eip(policy, src, source) or _by_eip(policy, dst, destination):
        return _over_internet(policy, src, dst, source, destination)
    here, there = home_of(policy, src), home_of(policy, dst)
    if here is not None and there is not None:
        return _inside(policy, here, there, source, destination)
    if (src if here is None else dst).external is None:
        return Path(True, f"nobody in the policy has {source if here is None else destination}", source, destination)
    if here is None and there is None:
        return Path(True, "both ends are on the Internet", source, destination)
    outer = source if here is None else destination
    if (subnet := _subnet_around(policy, here or there or "", outer)) is not None:
        return Path(False, f"{outer} lies in {subnet}, so packets to it stay in the VPC")
    if family == 6:
        return _global(policy, here or there or "", source, destination)
    return _over_internet(policy, src, dst, source, destination)


def _inside(policy: Policy, here: str, there: str, source: IPAddress, destination: IPAddress) -> Path:
    if here == there:
        return Path(True, f"both ends are in {here}", source, destination)
    if there in policy.peers_of(here):
        return Path(True, f"{here} and {there} are peered", source, destination)
    hop = _next_hop(policy, here, destination)
    if hop is not None and any(policy.vpc_of_subnet(nic.subnet).name == there for nic in hop.ecs.nics):
        return Path(True, f"a route of {here} leads through {hop.label} to {there}", source, destination)
    return Path(False, f"{here} and {there} are not peered")


def _over_internet(policy: Policy, src: Endpoint, dst: Endpoint, source: IPAddress, destination: IPAddress) -> Path:
    seen = _public(policy, src, source)
    if seen is None and (via := _next_hop(policy, home_of(policy, src) or "", destination)) is not None:
        seen = policy.eip_of(via)
    if seen is None:
        return Path(False, f"{src.label} has no EIP")
    target = _public(policy, dst, destination)
    if target is None:
        return Path(False, f"{dst.label} has no EIP")
    words = "with the EIP " + " and ".join(str(one) for one in (seen, target) if policy.is_eip(one))
    return Path(True, f"over the Internet {words}", seen, target)


def _public(policy: Policy, end: Endpoint, address: IPAddress) -> IPAddress | None:
    """Return the address of an end on the Internet; an EIP stands for the NIC's first IPv4 address, for no other."""
    if end.nic is None:
        return address if end.balancer is None else None
    if _by_eip(policy, end, address):
        return address
    return policy.eip_of(end.nic) if address == end.nic.nic.address(4) else None


def _by_eip(policy: Policy, end: Endpoint, address: IPAddress) -> bool:
    return end.nic is not None and policy.is_eip(address) and policy.eip_of(end.nic) == address


def _next_hop(policy: Policy, vpc: str, destination: IPAddress) -> NicRef | None:
    """Return the instance that the most specific custom route of `vpc` to `destination` leads through."""
    routes = [route for one in policy.vpcs if one.name == vpc for route in one.routes]
    fitting = [route for route in routes if destination in route.destination]
    best = max(fitting, key=lambda route: route.destination.prefixlen, default=None)
    return None if best is None else policy.nic_ref(best.next_hop)


def _subnet_around(policy: Policy, vpc: str, address: IPAddress) -> str | None:
    for name in (vpc, *policy.peers_of(vpc)):
        for subnet in policy.vpc(name).subnets:
            if address in subnet:
                return subnet.name
    return None


def _global(policy: Policy, vpc: str, source: IPAddress, destination: IPAddress) -> Path:
    """Return the way between an IPv6 address of `vpc` and the Internet, which knows each network once."""
    own = {subnet.ipv6_cidr for subnet in policy.vpc(vpc).subnets if subnet.ipv6_cidr}
    inner = next((network for network in own if source in network or destination in network), None)
    for other in policy.vpcs:
        for subnet in other.subnets:
            if other.name != vpc and inner is not None and subnet.ipv6_cidr and inner.overlaps(subnet.ipv6_cidr):
                return Path(False, f"{inner} overlaps {subnet.ipv6_cidr} of {other.name}, so the Internet has no route")
    hop = _next_hop(policy, vpc, destination) if inner is not None and source in inner else None
    past = "" if hop is None else f", past the custom route through {hop.label}"
    return Path(True, f"IPv6 is routed without NAT{past}", source, destination)
