"""From the Ruleset that is in force to another: what is added, filled anew and deleted, object by object; pure.

Like `difference`, but between two Rulesets that are known whole, so that only what differs is touched. The same three
steps, for the same reasons: *prepare* adds what nothing refers to yet, *switch* is the commit, *sweep* deletes what
nothing refers to any more. Without anything to prepare or to sweep, a change is one transaction.

What may change in place, and what a packet in flight finds then, is said in docs/design.md §4.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from enforcer.model.runs import differing, same_ends
from enforcer.ruleset.classify import HostElements
from enforcer.ruleset.names import COUNTING, GENERATION
from enforcer.ruleset.nft import Chain, Element, Key, Ruleset, Set, Table
from enforcer.ruleset.verdicts import Verdicts

_Named = TypeVar("_Named", Chain, Set)


class Unequal(Exception):
    """An object of the same name is of another kind: only a full load can change that."""


@dataclass(frozen=True, slots=True)
class WakeTable:
    """A table that somebody may have put to sleep."""

    family: str


@dataclass(frozen=True, slots=True)
class AddSet:
    """A set or map that was not there, with its elements."""

    family: str
    set: Set


@dataclass(frozen=True, slots=True)
class AddElements:
    """Elements that were not there."""

    family: str
    set: Set
    elements: Sequence[Element]


@dataclass(frozen=True, slots=True)
class DeleteElements:
    """Elements that are there."""

    family: str
    set: Set
    elements: Sequence[Element]


@dataclass(frozen=True, slots=True)
class AddChain:
    """A chain that was not there, with its rules."""

    family: str
    chain: Chain


@dataclass(frozen=True, slots=True)
class Refill:
    """A chain gets other rules."""

    family: str
    chain: Chain


@dataclass(frozen=True, slots=True)
class EmptyChain:
    """A chain that will be deleted loses its rules, which may name other chains and sets."""

    family: str
    name: str


@dataclass(frozen=True, slots=True)
class DeleteChain:
    """A chain that nothing refers to."""

    family: str
    name: str


@dataclass(frozen=True, slots=True)
class EmptySet:
    """A set or map loses all its elements."""

    family: str
    name: str


@dataclass(frozen=True, slots=True)
class DeleteSet:
    """A set or map that nothing refers to."""

    family: str
    name: str


Operation = (
    WakeTable
    | AddSet
    | AddElements
    | DeleteElements
    | AddChain
    | Refill
    | EmptyChain
    | DeleteChain
    | EmptySet
    | DeleteSet
)


@dataclass(slots=True)
class Changes:
    """The operations of each of the three transactions; `retired` are the counting maps and chains that go."""

    prepare: list[Operation] = field(default_factory=list)
    switch: list[Operation] = field(default_factory=list)
    sweep: list[Operation] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)


def changes(before: Ruleset, after: Ruleset) -> Changes:
    """Compute what leads from one Ruleset to the other. Raises Unequal."""
    found = Changes()
    gone_chains: list[tuple[str, Chain]] = []
    gone_sets: list[tuple[str, Set]] = []
    for old, new in zip(before.tables, after.tables, strict=True):
        if old is new:
            continue
        if old.timeouts != new.timeouts:
            raise Unequal("timeouts")
        gone_chains += _chains(old, new, found)
        gone_sets += _sets(old, new, found)
    found.sweep += [EmptyChain(family, chain.name) for family, chain in gone_chains if chain.rules]
    # Rules first, for they ask sets; sets before chains, for elements jump to chains.
    found.sweep += [DeleteSet(family, entry.name) for family, entry in gone_sets]
    found.sweep += [DeleteChain(family, chain.name) for family, chain in gone_chains]
    found.retired += [entry.name for _, entry in gone_sets if entry.counted]
    found.retired += [chain.name for _, chain in gone_chains if chain.name.startswith(COUNTING)]
    # Chains come before the elements that jump to them, and sets before the rules that ask them.
    found.prepare.sort(key=lambda each: _ORDER[type(each)])
    return found


_ORDER = {AddSet: 0, AddElements: 0, AddChain: 1}


def _differing(old: Sequence[_Named], new: Sequence[_Named]) -> tuple[dict[str, _Named], list[_Named]]:
    """Return what of the old is not in the new by identity, by name, and what is new; most of them are the same."""
    before, after = differing(old, new)
    same = {id(each) for each in before} & {id(each) for each in after}
    return {each.name: each for each in before if id(each) not in same}, [e for e in after if id(e) not in same]


def _chains(old: Table, new: Table, found: Changes) -> list[tuple[str, Chain]]:
    """Add and refill chains; return those that are gone."""
    there, differing = _differing(old.chains, new.chains)
    for chain in differing:
        known = there.pop(chain.name, None)
        if known is None:
            (found.switch if _at_once(chain) else found.prepare).append(AddChain(new.family, chain))
        elif (known.hook, known.comment) != (chain.hook, chain.comment):
            raise Unequal(chain.name)
        elif known.rules != chain.rules:
            found.switch.append(Refill(new.family, chain))
    at_once = [chain for chain in there.values() if _at_once(chain)]
    # A chain goes with its device, on some kernels and not on others; one without a hook may be added to either.
    found.switch += [AddChain(new.family, Chain(chain.name, ())) for chain in at_once if chain.hook]
    found.switch += [EmptyChain(new.family, chain.name) for chain in at_once if chain.rules]
    found.switch += [DeleteChain(new.family, chain.name) for chain in at_once]
    return [(new.family, chain) for chain in there.values() if not _at_once(chain)]


def _at_once(chain: Chain) -> bool:
    """Say whether a chain comes and goes with the commit itself: it is hooked to a device, or names the generation."""
    return chain.hook is not None or chain.name.startswith(GENERATION.format(""))


def _sets(old: Table, new: Table, found: Changes) -> list[tuple[str, Set]]:
    """Add sets and change elements; return the sets that are gone."""
    there, differing = _differing(old.sets, new.sets)
    for entry in differing:
        known = there.pop(entry.name, None)
        if known is None:
            found.prepare.append(AddSet(new.family, entry))
        elif _kind(known) != _kind(entry):
            raise Unequal(entry.name)
        elif isinstance(known.elements, Verdicts) and isinstance(entry.elements, Verdicts):
            _verdicts(new.family, entry, known.elements, entry.elements, found)
        elif isinstance(known.elements, HostElements) and isinstance(entry.elements, HostElements):
            _put(new.family, entry, *known.elements.differing(entry.elements), found)
        elif known.elements is not entry.elements:
            _elements(new.family, known, entry, found)
    return [(new.family, entry) for entry in there.values()]


def _kind(entry: Set) -> tuple[object, ...]:
    return (entry.key, entry.value, entry.interval, entry.counted, entry.size)


def _verdicts(family: str, entry: Set, before: Verdicts, after: Verdicts, found: Changes) -> None:
    """Add what is said of new classes before anybody is told of them, and delete the old when nobody is any more."""
    for operations, make, elements in (
        (found.prepare, AddElements, after.beside(before)),
        (found.switch, DeleteElements, before.differing(after)),
        (found.switch, AddElements, after.differing(before)),
        (found.sweep, DeleteElements, before.beside(after)),
    ):
        if elements:
            operations.append(make(family, entry, elements))


def _elements(family: str, known: Set, entry: Set, found: Changes) -> None:
    first, last = same_ends(known.elements, entry.elements)
    parts = (each.elements[first : len(each.elements) - last] for each in (known, entry))
    before, after = ({element.key: element for element in part} for part in parts)
    gone = tuple(element for key, element in before.items() if after.get(key) != element)
    new = tuple(element for key, element in after.items() if before.get(key) != element)
    if entry.grows:  # what nobody has any more goes later
        found.sweep += [DeleteElements(family, entry, late)] if (late := _without(gone, after)) else []
        gone = _without(gone, before.keys() - after.keys())
    _put(family, entry, gone, new, found)


def _put(family: str, entry: Set, gone: Sequence[Element], new: Sequence[Element], found: Changes) -> None:
    found.switch += [DeleteElements(family, entry, gone)] if gone else []
    found.switch += [AddElements(family, entry, new)] if new else []


def _without(elements: tuple[Element, ...], keys: Collection[Key]) -> tuple[Element, ...]:
    return tuple(element for element in elements if element.key not in keys)
