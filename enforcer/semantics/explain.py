"""Would a new conversation from here to there pass, and who says so at each end (S8, S12, S18)?

A packet passes if there is a way for it (`route`), and if each end that is an ECS lets it through. Both ends are always
judged, also when one already says no and when there is no way: somebody who mends one thing wants to see the next.

A load balancer is an end of its own (S12). The client's side is judged towards the balancer's address. What the
balancer then sends to its backends is another conversation: exempt with `transfer_client_ip`, otherwise from the
balancer's own address. Any backend may be chosen, so the answer is yes only if every backend lets it in.

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
class Explanation:
    """The answer, and how it came about: the way, the two ends (null where that end is no ECS), and the backends.

    Where the destination is a load balancer, `ingress` is the first backend that denies, else the first.
    """

    verdict: Action
    family: Family
    route: Path
    egress: SideVerdict | None
    ingress: SideVerdict | None
    backends: tuple[BackendVerdict, ...] = ()

    @property
    def allowed(self) -> bool:
        return self.verdict == Action.ALLOW

    @property
    def reason(self) -> str:
        """The one thing to know first: what stands in the way, or which rules let it through."""
        if not self.route.exists:
            return self.route.reason
        sides = [side for side in (self.egress, self.ingress) if side is not None]
        denying = [side for side in sides if not side.allowed]
        return denying[0].reason if denying else "; ".join(side.reason for side in sides) or self.route.reason


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
        egress, ingress = self._egress(), self._ingress()
        return self._explanation(self.route, egress, ingress)

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
            return self._explanation(self._no_route(reason), egress, None)
        if not listener.backends:
            reason = f"{balancer.name} has no backend behind {listener.protocol} {listener.port}"
            return self._explanation(self._no_route(reason), egress, None)
        backends = tuple(
            BackendVerdict(backend.ecs, backend.port, _backend_side(self.oracle, balancer, listener, backend))
            for backend in listener.backends
        )
        # Every backend passes exactly if the first that denies, else the first of all, does.
        ingress = next((one.side for one in backends if not one.side.allowed), backends[0].side)
        return self._explanation(self.route, egress, ingress, backends)

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

    def _no_route(self, reason: str) -> Path:
        """Return the route with the balancer's reason, unless there was no way to the balancer to begin with."""
        return Path(False, reason, None, None) if self.route.exists else self.route

    def _explanation(
        self,
        route: Path,
        egress: SideVerdict | None,
        ingress: SideVerdict | None,
        backends: tuple[BackendVerdict, ...] = (),
    ) -> Explanation:
        passes = route.exists and all(side is None or side.allowed for side in (egress, ingress))
        verdict = Action.ALLOW if passes else Action.DENY
        return Explanation(verdict, self.family, route, egress, ingress, backends)


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
