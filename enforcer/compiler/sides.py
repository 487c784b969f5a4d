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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b

from enforcer.compiler.effective import EffectiveRule
from enforcer.compiler.program import REST, AddressClass, LocalClass, Region, SidePolicy
from enforcer.compiler.regions import above, painting, stack
from enforcer.compiler.terms import Terms, anywhere
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
    """An effective rule list with the names of its rules' terms, ready to be compiled once the classes are known.

    What it has worked out it remembers: the same list is asked again whenever classes come.
    """

    def __init__(self, direction: Direction, family: Family, rules: Iterable[EffectiveRule], terms: Terms) -> None:
        self.direction = direction
        self.family = family
        self.rules = until_all_is_decided(rules)
        found = tuple(terms.of(rule.rule) for rule in self.rules)
        self.terms: tuple[str | None, ...] = tuple(term.name if term else None for term in found)
        self.places: dict[str, tuple[int, ...]] = {}
        for place, name in enumerate(self.terms):
            if name is not None:
                self.places[name] = (*self.places.get(name, ()), place)
        self._identity = digest([rule.identity() for rule in self.rules])
        unplaced = tuple(place for place, name in enumerate(self.terms) if name is None)
        self._below = painting(self.rules, unplaced, family)
        self._known: dict[Positions, tuple[Region, ...]] = {}

    def compile(
        self, inside: Mapping[str, Sequence[AddressClass]], groups: tuple[str, ...], displaced: tuple[int, ...] = ()
    ) -> SidePolicy:
        """Compile the list; `inside` gives the classes in use inside each term.

        `displaced` classes have not the number that their terms' names give: then numbers are part of the key.
        """
        asked = {entry.number: entry for name in self.places for entry in inside.get(name, ())}
        differing = {number: found for number, entry in asked.items() if (found := self.regions_of(entry.terms))}
        numbers = _local_numbers(set(differing.values()))
        local = tuple((number, numbers[found]) for number, found in sorted(differing.items()))
        kept = (
            LocalClass(REST, stack(self._below, self.rules)),
            *(LocalClass(number, found) for found, number in sorted(numbers.items(), key=lambda entry: entry[1])),
        )
        used = [_text(entry.regions) for entry in kept]
        key = f"{self.direction[0]}{self.family}_{digest(groups, self._identity, used, displaced)}"
        return SidePolicy(key, self.direction, self.family, groups, local, kept)

    def with_class(self, side: SidePolicy, entry: AddressClass) -> SidePolicy | None:
        """Add a class to a compiled list; None: it has regions that the list did not have before."""
        found = self.regions_of(entry.terms)
        if not found:
            return side
        number = next((known.number for known in side.classes[1:] if known.regions == found), None)
        if number is None:
            return None
        return replace(side, locals=tuple(sorted({*side.locals, (entry.number, number)})))

    def regions_of(self, terms: Iterable[str]) -> tuple[Region, ...]:
        """Return what the rules about a class's addresses decide before a rule for any address does."""
        places = tuple(sorted(place for name in terms for place in self.places.get(name, ())))
        if not places:
            return ()
        if places not in self._known:
            self._known[places] = stack(above(painting(self.rules, places, self.family), self._below), self.rules)
        return self._known[places]


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
