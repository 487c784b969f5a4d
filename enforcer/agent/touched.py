"""Whether a small change leaves a valid policy valid, judged by what it touches alone.

    1. read the touched items; what is the same in them stays the same object
    2. what each of them names must exist, and what it takes must be free
    3. what is gone, or is not as it was, must be named by nobody else

`vouched_for` answers with the new items where all three hold, else with None: then either something is wrong, or it is
not for this module to say. It must never vouch for what the whole policy's checks would refuse.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from enforcer.agent.indexes import Indexes, nics_of, same_place
from enforcer.agent.lately import Lately
from enforcer.agent.resources import NICS, nic_key
from enforcer.model.groups import AddressGroup, Rule, SecurityGroup
from enforcer.model.instances import DEFAULT_GROUP, Ecs, Nic
from enforcer.model.parse import SECTIONS
from enforcer.model.words.wording import Item

Items = Mapping[str, Lately[Item]]
"""By section and name, in the order of the names; never changed once somebody has them."""

Resources = Mapping[str, str]
QUICK = ("address_groups", "security_groups", "ecs")
HOSTS = ("external_hosts", "load_balancers")
"""What shares its names with ECSs."""


@dataclass(frozen=True, slots=True)
class Touched:
    """The items and indexes after a change, and section and name of those that it touched."""

    items: Items
    indexes: Indexes
    touched: frozenset[tuple[str, str]]


def vouched_for(
    items: Items, indexes: Indexes, old: Resources, new: Resources, keys: Collection[str]
) -> Touched | None:
    """Return the items after the changes of `keys`, from `old` resources to `new` ones, if they are surely valid."""
    touched = dict.fromkeys(_owner(key) for key in keys)
    if any(section not in QUICK for section, _ in touched):
        return None
    read: dict[str, dict[str, Item | None]] = {}
    try:
        for section, name in touched:
            read.setdefault(section, {})[name] = _read(section, name, items, old, new)
    except ValidationError:
        return None
    found = {**items, **{section: items[section].after(items_read) for section, items_read in read.items()}}
    for section in {section for section, name in touched if name not in items[section]}:
        found[section] = Lately(dict(sorted(found[section].items())))
    moved = _moved(items, found, indexes, [name for section, name in touched if section == "ecs"])
    if moved is None or not all(_fits(section, name, items, found) for section, name in touched):
        return None
    return Touched(found, moved, frozenset(touched))


def _owner(key: str) -> tuple[str, str]:
    """Return section and name of the item that a resource belongs to."""
    section, _, name = key.partition("/")
    return ("ecs", name.partition("/")[0]) if section == NICS else (section, name)


# --- 1. read ---------------------------------------------------------------------------------------------------------


def _read(section: str, name: str, items: Items, old: Resources, new: Resources) -> Item | None:
    text = new.get(f"{section}/{name}")
    if text is None:
        return None
    data = json.loads(text)
    before = items[section].get(name)
    if section == "ecs":
        assert before is None or isinstance(before, Ecs)
        nics = tuple(_nics(name, data["nics"], nics_of(before), items, old, new))
        if before is not None and old[f"{section}/{name}"] == text and [nic.name for nic in nics] == data["nics"]:
            return before.model_copy(update={"nics": nics})  # its checks ask for their names alone
        return Ecs.model_validate({**data, "nics": list(nics)})
    if isinstance(before, SecurityGroup) and "rules" in data:
        data["rules"] = list(_rules(data["rules"], json.loads(old[f"{section}/{name}"]).get("rules", []), before))
    return SECTIONS[section].model_validate(data)


def _nics(
    ecs: str, names: list[str], before: Mapping[str, Nic], items: Items, old: Resources, new: Resources
) -> Iterator[Nic]:
    for name in names:
        key = nic_key(ecs, name)
        if name in before and old.get(key) == new[key]:
            yield before[name]
        else:
            data = json.loads(new[key])
            same = name in before and _with_groups(before[name], json.loads(old[key]), data, items)
            yield same or Nic.model_validate(data)


def _with_groups(nic: Nic, old: dict[str, Any], new: dict[str, Any], items: Items) -> Nic | None:
    """Return a NIC of which nothing but the groups is another, if all that is to be said about these is known."""
    found = new.get("security_groups")
    if not isinstance(found, list) or {**old, "security_groups": found} != new:
        return None
    known = items["security_groups"]
    named = all(isinstance(group, str) and (group in known or group == DEFAULT_GROUP) for group in found)
    if not found or not named or len({*found}) < len(found):
        return None
    return nic.model_copy(update={"security_groups": tuple(found)})


def _rules(data: list[Any], before: list[Any], group: SecurityGroup) -> Iterator[Any]:
    """Yield the rules of a group: as they were read before where they have an id and are written the same."""
    known = {raw["id"]: (raw, rule) for raw, (_, rule) in zip(before, group.listed(), strict=True) if raw.get("id")}
    for raw in data:
        written, rule = known.get(str(raw.get("id")), (None, None)) if isinstance(raw, dict) else (None, None)
        yield rule if rule is not None and written == raw else raw


# --- 2. and 3. check -------------------------------------------------------------------------------------------------


def _fits(section: str, name: str, before: Items, after: Items) -> bool:
    old, new = before[section].get(name), after[section].get(name)
    match new:
        case AddressGroup():
            same = isinstance(old, AddressGroup) and old.ip_version == new.ip_version
            return same or not _names_address_group(name, after)
        case SecurityGroup():
            return all(_remote_fits(rule, after) for rule in new.rules)
        case Ecs():
            groups = after["security_groups"]
            free = not any(name in after[section] for section in HOSTS)
            known = all(group in groups or group == DEFAULT_GROUP for nic in new.nics for group in nic.security_groups)
            return free and known
        case None if section == "address_groups":
            return not _names_address_group(name, after)
        case None if section == "security_groups":
            return name == DEFAULT_GROUP or not _names_group(name, after)
    return section == "ecs"


def _remote_fits(rule: Rule, items: Items) -> bool:
    if rule.remote_group is not None:
        return rule.remote_group in items["security_groups"] or rule.remote_group == DEFAULT_GROUP
    if rule.remote_address_group is None:
        return True
    found = items["address_groups"].get(rule.remote_address_group)
    return isinstance(found, AddressGroup) and found.ip_version == rule.family


def _groups(items: Items) -> Iterator[SecurityGroup]:
    return (group for group in items["security_groups"].values() if isinstance(group, SecurityGroup))


def _names_address_group(name: str, items: Items) -> bool:
    return any(rule.remote_address_group == name for group in _groups(items) for rule in group.rules)


def _names_group(name: str, items: Items) -> bool:
    if any(rule.remote_group == name for group in _groups(items) for rule in group.rules):
        return True
    return any(name in nic.security_groups for ecs in items["ecs"].values() if isinstance(ecs, Ecs) for nic in ecs.nics)


def _moved(before: Items, after: Items, indexes: Indexes, names: Collection[str]) -> Indexes | None:
    """Return the indexes after the ECSs of these names have changed; None where a look-up cannot say that they fit."""
    gone: list[Nic] = []
    come: list[Nic] = []
    for name in names:
        old, new = before["ecs"].get(name), after["ecs"].get(name)
        assert old is None or isinstance(old, Ecs)
        assert new is None or isinstance(new, Ecs)
        there, here = nics_of(old), nics_of(new)
        staying = {nic for nic in there.keys() & here.keys() if same_place(there[nic], here[nic])}
        first_stays = old is not None and new is not None and old.nics[0].name == new.nics[0].name
        if name in indexes.named and not (first_stays and there.keys() == staying):
            return None
        gone += [nic for key, nic in there.items() if key not in staying]
        come += [nic for key, nic in here.items() if key not in staying]
    return indexes.moved(gone, come)
