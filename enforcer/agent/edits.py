"""Single edits – a rule added, a group created, a NIC attached – as changes of resources.

    edit(resources, what …) ──▶ Edit: the changes, and one line that says what was done

Says what is wrong with the words of an edit: a name that does not exist, a group that is still in use, the group
`default` (S2). Whether the result is a valid policy is asked afterwards, of `Desired.with_changes`. A rule keeps its id
whatever happens around it: ids that were generated from positions are written down by the first edit of a group.
Pure. Example: `add_rule(resources, "web", {"direction": "ingress"}).changes`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic_core import PydanticCustomError

from enforcer.agent.resources import NICS, canonical, nic_key
from enforcer.agent.store.interface import Change
from enforcer.errors import PolicyError, Problem
from enforcer.model.groups import TEMPLATE_ID
from enforcer.model.instances import DEFAULT_GROUP, ONLY_NIC
from enforcer.model.words.scalars import host_name, name
from enforcer.model.words.wording import shown, suggestion

GROUPS, ADDRESS_GROUPS = "security_groups", "address_groups"
Resources = Mapping[str, str]
Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Edit:
    """What an edit changes, and what it did, in one line; no changes if it was so already.

    `rule` names the group and the rule that it puts there, for it may not take effect.
    """

    changes: tuple[Change, ...]
    said: str
    rule: tuple[str, str] | None = None


# --- security groups -------------------------------------------------------------------------------------------------


def create_group(resources: Resources, group: Data) -> Edit:
    """Create a security group (S1), described as in a policy file."""
    return _create(resources, GROUPS, "group", group)


def create_address_group(resources: Resources, group: Data) -> Edit:
    """Create an address group (S5), described as in a policy file."""
    return _create(resources, ADDRESS_GROUPS, "address group", group)


def delete_group(resources: Resources, group: str) -> Edit:
    """Delete a security group that no NIC has and no rule of another group names; never `default` (S2)."""
    where = f"{GROUPS}[{group}]"
    if group == DEFAULT_GROUP:
        _refuse(where, "cannot be deleted (S2); remove its rules, or apply a policy that does not define it")
    _existing(resources, GROUPS, group)
    users = [*_nics_with(resources, group), *_rules_naming(resources, "remote_group", group)]
    if users:
        _refuse(where, f"is in use by {_few(users)}; take it from there first")
    return Edit((Change(f"{GROUPS}/{group}", None),), f"group {group} deleted")


def delete_address_group(resources: Resources, group: str) -> Edit:
    """Delete an address group that no rule names."""
    _existing(resources, ADDRESS_GROUPS, group)
    if users := _rules_naming(resources, "remote_address_group", group):
        _refuse(f"{ADDRESS_GROUPS}[{group}]", f"is in use by {_few(users)}; take it from there first")
    return Edit((Change(f"{ADDRESS_GROUPS}/{group}", None),), f"address group {group} deleted")


# --- rules -----------------------------------------------------------------------------------------------------------


def add_rule(resources: Resources, group: str, rule: Data, *, before: str | None = None) -> Edit:
    """Add a rule, described as in a policy file, at the end of a group or before another of its rules."""
    data = _group(resources, group)
    rules = data["rules"]
    rule = {**rule, "id": _named(f"{GROUPS}[{group}].rules[…].id", rule.get("id") or _free_id(rules), name)}
    rules.insert(len(rules) if before is None else _position(group, data, before), rule)
    return _regrouped(resources, data, f"rule {rule['id']} added to {group}", rule["id"])


def remove_rule(resources: Resources, group: str, rule: str) -> Edit:
    """Remove a rule from a group."""
    data = _group(resources, group)
    del data["rules"][_position(group, data, rule)]
    return _regrouped(resources, data, f"rule {rule} removed from {group}")


def enable_rule(resources: Resources, group: str, rule: str, *, enabled: bool) -> Edit:
    """Switch a rule on or off; one that is off is as if absent (S4)."""
    data = _group(resources, group)
    found = data["rules"][_position(group, data, rule)]
    if found.get("enabled", True) is enabled:
        return Edit((), f"rule {rule} of {group} is {'enabled' if enabled else 'disabled'} already")
    found.pop("enabled", None)
    if not enabled:
        found["enabled"] = False
    return _regrouped(resources, data, f"rule {rule} of {group} {'enabled' if enabled else 'disabled'}", rule)


def move_rule(resources: Resources, group: str, rule: str, *, before: str | None = None) -> Edit:
    """Move a rule before another of its group, or to its end; the order decides between equals (S7) and quotas (S9)."""
    data = _group(resources, group)
    if rule == before:
        _refuse(f"{GROUPS}[{group}].rules[{rule[:64]}]", "cannot stand before itself; name another rule of the group")
    moved = data["rules"].pop(_position(group, data, rule))
    at = len(data["rules"]) if before is None else _position(group, data, before)
    data["rules"].insert(at, moved)
    to = "to the end" if before is None else f"before {before}"
    return _regrouped(resources, data, f"rule {rule} of {group} moved {to}", rule)


# --- address groups --------------------------------------------------------------------------------------------------


def add_entries(resources: Resources, group: str, entries: Collection[str]) -> Edit:
    """Add entries to an address group; one that it has already stays as it is."""
    data = _existing(resources, ADDRESS_GROUPS, group)
    old = data.get("entries", [])
    fresh = [entry for entry in dict.fromkeys(entries) if entry not in old]
    if not fresh:
        return Edit((), f"{', '.join(entries)} is in {group} already")
    return _put(ADDRESS_GROUPS, {**data, "entries": [*old, *fresh]}, f"{', '.join(fresh)} added to {group}")


def remove_entries(resources: Resources, group: str, entries: Collection[str]) -> Edit:
    """Remove entries from an address group, as they are written there."""
    data = _existing(resources, ADDRESS_GROUPS, group)
    old = data.get("entries", [])
    for entry in entries:
        if entry not in old:
            _refuse(f"{ADDRESS_GROUPS}[{group}].entries", f"{shown(entry)} is not one of them{_near(entry, old)}")
    left = [entry for entry in old if entry not in entries]
    return _put(ADDRESS_GROUPS, {**data, "entries": left}, f"{', '.join(entries)} removed from {group}")


# --- NICs ------------------------------------------------------------------------------------------------------------


def attach_nic(resources: Resources, nic: str, fields: Data, *, flavor: str | None = None) -> Edit:
    """Attach a NIC (`ecs` or `ecs:nic`), described as in a policy file; an ECS that is new comes with it."""
    ecs, _, own = nic.partition(":")
    ecs = _named("ecs[…].name", ecs, host_name)
    own = _named(f"ecs[{ecs}].nics[…].name", own or ONLY_NIC, name)
    if fields.get("name", own) != own:
        _refuse(f"ecs[{ecs}].nics[{own}].name", f"{shown(fields['name'])} is another name; leave it out")
    if nic_key(ecs, own) in resources:
        _refuse(f"ecs[{ecs}].nics[{own}]", "is attached already; detach it first, or name another NIC: ecs:nic")
    old = json.loads(resources.get(f"ecs/{ecs}", canonical({"name": ecs, "nics": []})))
    if flavor is not None and old["nics"] and old.get("type") != flavor:
        _refuse(f"ecs[{ecs}].type", f"{shown(flavor)} is not the type that the ECS has; leave it out")
    new = {**old, "nics": [*old["nics"], own], **({} if flavor is None else {"type": flavor})}
    changes = (Change(f"ecs/{ecs}", canonical(new)), Change(nic_key(ecs, own), canonical({**fields, "name": own})))
    return Edit(changes, f"NIC {ecs}:{own} attached")


def detach_nic(resources: Resources, nic: str) -> Edit:
    """Detach a NIC: its connections end (S14); an ECS goes with its last NIC."""
    ecs, own = _nic(resources, nic)
    data = json.loads(resources[f"ecs/{ecs}"])
    if nic == ecs and len(data["nics"]) > 1:
        _refuse(f"ecs[{ecs}]", f"has the NICs {', '.join(data['nics'])}; say which: {ecs}:{own}")
    left = [each for each in data["nics"] if each != own]
    rest = canonical({**data, "nics": left}) if left else None
    return Edit((Change(f"ecs/{ecs}", rest), Change(nic_key(ecs, own), None)), f"NIC {ecs}:{own} detached")


def set_groups(resources: Resources, nic: str, groups: Collection[str]) -> Edit:
    """Give a NIC these security groups, in the order in which they are matched (S7); none means `default` (S2)."""
    ecs, own = _nic(resources, nic)
    for group in groups:
        if group != DEFAULT_GROUP and f"{GROUPS}/{group}" not in resources:
            where = f"ecs[{ecs}].nics[{own}].security_groups"
            near = _near(group, [DEFAULT_GROUP, *_names(resources, GROUPS)])
            _refuse(where, f"{shown(group)} is not defined{near}")
    key = nic_key(ecs, own)
    fields = json.loads(resources[key])
    wanted = list(groups) or [DEFAULT_GROUP]
    if fields.get("security_groups", [DEFAULT_GROUP]) == wanted:
        return Edit((), f"NIC {ecs}:{own} has the groups {', '.join(wanted)} already")
    changed = canonical({**fields, "security_groups": wanted})
    return Edit((Change(key, changed),), f"NIC {ecs}:{own} has the groups {', '.join(wanted)}")


# --- inside ----------------------------------------------------------------------------------------------------------


def _refuse(where: str, message: str) -> NoReturn:
    raise PolicyError((Problem(where, message),))


def _named(where: str, word: object, rule: Callable[[object], str]) -> str:
    try:
        return rule(word)
    except PydanticCustomError as error:
        _refuse(where, error.message())


def _near(word: str, known: Iterable[str]) -> str:
    return suggestion(word, known) or "; look at `enforcer show`"


def _names(resources: Resources, section: str) -> list[str]:
    return [key.partition("/")[2] for key in resources if key.startswith(f"{section}/")]


def _create(resources: Resources, section: str, kind: str, data: Data) -> Edit:
    data = {**data, "name": _named(f"{section}[…].name", data["name"], name)}
    if f"{section}/{data['name']}" in resources or (section == GROUPS and data["name"] == DEFAULT_GROUP):
        _refuse(f"{section}[{data['name']}]", "exists already; choose another name, or change that one")
    return _put(section, data, f"{kind} {data['name']} created")


def _put(section: str, data: Data, said: str) -> Edit:
    return Edit((Change(f"{section}/{data['name']}", canonical(data)),), said)


def _existing(resources: Resources, section: str, word: str) -> Data:
    text = resources.get(f"{section}/{word}")
    if text is None:
        _refuse(f"{section}[{word[:64]}]", f"{shown(word)} is not defined{_near(word, _names(resources, section))}")
    found: Data = json.loads(text)
    return found


def _group(resources: Resources, group: str) -> Data:
    """Return a group as data, with the ids of its rules and the rules of S1 that it has unsaid written down."""
    undefined = group == DEFAULT_GROUP and f"{GROUPS}/{group}" not in resources
    data = {"name": group} if undefined else _existing(resources, GROUPS, group)
    if "rules" not in data and data.get("template") is None:
        data["template"] = "default"
    rules = [{**rule, "id": rule.get("id") or f"rule-{at}"} for at, rule in enumerate(data.get("rules", []), start=1)]
    return {**data, "rules": rules}


def _regrouped(resources: Resources, data: Data, said: str, rule: str = "") -> Edit:
    (change,) = _put(GROUPS, data, said).changes
    if resources.get(change.key) == change.value:
        return Edit((), f"{said}: it was so already")
    return Edit((change,), said, (data["name"], rule) if rule else None)


def _position(group: str, data: Data, rule: str) -> int:
    ids = [each["id"] for each in data["rules"]]
    if rule in ids:
        return ids.index(rule)
    where = f"{GROUPS}[{group}].rules[{rule[:64]}]"
    if rule.startswith(TEMPLATE_ID) and (template := data.get("template")):
        mend = "apply a group without it, or add a rule of a smaller priority"
        _refuse(where, f"is a rule of the template {template!r}, which is fixed (S3); {mend}")
    _refuse(where, f"{shown(rule)} is not a rule of the group{_near(rule, ids)}")


def _free_id(rules: list[Data]) -> str:
    taken = {rule["id"] for rule in rules}
    return next(word for at in range(len(rules) + 1, 2 * len(rules) + 2) if (word := f"rule-{at}") not in taken)


def _nic(resources: Resources, word: str) -> tuple[str, str]:
    """Return ECS and NIC of `ecs` (its first NIC) or `ecs:nic`."""
    ecs, _, own = word.partition(":")
    data = _existing(resources, "ecs", ecs)
    if own and own not in data["nics"]:
        _refuse(f"ecs[{ecs}].nics[{own[:64]}]", f"{shown(own)} is not defined{_near(own, data['nics'])}")
    return ecs, own or data["nics"][0]


def _nics_with(resources: Resources, group: str) -> list[str]:
    return [
        "NIC " + key.removeprefix(f"{NICS}/").replace("/", ":")
        for key, text in resources.items()
        if key.startswith(f"{NICS}/") and f'"{group}"' in text and group in json.loads(text).get("security_groups", ())
    ]


def _rules_naming(resources: Resources, field: str, group: str) -> list[str]:
    """Return the rules, of other groups, that name a group in `field`."""
    return [
        f"rule {rule.get('id') or f'rule-{at}'} of {key.partition('/')[2]}"
        for key, text in resources.items()
        if key.startswith(f"{GROUPS}/") and key != f"{GROUPS}/{group}" and f'"{group}"' in text
        for at, rule in enumerate(json.loads(text).get("rules", ()), start=1)
        if rule.get(field) == group
    ]


def _few(users: list[str]) -> str:
    more = f" and {len(users) - 3} more" if len(users) > 3 else ""
    return ", ".join(users[:3]) + more
