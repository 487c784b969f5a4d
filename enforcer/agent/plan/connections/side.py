"""One policy in one namespace: would a tracked conversation go on under it, and who says no? Pure.

The packets that are judged are those that the NICs see: an end that sends sees the tuple before any translation, an
end that receives the one after it. In this order (S14; `profiles` in `enforcer/ruleset` has the kernel's half of it):

1. Each end that is a guarded NIC must still have the address that it uses (S6, S16).
2. The sender's egress rules are asked under `revoke: both`, and of a conversation that was never let through before –
   its mark is empty – since nothing was ever asked about it; else it goes on under the old rule.
3. The receiver's ingress rules are asked, except about what a balancer forwards with `transfer_client_ip` (S12).
"""

from __future__ import annotations

from dataclasses import dataclass

from enforcer.agent.plan.connections.alike import Judge
from enforcer.dataplane.conntrack import Tracked
from enforcer.model import ICMP, ICMPV6, TCP, UDP, Direction, IPAddress, Namespace, NicRef, Policy, Traffic


@dataclass(frozen=True, slots=True)
class Refusal:
    """Who cuts a conversation: the NIC, the direction of its rules, and why; `rule` is null where none decided."""

    nic: str
    direction: Direction
    reason: str
    group: str | None = None
    rule: str | None = None


class Side:
    """A policy in a namespace of its layout."""

    def __init__(self, judge: Judge, space: Namespace) -> None:
        policy = judge.policy
        self.judge = judge
        self.space = space
        self.marks = policy.marks
        self.strict = policy.revoke == "both"
        self.nics = {attachment.interface: attachment.ref for attachment in space.attachments}
        self._known = {*self.nics, *space.infrastructure, "lo"}
        self._exempt = frozenset(_exempt(policy, space))

    def guarded(self, interface: str | None) -> NicRef | None:
        """Return the NIC behind an interface if it is filtered."""
        ref = self.nics.get(interface) if interface is not None else None
        return ref if ref is not None and ref.nic.port_security else None

    def strange(self, interface: str | None) -> bool:
        """Say whether the interface is closed: a NIC's no more, in a namespace that is wholly ours."""
        return interface is not None and self.space.owned and interface not in self._known

    def allows(self, tracked: Tracked, sender: str | None, receiver: str | None, *, anew: bool = False) -> bool:
        """Say whether the conversation goes on; `anew`: as if it began now."""
        if self.strange(sender) or self.strange(receiver):
            return False
        judge, opener, target = self.judge, self.guarded(sender), self.guarded(receiver)
        if opener is not None and not judge.may_use(opener, tracked.original.source):
            return False
        if target is not None and not judge.may_use(target, tracked.reply.source):
            return False
        if opener is not None and (anew or self.strict or not tracked.mark & self.marks.connection_mask):
            peer, own, traffic = outgoing(tracked)
            if not judge.allows(opener, Direction.EGRESS, peer, own, traffic):
                return False
        if target is None or self._exempted(tracked):
            return True
        peer, own, traffic = incoming(tracked)
        return judge.allows(target, Direction.INGRESS, peer, own, traffic)

    def refusal(self, tracked: Tracked, sender: str | None, receiver: str | None, *, anew: bool = False) -> Refusal:
        """Say who cuts a conversation that `allows` does not allow."""
        judge, opener, target = self.judge, self.guarded(sender), self.guarded(receiver)
        for interface, direction in ((sender, Direction.EGRESS), (receiver, Direction.INGRESS)):
            if self.strange(interface):
                return Refusal(interface or "", direction, "no NIC is there any more: what it sends is dropped (S14)")
        for ref, direction, address in (
            (opener, Direction.EGRESS, tracked.original.source),
            (target, Direction.INGRESS, tracked.reply.source),
        ):
            if ref is not None and not judge.may_use(ref, address):
                reason = f"{address} is no longer an address of {ref.label}: its conversations end (S14)"
                return Refusal(ref.label, direction, reason)
        if opener is not None and (anew or self.strict or not tracked.mark & self.marks.connection_mask):
            found = judge.verdict(opener, Direction.EGRESS, *outgoing(tracked))
            if not found.allowed:
                return Refusal(
                    opener.label, Direction.EGRESS, found.reason, found.group, found.rule.id if found.rule else None
                )
        assert target is not None, "somebody cuts it"
        found = judge.verdict(target, Direction.INGRESS, *incoming(tracked))
        return Refusal(
            target.label, Direction.INGRESS, found.reason, found.group, found.rule.id if found.rule else None
        )

    def _exempted(self, tracked: Tracked) -> bool:
        if not tracked.redirected:
            return False
        first = tracked.original
        return (first.destination, tracked.protocol, first.destination_port) in self._exempt


def outgoing(tracked: Tracked) -> tuple[IPAddress, IPAddress, Traffic]:
    """Return peer, own address and traffic as the opener's NIC sees them: before any translation."""
    first = tracked.original
    return first.destination, first.source, _traffic(tracked, first.destination_port)


def incoming(tracked: Tracked) -> tuple[IPAddress, IPAddress, Traffic]:
    """Return peer, own address and traffic as the other NIC sees them: after any translation."""
    answer = tracked.reply
    return answer.destination, answer.source, _traffic(tracked, answer.source_port)


def _traffic(tracked: Tracked, port: int) -> Traffic:
    if tracked.protocol in (TCP, UDP):
        return Traffic(tracked.protocol, port=port)
    if tracked.protocol in (ICMP, ICMPV6) and tracked.icmp is not None:
        return Traffic(tracked.protocol, icmp_type=tracked.icmp[0], icmp_code=tracked.icmp[1])
    return Traffic(tracked.protocol)


def _exempt(policy: Policy, space: Namespace) -> list[tuple[IPAddress, int, int]]:
    """List the listeners of the namespace's VPCs whose forwarded traffic is not judged at the backend (S12)."""
    return [
        (balancer.address, TCP if listener.protocol == "tcp" else UDP, listener.port)
        for balancer in policy.load_balancers
        if policy.vpc_of_subnet(balancer.subnet).name in space.vpcs
        for listener in balancer.listeners
        if listener.transfer_client_ip
    ]
