"""Would a new conversation from here to there pass, and who says so at each end (S8, S12, S18)?

A packet passes if there is a way for it (`route`), and if each end that is an ECS lets it through. Both ends are always
judged, also when one already says no and when there is no way: somebody who mends one thing wants to see the next.

A load balancer is an end of its own (S12). The client's side is judged towards the balancer's address. What the
balancer then sends to its backends is another conversation: exempt with `transfer_client_ip`, otherwise from the
balancer's own address. Any backend may be chosen, so the answer is yes only if every backend lets it in.

An instance that a custom route leads through is filtered like any other, on the way in and on the way out: what it
passes on carries the address of the first sender (S8, Figure 3), or its own EIP where it leads to the Internet.

`matrix` asks the same about every pair of hosts that a policy knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from enforcer.model import (
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    Action,
    Backend,
    Direction,
    Endpoint,
    Family,
    IPAddress,
    Listener,
    LoadBalancer,
    NicRef,
    Path,
    Policy,
    Traffic,
    endpoint,
)
from enforcer.semantics.oracle import Oracle
from enforcer.semantics.sides import SideVerdict, evaluate_side
from enforcer.semantics.words import traffic_words

# S12: a shared balancer speaks to its backends from 100.125.0.0/16; this address stands for all of them.
SHARED_BALANCER = IPv4Address("100.125.0.1")
SPOKEN = {"tcp": TCP, "udp": UDP}


@dataclass(frozen=True, slots=True)
class BackendVerdict:
    """What one backend of a load balancer says to what the balancer forwards."""

    ecs: str
    port: int
    side: SideVerdict


@dataclass(frozen=True, slots=True)
class ForwarderVerdict:
    """What one NIC of an instance on the way says to what the instance passes on."""

    nic: str
    direction: Direction
    side: SideVerdict


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer, and how it came about: the way, the two ends (null where that end is no ECS), and who is between.

    Where the destination is a load balancer, `ingress` is the first backend that denies, else the first. `forwarders`
    has both NICs of an instance that a custom route leads through, in the order of the packet's way.
    """

    verdict: Action
    family: Family
    route: Path
    egress: SideVerdict | None
    ingress: SideVerdict | None
    backends: tuple[BackendVerdict, ...] = ()
    forwarders: tuple[ForwarderVerdict, ...] = ()

    @property
    def allowed(self) -> bool:
        return self.verdict == Action.ALLOW

    @property
    def reason(self) -> str:
        """The one thing to know first: what stands in the way, or which rules let it through."""
        if not self.route.exists:
            return self.route.reason
        ends = [side for side in (self.egress, self.ingress) if side is not None]
        if denying := [side for side in ends if not side.allowed]:
            return denying[0].reason
        if between := [one for one in self.forwarders if not one.side.allowed]:
            return f"on the way, {between[0].direction} of {between[0].nic}: {between[0].side.reason}"
        return "; ".join(side.reason for side in ends) or self.route.reason


@dataclass(frozen=True, slots=True)
class Cell:
    """One answer of the matrix."""

    src: str
    dst: str
    traffic: Traffic
    explanation: Explanation

    @property
    def verdict(self) -> Action:
        return self.explanation.verdict


def matrix(policy: Policy | Oracle, traffics: Sequence[Traffic]) -> tuple[Cell, ...]:
    """Explain every pair of different hosts: ECSs (by their first NIC), then external hosts, each in file order.

    Cells are ordered by source, then destination, then traffic in the order given.
    """
    oracle = Oracle.of(policy)
    names = [ecs.name for ecs in oracle.policy.ecs] + [host.name for host in oracle.policy.external_hosts]
    hosts = {name: endpoint(oracle.policy, name) for name in names}
    return tuple(
        Cell(src, dst, traffic, explain(oracle, hosts[src], hosts[dst], traffic))
        for src in names
        for dst in names
        if src != dst
        for traffic in traffics
    )


def explain(
    policy: Policy | Oracle, src: Endpoint, dst: Endpoint, traffic: Traffic, family: Family | None = None
) -> Explanation:
    """Answer for the first packet of a conversation between two endpoints; `family` None chooses by the addresses."""
    oracle = Oracle.of(policy)
    if family is None:
        family = chosen_family(src, dst, traffic)
    attempt = _Attempt(oracle, src, dst, traffic, family, oracle.path(src, dst, family))
    return attempt.direct() if dst.balancer is None else attempt.through(dst.balancer)


def chosen_family(src: Endpoint, dst: Endpoint, traffic: Traffic) -> Family:
    """Return the family that the conversation would use: the protocol's, else IPv4 if both ends have it, else IPv6."""
    if traffic.protocol == ICMP:
        return 4
    if traffic.protocol == ICMPV6:
        return 6
    return 4 if first_address(src, 4) is not None and first_address(dst, 4) is not None else 6


def first_address(end: Endpoint, family: Family) -> IPAddress | None:
    """Return the endpoint's first address of a family."""
    return next((address for address in end.addresses if address.version == family), None)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One conversation that somebody wants to begin."""

    oracle: Oracle
    src: Endpoint
    dst: Endpoint
    traffic: Traffic
    family: Family
    route: Path

    def direct(self) -> Explanation:
        """Explain the way to a host."""
        egress, ingress, forwarders = self._egress(), self._ingress(), self._forwarders()
        passes = self.route.exists and all(
            side is None or side.allowed for side in (egress, ingress, *(one.side for one in forwarders))
        )
        return Explanation(_action(passes), self.family, self.route, egress, ingress, forwarders=forwarders)

    def through(self, balancer: LoadBalancer) -> Explanation:
        """Explain the way to a load balancer and on to each of its backends (S12)."""
        egress = self._egress()
        listener = next(
            (
                one
                for one in balancer.listeners
                if (SPOKEN[one.protocol], one.port) == (self.traffic.protocol, self.traffic.port)
            ),
            None,
        )
        if listener is None:
            heard = ", ".join(f"{one.protocol} {one.port}" for one in balancer.listeners) or "nothing"
            reason = f"{balancer.name} does not listen on {traffic_words(self.traffic)}; it listens on {heard}"
            return Explanation(Action.DENY, self.family, self._no_route(reason), egress, None)
        if not listener.backends:
            reason = f"{balancer.name} has no backend behind {listener.protocol} {listener.port}"
            return Explanation(Action.DENY, self.family, self._no_route(reason), egress, None)
        backends = tuple(
            BackendVerdict(backend.ecs, backend.port, _backend_side(self.oracle, balancer, listener, backend))
            for backend in listener.backends
        )
        # Every backend passes exactly if the first that denies, else the first of all, does.
        ingress = next((one.side for one in backends if not one.side.allowed), backends[0].side)
        passes = self.route.exists and ingress.allowed and (egress is None or egress.allowed)
        return Explanation(_action(passes), self.family, self.route, egress, ingress, backends)

    def _egress(self) -> SideVerdict | None:
        if self.src.nic is None:
            return None
        peer = self.route.destination or first_address(self.dst, self.family)
        return self._side(self.src.nic, Direction.EGRESS, peer, self.dst)

    def _ingress(self) -> SideVerdict | None:
        if self.dst.nic is None:
            return None
        peer = self.route.source or first_address(self.src, self.family)
        return self._side(self.dst.nic, Direction.INGRESS, peer, self.src)

    def _side(self, ref: NicRef, direction: Direction, peer: IPAddress | None, other: Endpoint) -> SideVerdict:
        if peer is None:
            return SideVerdict(Action.DENY, f"{other.label} has no IPv{self.family} address: there is no such packet")
        return evaluate_side(self.oracle, ref, direction, peer, self.traffic)

    def _forwarders(self) -> tuple[ForwarderVerdict, ...]:
        """Judge the instance that a custom route leads through, where the way is one of those."""
        source, destination = first_address(self.src, self.family), self.route.destination
        if self.src.nic is None or source is None or destination is None:
            return ()
        hop = next_hop(self.oracle.policy, self.src.nic, self.route)
        if hop is None or hop == self.src.nic:
            return ()
        far = self.dst.nic.vpc.name if self.dst.nic is not None and self.route.source == source else None
        out = next((ref for ref in self.oracle.policy.nics() if ref.ecs == hop.ecs and ref.vpc.name == far), hop)
        # To the Internet it sends from an address of its own, elsewhere from that of the first sender (S16).
        carried = source if self.route.source == source else None
        came = evaluate_side(self.oracle, hop, Direction.INGRESS, source, self.traffic, own=destination)
        goes = evaluate_side(self.oracle, out, Direction.EGRESS, destination, self.traffic, own=carried)
        return (
            ForwarderVerdict(hop.label, Direction.INGRESS, came),
            ForwarderVerdict(out.label, Direction.EGRESS, goes),
        )

    def _no_route(self, reason: str) -> Path:
        """Return the route with the balancer's reason, unless there was no way to the balancer to begin with."""
        return Path(False, reason, None, None) if self.route.exists else self.route


def next_hop(policy: Policy, sender: NicRef, route: Path) -> NicRef | None:
    """Return the instance that the sender's VPC routes a packet through; None where it goes directly.

    What lies in the VPC or in a peered one is reached directly, and so is the Internet from a NIC with an EIP, and over
    IPv6. Of the custom routes that fit, the most specific counts.
    """
    destination = route.destination
    near = (sender.vpc.name, *policy.peers_of(sender.vpc.name))
    if destination is None or any(destination in subnet for name in near for subnet in policy.vpc(name).subnets):
        return None
    if route.source is not None and route.source == policy.eip_of(sender):
        return None
    if destination.version == 6 and any(destination in host.addresses for host in policy.external_hosts):
        return None
    fitting = [one for one in sender.vpc.routes if destination in one.destination]
    best = max(fitting, key=lambda one: one.destination.prefixlen, default=None)
    return None if best is None else policy.nic_ref(best.next_hop)


def _backend_side(oracle: Oracle, balancer: LoadBalancer, listener: Listener, backend: Backend) -> SideVerdict:
    """Judge at one backend what the balancer sends to it."""
    ref = oracle.policy.nic_ref(backend.ecs)
    home = oracle.policy.vpc_of_subnet(balancer.subnet).name
    if ref.vpc.name != home and ref.vpc.name not in oracle.policy.peers_of(home):
        reason = f"{home} and {ref.vpc.name} are not peered (S18): no way from {balancer.name} to {ref.label}"
        return SideVerdict(Action.DENY, reason)
    family = balancer.address.version
    if ref.nic.address(family) is None:
        return SideVerdict(Action.DENY, f"{ref.label} has no IPv{family} address, which {balancer.name} needs")
    if listener.transfer_client_ip:
        reason = f"{balancer.name} forwards with transfer_client_ip: security groups do not limit it (S12)"
        return SideVerdict(Action.ALLOW, reason)
    source = SHARED_BALANCER if family == 4 else balancer.address
    return evaluate_side(oracle, ref, Direction.INGRESS, source, Traffic(SPOKEN[listener.protocol], backend.port))


def _action(passes: bool) -> Action:
    return Action.ALLOW if passes else Action.DENY
