"""One family's address map, changed address by address while members, entries and terms come and go.

    space.changed({0x0A00000B: Counter({"group Sg-A": 1})})  ──▶  the new AddressMap, and the classes that are new in it

What it gives equals what `classes.address_map` gives for the terms as they then are. It answers None where it cannot
say so: when a class's own number is taken by another; then it is of no use any more. Ranges that come or go cut the
space anew where they are (`with_ranges`); lists and single addresses do not. Must not know: rules, NICs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from operator import attrgetter, itemgetter
from typing import Final

from enforcer.compiler.classes import Segments, classes_inside, map_of, own_number, pieces_of
from enforcer.compiler.program import AddressClass, AddressMap, Span
from enforcer.compiler.terms import Term
from enforcer.model import Family
from enforcer.model.runs import Runs

Lists = Counter[str]
"""By how many members or entries of a term an address is listed; changes are differences of that."""

Ranges = dict[str, tuple[Span, ...]]
"""The spans of more than one address, by the term that has them."""

_NUMBER = attrgetter("number")
MANY: Final = 64
"""Hosts of which more than so many change are sorted anew."""

_ADDRESS: Final = itemgetter(0)


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
        self._left = set[int]()
        self._numbers = _Numbers()

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

    def with_ranges(
        self, changes: Mapping[str, tuple[Span, ...]], listings: Mapping[int, Lists]
    ) -> tuple[AddressMap, tuple[AddressClass, ...]] | None:
        """Change the ranges of some terms and how addresses are listed; return what `changed` does.

        1. Where ranges have come or gone the space is cut anew; segments elsewhere stay as they are.
        2. In these windows, pieces and the addresses that are listed or left alone may have other classes.
        """
        if self.map.displaced:
            return None
        touched, windows = set(listings), list[Span]()
        for name, spans in changes.items():
            was = self._ranges.pop(name, ())
            if spans:
                self._ranges[name] = spans
            differing = set(was) ^ set(spans)
            windows += differing
            for window in differing:
                touched.update(self._alone(window))
            self._around.change(name, differing.intersection(was), differing.intersection(spans))
        for address, difference in listings.items():
            self._relisted(address, difference)
        found = set[tuple[str, ...]]()
        for window in windows:
            touched.update(self._alone(window))
            places = self._around.overlapping(window)
            entries = self._around.entries
            first, last = entries[places[0]][0].first, entries[places[-1]][0].last
            touched.update(address for address in self._listed if first <= address <= last)
            found.update(entries[at][1] for at in places)
        self._recut(windows)
        hosts: dict[int, int | None] = {}
        for address in touched:
            listed = self._listed.get(address)
            terms = self._around.of_host(address, listed or ()) if listed or self._is_alone(address) else None
            number = None if terms is None else self._numbers[terms]
            found.update(() if terms is None else (terms,))
            hosts[address] = None if number == self._around_number(address) else number
        return self._settled(hosts, found)

    def _alone(self, window: Span) -> list[int]:
        """Return the addresses in and beside a window that are segments of their own."""
        spans = (self._around.entries[at][0] for at in self._around.overlapping(window))
        return [span.first for span in spans if span.first == span.last]

    def _is_alone(self, address: int) -> bool:
        span = self._around.entries[self._around.at(address)][0]
        return span.first == span.last

    def _recut(self, windows: Collection[Span]) -> None:
        """Make pieces of the segments as they are now, from the first window to the last.

        What a window changes ends within the pieces beside those that it touches: these begin or end with a segment
        that is what it was, and the next one is of another class.
        """
        if not windows:
            return
        pieces = self.map.pieces
        low = max(0, self._piece(min(windows).first) - 1)
        high = self._piece(max(window.last for window in windows)) + 2
        old = pieces[low:high]
        of = Span(old[0][0].first, old[-1][0].last)
        new = tuple(pieces_of(self._around.between(of), self._numbers, of))
        if old == new:
            return
        self._users.update(number for _, number in new)
        self._users.subtract(number for _, number in old)
        self._pieces[low:high] = [piece.first for piece, _ in new]
        self._left.update(number for _, number in old)
        self.map = replace(self.map, pieces=(*pieces[:low], *new, *pieces[high:]))

    def _settled(
        self, hosts: Mapping[int, int | None], found: Collection[tuple[str, ...]]
    ) -> tuple[AddressMap, tuple[AddressClass, ...]] | None:
        """Put hosts in their classes, and take up those of the term sets found that are new and in use."""
        entries = {self._numbers[terms]: AddressClass(self._numbers[terms], terms) for terms in found}
        taken = any(self._classes.get(number, entry).terms != entry.terms for number, entry in entries.items())
        if taken or len(entries) < len(found):
            return None
        new = {number: entry for number, entry in entries.items() if number not in self._classes}
        self._put(hosts, new)
        used = tuple(entry for number, entry in new.items() if self._users[number])
        return self.map, used

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
        return self.map.pieces[self._piece(address)][1]

    def _piece(self, address: int) -> int:
        """Return the place of the piece that holds an address."""
        return bisect_right(self._pieces, address) - 1

    def _put(self, hosts: Mapping[int, int | None], new: Mapping[int, AddressClass]) -> None:
        there, left = self.map.hosts, {*self._left, *new}
        self._left = set()
        changes: dict[int, int | None] = {}
        for address, number in hosts.items():
            at = there.place(address, _ADDRESS)
            found, before = there[at] if at < len(there) else (-1, -1)
            if found == address:
                self._users[before] -= 1
                left.add(before)
            if number is not None:
                self._users[number] += 1
            if number != (before if found == address else None):
                changes[address] = number
        gone = {number for number in left if not self._users[number]}
        self.map = replace(self.map, hosts=_after(there, changes), classes=self._reclassed(new.values(), gone))

    def _reclassed(self, new: Iterable[AddressClass], gone: Collection[int]) -> tuple[AddressClass, ...]:
        """Take up classes and let go of others; return all of them, by number."""
        come = [entry for entry in new if entry.number not in gone]
        left = [self._classes.pop(number) for number in gone if number in self._classes]
        if not come and not left:
            return self.map.classes
        self._classes.update((entry.number, entry) for entry in come)
        classes = list(self.map.classes)
        for entry in left:
            del classes[bisect_left(classes, entry.number, key=_NUMBER)]
        for entry in come:
            insort(classes, entry, key=_NUMBER)
        self._classed(come, left)
        return tuple(classes)

    def _classed(self, come: Collection[AddressClass], left: Collection[AddressClass]) -> None:
        """Note which classes have come to be inside terms, and which are no more; by number, as all are."""
        inside = self._inside
        if inside is None:
            return
        gone = {entry.number for entry in left}
        for term in {term for entry in (*come, *left) for term in entry.terms}:
            there = (entry for entry in inside.get(term, ()) if entry.number not in gone)
            found = sorted((*there, *(entry for entry in come if term in entry.terms)), key=_NUMBER)
            if found:
                inside[term] = found
            else:
                del inside[term]


class _Numbers(dict[tuple[str, ...], int]):
    """The own numbers of classes by their terms; each is found once."""

    def __missing__(self, terms: tuple[str, ...]) -> int:
        found = self[terms] = own_number(terms)
        return found


def _after(hosts: Runs[tuple[int, int]], changes: Mapping[int, int | None]) -> Runs[tuple[int, int]]:
    """Return hosts in the order of their addresses after some have come, gone (None) or changed classes."""
    if len(changes) > MANY:
        found = {**dict(hosts), **changes}
        return Runs.of((address, number) for address, number in sorted(found.items()) if number is not None)
    for address, number in changes.items():
        at = hosts.place(address, _ADDRESS)
        known = at < len(hosts) and hosts[at][0] == address
        hosts = hosts.spliced(at, at + known, () if number is None else ((address, number),))
    return hosts
