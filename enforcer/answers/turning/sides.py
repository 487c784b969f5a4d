"""Which NICs are asked about a conversation, and what exactly each is asked: the question behind each verdict.

`explain` tells the verdicts; whoever wants to change one needs the NIC, the peer that it sees and the traffic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from enforcer.model import Direction, Endpoint, IPAddress, NicRef, Traffic
from enforcer.semantics import Explanation, Oracle, SideVerdict, evaluate_side
from enforcer.semantics.explain import SHARED_BALANCER, SPOKEN


@dataclass(frozen=True, slots=True)
class Asked:
    """One NIC that is asked: about traffic with `peer`, in a direction; `own` is its own address where S16 asks."""

    nic: NicRef
    direction: Direction
    peer: IPAddress
    traffic: Traffic
    own: IPAddress | None = None

    @property
    def where(self) -> str:
        """How people say it: `ingress of ecs-a`."""
        return f"{self.direction} of {self.nic.label}"

    def ask(self, oracle: Oracle) -> SideVerdict:
        """Return what the NIC says under a policy that has it in the same groups."""
        return evaluate_side(oracle, self.nic, self.direction, self.peer, self.traffic, own=self.own)


def asked(oracle: Oracle, src: Endpoint, dst: Endpoint, traffic: Traffic, answer: Explanation) -> tuple[Asked, ...]:
    """Return the NICs whose rules were asked for `answer`, in the order of the packet's way.

    Left out are ends that are no ECS, and backends that are not asked: those that a balancer with `transfer_client_ip`
    serves or that it cannot reach (S12, S18).
    """
    return tuple(_asked(oracle, src, dst, traffic, answer))


def _asked(oracle: Oracle, src: Endpoint, dst: Endpoint, traffic: Traffic, answer: Explanation) -> Iterator[Asked]:
    route, family = answer.route, answer.family
    source, destination = src.address(family), route.destination or dst.address(family)
    if src.nic is not None and destination is not None:
        yield Asked(src.nic, Direction.EGRESS, destination, traffic)
    for each in answer.forwarders:
        if source is None or destination is None:
            break
        hop = oracle.policy.nic_ref(each.nic)
        if each.direction == Direction.INGRESS:
            yield Asked(hop, Direction.INGRESS, source, traffic, destination)
        else:
            yield Asked(hop, Direction.EGRESS, destination, traffic, source if route.source == source else None)
    peer = route.source or source
    if dst.nic is not None and peer is not None:
        yield Asked(dst.nic, Direction.INGRESS, peer, traffic)
    if dst.balancer is None:
        return
    sender = SHARED_BALANCER if dst.balancer.address.version == 4 else dst.balancer.address
    for listener in dst.balancer.listeners:
        if (SPOKEN[listener.protocol], listener.port) != (traffic.protocol, traffic.port):
            continue
        for backend, verdict in zip(listener.backends, answer.backends, strict=False):
            ref = oracle.policy.nic_ref(backend.ecs)
            one = Asked(ref, Direction.INGRESS, sender, Traffic(SPOKEN[listener.protocol], backend.port))
            # A backend that was not asked has a reason that no NIC gives.
            if one.ask(oracle) == verdict.side:
                yield one
