"""Rules that can never decide: earlier ones of their own group are about all of their packets (S7).

For each direction and ethertype, in each view of the group, the rules are walked in the order in which they are asked.
A rule whose packets the ones before hold *together* can never decide there; one for which this is so in every view in
which it is in effect can never decide at all. What is said of it depends on what hides it:

    duplicate-rule        an earlier rule says the same
    contradicting-rules   an earlier rule is about the same packets and says the opposite
    shadowed-rule         one earlier rule, or several together, are about more or other packets and all of its own

Not asked here: rules not in effect (they have warnings of their own), rules whose remote is nobody (likewise), rules of
a template, and groups that come before on a NIC: they belong to another decision.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from enforcer.errors import Problem
from enforcer.model import Action, Direction, Family, Policy, Rule, SecurityGroup
from enforcer.semantics.lint.packets import Box, Cover, Interval
from enforcer.semantics.lint.views import View, everywhere, subkeys, views

FAMILIES: tuple[Family, ...] = (4, 6)
MOST_NAMED = 5
MOST_EXPLAINED = 500  # of one group, direction and ethertype; nobody reads on
MOST_REDUCED = 64  # hiding rules that are reduced to those needed; beyond, all are named, which is true as well


def hidden_rules(policy: Policy, group: SecurityGroup) -> Iterator[Problem]:
    """Yield a warning for each listed rule of the group that can never decide, in file order."""
    listed = {rule.id for _, rule in group.listed()}
    hiding: dict[str, tuple[Rule, ...]] = {}
    deciding: set[str] = set()
    for view, direction, family in product(views(policy, group), Direction, FAMILIES):
        ranked = view.ranked(direction, family)
        for rule, hiders in _walk(view, ranked):
            hiding.setdefault(rule.id, hiders)
            if not hiders:
                deciding.add(rule.id)
    for rule in group.rules:
        if rule.id in listed and rule.id not in deciding and hiding.get(rule.id):
            yield _warning(group, rule, hiding[rule.id])


def _walk(view: View, ranked: tuple[Rule, ...]) -> Iterator[tuple[Rule, tuple[Rule, ...]]]:
    """Yield each rule with those that hide it here, none if it can decide; rules about nobody are left out."""
    before = Cover()
    asked: list[tuple[Rule, Box]] = []
    same: dict[object, Rule] = {}
    hidden = 0
    for rule in ranked:
        box = view.box(rule)
        first = same.setdefault(_matter(rule), rule)
        if first is not rule:
            yield rule, (first,)
        elif box.addresses:
            hiders = _hiders(asked, box) if hidden < MOST_EXPLAINED and before.holds(box) else ()
            hidden += bool(hiders)
            yield rule, hiders
        before.add(box)
        asked.append((rule, box))


def _matter(rule: Rule) -> object:
    """Return what a rule is about, in a form that is equal for rules which are always about the same packets."""
    prefix = None if everywhere(rule) else rule.remote_ip_prefix
    return rule.protocol, subkeys(rule), prefix, rule.remote_group, rule.remote_address_group


def _hiders(asked: list[tuple[Rule, Box]], box: Box) -> tuple[Rule, ...]:
    """Return the rule that holds the box, or else rules that only together do."""
    for rule, other in asked:
        if other.holds(box):
            return (rule,)
    near = [(rule, other) for rule, other in asked if _overlap(box, other)]
    if len(near) <= MOST_REDUCED:
        for candidate in reversed(near):
            rest = [pair for pair in near if pair is not candidate]
            if Cover(other for _, other in rest).holds(box):
                near = rest
    return tuple(rule for rule, _ in near)


def _overlap(box: Box, other: Box) -> bool:
    return box.meets(other) and _meet(box.addresses, other.addresses)


def _meet(some: tuple[Interval, ...], others: tuple[Interval, ...]) -> bool:
    """Say whether two sorted lists of intervals have a number in common, in one pass over both."""
    one = other = 0
    while one < len(some) and other < len(others):
        if some[one][1] < others[other][0]:
            one += 1
        elif others[other][1] < some[one][0]:
            other += 1
        else:
            return True
    return False


def _warning(group: SecurityGroup, rule: Rule, hiders: tuple[Rule, ...]) -> Problem:
    first = hiders[0]
    if _matter(first) != _matter(rule):
        code, message = "shadowed-rule", _shadow_words(rule, hiders)
    elif first.action == rule.action:
        code, message = "duplicate-rule", f"says the same as {first.id}, which is asked before it; leave one out"
    else:
        verb = "allows" if first.action == Action.ALLOW else "denies"
        code = "contradicting-rules"
        message = f"never decides: {first.id} {verb} the same packets and is asked before it; leave one out"
    return Problem(f"security_groups[{group.name}].rules[{rule.id}]", message, code=code)


def _shadow_words(rule: Rule, hiders: tuple[Rule, ...]) -> str:
    names = [hider.id for hider in hiders]
    if len(names) > MOST_NAMED:
        names[MOST_NAMED - 1 :] = [f"{len(names) - MOST_NAMED + 1} more"]
    who = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} together"
    asked = "matches all of its packets and is" if len(hiders) == 1 else "match all of its packets and are"
    # Members come and go; what is written in a rule does not.
    changing = any(hider.remote_group != rule.remote_group and not everywhere(hider) for hider in hiders)
    now = ", with the members that groups have now" if changing else ""
    return f"never decides: {who} {asked} asked before it{now}; leave it out or move it"
