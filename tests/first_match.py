"""The plainest reading of S4–S10: try the rules of one NIC one by one; the first that matches wins.

Written for tests alone, from the specification, and ignorant of the compiler as well as of `enforcer.semantics`: three
readings that agree are worth more than two.
"""

from __future__ import annotations

from dataclasses import dataclass

from enforcer.model import ICMP, ICMPV6, TCP, UDP, Direction, IPAddress, NicRef, Policy, Rule, SecurityGroup

NARROW = {"S1", "C1", "C2", "M1", "H1", "D1", "G1", "G2", "E1", "E2", "ET2"}


@dataclass(frozen=True)
class Answer:
    """The rule that decides; no rule: denied."""

    allowed: bool
    rule: str = "no rule"


def first_match(
    policy: Policy, ref: NicRef, direction: Direction, peer: IPAddress, protocol: int, subkey: int
) -> Answer:
    """Ask the rules; `subkey` is the destination port, or ICMP's type and code, or anything."""
    for name in ref.nic.security_groups:
        group = policy.group(name)
        asked = [rule for rule in group.rules if in_effect(policy, ref, group, rule)]
        asked = [rule for rule in asked if rule.direction == direction and rule.family == peer.version]
        asked.sort(key=lambda rule: (rule.priority, 0 if rule.action == "deny" else 1, group.rules.index(rule)))
        for rule in asked:
            if matches_traffic(rule, protocol, subkey) and matches_peer(policy, ref, rule, peer):
                return Answer(rule.action == "allow", f"{name}/{rule.id}")
    return Answer(allowed=False)


def in_effect(policy: Policy, ref: NicRef, group: SecurityGroup, rule: Rule) -> bool:
    """S4 `enabled`, S9, S10."""
    if not rule.enabled:
        return False
    before = [other for other in group.rules[: group.rules.index(rule)] if other.enabled]
    alike = [r for r in before if r.direction == rule.direction and r.family == rule.family and is_costly(r)]
    if is_costly(rule) and len(alike) >= policy.limits.costly_rules:
        return False
    flavor = (ref.ecs.type or "").split(".")[0].upper()
    if flavor in NARROW and (len(rule.ports) > 1 or rule.remote_address_group):
        return False
    return not (flavor == "KAI1" and any(len(r.ports) > 1 for r in [*before, rule]))


def is_costly(rule: Rule) -> bool:
    return bool(rule.remote_group or rule.remote_address_group or len(rule.ports) > 1)


def matches_traffic(rule: Rule, protocol: int, subkey: int) -> bool:
    if rule.protocol is not None and rule.protocol != protocol:
        return False
    if rule.ports and not any(first <= subkey <= last for first, last in rule.ports):
        return False
    if rule.icmp_type is not None and subkey // 256 != rule.icmp_type:
        return False
    return rule.icmp_code is None or subkey % 256 == rule.icmp_code


def matches_peer(policy: Policy, ref: NicRef, rule: Rule, peer: IPAddress) -> bool:
    if rule.remote_ip_prefix is not None:
        return peer in rule.remote_ip_prefix
    if rule.remote_address_group is not None:
        ranges = policy.address_group(rule.remote_address_group).ranges
        return any(r.first.version == peer.version and r.first <= peer <= r.last for r in ranges)
    if rule.remote_group is not None:
        peers = {other for p in policy.peerings for other in p.vpcs if ref.vpc.name in p.vpcs} | {ref.vpc.name}
        return any(
            peer in other.nic.addresses
            for other in policy.nics()
            if rule.remote_group in other.nic.security_groups and other.vpc.name in peers
        )
    return True


PORTED = (TCP, UDP)
REQUESTS = {4: (ICMP, (8, 13, 15, 17)), 6: (ICMPV6, (128, 139))}
