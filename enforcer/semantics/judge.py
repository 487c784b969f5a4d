"""One concrete packet between NICs: may it begin a conversation (`evaluate`), may one that it began go on (`rejudge`)?

Where `explain` asks about names and finds the addresses, this asks about what is on the wire, spoofed and forwarded
packets included. It does not ask for a route: the packet is there.
"""

from __future__ import annotations

from dataclasses import dataclass

from enforcer.model import Action, Direction, IPAddress, NicRef, Policy, Traffic
from enforcer.semantics.oracle import Oracle
from enforcer.semantics.sides import SideVerdict, evaluate_side, may_use


@dataclass(frozen=True, slots=True)
class Packet:
    """The first packet of a conversation as both ends see it.

    `sender` and `receiver` name NICs (`ecs` or `ecs:nic`) and are null where that end is no ECS.
    """

    source: IPAddress
    destination: IPAddress
    traffic: Traffic
    sender: str | None = None
    receiver: str | None = None


@dataclass(frozen=True, slots=True)
class PacketVerdict:
    """What both ends say; null where an end is no ECS, or is not asked again."""

    verdict: Action
    egress: SideVerdict | None
    ingress: SideVerdict | None


def evaluate(policy: Policy | Oracle, packet: Packet) -> PacketVerdict:
    """Judge a packet that would begin a conversation."""
    oracle = Oracle.of(policy)
    egress = ingress = None
    if packet.sender is not None:
        sender = oracle.policy.nic_ref(packet.sender)
        egress = evaluate_side(oracle, sender, Direction.EGRESS, packet.destination, packet.traffic, own=packet.source)
    if packet.receiver is not None:
        receiver = oracle.policy.nic_ref(packet.receiver)
        ingress = evaluate_side(
            oracle, receiver, Direction.INGRESS, packet.source, packet.traffic, own=packet.destination
        )
    return _both(egress, ingress)


def rejudge(policy: Policy | Oracle, opened_by: Packet) -> PacketVerdict:
    """Judge, by the policy now in force, a conversation that an earlier policy let begin (S14).

    1. Where a NIC is gone, or no longer has the address that the conversation uses, the conversation ends.
    2. What others opened to an ECS is judged as if it began now.
    3. What an ECS itself opened goes on under the old rule, unless `revoke: both`. S16 is asked of every packet and so
       of this one too; `egress` is null where nothing else is asked.
    """
    oracle = Oracle.of(policy)
    egress = ingress = None
    if opened_by.sender is not None:
        egress = _ended(oracle, opened_by.sender, opened_by.source)
    if opened_by.receiver is not None:
        ingress = _ended(oracle, opened_by.receiver, opened_by.destination)
    if egress is not None or ingress is not None:
        return _both(egress, ingress)
    now = evaluate(oracle, opened_by)
    return _both(now.egress if oracle.policy.revoke == "both" else None, now.ingress)


def _ended(oracle: Oracle, label: str, address: IPAddress) -> SideVerdict | None:
    """Say that a conversation has lost its end, or return None if the NIC still has the address."""
    ref = _find(oracle, label)
    if ref is None:
        return SideVerdict(Action.DENY, f"{label} is detached: its conversations end (S14)")
    if ref.nic.port_security and not may_use(ref, address):
        return SideVerdict(Action.DENY, f"{address} is no longer an address of {label}: its conversations end (S14)")
    return None


def _find(oracle: Oracle, label: str) -> NicRef | None:
    try:
        return oracle.policy.nic_ref(label)
    except KeyError:
        return None


def _both(egress: SideVerdict | None, ingress: SideVerdict | None) -> PacketVerdict:
    passes = all(side is None or side.allowed for side in (egress, ingress))
    return PacketVerdict(Action.ALLOW if passes else Action.DENY, egress, ingress)
