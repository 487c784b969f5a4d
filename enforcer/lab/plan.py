"""What a lab consists of, as plain values, and what differs between two of them.

A `Plan` says which namespaces, links, addresses, routes and NAT tables there are to be; it knows neither policies nor
netlink. Because every part is a value, "unchanged" is equality, and an apply touches nothing that both plans hold:

    changes((old,), new).routes.added       # the routes to set

Virtual IPs float: the plan only says who may hold one, the running lab knows who does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2s
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Final, Generic, TypeVar

from enforcer.model import IPAddress, IPNetwork

MAIN_TABLE: Final = 254
"""The routing table that is looked up without any policy rule."""


class Role(StrEnum):
    """What a namespace is in the lab."""

    ROUTER = "router"
    ECS = "ecs"
    EXTERNAL = "external"
    INTERNET = "internet"


@dataclass(frozen=True, slots=True)
class Host:
    """A namespace; `owner` is the VPC, ECS or external host it stands for."""

    netns: str
    role: Role
    owner: str


@dataclass(frozen=True, slots=True)
class Switch:
    """A kernel setting below /proc/sys/net; with an interface, one that exists only as long as the interface."""

    netns: str
    key: str
    value: int
    interface: str | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A veth pair between two namespaces of the lab.

    `guarded`: the far end is a NIC and stays down until rules are in force for the near end (S19).
    """

    netns: str
    interface: str
    far_netns: str
    far_interface: str
    mac: str | None = None
    far_mac: str | None = None
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """An address of an interface; `on_link`: its network is reached through the interface without a router."""

    netns: str
    interface: str
    ip: IPv4Interface | IPv6Interface
    on_link: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """A route; without an interface it is a hole: what nobody nearer has, nobody has.

    A gateway of the other family is fine: routers are each other's fe80::1 and fe80::2 for IPv4 too, so the wires
    between them need no IPv4 addresses that could collide with a VPC's.
    """

    netns: str
    destination: IPNetwork
    interface: str | None
    gateway: IPAddress | None = None
    source: IPAddress | None = None
    table: int = MAIN_TABLE
    metric: int = 0


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """Packets from `source` are looked up in `table` first; with an interface, only those that came in there.

    Before the main table, and of several rules the one with the smaller table comes first.
    """

    netns: str
    source: IPNetwork
    table: int
    interface: str | None = None


@dataclass(frozen=True, slots=True)
class NatTable:
    """The text of the lab's own nft table in a namespace."""

    netns: str
    script: str


@dataclass(frozen=True, slots=True)
class Holder:
    """A NIC that may hold a virtual IP: where the address is put, and the router's way there."""

    label: str
    netns: str
    interface: str
    router_interface: str


@dataclass(frozen=True, slots=True)
class VirtualIp:
    """An address that moves between NICs of a VPC; the first holder has it when the lab comes up."""

    address: IPAddress
    router: str
    holders: tuple[Holder, ...]

    def at(self, holder: Holder) -> Address:
        """Return the address as `holder` has it: alone, without a network."""
        return Address(holder.netns, holder.interface, single(self.address), on_link=False)

    def route(self, holder: Holder) -> Route:
        """Return the router's route to the holder."""
        return Route(self.router, network_of(self.address), holder.router_interface)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a lab consists of."""

    hosts: tuple[Host, ...] = ()
    switches: tuple[Switch, ...] = ()
    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    rules: tuple[PolicyRule, ...] = ()
    nat: tuple[NatTable, ...] = ()
    virtual_ips: tuple[VirtualIp, ...] = ()


def single(address: IPAddress) -> IPv4Interface | IPv6Interface:
    """Return the address as an interface has it when it is alone in its network."""
    return IPv4Interface(address) if isinstance(address, IPv4Address) else IPv6Interface(address)


def network_of(address: IPAddress) -> IPNetwork:
    """Return the /32 or /128 of the address."""
    return single(address).network


def guest_interface(name: str) -> str:
    """Return a NIC's interface name inside its instance: its own where the kernel takes it."""
    if name.isascii() and len(name) <= 15 and name not in ("lo", "all", "default", ".", ".."):
        return name
    return f"n-{blake2s(name.encode()).hexdigest()[:12]}"


_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class Difference(Generic[_Part]):
    """What to remove and what to add, each in the order of its plan."""

    removed: tuple[_Part, ...]
    added: tuple[_Part, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """The way from what may be there to a new plan."""

    hosts: Difference[Host]
    switches: Difference[Switch]
    links: Difference[Link]
    addresses: Difference[Address]
    routes: Difference[Route]
    rules: Difference[PolicyRule]
    nat: Difference[NatTable]


def changes(olds: tuple[Plan, ...], new: Plan) -> Changes:
    """Return what leads to `new` from a lab that is somewhere among `olds`.

    Several olds are the traces of an apply that was cut off: what all of them hold is there for certain, what only
    some hold may be. Steps:

    1. A part is kept only if all olds and `new` hold it.
    2. What hangs on something that goes or is made anew (a namespace, a link's end) goes and comes with it.
    3. Routes of an interface that loses an address are set again: the kernel drops some of them with the address.
    """
    hosts = _difference([old.hosts for old in olds], new.hosts, lambda _: False)
    fresh_hosts = {host.netns for host in hosts.added}
    links = _difference(
        [old.links for old in olds],
        new.links,
        lambda link: link.netns in fresh_hosts or link.far_netns in fresh_hosts,
    )
    fresh = {(link.netns, link.interface) for link in links.added}
    fresh |= {(link.far_netns, link.far_interface) for link in links.added}

    def is_fresh(part: Address | Route | Switch) -> bool:
        return part.netns in fresh_hosts or (part.netns, part.interface) in fresh

    addresses = _difference([old.addresses for old in olds], new.addresses, is_fresh)
    poorer = {(address.netns, address.interface) for address in addresses.removed}
    return Changes(
        hosts,
        _difference([old.switches for old in olds], new.switches, is_fresh),
        links,
        addresses,
        _difference(
            [old.routes for old in olds],
            new.routes,
            lambda route: is_fresh(route) or (route.netns, route.interface) in poorer,
        ),
        _difference([old.rules for old in olds], new.rules, lambda rule: rule.netns in fresh_hosts),
        _difference([old.nat for old in olds], new.nat, lambda table: table.netns in fresh_hosts),
    )


def _difference(
    olds: Iterable[tuple[_Part, ...]], new: tuple[_Part, ...], is_fresh: Callable[[_Part], bool]
) -> Difference[_Part]:
    """Split by equality; `is_fresh` parts of `new` are added although they are in the olds too."""
    before = [set(old) for old in olds]
    wanted = set(new)
    gone = dict.fromkeys(part for old in olds for part in old if part not in wanted)
    return Difference(
        tuple(gone),
        tuple(part for part in new if is_fresh(part) or not before or not all(part in old for old in before)),
    )


_EVERY_HOST: Final = (
    ("ipv4/conf/all/rp_filter", 0),
    ("ipv4/conf/default/rp_filter", 0),
    ("ipv4/conf/all/promote_secondaries", 1),
    ("ipv6/conf/all/accept_dad", 0),
    ("ipv6/conf/default/accept_dad", 0),
    ("ipv6/conf/all/accept_ra", 0),
    ("ipv6/conf/default/accept_ra", 0),
)
_FORWARDING: Final = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")
_ROUTER_ONLY: Final = (
    ("ipv4/conf/all/send_redirects", 0),
    ("ipv4/conf/default/send_redirects", 0),
    # Idle timeouts (S13): the namespace is ours, so they need not be told flow by flow.
    ("netfilter/nf_conntrack_tcp_timeout_established", 600),
    ("netfilter/nf_conntrack_tcp_timeout_fin_wait", 30),
    ("netfilter/nf_conntrack_udp_timeout", 30),
    ("netfilter/nf_conntrack_udp_timeout_stream", 180),
    ("netfilter/nf_conntrack_generic_timeout", 180),
)


def switches_of(netns: str, role: Role, *, forwards: bool) -> tuple[Switch, ...]:
    """Return the settings of a host's namespace; forwarding comes first, switching it resets others."""
    own = _ROUTER_ONLY if role is Role.ROUTER else ()
    forwarding = tuple((key, int(forwards)) for key in _FORWARDING)
    return tuple(Switch(netns, key, value) for key, value in (*forwarding, *_EVERY_HOST, *own))


LINK_LOCAL: Final = (IPv6Address("fe80::1"), IPv6Address("fe80::2"))
"""The two ends of every wire between routers, and the first is every router's end towards its guests."""
