"""What does a new policy say differently? Rules by group, and every other object by kind and name. Pure.

A rule is known by its group and id. One whose text changes is removed and added; one that only changes its place among
the others is `moved`, for the order decides about the quota (S9) and on a Kai1 (S10). Asks nothing about verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from enforcer.model import AddressGroup, NicRef, Policy, Rule, SecurityGroup
from enforcer.semantics.effect import QUOTA, beyond_quota

T = TypeVar("T")
RuleWay = Literal["added", "removed", "moved"]
Change = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class RuleChange:
    """One rule of one group; `text` is what it says, before it was removed or after it was added."""

    group: str
    rule: str
    change: RuleWay
    text: str


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One object: `kind` as people call it, and what about it changes, a phrase each."""

    kind: str
    name: str
    change: Change
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Declared:
    """All that a policy says differently."""

    rules: tuple[RuleChange, ...]
    objects: tuple[ObjectChange, ...]


def declared(old: Policy, new: Policy) -> Declared:
    """Compare two policies object by object."""
    return Declared(tuple(_rule_changes(old, new)), tuple(_object_changes(old, new)))


def nic_fields(old: NicRef, new: NicRef) -> tuple[str, ...]:
    """Name what is different about a NIC, as a phrase each: `security_groups: Sg-A → Sg-A, Sg-B`."""
    found = [*_fields(old.nic, new.nic)]
    if old.vpc.name != new.vpc.name:
        found.append(f"vpc: {old.vpc.name} → {new.vpc.name}")
    if old.ecs.type_class != new.ecs.type_class:
        found.append(f"type: {old.ecs.type or 'none'} → {new.ecs.type or 'none'}")
    return tuple(found)


def _rule_changes(old: Policy, new: Policy) -> Iterator[RuleChange]:
    before, after = _named(old.security_groups), _named(new.security_groups)
    for name in dict.fromkeys((*after, *before)):
        was, now = _rules(before.get(name)), _rules(after.get(name))
        same = {key for key in was.keys() & now.keys() if _says(was[key]) == _says(now[key])}
        moved = _moved([key for key in was if key in same], [key for key in now if key in same])
        yield from _told(old, before.get(name), "removed", [key for key in was if key not in same])
        yield from _told(new, after.get(name), "added", [key for key in now if key not in same])
        yield from _told(new, after.get(name), "moved", moved)


def _told(policy: Policy, group: SecurityGroup | None, change: RuleWay, keys: Sequence[str]) -> Iterator[RuleChange]:
    """Tell of rules what they say, and which of them do not take effect (S9)."""
    if group is None or not keys:
        return
    rules, beyond = _rules(group), beyond_quota(group, policy.limits.costly_rules)
    for key in keys:
        yield RuleChange(group.name, key, change, rules[key].text() + (f" – {QUOTA}" if key in beyond else ""))


def _rules(group: SecurityGroup | None) -> Mapping[str, Rule]:
    return {} if group is None else {rule.id: rule for rule in group.rules}


def _says(rule: Rule) -> Rule:
    return rule.model_copy(update={"description": "", "silence": ()})


def _moved(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Return what stands behind another than before, in the new order."""
    place = {key: number for number, key in enumerate(before)}
    highest, found = -1, []
    for key in after:
        if place[key] < highest:
            found.append(key)
        highest = max(highest, place[key])
    return found


def _object_changes(old: Policy, new: Policy) -> Iterator[ObjectChange]:
    yield from _compared("security group", _named(old.security_groups), _named(new.security_groups), _nothing)
    yield from _compared("address group", _named(old.address_groups), _named(new.address_groups), _entries)
    yield from _compared(
        "NIC", {ref.label: ref for ref in old.nics()}, {ref.label: ref for ref in new.nics()}, nic_fields
    )
    for kind, were, are in (
        ("VPC", old.vpcs, new.vpcs),
        ("peering", old.peerings, new.peerings),
        ("load balancer", old.load_balancers, new.load_balancers),
        ("external host", old.external_hosts, new.external_hosts),
    ):
        yield from _compared(kind, _named(were), _named(are), _fields)
    yield from _compared("EIP", _eips(old), _eips(new), _fields)
    yield from _compared("setting", _settings(old), _settings(new), _fields)


def _eips(policy: Policy) -> dict[str, Any]:
    return {str(eip.address): eip for eip in policy.eips}


def _settings(policy: Policy) -> dict[str, Any]:
    return {name: getattr(policy, name) for name in ("limits", "marks", "revoke")}


def _named(items: Sequence[Any]) -> dict[str, Any]:
    return {item.name: item for item in items}


def _compared(
    kind: str, before: Mapping[str, T], after: Mapping[str, T], differing: Callable[[T, T], tuple[str, ...]]
) -> Iterator[ObjectChange]:
    for name in dict.fromkeys((*after, *before)):
        if name not in before:
            yield ObjectChange(kind, name, "added")
        elif name not in after:
            yield ObjectChange(kind, name, "removed")
        elif before[name] != after[name] and (details := differing(before[name], after[name])):
            yield ObjectChange(kind, name, "changed", details)


def _nothing(_old: SecurityGroup, _new: SecurityGroup) -> tuple[str, ...]:
    """Say nothing about a group: its rules are told one by one, and its description decides nothing."""
    return ()


def _entries(old: AddressGroup, new: AddressGroup) -> tuple[str, ...]:
    before, after = dict.fromkeys(map(str, old.ranges)), dict.fromkeys(map(str, new.ranges))
    gone = [f"without {entry}" for entry in before if entry not in after]
    return tuple([f"with {entry}" for entry in after if entry not in before] + gone)


def _fields(old: Any, new: Any) -> tuple[str, ...]:
    """Name the fields of an object that differ; a value that is not an object is its own field."""
    if not isinstance(old, BaseModel):
        return (f"{old} → {new}",)
    return tuple(
        f"{name}: {_shown(getattr(old, name))} → {_shown(getattr(new, name))}"
        for name in type(old).model_fields
        if name not in ("description", "silence") and getattr(old, name) != getattr(new, name)
    )


def _shown(value: object) -> str:
    """Return a value as one word or a list of words; what is larger is not told in full."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case tuple() if any(isinstance(each, BaseModel) for each in value):
            return f"{len(value)} of them"
        case tuple():
            return ", ".join(map(str, value)) or "none"
    return str(value)
