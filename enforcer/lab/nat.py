"""The text of the lab's own nft table `inet lab`: EIPs and load balancers in a VPC router, NAT in instances. Pure.

It is the cloud's edge, not a firewall: what it drops has no way on, whatever the security groups say. The enforcer's
table is somebody else's; its hooks stand around these (source before destination NAT, destination after source NAT),
so that each side is judged by the addresses on the NIC's own wire.

Only `ipaddress` objects and numbers reach the text: nft would ask DNS about anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from typing import Final

from enforcer.model import Family, IPAddress, IPNetwork, Listener, LoadBalancer, NicRef, Policy, Vpc
from enforcer.model.layout import UPLINK

SHARED_BALANCER: Final = IPv4Address("100.125.0.1")
"""The source that backends see where the client's address is not transferred (S12)."""

TABLE: Final = "inet lab"


def internet_networks(policy: Policy, vpc: Vpc) -> tuple[IPNetwork, ...]:
    """Return the VPC's IPv6 networks that the Internet routes: those no other VPC overlaps."""
    others = [
        subnet.ipv6_cidr
        for other in policy.vpcs
        if other.name != vpc.name
        for subnet in other.subnets
        if subnet.ipv6_cidr is not None
    ]
    own = [subnet.ipv6_cidr for subnet in vpc.subnets if subnet.ipv6_cidr is not None]
    return tuple(network for network in own if not any(network.overlaps(other) for other in others))


def internet_script() -> str:
    """Return the Internet's table: VPCs have no way to each other's private IPv6 networks through it (S18)."""
    forward = ('iifname "vpc-*" oifname "vpc-*" meta nfproto ipv6 drop',)
    return _table((("forward", "type filter hook forward priority filter", forward),))


def router_script(
    policy: Policy,
    balancers: tuple[LoadBalancer, ...],
    eips: Mapping[IPv4Address, NicRef],
    *,
    with_uplink: bool,
) -> str:
    """Return a VPC router's table, or "" if it has nothing to translate and no uplink."""
    if not balancers and not with_uplink:
        return ""
    private = {public: address for public, ref in eips.items() if (address := ref.nic.address(4)) is not None}
    into: list[str] = []
    out: list[str] = []
    for balancer in balancers:
        for listener in balancer.listeners:
            if backends := backend_places(policy, balancer, listener):
                into.append(_distribute(balancer.address, listener, backends))
                out += _hide_clients(balancer.address, listener, backends)
    if private:
        pairs = ", ".join(f"{public} : {address}" for public, address in private.items())
        into.append(f'iifname "{UPLINK}" dnat ip to ip daddr map {{ {pairs} }}')
        pairs = ", ".join(f"{address} : {public}" for public, address in private.items())
        out.append(f'oifname "{UPLINK}" snat ip to ip saddr map {{ {pairs} }}')
    own = f"ip saddr != {{ {', '.join(str(address) for address in private.values())} }} " if private else ""
    forward = (f'oifname "{UPLINK}" meta nfproto ipv4 {own}drop',)
    closed = tuple(f"{_daddr(balancer.address)} drop" for balancer in balancers)  # it is its listeners, no host
    return _table(
        (
            ("prerouting", "type nat hook prerouting priority dstnat", tuple(into)),
            ("postrouting", "type nat hook postrouting priority srcnat", tuple(out)),
            ("forward", "type filter hook forward priority filter", forward if with_uplink else ()),
            ("input", "type filter hook input priority filter", closed),
        )
    )


def guest_script(masks: Iterable[tuple[str, IPAddress, tuple[IPNetwork, ...]]]) -> str:
    """Return the table of an instance that others reach the Internet through, or "" if it is none.

    A mask is a NIC's interface, the address that takes the place of senders', and the networks for which it does not.
    """
    rules = tuple(
        f'iifname "{interface}" oifname "{interface}" ip daddr != {{ {", ".join(map(str, inside))} }} snat ip to {own}'
        for interface, own, inside in masks
    )
    return _table((("postrouting", "type nat hook postrouting priority srcnat", rules),)) if rules else ""


def backend_places(
    policy: Policy, balancer: LoadBalancer, listener: Listener
) -> tuple[tuple[NicRef, IPAddress, int], ...]:
    """Return where a listener's connections go: the NIC, its address of the balancer's family, and the port."""
    family: Family = 4 if balancer.address.version == 4 else 6
    places = []
    for backend in listener.backends:
        ref = policy.nic_ref(backend.ecs)
        if (address := ref.nic.address(family)) is not None:
            places.append((ref, address, backend.port))
    return tuple(places)


def _family(address: IPAddress) -> str:
    return "ip" if address.version == 4 else "ip6"


def _daddr(address: IPAddress) -> str:
    return f"{_family(address)} daddr {address}"


def _distribute(address: IPAddress, listener: Listener, backends: tuple[tuple[NicRef, IPAddress, int], ...]) -> str:
    match = f"{_daddr(address)} {listener.protocol} dport {listener.port} dnat {_family(address)} to"
    if len(backends) == 1:
        _, to, port = backends[0]
        return f"{match} {to if to.version == 4 else f'[{to}]'}:{port}"
    choices = ", ".join(f"{turn} : {to} . {port}" for turn, (_, to, port) in enumerate(backends))
    return f"{match} numgen inc mod {len(backends)} map {{ {choices} }}"


def _hide_clients(
    address: IPAddress, listener: Listener, backends: tuple[tuple[NicRef, IPAddress, int], ...]
) -> tuple[str, ...]:
    """Put the balancer's address in place of the client's.

    With `transfer_client_ip` only where the client is the backend itself, which would take its own packets for forged.
    """
    family, source = _family(address), SHARED_BALANCER if address.version == 4 else address
    match = f"ct status dnat ct original {_daddr(address)} meta l4proto {listener.protocol}"
    match += f" ct original proto-dst {listener.port}"
    if not listener.transfer_client_ip:
        return (f"{match} snat {family} to {source}",)
    return tuple(f"{match} {family} saddr {to} {family} daddr {to} snat {family} to {source}" for _, to, _ in backends)


def _table(chains: tuple[tuple[str, str, tuple[str, ...]], ...]) -> str:
    """Return one transaction that puts the table in place of an older one; chains without rules are left out."""
    lines = [f"add table {TABLE}", f"delete table {TABLE}", f"table {TABLE} {{"]
    for name, hook, rules in chains:
        if rules:
            lines += [f"  chain {name} {{", f"    {hook}; policy accept;"]
            lines += [f"    {rule}" for rule in rules]
            lines += ["  }"]
    return "\n".join([*lines, "}", ""])
