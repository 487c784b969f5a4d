"""One namespace as it was last compiled, and how it becomes what the next policy makes of it.

The steps of a change, and what holds after each:

1. *NICs*: those that come bring their rule lists along, those that go take theirs away if they were the last ones.
2. *Lists* of groups with other rules are built anew; what they still have in common with the old ones they keep.
3. *Terms*: some are spoken of for the first time or no more, some have other members or entries. All of that is a
   difference in which terms list an address, and in which ranges there are.
4. *Space*: these addresses change classes. A class that no address had before is added to the lists that tell it apart.
5. *Sides*: lists that are new, and those for which a class has regions that the list did not have, are compiled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from operator import is_

from enforcer.compiler.change import Change, attached, listings
from enforcer.compiler.compile import (
    Compiled,
    ListKey,
    declared,
    distinct,
    guarded,
    list_keys,
    list_parts,
    nic_program,
    profiles,
    rule_list,
    terms_in_use,
)
from enforcer.compiler.program import FAMILIES, AddressClass, AddressMap, NamespaceProgram, SidePolicy, Span
from enforcer.compiler.sides import RuleList
from enforcer.compiler.space import Lists, Ranges, Space
from enforcer.compiler.terms import ADDRESS_GROUP, GROUP, Terms, visible
from enforcer.model import Attachment, Family, Namespace, Policy
from enforcer.model.runs import same_ends

Speakers = dict[Family, Counter[str]]
"""How many lists speak of each term."""


def place_of(policy: Policy, compiled: Compiled) -> Place:
    """Make of a namespace that was compiled one that can change."""
    namespace = compiled.namespace
    seen = visible(policy, namespace.vpcs)
    speakers = {family: Counter[str]() for family in FAMILIES}
    for rules in compiled.lists.values():
        speakers[rules.family].update(rules.places.keys())
    spaces = {}
    terms = Terms(policy, namespace.vpcs)
    for family, addresses in zip(FAMILIES, compiled.program.addresses, strict=True):
        listed: dict[int, Lists] = {}
        ranges: Ranges = {}
        for term in terms_in_use(compiled.lists, terms, family):
            if not term.name.startswith(GROUP):
                for address in term.singles:
                    listed.setdefault(address, Counter())[term.name] += 1
            if found := tuple(term.ranges):
                ranges[term.name] = found
        for ecs in policy.ecs:
            for address, names in listings(policy, ecs, seen, family, speakers[family]):
                listed.setdefault(address, Counter()).update(names)
        spaces[family] = Space(ranges, listed, family)
        assert spaces[family].map == addresses
    users = Counter(key for attachment in guarded(namespace) for key in list_keys(attachment))
    return Place(compiled, seen, spaces, speakers, users)


@dataclass(slots=True)
class Place:
    """A namespace; after a change that could not be made it is of no use any more."""

    compiled: Compiled
    visible: frozenset[str]
    spaces: dict[Family, Space]
    speakers: Speakers
    users: Counter[ListKey]

    def become(self, change: Change) -> bool:
        """Become what the policy after a change makes of it; False: that takes compiling it anew."""
        namespace = attached(self.compiled.namespace, change)
        if namespace is None:
            return False
        old = self.compiled.lists
        spoken = {family: frozenset(self.speakers[family]) for family in FAMILIES} if change.speaks() else {}
        lists = self._lists(namespace, change)
        sides = dict(self.compiled.sides)
        for key in [key for key in old if lists.get(key) is not old[key]] if lists is not old else ():
            del sides[key]
        maps = list(self.compiled.program.addresses)
        for at, family in enumerate(FAMILIES):
            found = self._respaced(change, family, None if lists is old else spoken[family])
            if found is None:
                return False
            if not found.changed:
                continue
            maps[at] = self.spaces[family].map
            if found.new or found.gone:
                self._told_apart(lists, sides, family, found)
        for key, rules in lists.items() if len(sides) < len(lists) else ():
            if key not in sides:
                space = self.spaces[rules.family]
                sides[key] = rules.compile(space.inside(rules.places), key[0], space.map.displaced)
        self._settle(namespace, lists, sides, tuple(maps))
        return True

    # --- 1. and 2. ---------------------------------------------------------------------------------------------------

    def _lists(self, namespace: Namespace, change: Change) -> Mapping[ListKey, RuleList]:
        """Return the rule lists of the NICs, the very same ones where nothing is different.

        Keys are looked up for what differs alone: that takes as long for each as all the rest of a small change.
        """
        old = self.compiled.lists
        gone, come = _attachments(self.compiled.namespace, namespace)
        self.users.subtract(key for attachment in gone for key in list_keys(attachment))
        self.users.update(key for attachment in come for key in list_keys(attachment))
        if not gone and not come and not change.groups:
            return old
        lists = dict(old)
        for key in {key for attachment in chain(gone, come) for key in list_keys(attachment)}:
            if not self.users[key]:
                del self.users[key]
                lists.pop(key, None)
            elif key not in lists:
                lists[key] = rule_list(key, list_parts(change.after, key))
        for key in old if change.groups else ():
            if key in lists and not change.groups.isdisjoint(key[0]):
                parts = list_parts(change.after, key, old[key])
                if old[key].has_the_rules_of(parts):
                    old[key].parts = parts
                else:
                    lists[key] = rule_list(key, parts, old[key])
        same = {id(rules) for rules in old.values()} & {id(rules) for rules in lists.values()}
        self._heard((each for each in old.values() if id(each) not in same), -1)
        self._heard((each for each in lists.values() if id(each) not in same), 1)
        return lists if len(same) < max(len(old), len(lists)) else old

    def _heard(self, lists: Iterable[RuleList], sign: int) -> None:
        """Note that lists speak of their terms, or (−1) no more."""
        for rules in lists:
            speakers = self.speakers[rules.family]
            for name in rules.places:
                speakers[name] += sign
                if not speakers[name]:
                    del speakers[name]

    # --- 3. and 4. ---------------------------------------------------------------------------------------------------

    def _respaced(self, change: Change, family: Family, spoken: frozenset[str] | None) -> _Respaced | None:
        """Let addresses change classes; `spoken` are the terms that lists spoke of before, None: the same as now.

        None: the space is to be built anew.
        """
        space, now = self.spaces[family], self.speakers[family]
        before: Collection[str] = now if spoken is None else spoken
        new, lost = (set[str](), set[str]()) if spoken is None else (now.keys() - spoken, spoken - now.keys())
        both: Collection[str] = now if spoken is None else spoken & now.keys()
        counted = Counter[tuple[int, str]]()
        for policy, ecses, names, sign in (
            (change.before, change.gone, both, -1),
            (change.after, change.come, both, 1),
            (change.before, change.before.ecs if _groups(lost) else (), lost, -1),
            (change.after, change.after.ecs if _groups(new) else (), new, 1),
        ):
            for ecs in ecses:
                for address, listing in listings(policy, ecs, self.visible, family, names):
                    for name in listing:
                        counted[address, name] += sign
        ranges: Ranges = {}
        entries = {f"{ADDRESS_GROUP}{name}" for name in change.address_groups}
        spoken_of = (*new, *lost, *(name for name in entries if name in both))
        ranged = [name for name in spoken_of if not name.startswith(GROUP)]
        if ranged:
            old_terms, new_terms = (Terms(p, self.compiled.namespace.vpcs) for p in (change.before, change.after))
            for name in ranged:
                was = old_terms.named(name, family).spans if name in before else ()
                is_ = new_terms.named(name, family).spans if name in now else ()
                counted.update({(address, name): sign for address, sign in _singles(was, is_)})
                if (there := _ranges(is_)) != _ranges(was):
                    ranges[name] = there
        listed: dict[int, Lists] = {}
        for (address, name), times in counted.items():
            if times:
                listed.setdefault(address, Counter())[name] = times
        return self._changed(space, listed, ranges, lost)

    def _changed(
        self, space: Space, listed: Mapping[int, Lists], ranges: Ranges, lost: Collection[str]
    ) -> _Respaced | None:
        if not listed and not ranges:
            return _Respaced()
        if space.map.displaced:
            return None
        gone = space.inside(lost) if lost else {}
        found = space.with_ranges(ranges, listed) if ranges else space.changed(listed)
        if found is None:
            return None
        return _Respaced(True, found[1], {entry.number: entry for inside in gone.values() for entry in inside})

    def _told_apart(
        self, lists: Mapping[ListKey, RuleList], sides: dict[ListKey, SidePolicy], family: Family, found: _Respaced
    ) -> None:
        """Let the side policies tell new classes apart, and forget those of terms that nobody speaks of any more."""
        for key, rules in lists.items():
            if rules.family != family or key not in sides:
                continue
            if any(not rules.places.keys().isdisjoint(entry.terms) for entry in found.gone.values()):
                kept = tuple(each for each in sides[key].locals if each[0] not in found.gone)
                if len(kept) < len(sides[key].locals):
                    if not kept:  # to a list without local classes addresses make no difference: another one
                        del sides[key]
                        continue
                    sides[key] = replace(sides[key], locals=kept)
            for entry in found.new:
                if not rules.places.keys().isdisjoint(entry.terms):
                    side = rules.with_class(sides[key], entry)
                    if side is None:
                        del sides[key]
                        break
                    sides[key] = side

    # --- 5. ----------------------------------------------------------------------------------------------------------

    def _settle(
        self,
        namespace: Namespace,
        lists: Mapping[ListKey, RuleList],
        sides: Mapping[ListKey, SidePolicy],
        maps: tuple[AddressMap, ...],
    ) -> None:
        program, old = self.compiled.program, self.compiled.sides
        if namespace is not self.compiled.namespace:
            program = self._with_nics(namespace)
        if len(sides) != len(old) or not all(map(is_, sides.values(), old.values())):
            policies, pairs = distinct(sides.values()), profiles(sides)
            program = replace(program, policies=policies, sides=program.sides if pairs == program.sides else pairs)
        program = replace(program, addresses=maps)
        self.compiled = Compiled(namespace, lists, sides, program)

    def _with_nics(self, namespace: Namespace) -> NamespaceProgram:
        """Compile the NICs that have come; where all are judged, they stand where their attachments do."""
        program, was = self.compiled.program, self.compiled.namespace
        first, last = same_ends(was.attachments, namespace.attachments)
        between = namespace.attachments[first : len(namespace.attachments) - last]
        if len(program.nics) == len(was.attachments) and all(each.ref.nic.port_security for each in between):
            there = was.attachments[first : len(was.attachments) - last]
            known = {id(a): nic for a, nic in zip(there, program.nics[first:], strict=False)}
            come = (known.get(id(each)) or nic_program(each) for each in between)
            return replace(program, nics=(*program.nics[:first], *come, *program.nics[len(program.nics) - last :]))
        known = {id(a): nic for a, nic in zip(guarded(was), program.nics, strict=True)}
        nics = tuple(known.get(id(a)) or nic_program(a) for a in guarded(namespace))
        return replace(program, nics=nics, declared=declared(namespace))


@dataclass(frozen=True, slots=True)
class _Respaced:
    """Whether addresses have changed classes, which classes are new, and which have lost a term."""

    changed: bool = False
    new: tuple[AddressClass, ...] = ()
    gone: Mapping[int, AddressClass] = field(default_factory=dict)


def _attachments(old: Namespace, new: Namespace) -> tuple[list[Attachment], list[Attachment]]:
    """Return the judged NICs that one of two namespaces has alone."""
    if old is new:
        return [], []
    first, last = same_ends(old.attachments, new.attachments)
    gone, come = (some.attachments[first : len(some.attachments) - last] for some in (old, new))
    kept = {id(each) for each in gone} & {id(each) for each in come}
    one, other = ([e for e in each if id(e) not in kept and e.ref.nic.port_security] for each in (gone, come))
    return one, other


def _groups(names: Iterable[str]) -> bool:
    return any(name.startswith(GROUP) for name in names)


def _ranges(spans: Iterable[Span]) -> tuple[Span, ...]:
    return tuple(span for span in spans if span.first != span.last)


def _singles(was: Iterable[Span], now: Iterable[Span]) -> Iterator[tuple[int, int]]:
    """Yield the single addresses that have come, with 1, and those that have gone, with −1."""
    old, new = ({span.first for span in spans if span.first == span.last} for spans in (was, now))
    yield from ((address, 1) for address in new - old)
    yield from ((address, -1) for address in old - new)
