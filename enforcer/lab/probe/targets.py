"""From ends and traffic, as a user means them, to an `Attempt`: which host sends what where, and who is to answer.

The model knows the addresses; who holds a virtual IP, and who has an address that the policy gives to nobody, is read
from the hosts at the moment of the attempt.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from enforcer.errors import UsageError
from enforcer.lab.floating import Held, held, holds
from enforcer.lab.lifecycle import Lab
from enforcer.lab.links import Netlink
from enforcer.lab.nat import backend_places
from enforcer.lab.plan import Role
from enforcer.lab.probe.conversation import Answerer, Attempt
from enforcer.model import ICMP, ICMPV6, Endpoint, Family, IPAddress, LoadBalancer, Traffic, path
from enforcer.model.layout import ecs_namespace, external_namespace, vpc_namespace

_NOT_RAW: Final = frozenset({0, 255})
"""Protocols for which Linux opens no raw socket that receives."""
_EXTENSIONS: Final = frozenset({0, 43, 44, 59, 60, 135, 255})
"""Protocol numbers that in IPv6 are headers before the protocol's own."""


def family_of(src: Endpoint, dst: Endpoint, traffic: Traffic) -> Family:
    """Return the IP version of a probe: the protocol's, else IPv4 where both ends have it, else IPv6."""
    if traffic.protocol in (ICMP, ICMPV6):
        return 4 if traffic.protocol == ICMP else 6
    return 4 if src.address(4) is not None and dst.address(4) is not None else 6


class Targets:
    """Resolves the probes of one lab; what it reads of the hosts it reads once."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._held: Held | None = None
        self._routers = tuple(netns for _, netns in lab.dataplanes())
        self._everything: dict[str, frozenset[IPAddress]] | None = None

    def attempt(self, src: Endpoint, dst: Endpoint, traffic: Traffic, family: Family | None = None) -> Attempt:
        """Return what to do to see whether `src` reaches `dst`; without a way in the model it is tried all the same.

        Raises UsageError if `src` is nobody who could send.
        """
        family = family or family_of(src, dst, traffic)
        way = path(self._lab.policy, src, dst, family)
        source = self._own_source(src, family)
        destination = way.destination or dst.address(family)
        return Attempt(
            netns=self._sender(src, source),
            source=source,
            destination=destination,
            protocol=traffic.protocol,
            port=traffic.port,
            icmp_type=traffic.icmp_type if traffic.icmp_type is not None else (8 if family == 4 else 128),
            icmp_code=traffic.icmp_code or 0,
            answerers=self._answerers(dst, destination, traffic),
            aliases=tuple(self._aliases(src, dst, family)),
            routers=self._routers,
            translated=way.source not in (None, source)
            or (destination is not None and self._lab.policy.is_eip(destination)),
            problem=_problem(traffic, family, source, destination),
        )

    def _own_source(self, src: Endpoint, family: Family) -> IPAddress | None:
        """Return what the sender puts in: an end that is meant by its EIP sends from its first private address."""
        address = src.address(family)
        if src.nic is not None and address is not None and self._lab.policy.is_eip(address):
            return src.nic.nic.address(family)
        return address

    def _sender(self, src: Endpoint, source: IPAddress | None) -> str:
        if src.external is not None:
            return external_namespace(self._lab.name, src.external.name)
        if src.nic is not None:
            holder = next(iter(self._holders(source, src.nic.vpc.name)), None) if source is not None else None
            return holder or ecs_namespace(self._lab.name, src.nic.ecs.name)
        if src.balancer is not None:
            raise UsageError(f"{src.label}: a load balancer opens no connections; probe from a client or a backend")
        raise UsageError(f"{src.label}: no host of lab {self._lab.name} has this address; name a host of the lab")

    def _holders(self, address: IPAddress, vpc: str) -> tuple[str, ...]:
        """Return the namespaces that hold a virtual IP now."""
        if self._held is None:
            self._held = held((self._lab.plan,))
        router = vpc_namespace(self._lab.name, vpc)
        return tuple(
            holder.netns
            for each in self._lab.plan.virtual_ips
            if each.address == address and each.router == router
            for holder in each.holders
            if holds(each, holder, self._held)
        )

    def _answerers(self, dst: Endpoint, destination: IPAddress | None, traffic: Traffic) -> tuple[Answerer, ...]:
        if destination is None:
            return ()
        if dst.balancer is not None:
            return self._backends(dst.balancer, traffic)
        if dst.external is not None:
            return (Answerer(external_namespace(self._lab.name, dst.external.name), traffic.port),)
        if dst.nic is not None:
            own = (*dst.nic.nic.addresses, self._lab.policy.eip_of(dst.nic))
            if destination in own:
                return (Answerer(ecs_namespace(self._lab.name, dst.nic.ecs.name), traffic.port),)
            return tuple(Answerer(netns, traffic.port) for netns in self._holders(destination, dst.nic.vpc.name))
        return tuple(Answerer(netns, traffic.port) for netns in self._anybody(destination))

    def _backends(self, balancer: LoadBalancer, traffic: Traffic) -> tuple[Answerer, ...]:
        protocol = {6: "tcp", 17: "udp"}.get(traffic.protocol)
        return tuple(
            Answerer(ecs_namespace(self._lab.name, ref.ecs.name), port)
            for listener in balancer.listeners
            if listener.protocol == protocol and listener.port == traffic.port
            for ref, _, port in backend_places(self._lab.policy, balancer, listener)
        )

    def _anybody(self, address: IPAddress) -> tuple[str, ...]:
        """Return the hosts that have an address which the policy gives to nobody, such as one behind a forwarder."""
        if self._everything is None:
            self._everything = {}
            for host in self._lab.plan.hosts:
                if host.role in (Role.ECS, Role.EXTERNAL):
                    with Netlink.opened(host.netns) as here:
                        self._everything[host.netns] = frozenset(found for _, found in here.addresses())
        return tuple(netns for netns, addresses in self._everything.items() if address in addresses)

    def _aliases(self, src: Endpoint, dst: Endpoint, family: Family) -> Iterable[IPAddress]:
        """Yield all addresses by which the ends may be known to connection tracking."""
        for end in (src, dst):
            yield from (address for address in end.addresses if address.version == family)
            if end.nic is not None and family == 4:
                private, public = end.nic.nic.address(4), self._lab.policy.eip_of(end.nic)
                yield from (address for address in (private, public) if address is not None)


def _problem(traffic: Traffic, family: Family, source: IPAddress | None, destination: IPAddress | None) -> str:
    if source is None or destination is None:
        return f"the {'sender' if source is None else 'destination'} has no IPv{family} address"
    if (traffic.protocol == ICMP) != (family == 4) and traffic.protocol in (ICMP, ICMPV6):
        return f"{'icmp' if traffic.protocol == ICMP else 'icmpv6'} does not exist in IPv{family}"
    if traffic.protocol in (_NOT_RAW if family == 4 else _EXTENSIONS):
        return f"protocol {traffic.protocol} cannot be sent and received by raw sockets in IPv{family}"
    return ""
