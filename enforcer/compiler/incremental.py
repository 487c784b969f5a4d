"""Compile a policy that differs little from the last one: what has not changed is not made again.

    compiler = Compiler()
    compiler.compile(policy)     # all of it
    compiler.compile(later)      # what differs

Policies share the objects that did not change (`agent.desired` sees to that), so identity tells what did:

1. Nothing but members that have no interface here: their addresses change classes (`space`). A class that no address
   had before is added to the rule lists that tell it apart.
2. Nothing but rules: the lists of the groups concerned are compiled, unless they speak of terms that nobody spoke of.
3. Anything else is compiled anew.

Programs are equal to what `compile_policy` gives, but for one thing: classes and regions that no address has any more
may stay in a side policy, where nothing asks for them. They go when the list is compiled anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from enforcer.compiler.compile import (
    Compiled,
    ListKey,
    compile_namespace,
    distinct,
    nic_program,
    rule_list,
    terms_in_use,
)
from enforcer.compiler.program import FAMILIES, AddressClass, NamespaceProgram, NicProgram, Program, SidePolicy
from enforcer.compiler.sides import RuleList
from enforcer.compiler.space import Lists, Space, same_ends
from enforcer.model import Ecs, Family, Layout, Policy, host_layout

_CONSTANT = ("version", "limits", "marks", "revoke", "vpcs", "peerings", "load_balancers", "address_groups")


@dataclass(slots=True)
class _Place:
    """A namespace as it was last compiled."""

    compiled: Compiled
    visible: frozenset[str]
    spaces: dict[Family, Space]
    speakers: dict[Family, Counter[str]]


class Compiler:
    """Compiles one policy after the other; `layout` says where the NICs are."""

    def __init__(self, layout: Callable[[Policy], Layout] = host_layout) -> None:
        self._lay_out = layout
        self._policy: Policy | None = None
        self._layout = Layout(())
        self._places: list[_Place] = []

    def compile(self, policy: Policy) -> Program:
        """Compile a policy; the same policies in the same order give the same Programs."""
        before, self._policy = self._policy, None  # whatever fails here: the next one is compiled anew
        if before is None or not self._changed(before, policy):
            self._layout = self._lay_out(policy)
            compiled = [compile_namespace(policy, namespace) for namespace in self._layout.namespaces]
            self._places = [_place(policy, each) for each in compiled]
        self._policy = policy
        return Program(tuple(place.compiled.program for place in self._places), self._layout)

    def _changed(self, before: Policy, policy: Policy) -> bool:
        """Change the places; False: that is more than can be done here."""
        if any(not _same(getattr(before, field), getattr(policy, field)) for field in _CONSTANT):
            return False
        gone, come = _difference(before.ecs, policy.ecs)
        if any(nic.interface is not None for ecs in (*gone, *come) for nic in ecs.nics):
            return False
        groups = {group.name for part in _difference(before.security_groups, policy.security_groups) for group in part}
        if groups:
            return not gone and not come and all(_with_rules(place, policy, groups) for place in self._places)
        return all(_with_members(place, policy, gone, come) for place in self._places)


def _same(one: Any, other: Any) -> bool:
    return one is other or one == other


def _difference(before: Sequence[Any], after: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return what is gone and what has come; what is in both has kept its order."""
    first, last = same_ends(before, after)
    old, new = before[first : len(before) - last], after[first : len(after) - last]
    kept = {id(each) for each in old} & {id(each) for each in new}
    return tuple(e for e in old if id(e) not in kept), tuple(e for e in new if id(e) not in kept)


def _place(policy: Policy, compiled: Compiled) -> _Place:
    vpcs = compiled.namespace.vpcs
    visible = frozenset((*vpcs, *(peer for vpc in vpcs for peer in policy.peers_of(vpc))))
    speakers = {family: Counter[str]() for family in FAMILIES}
    for rules in compiled.lists.values():
        speakers[rules.family].update(rules.places.keys())
    spaces = {}
    for family, addresses in zip(FAMILIES, compiled.program.addresses, strict=True):
        terms = terms_in_use(compiled.lists, compiled.terms, family)
        listed: dict[int, Lists] = {}
        for term in terms:
            if not term.name.startswith("group "):
                for address in term.singles:
                    listed.setdefault(address, Counter())[term.name] += 1
        for ecs in policy.ecs:
            for address, names in _listings(policy, ecs, visible, family, speakers[family]):
                listed.setdefault(address, Counter()).update(names)
        spaces[family] = Space(terms, listed, family)
        assert spaces[family].map == addresses
    return _Place(compiled, visible, spaces, speakers)


def _listings(
    policy: Policy, ecs: Ecs, visible: frozenset[str], family: Family, used: Mapping[str, int]
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the addresses of an ECS with the terms in use that list them as members."""
    for nic in ecs.nics:
        names = tuple(name for group in nic.security_groups if (name := f"group {group}") in used)
        if names and policy.vpc_of_subnet(nic.subnet).name in visible:
            for address in nic.addresses:
                if address.version == family:
                    yield int(address), names


# --- members ----------------------------------------------------------------------------------------------------------


def _with_members(place: _Place, policy: Policy, gone: Iterable[Ecs], come: Iterable[Ecs]) -> bool:
    """Change the classes of members' addresses."""
    compiled, program = place.compiled, place.compiled.program
    maps, sides = list(program.addresses), dict(compiled.sides)
    for at, family in enumerate(FAMILIES):
        changes = Counter[tuple[int, str]]()
        for ecses, sign in ((gone, -1), (come, 1)):
            for ecs in ecses:
                for address, names in _listings(policy, ecs, place.visible, family, place.speakers[family]):
                    changes.update({(address, name): sign for name in names})
        by_address: dict[int, Lists] = {}
        for (address, name), times in changes.items():
            if times:
                by_address.setdefault(address, Counter())[name] = times
        if by_address:
            found = place.spaces[family].changed(by_address)
            if found is None or not _with_classes(compiled.lists, sides, family, found[1]):
                return False
            maps[at] = found[0]
    policies = program.policies if sides == compiled.sides else distinct(sides.values())
    program = replace(program, addresses=tuple(maps), policies=policies)
    place.compiled = replace(compiled, sides=sides, program=program)
    return True


def _with_classes(
    lists: Mapping[ListKey, RuleList], sides: dict[ListKey, SidePolicy], family: Family, new: Iterable[AddressClass]
) -> bool:
    """Add new classes to the side policies that tell them apart; False: one has regions that a list did not have."""
    for entry in new:
        for key, rules in lists.items():
            if rules.family == family and not rules.places.keys().isdisjoint(entry.terms):
                side = rules.with_class(sides[key], entry)
                if side is None:
                    return False
                sides[key] = side
    return True


# --- rules ------------------------------------------------------------------------------------------------------------


def _with_rules(place: _Place, policy: Policy, groups: set[str]) -> bool:
    """Compile the rule lists of some groups anew, if they speak of no other terms than all lists did."""
    compiled = place.compiled
    lists: dict[ListKey, RuleList] = dict(compiled.lists)
    sides = dict(compiled.sides)
    for key, old in compiled.lists.items():
        if groups.isdisjoint(key[0]):
            continue
        rules = rule_list(policy, key, compiled.terms)
        speakers = place.speakers[rules.family]
        if rules.places.keys() - speakers.keys():
            return False
        speakers.update(rules.places.keys() - old.places.keys())
        for name in old.places.keys() - rules.places.keys():
            speakers[name] -= 1
            if not speakers[name]:
                return False
        lists[key] = rules
        addresses = place.spaces[rules.family]
        sides[key] = rules.compile(addresses.inside(rules.places), key[0], addresses.map.displaced)
    changed = {key for key in sides if sides[key] is not compiled.sides[key]}
    nics = _with_sides(place, sides, changed)
    program = replace(compiled.program, nics=nics, policies=distinct(sides.values()))
    place.compiled = replace(compiled, lists=lists, sides=sides, program=program)
    return True


def _with_sides(place: _Place, sides: Mapping[ListKey, SidePolicy], changed: set[ListKey]) -> tuple[NicProgram, ...]:
    """Return the NICs, those of changed lists with their new side policies."""
    program: NamespaceProgram = place.compiled.program
    guarded = [each for each in place.compiled.namespace.attachments if each.ref.nic.port_security]
    groups = {key[0] for key in changed}
    return tuple(
        nic_program(attachment, sides) if attachment.ref.nic.security_groups in groups else nic
        for attachment, nic in zip(guarded, program.nics, strict=True)
    )
