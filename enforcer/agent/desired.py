"""What is wanted as of a revision: the resources, the policy that they join to, and what a change would make of them.

    Desired ──with_changes──▶ Desired, or PolicyError with everything that would be wrong

A change is accepted or refused as the whole policy would be on this host (S18), but only what it touches is read again:
all other objects are the very same ones afterwards, so that whoever remembers what he made of them need not make it
again. Where `touched` cannot vouch for a change, all objects are checked against each other like those of a file.

Pure and never changed in place: several threads may ask one. Example:
`Desired.of(resources).with_changes([Change("nics/web/eth0", "{…}")]).policy`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from functools import cached_property, partial
from operator import attrgetter
from typing import Any

from pydantic import ValidationError

from enforcer.agent.indexes import Indexes
from enforcer.agent.lately import Lately
from enforcer.agent.resources import NICS, changed, difference, document_of, head_of, items_of, nic_key
from enforcer.agent.store.interface import Change
from enforcer.agent.touched import Items, vouched_for
from enforcer.errors import PolicyError
from enforcer.model.groups import SecurityGroup, default_group
from enforcer.model.instances import DEFAULT_GROUP, Ecs
from enforcer.model.layout import host_layout
from enforcer.model.parse import SECTIONS, Known, parse_data
from enforcer.model.policy import Policy
from enforcer.model.runs import Runs
from enforcer.model.topology import Eip, LoadBalancer, Peering, Vpc
from enforcer.model.words.wording import Item

MOST_QUICK = 2000
"""Changes of more resources than this at once are checked like a whole file."""

UNDEFINED_DEFAULT = default_group()

Near = tuple[Policy, frozenset[tuple[str, str]]]
"""A policy that was joined before, and section and name of each item that is, or may be, another one since."""


class Desired:
    """Resources and what they mean; `items` has the objects by section and name, in the order of the keys."""

    def __init__(
        self, resources: Mapping[str, str], items: Items, indexes: Indexes | None = None, near: Near | None = None
    ) -> None:
        self.resources = resources if isinstance(resources, Lately) else Lately(resources)
        self.items = items
        self._given, self._near = indexes, near
        self._next: tuple[tuple[Change, ...], Desired] | None = None

    @classmethod
    def of(cls, resources: Mapping[str, str]) -> Desired:
        """Return what resources mean; raise PolicyError if they are no valid policy."""
        policy = _item_by_item(resources) or parse_data(document_of(resources), {})
        host_layout(policy)
        return cls.joined(resources, policy)

    @classmethod
    def joined(cls, resources: Mapping[str, str], policy: Policy, before: Desired | None = None) -> Desired:
        """Return what resources mean, given the policy that they join to; what is as `before` is taken from there."""
        items: dict[str, Lately[Item]] = {}
        for section in SECTIONS:
            named = {_name(section, item): item for item in getattr(policy, section)}
            names = sorted(name for name in named if f"{section}/{name}" in resources)
            found = {name: named[name] for name in names}
            if before is not None:
                kept = before.items[section]
                same = (name for name in names if name in kept and _same(section, name, before.resources, resources))
                found.update({name: kept[name] for name in same})
            items[section] = Lately(found)
        return cls(resources, items)

    def with_changes(self, changes: Collection[Change]) -> Desired:
        """Return what is wanted after changes; raise PolicyError with all that would be wrong, and nothing changes.

        The changes must leave each ECS with the NICs that it lists, and no others (ValueError: a bug of the caller).
        Who asks for the same changes next gets the same answer without work: the API asks first, the loop again.
        """
        wanted = tuple(changes)
        if self._next is None or self._next[0] != wanted:
            self._next = (wanted, self._after(wanted))
        return self._next[1]

    def vouches_for(self, changes: Collection[Change]) -> bool:
        """Say whether the changes are surely right, and known to be by a look at what they touch alone."""
        wanted = tuple(changes)
        if self._next is None or self._next[0] != wanted:
            after = self._quickly(wanted)
            if after is None:
                return False
            self._next = (wanted, after)
        return True

    def becoming(self, resources: Mapping[str, str], policy: Policy) -> tuple[tuple[Change, ...], Desired]:
        """Return the changes that lead to a policy that is known to be valid, and what is wanted after them."""
        changes = difference(self.resources, resources)
        after = Desired.joined(resources, policy, self)
        self._next = (changes, after)
        return changes, after

    def _quickly(self, changes: Collection[Change]) -> Desired | None:
        """Return what is wanted after few changes, None where something may be wrong with them."""
        keys = {change.key for change in changes}
        resources = changed(self.resources, changes)
        _belong_together(resources, keys)
        quick = vouched_for(self.items, self.indexes, self.resources, resources, keys)
        return None if quick is None else Desired(resources, quick.items, quick.indexes, self._before(quick.touched))

    def _after(self, changes: Collection[Change]) -> Desired:
        keys = {change.key for change in changes}
        if len(keys) <= MOST_QUICK and (quick := self._quickly(changes)) is not None:
            return quick
        resources = changed(self.resources, changes)
        _belong_together(resources, keys)
        data, known = self._draft(resources, keys)
        policy = parse_data(data, known)
        host_layout(policy)
        return Desired.joined(resources, policy, self)

    @cached_property
    def policy(self) -> Policy:
        """The policy, its items in the order of their keys."""
        if (near := self._near) is not None:
            (policy, touched), self._near = near, None
            sections = {section: self._patched(policy, section, touched) for section in {each for each, _ in touched}}
            return policy.model_copy(update=sections)
        return Policy.model_validate(head_of(self.resources)).model_copy(
            update={section: self._joined(section) for section in SECTIONS}
        )

    def _before(self, touched: frozenset[tuple[str, str]]) -> Near | None:
        """Return the policy from which that after a change of these items is made: only the items are looked at."""
        near = self._near
        known: Policy | None = self.__dict__.get("policy")
        if known is not None:
            return known, touched
        return None if near is None else (near[0], near[1] | touched)

    def _joined(self, section: str) -> Runs[Item]:
        found = tuple(self.items[section].values())
        undefined = section == "security_groups" and DEFAULT_GROUP not in self.items[section]
        return Runs.of((*found, UNDEFINED_DEFAULT) if undefined else found)

    def _patched(self, policy: Policy, section: str, touched: Collection[tuple[str, str]]) -> Runs[Item]:
        """Return a section with what is touched put in the place of what was there before; ECSs come and go there."""
        found = Runs.of(getattr(policy, section))
        key = partial(_name, section) if section == "eips" else attrgetter("name")
        for name in (name for each, name in touched if each == section):
            at = found.place(name, key)
            item = self.items[section].get(name)
            there = at < len(found) and _name(section, found[at]) == name
            if section != "ecs" and (item is None or not there):
                return self._joined(section)
            found = found.spliced(at, at + there, () if item is None else (item,))
        return found

    @cached_property
    def indexes(self) -> Indexes:
        """What the policy's NICs have taken."""
        return self._given or Indexes.of(self.policy)

    def _draft(self, resources: Mapping[str, str], keys: Collection[str]) -> tuple[dict[str, Any], Known]:
        """Return the data of a policy file, of what is not touched its names only, and the objects for that.

        What is touched stands last: where two items disagree, it is blamed.
        """
        touched = {*keys, *(f"ecs/{key.split('/')[1]}" for key in keys if key.startswith(f"{NICS}/"))}
        data = head_of(resources)
        known: dict[tuple[str, int], Item] = {}
        for section in SECTIONS:
            listed = data[section] = []
            for name, item in self.items[section].items():
                if f"{section}/{name}" not in touched:
                    known[section, len(listed)] = item
                    listed.append(_outline(item))
        written = document_of({key: value for key, value in resources.items() if _part_of(key, touched)})
        for section in SECTIONS:
            data[section] += written.get(section, [])
        return data, known


def _item_by_item(resources: Mapping[str, str]) -> Policy | None:
    """Return what resources mean, None if anything is wrong with them: that is said by who reads them at once.

    The plain data of 60,000 rules would take 46 MB for a moment, which stay with the process.
    """
    data, known = head_of(resources), dict[tuple[str, int], Item]()
    try:
        for section, written in items_of(resources):
            listed = data.setdefault(section, [])
            known[section, len(listed)] = item = SECTIONS[section].model_validate(written)
            listed.append({"name": item.name} if isinstance(item, SecurityGroup) else _outline(item))
        return parse_data(data, known)
    except (ValidationError, PolicyError):
        return None


def _name(section: str, item: Any) -> str:
    return str(item.address) if section == "eips" else item.name


def _same(section: str, name: str, old: Mapping[str, str], new: Mapping[str, str]) -> bool:
    key = f"{section}/{name}"
    if old.get(key) != new[key]:
        return False
    return section != "ecs" or all(
        old.get(nic_key(name, nic)) == new[nic_key(name, nic)] for nic in json.loads(new[key])["nics"]
    )


def _part_of(key: str, touched: Collection[str]) -> bool:
    return key in touched or (key.startswith(f"{NICS}/") and f"ecs/{key.split('/')[1]}" in touched)


def _belong_together(resources: Mapping[str, str], keys: Collection[str]) -> None:
    owners = {key.split("/")[1] for key in keys if key.startswith(("ecs/", f"{NICS}/"))}
    listed = {name: json.loads(resources[f"ecs/{name}"])["nics"] for name in owners if f"ecs/{name}" in resources}
    there = {nic_key(name, nic) for name, nics in listed.items() for nic in nics}
    loose = {key for key in keys if key.startswith(f"{NICS}/") and key in resources} - there
    if missing := loose | {key for key in there if key not in resources}:
        raise ValueError(f"NICs and ECSs do not belong together: {', '.join(sorted(missing))}")


def _outline(item: Item) -> dict[str, Any]:
    """Return of an object what checks read and places show: its names, and where there are lists."""
    match item:
        case Ecs():
            nics = [{"name": nic.name, "addresses": [], "security_groups": []} for nic in item.nics]
            return {"name": item.name, "nics": nics}
        case Vpc():
            return {"name": item.name, "subnets": [{"name": subnet.name} for subnet in item.subnets], "routes": []}
        case SecurityGroup():
            ids = (rule.id if rule.id != f"rule-{index + 1}" else None for index, rule in item.listed())
            return {"name": item.name, "rules": [{"id": each} for each in ids]}
        case Peering():
            return {"name": item.name, "vpcs": []}
        case LoadBalancer():
            return {"name": item.name, "listeners": [{"backends": []} for _ in item.listeners]}
        case Eip():
            return {}
    return {"name": _name("", item)}
