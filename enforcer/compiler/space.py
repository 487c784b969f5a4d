"""One family's address map, changed address by address while members, entries and terms come and go.

    space.changed({0x0A00000B: Counter({"group Sg-A": 1})})  ──▶  the new AddressMap, and the classes that are new in it

What it gives equals what `classes.address_map` gives for the terms as they then are. It answers None where it cannot
say so: when a class's own number is taken by another. Ranges that come or go cut the space anew (`with_ranges`); lists
and single addresses do not. Must not know: rules, NICs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from enforcer.compiler.classes import Segments, classes_inside, map_of, own_number
from enforcer.compiler.program import AddressClass, AddressMap, Span
from enforcer.compiler.terms import Term
from enforcer.model import Family

Lists = Counter[str]
"""By how many members or entries of a term an address is listed; changes are differences of that."""

Ranges = dict[str, tuple[Span, ...]]
"""The spans of more than one address, by the term that has them."""

MOST_SPLICED = 64
"""So many addresses are put into the sorted hosts one by one; more are sorted anew."""


class Space:
    """The address map of one family, and which terms list which address how often."""

    def __init__(self, ranges: Ranges, listed: Mapping[int, Lists], family: Family) -> None:
        self._ranges = ranges
        self._around = Segments((Term(name, spans) for name, spans in ranges.items()), family)
        self._listed = listed if isinstance(listed, dict) else dict(listed)
        self.map = map_of(self._around, self._listed, family)
        self._pieces = [piece.first for piece, _ in self.map.pieces]
        self._classes = {entry.number: entry for entry in self.map.classes}
        self._inside: dict[str, list[AddressClass]] | None = None
        self._users = Counter(number for _, number in (*self.map.hosts, *self.map.pieces))

    def changed(self, changes: Mapping[int, Lists]) -> tuple[AddressMap, tuple[AddressClass, ...]] | None:
        """Change how addresses are listed; return the new map, and the classes that were not in the old one.

        None: a number is taken; build the space anew.
        """
        if self.map.displaced:
            return None
        new: dict[int, AddressClass] = {}
        hosts: dict[int, int | None] = {}
        for address, difference in changes.items():
            terms = self._around.of_host(address, self._relisted(address, difference))
            number = own_number(terms)
            there = self._classes.get(number) or new.get(number)
            if there is None:
                new[number] = AddressClass(number, terms)
            elif there.terms != terms:
                return None
            hosts[address] = None if number == self._around_number(address) else number
        self._put(hosts, new)
        return self.map, tuple(new.values())

    def with_ranges(self, changes: Mapping[str, tuple[Span, ...]], listings: Mapping[int, Lists]) -> Space:
        """Return another space, with other ranges of some terms and other lists of addresses; this one is used up."""
        ranges = {name: spans for name, spans in {**self._ranges, **changes}.items() if spans}
        for address, difference in listings.items():
            self._relisted(address, difference)
        return Space(ranges, self._listed, self.map.family)

    def _relisted(self, address: int, difference: Lists) -> Lists:
        """Change how one address is listed; return the terms that list it now."""
        known = Counter(self._listed.get(address))
        known.update(difference)
        self._listed[address] = known = +known
        if not known:
            del self._listed[address]
        return known

    def inside(self, names: Iterable[str]) -> dict[str, list[AddressClass]]:
        """Return the classes inside some terms."""
        if self._inside is None:
            self._inside = classes_inside(self.map.classes)
        return {name: self._inside[name] for name in names if name in self._inside}

    def _around_number(self, address: int) -> int:
        at = bisect_left(self._pieces, address + 1) - 1
        return self.map.pieces[at][1]

    def _put(self, hosts: Mapping[int, int | None], new: Mapping[int, AddressClass]) -> None:
        spliced, left = self.map.hosts, set[int]()
        many = dict(spliced) if len(hosts) > MOST_SPLICED else None
        for address, number in hosts.items():
            at = bisect_left(spliced, (address, -1))
            there = at < len(spliced) and spliced[at][0] == address
            before = (many.get(address) if many is not None else None) or (spliced[at][1] if there else None)
            if before is not None:
                self._users[before] -= 1
                left.add(before)
            if number is not None:
                self._users[number] += 1
            if many is not None:
                many.pop(address, None)
                many.update({} if number is None else {address: number})
            elif before != number:
                entry = () if number is None else ((address, number),)
                spliced = (*spliced[:at], *entry, *spliced[at + there :])
        if many is not None:
            spliced = tuple(sorted(many.items()))
        self._classes |= new
        gone = {number for number in left if not self._users[number]}
        classes = self.map.classes
        if new or gone:
            self._classes = {number: entry for number, entry in self._classes.items() if number not in gone}
            classes = tuple(self._classes[number] for number in sorted(self._classes))
            self._inside = None
        self.map = replace(self.map, hosts=spliced, classes=classes)


def same_ends(one: Sequence[object], other: Sequence[object]) -> tuple[int, int]:
    """Return how many items two sequences share at their beginning and, of the rest, at their end.

    Long stretches are compared at once, in the interpreter's own loops: thousands of items take microseconds.
    """
    least = min(len(one), len(other))
    first = _shared(least, lambda low, high: one[low:high] == other[low:high])
    ends = len(one), len(other)
    last = _shared(
        least - first, lambda low, high: one[ends[0] - high : ends[0] - low] == other[ends[1] - high : ends[1] - low]
    )
    return first, last


def _shared(most: int, same: Callable[[int, int], bool]) -> int:
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if same(low, middle):
            low = middle
        else:
            high = middle - 1
    return low
