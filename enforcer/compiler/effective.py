"""Which rules of a NIC's groups are in effect, in which order (S7, S9, S10, `enabled`).

    groups of a NIC, ECS type  ──▶  (rule, group) sorted by group position, priority, deny first, configured order

The rules that do not take effect are left out here; the oracle says why (`enforcer.semantics`), independently.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from enforcer.compiler.program import Decider
from enforcer.model import Action, Direction, Family, Rule, SecurityGroup

WITHOUT_ADDRESS_GROUPS_AND_PORT_LISTS = frozenset({"S1", "C1", "C2", "M1", "H1", "D1", "G1", "G2", "E1", "E2", "ET2"})
"""ECS types of Table 4 on which a rule with an address group or inconsecutive ports is not applied (S10)."""

STOPS_AT_PORT_LIST = "KAI1"
"""The ECS type on which inconsecutive ports disable the rule and all that are configured after it (S10)."""


@dataclass(frozen=True, slots=True)
class EffectiveRule:
    """A rule in effect, with the group that it comes from."""

    group: str
    rule: Rule
    decider: Decider = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "decider", Decider(self.group, self.rule.id, self.rule.action))

    def identity(self) -> str:
        """Say in one line all of the rule that a packet can tell, and its name."""
        return f"{self.group}/{self.rule.id} {self.rule.text()}"


def within_quota(group: SecurityGroup, limit: int) -> tuple[Rule, ...]:
    """Return the enabled rules without the costly ones beyond `limit` per direction and ethertype (S9)."""
    used: dict[tuple[Direction, Family], int] = {}
    kept = []
    for rule in group.rules:
        if not rule.enabled:
            continue
        if rule.costly:
            scope = (rule.direction, rule.family)
            used[scope] = used.get(scope, 0) + 1
            if used[scope] > limit:
                continue
        kept.append(rule)
    return tuple(kept)


def stopped_at(group: SecurityGroup) -> frozenset[str]:
    """Return the ids of the rules that `Kai1` does not apply: from the first enabled port list on (S10)."""
    for position, rule in enumerate(group.rules):
        if rule.enabled and rule.inconsecutive:
            return frozenset(later.id for later in group.rules[position:])
    return frozenset()


def narrowing(ecs_type: str) -> str:
    """Return the ECS type if some rules are not applied to it, else an empty string: all others are alike (S10)."""
    return ecs_type if ecs_type in {*WITHOUT_ADDRESS_GROUPS_AND_PORT_LISTS, STOPS_AT_PORT_LIST} else ""


def on_type(group: SecurityGroup, rules: tuple[Rule, ...], ecs_type: str) -> tuple[Rule, ...]:
    """Leave out the rules that an ECS type does not apply (S10)."""
    if ecs_type in WITHOUT_ADDRESS_GROUPS_AND_PORT_LISTS:
        return tuple(rule for rule in rules if not rule.inconsecutive and rule.remote_address_group is None)
    if ecs_type == STOPS_AT_PORT_LIST:
        stopped = stopped_at(group)
        return tuple(rule for rule in rules if rule.id not in stopped)
    return rules


def effective_rules(
    group: SecurityGroup,
    ecs_type: str,
    limit: int,
    direction: Direction,
    family: Family,
    before: Iterable[EffectiveRule] = (),
) -> tuple[EffectiveRule, ...]:
    """Sort the rules of a group that are in effect by S7: priority, deny before allow, configured order.

    The rules of several groups follow each other as the NIC has the groups. Rules of `before`, when the group was
    another one, are the very same where they are in effect still: what has been made of them names them.
    """
    known = {id(each.rule): each for each in before}
    rules = [
        rule
        for rule in on_type(group, within_quota(group, limit), ecs_type)
        if rule.direction is direction and rule.family == family
    ]
    rules.sort(key=lambda rule: (rule.priority, rule.action is Action.ALLOW))
    return tuple(known.get(id(rule)) or EffectiveRule(group.name, rule) for rule in rules)
