"""Which rules of a NIC's groups are in effect, and in which order they are asked (S4 `enabled`, S7, S9, S10).

Two questions, in this order, both asked of a group's rules *as configured*:

1. *Is the rule in effect?* `lapses` walks the group once and says why each rule is not, if so. A disabled rule is as if
   absent: it takes no quota and stops no later rule on a Kai1. The quota is a property of the group, so a rule that an
   ECS type cannot apply still takes its place in the quota; which rules are beyond it is the same for every ECS.
2. *When is it asked?* `rank` sorts the rules of all groups of a NIC: position of the group, priority, deny before
   allow, order of configuration.

Rules that are not in effect stay in the ranking with their reason, so that an explanation can say what they would have
done. Nothing here looks at a packet.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from enforcer.errors import Problem
from enforcer.model import Action, Direction, Family, Policy, Rule, SecurityGroup

DISABLED = "disabled"
QUOTA = "not in effect: quota"

# S10: the x86 types that apply neither address groups nor inconsecutive ports, and the one with a rule of its own.
NARROW_TYPES = frozenset({"S1", "C1", "C2", "M1", "H1", "D1", "G1", "G2", "E1", "E2", "ET2"})
KAI1 = "KAI1"


@dataclass(frozen=True, slots=True)
class Ranked:
    """One rule of one of a NIC's groups; `lapse` says why it is not in effect and is empty if it is."""

    position: int  # of the group in the NIC's list, 0 is asked first
    group: str
    rule: Rule
    lapse: str = ""


def inconsecutive(rule: Rule) -> bool:
    """Say whether the rule has more than one port group, however near to each other they are (S4)."""
    return len(rule.ports) > 1


def costly(rule: Rule) -> bool:
    """Say whether the rule takes one place of the quota; one that has several reasons to still takes one (S9)."""
    return rule.remote_group is not None or rule.remote_address_group is not None or inconsecutive(rule)


def lapses(group: SecurityGroup, costly_rules: int, type_class: str) -> tuple[str, ...]:
    """Return, for each rule of the group in configured order, why it is not in effect, or an empty text if it is.

    `costly_rules` is the limit of S9; `type_class` is the ECS type of S10 in upper case, empty for none. Where quota
    and ECS type both speak against a rule, the quota is named: it holds for every ECS.
    """
    reasons: list[str] = []
    taken: Counter[tuple[Direction, Family]] = Counter()
    stopped = False  # on a Kai1: an inconsecutive rule was met, of whichever direction and ethertype
    for rule in group.rules:
        if not rule.enabled:
            reasons.append(DISABLED)
            continue
        if costly(rule):
            taken[rule.direction, rule.family] += 1
        stopped = stopped or (type_class == KAI1 and inconsecutive(rule))
        unknown_to_type = type_class in NARROW_TYPES and (rule.remote_address_group is not None or inconsecutive(rule))
        if costly(rule) and taken[rule.direction, rule.family] > costly_rules:
            reasons.append(QUOTA)
        elif unknown_to_type or stopped:
            reasons.append(f"not in effect: ECS type {type_name(type_class)}")
        else:
            reasons.append("")
    return tuple(reasons)


def beyond_quota(group: SecurityGroup, costly_rules: int) -> frozenset[str]:
    """Return the ids of the group's rules that do not take effect on any ECS (S9)."""
    lapsed = zip(group.rules, lapses(group, costly_rules, ""), strict=True)
    return frozenset(rule.id for rule, lapse in lapsed if lapse == QUOTA)


def type_name(type_class: str) -> str:
    """Return an ECS type as the vendor writes it; the model keeps it in upper case."""
    return "Kai1" if type_class == KAI1 else type_class


def rank(
    policy: Policy, groups: tuple[str, ...], type_class: str, direction: Direction, family: Family
) -> tuple[Ranked, ...]:
    """Return every rule of the groups for one direction and family in the order of S7, in effect or not."""
    configured = [
        Ranked(position, name, rule, lapse)
        for position, name in enumerate(groups)
        for rule, lapse in zip(
            policy.group(name).rules,
            lapses(policy.group(name), policy.limits.costly_rules, type_class),
            strict=True,
        )
        if rule.direction == direction and rule.family == family
    ]
    # The sort is stable: rules that are equal in all three stay in configured order.
    return tuple(sorted(configured, key=lambda one: (one.position, one.rule.priority, one.rule.action != Action.DENY)))


def not_in_effect(policy: Policy) -> tuple[Problem, ...]:
    """Return a warning for each rule beyond its group's quota (S9), then for each that an ECS's type drops (S10).

    A disabled rule is absent by the operator's will and no warning. A rule beyond the quota is named once, for its
    group, and not again for each ECS.
    """
    limit = policy.limits.costly_rules
    return tuple(
        [
            Problem(
                f"security_groups[{group.name}].rules[{rule.id}]", f"{QUOTA}; {_quota_words(rule, limit)}", code="quota"
            )
            for group in policy.security_groups
            for rule, lapse in zip(group.rules, lapses(group, limit, ""), strict=True)
            if lapse == QUOTA
        ]
        + [
            Problem(f"ecs[{ecs.name}]", f"rule {rule.id} of {group.name} is {lapse}", code="ecs-type")
            for ecs in policy.ecs
            # A group on two NICs of one ECS is one group of that ECS; a NIC without port security has none.
            for name in dict.fromkeys(name for nic in ecs.nics if nic.port_security for name in nic.security_groups)
            for group in (policy.group(name),)
            for rule, lapse in zip(group.rules, lapses(group, limit, ecs.type_class), strict=True)
            if lapse not in ("", DISABLED, QUOTA)
        ]
    )


def _quota_words(rule: Rule, limit: int) -> str:
    kind = f"{rule.direction.value} IPv{rule.family}"
    return (
        f"the group has more than {limit} {kind} rules with a group, an address group or inconsecutive ports; "
        f"the first {limit} of them apply"
    )
