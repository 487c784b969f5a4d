"""Compile one effective rule list into a side policy: local classes, each with its disjoint regions.

The steps, and what holds after each:

1. Rules after the first one that covers everything (any address, all protocols) can decide nothing: they are cut.
2. The rules for any address are painted once: `REST`. Every global class is in some of the list's terms; what the
   rules of these terms decide before a rule for any address does are its regions, and nothing else is. Classes with
   the same rules have the same regions, computed once.
3. Classes without a region of their own are `REST` and need no entry. The numbers of the others are hashes of their
   regions, so that they stay when other classes change.
4. The key stands for the rules, the regions in use and nothing else. Which class has which local number follows from
   it, so `locals` may grow and shrink under one key, and a number in it never comes to mean something different.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

from enforcer.compiler.effective import EffectiveRule
from enforcer.compiler.program import REST, LocalClass, Region, SidePolicy
from enforcer.compiler.regions import above, painting, stack
from enforcer.compiler.terms import Term, Terms, anywhere
from enforcer.model import Direction, Family

Positions = tuple[int, ...]


def digest(*parts: object) -> str:
    """Hash content to ten hex digits (40 bits): names of objects that must not depend on anything else."""
    return blake2b("\0".join(map(repr, parts)).encode(), digest_size=5).hexdigest()


def until_all_is_decided(rules: Iterable[EffectiveRule]) -> tuple[EffectiveRule, ...]:
    """Cut the list after the first rule for any address and all protocols."""
    kept = []
    for rule in rules:
        kept.append(rule)
        if rule.rule.protocol is None and anywhere(rule.rule):
            break
    return tuple(kept)


class RuleList:
    """An effective rule list with the term of each rule, ready to be compiled once the classes are known."""

    def __init__(self, direction: Direction, family: Family, rules: Iterable[EffectiveRule], terms: Terms) -> None:
        self.direction = direction
        self.family = family
        self.rules = until_all_is_decided(rules)
        self.terms: tuple[Term | None, ...] = tuple(terms.of(rule.rule) for rule in self.rules)

    def compile(
        self, classes_of: Mapping[str, tuple[int, ...]], groups: tuple[str, ...], displaced: tuple[int, ...] = ()
    ) -> SidePolicy:
        """Compile the list; `classes_of` gives the global classes inside each term.

        `displaced` classes have not the number that their terms' names give: then numbers are part of the key.
        """
        unplaced: Positions = tuple(place for place, term in enumerate(self.terms) if term is None)
        below = painting(self.rules, unplaced, self.family)
        matching: dict[int, list[int]] = {}
        for place, term in enumerate(self.terms):
            if term is not None:
                for number in classes_of.get(term.name, ()):
                    matching.setdefault(number, []).append(place)
        known: dict[Positions, tuple[Region, ...]] = {}

        def regions_at(places: Positions) -> tuple[Region, ...]:
            if places not in known:
                known[places] = stack(above(painting(self.rules, places, self.family), below), self.rules)
            return known[places]

        differing = {
            number: found for number, places in sorted(matching.items()) if (found := regions_at(tuple(places)))
        }
        numbers = _local_numbers(set(differing.values()))
        local = tuple((number, numbers[found]) for number, found in differing.items())
        classes = (
            LocalClass(REST, stack(below, self.rules)),
            *(LocalClass(number, found) for found, number in sorted(numbers.items(), key=lambda entry: entry[1])),
        )
        used = [_text(entry.regions) for entry in classes]
        key = f"{self.direction[0]}{self.family}_{digest(groups, self.identity(), used, displaced)}"
        return SidePolicy(key, self.direction, self.family, groups, local, classes)

    def identity(self) -> str:
        """Hash the rules in their order."""
        return digest([rule.identity() for rule in self.rules])


def _local_numbers(contents: set[tuple[Region, ...]]) -> dict[tuple[Region, ...], int]:
    """Number region lists by their content, 1 … 0x7fffffff; on a collision the next free number is taken."""
    numbers: dict[tuple[Region, ...], int] = {}
    taken: set[int] = set()
    for text, found in sorted((_text(found), found) for found in contents):
        number = int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big") & 0x7FFF_FFFF or 1
        while number in taken:
            number = number % 0x7FFF_FFFF + 1
        taken.add(number)
        numbers[found] = number
    return numbers


def _text(regions: tuple[Region, ...]) -> str:
    return ";".join(
        f"{r.protocols.first}-{r.protocols.last} {r.subkeys.first}-{r.subkeys.last} {r.decider.action} {r.decider}"
        for r in regions
    )
