"""Who decided about a packet, and by which rule: what the kernel saw, told in the words of the policy. Pure.

    names = Naming(policy)
    names.denied("router", "tap-b", Denied("to", …))  ──▶  Seen(DENIED, "ecs-b", "ingress", "10.0.0.11", "tcp/22", …)
    names.begun("router", Tracked(…))                 ──▶  one Seen for each NIC that let the flow pass

The kernel says which NIC it was and that its policy said no; the rule is found by asking the oracle about the same
packet, as it looked on that NIC's wire. A packet that answers is judged by the rules that let its flow in, read in
reverse (design §3), so its ports change places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from enforcer.dataplane.conntrack import Tracked
from enforcer.dataplane.hearing.nflog import ARP, Denied
from enforcer.model import ICMP, ICMPV6, TCP, UDP, Direction, IPAddress, NicRef, Policy, Traffic
from enforcer.ruleset.denials import FROM_NIC, REASONS, REFUSED, REPLY
from enforcer.semantics import Oracle, SideVerdict, evaluate_side

ACCEPTED, DENIED = "accepted", "denied"
_REQUESTS = {(ICMP, 0): 8, (ICMP, 14): 13, (ICMP, 16): 15, (ICMP, 18): 17, (ICMPV6, 129): 128, (ICMPV6, 140): 139}
"""Answers of ICMP → the type that asks."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one NIC said to one packet. Without a rule, `group` and `rule` are empty and `reason` says why.

    `reply`: the packet answers a flow that the other end opened, and a change has taken that back.
    """

    verdict: str
    nic: str
    netns: str
    direction: str
    peer: str
    protocol: str
    group: str
    rule: str
    reason: str
    reply: bool = False


class Naming:
    """One policy, asked about packets; remembers what it was asked. For one that nobody asks, nothing is made."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    @cached_property
    def _oracle(self) -> Oracle:
        return Oracle(self.policy)

    @cached_property
    def _by_interface(self) -> dict[tuple[str, str], NicRef]:
        return {
            (nic.netns, nic.interface): NicRef(ecs, nic, self.policy.vpc_of_subnet(nic.subnet))
            for ecs in self.policy.ecs
            for nic in ecs.nics
            if nic.interface is not None
        }

    @cached_property
    def _by_address(self) -> dict[tuple[str, IPAddress], NicRef]:
        placed = self._by_interface.items()
        return {(netns, address): ref for (netns, _), ref in placed for address in ref.nic.addresses}

    def nic(self, netns: str, interface: str) -> str | None:
        """Return the NIC behind an interface."""
        ref = self._by_interface.get((netns, interface))
        return None if ref is None else ref.label

    def interfaces(self) -> dict[tuple[str, str], str]:
        """Return the NIC of each namespace and interface."""
        return {place: ref.label for place, ref in self._by_interface.items()}

    def denied(self, netns: str, interface: str, packet: Denied) -> Seen | None:
        """Name what denied a packet; None: the policy knows no such NIC (any more)."""
        ref = self._by_interface.get((netns, interface))
        if ref is None:
            return None
        outward, reply = packet.way.startswith(FROM_NIC), packet.way.endswith(REPLY)
        peer = packet.destination if outward else packet.source
        if REFUSED in packet.way:
            return _refused(netns, ref, packet, peer, outward=outward)
        direction = Direction.EGRESS if outward != reply else Direction.INGRESS
        ports = (packet.source_port, packet.destination_port)
        traffic = _traffic(packet.protocol, *(reversed(ports) if reply and packet.protocol in (TCP, UDP) else ports))
        said = evaluate_side(self._oracle, ref, direction, peer, traffic)
        return self._seen(DENIED, netns, ref, direction, peer, traffic, said, reply=reply)

    def ends(self, netns: str, flow: Tracked) -> Iterator[str]:
        """Yield the NICs that let a new flow pass, as far as they are ours: its sender's, its receiver's."""
        for address in (flow.original.source, flow.reply.source):
            if (ref := self._by_address.get((netns, address))) is not None:
                yield ref.label

    def begun(self, netns: str, flow: Tracked) -> list[Seen]:
        """Name what let a new flow pass: the NIC that sent it and the one that it went to, as far as they are ours.

        The sender's rules saw the packet before its destination was translated, the receiver's after that.
        """
        found = []
        numbers = flow.icmp[:2] if flow.icmp else (flow.original.source_port, flow.original.destination_port)
        if (sender := self._by_address.get((netns, flow.original.source))) is not None:
            traffic, peer = _traffic(flow.protocol, *numbers), flow.original.destination
            said = evaluate_side(self._oracle, sender, Direction.EGRESS, peer, traffic)
            found.append(self._seen(ACCEPTED, netns, sender, Direction.EGRESS, peer, traffic, said))
        if (receiver := self._by_address.get((netns, flow.reply.source))) is not None:
            ports = numbers if flow.icmp else (flow.reply.destination_port, flow.reply.source_port)
            traffic, peer = _traffic(flow.protocol, *ports), flow.reply.destination
            said = evaluate_side(self._oracle, receiver, Direction.INGRESS, peer, traffic)
            found.append(self._seen(ACCEPTED, netns, receiver, Direction.INGRESS, peer, traffic, said))
        return found

    def _seen(
        self,
        verdict: str,
        netns: str,
        ref: NicRef,
        direction: Direction,
        peer: IPAddress,
        traffic: Traffic,
        said: SideVerdict,
        *,
        reply: bool = False,
    ) -> Seen:
        group, rule, reason = said.group or "", said.rule.id if said.rule else "", said.reason
        if said.allowed != (verdict == ACCEPTED):
            group, rule, reason = "", "", "the policy has changed since the packet was judged"
        return Seen(
            verdict, ref.label, netns, direction.value, str(peer), str(traffic), group, rule, reason, reply=reply
        )


def _refused(netns: str, ref: NicRef, packet: Denied, peer: IPAddress, *, outward: bool) -> Seen:
    """Tell of a packet that a check refused before any policy was asked about it."""
    key = packet.way.partition(REFUSED)[2]
    reason = REASONS.get(key, key) + (f" {packet.source}" if key == "source" else "")
    direction = Direction.EGRESS if outward else Direction.INGRESS
    ports = packet.source_port, packet.destination_port
    protocol = "arp" if packet.protocol == ARP else str(_traffic(packet.protocol, *ports))
    return Seen(DENIED, ref.label, netns, direction.value, str(peer), protocol, "", "", reason)


def _traffic(protocol: int, first: int | None, second: int | None) -> Traffic:
    """Return what a packet is asked about; `first` and `second` are its ports, or ICMP's type and code."""
    if protocol in (TCP, UDP):
        return Traffic(protocol, port=second)
    if protocol in (ICMP, ICMPV6) and first is not None:
        return Traffic(protocol, icmp_type=_REQUESTS.get((protocol, first), first), icmp_code=second)
    return Traffic(protocol)
