"""Which kernel objects does a change write? What two Rulesets have, and do not have, in common, counted. Pure.

Most objects are named by their content (`enforcer/ruleset/names.py`): what is in both is left alone. Fixed sets and
chains stay, and their elements and rules are compared. `None` for the old one: nothing of ours is there yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from enforcer.ruleset.nft import Chain, Ruleset, Set, Table


@dataclass(frozen=True, slots=True)
class Count:
    """How many objects of one kind come and go."""

    added: int = 0
    removed: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.added + other.added, self.removed + other.removed)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


@dataclass(frozen=True, slots=True)
class Written:
    """What changes in the tables of a namespace; `first`: our tables come, or go, as a whole."""

    netns: str
    sets: Count
    maps: Count
    elements: Count
    chains: Count
    rules: Count
    first: bool = False

    def __bool__(self) -> bool:
        return self.first or any((self.sets, self.maps, self.elements, self.chains, self.rules))


def written(netns: str, old: Ruleset | None, new: Ruleset | None) -> Written:
    """Count what differs between two rulesets of one generation."""
    before, after = (_tables(ruleset) for ruleset in (old, new))
    found = [Count()] * 5
    for family in dict.fromkeys((*before, *after)):
        compared = _compared(before.get(family, _NOTHING), after.get(family, _NOTHING))
        found = [one + other for one, other in zip(found, compared, strict=True)]
    sets, maps, elements, chains, rules = found
    return Written(netns, sets, maps, elements, chains, rules, first=old is None or new is None)


_NOTHING = Table("inet", "", (), (), ())


def _tables(ruleset: Ruleset | None) -> dict[str, Table]:
    return {} if ruleset is None else {table.family: table for table in ruleset.tables}


def _compared(before: Table, after: Table) -> list[Count]:
    old_sets, new_sets = ({each.name: each for each in table.sets} for table in (before, after))
    old_chains, new_chains = ({each.name: each for each in table.chains} for table in (before, after))
    come, gone = [new_sets[n] for n in new_sets.keys() - old_sets], [old_sets[n] for n in old_sets.keys() - new_sets]
    elements = Count(sum(len(each.elements) for each in come), sum(len(each.elements) for each in gone))
    for name in old_sets.keys() & new_sets.keys():
        elements += _elements(old_sets[name], new_sets[name])
    rules = Count()
    for name in old_chains.keys() | new_chains.keys():
        rules += _rules(old_chains.get(name), new_chains.get(name))
    return [
        Count(sum(each.value is None for each in come), sum(each.value is None for each in gone)),
        Count(sum(each.value is not None for each in come), sum(each.value is not None for each in gone)),
        elements,
        Count(len(new_chains.keys() - old_chains), len(old_chains.keys() - new_chains)),
        rules,
    ]


def _elements(old: Set, new: Set) -> Count:
    if old.elements == new.elements:
        return Count()
    before, after = set(old.elements), set(new.elements)
    return Count(len(after - before), len(before - after))


def _rules(old: Chain | None, new: Chain | None) -> Count:
    before, after = (_texts(chain) for chain in (old, new))
    return Count(len(after - before), len(before - after)) if before != after else Count()


def _texts(chain: Chain | None) -> set[object]:
    rules: Iterable[object] = () if chain is None else chain.rules
    return set(rules)
