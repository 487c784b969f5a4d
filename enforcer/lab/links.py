"""The lab's only netlink: links, addresses, routes and policy rules inside one namespace.

Everything goes through a socket that was opened inside the namespace, so nothing here can reach another one, the
host's own least of all. Adding what is there and removing what is gone are both fine: a build that was interrupted
can be finished or taken down by the same calls.

    with Netlink.opened("lab-vpc-x") as router:
        router.add_veth("v-ecs-a", "lab-ecs-a", "eth0", mac="fa:16:3e:00:00:0a")
        router.set_up("v-ecs-a")
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2s
from pathlib import Path
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from enforcer.dataplane.namespaces import entered, opened
from enforcer.errors import SystemRefused
from enforcer.lab.plan import MAIN_TABLE, Address, PolicyRule, Route
from enforcer.model import IPAddress

_FAMILY: Final = {4: 2, 6: 10}  # AF_INET, AF_INET6
_IFA_F_NODAD: Final = 0x02
_IFA_F_NOPREFIXROUTE: Final = 0x200
_RTNH_F_ONLINK: Final = 4
_RTN_BLACKHOLE: Final = 6
_RT_SCOPE_LINK: Final = 253
_GRE_KEY: Final = 0x2000
_IP6_TNL_F_IGN_ENCAP_LIMIT: Final = 1  # no destination options in front of the GRE header
_PRESENT: Final = frozenset({errno.EEXIST})
_GONE: Final = frozenset(
    {errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL}  # rule or neighbour, route, link, address
)


class Netlink:
    """One namespace's links, addresses and routes. Interfaces are named; the numbers stay inside."""

    def __init__(self, netns: str, socket: Any) -> None:
        self._netns = netns
        self._socket = socket
        self._numbers: dict[str, int] = {}

    @classmethod
    @contextmanager
    def opened(cls, netns: str) -> Iterator[Netlink]:
        """Open the socket inside the namespace and close it after the block."""
        with entered(netns):
            socket = IPRoute()
        try:
            yield cls(netns, socket)
        finally:
            socket.close()

    @contextmanager
    def _tolerating(self, what: str, numbers: frozenset[int]) -> Iterator[None]:
        try:
            yield
        except NetlinkError as error:
            if error.code not in numbers:
                reason = os.strerror(error.code) if error.code else str(error)
                raise SystemRefused(f"{self._netns}: {what}: the kernel refused ({reason})") from error

    def _number(self, interface: str) -> int:
        """Return the interface's index; NetlinkError ENODEV if there is none."""
        if interface not in self._numbers:
            found = self._socket.link_lookup(ifname=interface)
            if not found:
                raise NetlinkError(errno.ENODEV, f"no interface {interface}")
            self._numbers[interface] = found[0]
        return self._numbers[interface]

    def has(self, interface: str) -> bool:
        """Tell whether the interface is there."""
        return bool(self._socket.link_lookup(ifname=interface))

    def add_veth(
        self, interface: str, far_netns: str, far_interface: str, mac: str | None, far_mac: str | None
    ) -> None:
        """Create a pair with this end here and the far end in another namespace; both are down, no third sees them."""
        far = opened(far_netns)
        try:
            peer: dict[str, Any] = {"ifname": far_interface, "net_ns_fd": far}
            if far_mac is not None:
                peer["address"] = far_mac
            near: dict[str, Any] = {"index": _near_number(interface)}
            if mac is not None:
                near["address"] = mac
            with self._tolerating(f"interface {interface} for {far_netns}/{far_interface}", _PRESENT):
                self._socket.link("add", ifname=interface, kind="veth", peer=peer, **near)
        finally:
            os.close(far)

    def add_gre(self, interface: str, local: IPAddress, remote: IPAddress, number: int) -> None:
        """Create a GRE tunnel between two outer addresses; the number is its key, and its group for `remove_group`."""
        ends = {"local": str(local), "remote": str(remote), "ikey": number, "okey": number}
        if local.version == 4:
            kind, more = "gre", {"iflags": _GRE_KEY, "oflags": _GRE_KEY}
        else:  # whose flags pyroute2 would send in the host's byte order
            keyed = socket.htons(_GRE_KEY)
            kind, more = "ip6gre", {"iflags": keyed, "oflags": keyed, "flags": _IP6_TNL_F_IGN_ENCAP_LIMIT}
        fields = {f"{kind}_{name}": value for name, value in (ends | more).items()}
        with self._tolerating(f"{kind} interface {interface}", frozenset()):
            self._socket.link("add", ifname=interface, kind=kind, group=number, **fields)

    def remove_group(self, number: int) -> None:
        """Remove all interfaces of the group."""
        with self._tolerating(f"interfaces of group {number}", _GONE):
            self._socket.link("del", group=number)

    def remove_link(self, interface: str) -> None:
        """Remove the interface, and with a veth its far end."""
        with self._tolerating(f"interface {interface}", _GONE):
            self._socket.link("del", index=self._number(interface))
        self._numbers.pop(interface, None)

    def set_up(self, interface: str) -> None:
        """Bring the interface up."""
        with self._tolerating(f"interface {interface}", frozenset()):
            self._socket.link("set", index=self._number(interface), state="up")

    def add_address(self, address: Address) -> None:
        """Add the address without duplicate address detection, which would hold back the first second's packets."""
        flags = (_IFA_F_NODAD if address.ip.version == 6 else 0) | (0 if address.on_link else _IFA_F_NOPREFIXROUTE)
        with self._tolerating(f"address {address.ip} on {address.interface}", _PRESENT):
            self._socket.addr("add", index=self._number(address.interface), ifa_flags=flags, **_of(address))

    def remove_address(self, address: Address) -> None:
        """Remove the address."""
        with self._tolerating(f"address {address.ip} on {address.interface}", _GONE):
            self._socket.addr("del", index=self._number(address.interface), **_of(address))

    def set_route(self, route: Route) -> None:
        """Add the route, or put it in place of the one to the same destination in the same table."""
        with self._tolerating(f"route to {route.destination}", frozenset()):
            self._socket.route("replace", **self._fields(route))

    def remove_route(self, route: Route) -> None:
        """Remove the route."""
        with self._tolerating(f"route to {route.destination}", _GONE):
            self._socket.route("del", **self._fields(route))

    def _fields(self, route: Route) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "family": _FAMILY[route.destination.version],
            "dst": str(route.destination),
            "table": route.table,
        }
        if route.interface is None:
            return fields | {"type": _RTN_BLACKHOLE, "priority": route.metric}
        fields |= {"oif": self._number(route.interface), "priority": route.metric}
        if route.source is not None:
            fields["prefsrc"] = str(route.source)
        if route.gateway is None:
            return fields | ({"scope": _RT_SCOPE_LINK} if route.destination.version == 4 else {})
        fields["flags"] = _RTNH_F_ONLINK
        if route.gateway.version == route.destination.version:
            return fields | {"gateway": str(route.gateway)}
        return fields | {"via": {"family": _FAMILY[route.gateway.version], "addr": str(route.gateway)}}

    def host_routes(self) -> dict[IPAddress, str]:
        """Read the interface behind which each single address lies, by the main table."""
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in self._socket.get_links()}
        ways: dict[IPAddress, str] = {}
        for route in self._socket.get_routes(table=MAIN_TABLE):
            text, number = route.get_attr("RTA_DST"), route.get_attr("RTA_OIF")
            if text and number in names and route["dst_len"] == (32 if route["family"] == _FAMILY[4] else 128):
                ways[ipaddress.ip_address(text)] = names[number]
        return ways

    def add_rule(self, rule: PolicyRule) -> None:
        """Look up packets from the rule's source in its own table."""
        with self._tolerating(f"rule from {rule.source}", _PRESENT):
            self._socket.rule("add", **_selector(rule))

    def remove_rule(self, rule: PolicyRule) -> None:
        """Remove the policy rule."""
        with self._tolerating(f"rule from {rule.source}", _GONE):
            self._socket.rule("del", **_selector(rule))

    def running(self) -> frozenset[str]:
        """List the interfaces that are up at both ends and ready to send."""
        links = self._socket.get_links()
        return frozenset(link.get_attr("IFLA_IFNAME") for link in links if link.get_attr("IFLA_OPERSTATE") == "UP")

    def addresses(self) -> frozenset[tuple[str, IPAddress]]:
        """Read which address each interface holds now."""
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in self._socket.get_links()}
        found: set[tuple[str, IPAddress]] = set()
        for entry in self._socket.get_addr():
            text = entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS")
            if text and entry["index"] in names:
                found.add((names[entry["index"]], ipaddress.ip_address(text)))
        return frozenset(found)


def _of(address: Address) -> dict[str, Any]:
    return {
        "family": _FAMILY[address.ip.version],
        "address": str(address.ip.ip),
        "prefixlen": address.ip.network.prefixlen,
    }


def _near_number(interface: str) -> int:
    """Return an interface number for the near end of a veth that the far end does not have.

    Where the two happen to be equal, the kernel takes neither for the end of a pair, and the news of their carrier is
    not urgent any more: IPv6 would be deaf there for up to a second.
    """
    return 0x10000 + int.from_bytes(blake2s(interface.encode(), digest_size=3).digest(), "big")


def _selector(rule: PolicyRule) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "family": _FAMILY[rule.source.version],
        "src": str(rule.source.network_address),
        "src_len": rule.source.prefixlen,
        "table": rule.table,
        "priority": rule.table,
    }
    return fields if rule.interface is None else fields | {"iifname": rule.interface}


def set_switches(netns: str, switches: Iterable[tuple[str, int]]) -> None:
    """Write kernel settings below /proc/sys/net as the namespace sees them; what this kernel lacks is left out."""
    with entered(netns):
        for key, value in switches:
            try:
                Path("/proc/sys/net", key).write_text(str(value), encoding="ascii")
            except FileNotFoundError:
                continue
            except OSError as error:
                raise SystemRefused(f"{netns}: net/{key}: cannot be set to {value} ({error.strerror})") from error
