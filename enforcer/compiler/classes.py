"""Cut the address space into classes: addresses that belong to the same terms, and so are judged alike.

The steps, and what holds after each:

1. *Ranges*: every span of more than one address opens at its first address and closes after its last one. Sweeping over
   these borders in order, the set of open terms is constant between two of them: the segments cover the space without
   a gap, whoever is a member of what.
2. *Hosts*: a single address is in the terms that list it and in those of the segment around it. So a member that comes
   or goes changes the entry of its own address and nothing else.
3. A class is a set of terms. Its number is a hash of the terms' *names*, so that it keeps its number while other
   terms, members or rules come and go, and a number never comes to mean something else.
4. Segments become `pieces` (an interval map in the kernel), hosts a hash map. A piece may swallow segments of one
   address, which become hosts, for these are looked up first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b

from enforcer.compiler.program import ADDRESS_BITS, LAST_CLASS, UNCLASSED, AddressClass, AddressMap, Span
from enforcer.compiler.terms import Term
from enforcer.model import Family
from enforcer.model.runs import Runs

FIRST_CLASS = UNCLASSED + 1


def own_number(terms: tuple[str, ...]) -> int:
    """Hash a term set to the number that its class has, unless another class has it already."""
    if not terms:
        return UNCLASSED
    digest = blake2b("\0".join(terms).encode(), digest_size=4).digest()
    return FIRST_CLASS + int.from_bytes(digest, "big") % (LAST_CLASS - FIRST_CLASS + 1)


def class_numbers(sets: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
    """Number the term sets by their content; on a collision the next free number, in sorted order, is taken."""
    numbers: dict[tuple[str, ...], int] = {(): UNCLASSED}
    taken: set[int] = set()
    for terms in sorted(sets):
        if not terms:
            continue
        number = own_number(terms)
        while number in taken:
            number = number + 1 if number < LAST_CLASS else FIRST_CLASS
        taken.add(number)
        numbers[terms] = number
    return numbers


def segments(terms: Iterable[Term], family: Family) -> list[tuple[Span, tuple[str, ...]]]:
    """Sweep over the borders of all ranges: disjoint segments that cover the space, each with its open terms."""
    borders: dict[int, list[tuple[bool, str]]] = {}
    for term in terms:
        for span in term.ranges:
            borders.setdefault(span.first, []).append((True, term.name))
            borders.setdefault(span.last + 1, []).append((False, term.name))
    end = 1 << ADDRESS_BITS[family]
    found: list[tuple[Span, tuple[str, ...]]] = []
    here, open_terms = 0, frozenset[str]()
    for border in [*sorted(borders), end]:
        if border > here:
            found.append((Span(here, border - 1), tuple(sorted(open_terms))))
            here = border
        # Spans of one term do not overlap, but they may touch: what closes and opens at the same border is open.
        changes = borders.get(border, ())
        open_terms = open_terms.difference(name for opens, name in changes if not opens)
        open_terms = open_terms.union(name for opens, name in changes if opens)
    return found


def singles(terms: Iterable[Term]) -> dict[int, list[str]]:
    """Return the names of the terms that list an address by itself, by address; sorted as the terms are."""
    found: dict[int, list[str]] = {}
    for term in terms:
        for address in term.singles:
            found.setdefault(address, []).append(term.name)
    return found


class Segments:
    """The segments of a family, to be asked for the terms around an address; ranges may come and go."""

    def __init__(self, terms: Iterable[Term], family: Family) -> None:
        terms = tuple(terms)
        self.entries = segments(terms, family)
        self._firsts = [span.first for span, _ in self.entries]
        self._end = 1 << ADDRESS_BITS[family]
        self._borders = Counter(
            border for term in terms for span in term.ranges for border in (span.first, span.last + 1)
        )

    def change(self, name: str, gone: Iterable[Span], come: Iterable[Span]) -> None:
        """Take ranges away from a term and give it others; what they do not touch stays."""
        for span in gone:
            self._paint(span, lambda terms: tuple(each for each in terms if each != name))
            self._release(span.first)
            self._release(span.last + 1)
        for span in come:
            self._border(span.first)
            self._border(span.last + 1)
            self._paint(span, lambda terms: tuple(sorted((*terms, name))))

    def overlapping(self, window: Span) -> range:
        """Return the places of the segments that a window touches, and of those of one address beside them."""
        first, last = map(self.at, window)
        while first and self.entries[first - 1][0].first == self.entries[first - 1][0].last:
            first -= 1
        while last + 1 < len(self.entries) and self.entries[last + 1][0].first == self.entries[last + 1][0].last:
            last += 1
        return range(first, last + 1)

    def _paint(self, span: Span, painted: Callable[[tuple[str, ...]], tuple[str, ...]]) -> None:
        for at in range(bisect_left(self._firsts, span.first), bisect_right(self._firsts, span.last)):
            there, terms = self.entries[at]
            self.entries[at] = there, painted(terms)

    def _border(self, border: int) -> None:
        self._borders[border] += 1
        at = bisect_left(self._firsts, border)
        if border < self._end and (at == len(self._firsts) or self._firsts[at] != border):
            (first, last), terms = self.entries[at - 1]
            self.entries[at - 1 : at] = [(Span(first, border - 1), terms), (Span(border, last), terms)]
            self._firsts.insert(at, border)

    def _release(self, border: int) -> None:
        """Let go of a border; if it was the last one there, the terms on both sides are the same by now."""
        self._borders[border] -= 1
        if not self._borders[border]:
            del self._borders[border]
            if 0 < border < self._end:
                at = bisect_left(self._firsts, border)
                joined = Span(self.entries[at - 1][0].first, self.entries[at][0].last), self.entries[at - 1][1]
                self.entries[at - 1 : at + 1] = [joined]
                del self._firsts[at]

    def at(self, address: int) -> int:
        """Return the place of the segment that holds the address."""
        return bisect_right(self._firsts, address) - 1

    def between(self, span: Span) -> list[tuple[Span, tuple[str, ...]]]:
        """Return the segments of a span that begins and ends with one."""
        return self.entries[self.at(span.first) : self.at(span.last) + 1]

    def around(self, address: int) -> tuple[str, ...]:
        """Return the terms whose ranges hold the address, sorted."""
        return self.entries[self.at(address)][1]

    def of_host(self, address: int, listed: Iterable[str]) -> tuple[str, ...]:
        """Return all terms of an address that some terms list by itself."""
        return tuple(sorted({*listed, *self.around(address)}))


def address_map(terms: Iterable[Term], family: Family) -> AddressMap:
    """Build the map from every address of a family to its class."""
    terms = tuple(terms)
    return map_of(Segments(terms, family), singles(terms), family)


def map_of(around: Segments, listed_by: Mapping[int, Iterable[str]], family: Family) -> AddressMap:
    """Build the same from segments and the terms that list each single address."""
    listed = {address: around.of_host(address, names) for address, names in listed_by.items()}
    numbers = class_numbers({*listed.values(), *(names for _, names in around.entries)})
    hosts = {span.first: numbers[names] for span, names in around.entries if span.first == span.last}
    pieces = pieces_of(around.entries, numbers, Span(0, (1 << ADDRESS_BITS[family]) - 1))
    hosts.update((address, numbers[names]) for address, names in listed.items())
    covered = _drop_redundant(sorted(hosts.items()), pieces)
    used = {*(number for _, number in covered), *(number for _, number in pieces)}
    classes = sorted((number, names) for names, number in numbers.items() if number in used)
    displaced = tuple(number for number, names in classes if number != own_number(names))
    entries = tuple(AddressClass(*entry) for entry in classes)
    return AddressMap(family, entries, Runs.of(covered), tuple(pieces), displaced)


def pieces_of(
    entries: Iterable[tuple[Span, tuple[str, ...]]], numbers: Mapping[tuple[str, ...], int], of: Span
) -> list[tuple[Span, int]]:
    """Join the segments of more than one address to pieces of a span without gaps, each with its class.

    The span begins where a piece does, and its last piece ends with it; among its segments is one of many addresses.
    """
    pieces: list[tuple[Span, int]] = []
    begin, before, end = of.first, -1, -1
    for (first, last), names in entries:
        if first == last:
            continue
        number = numbers[names]
        if number != before and before >= 0:
            # This closes the gap that hosts before this segment left; they are looked up before the pieces.
            pieces.append((Span(begin, end), before))
            begin = end + 1
        before, end = number, last
    pieces.append((Span(begin, of.last), before))
    return pieces


def _drop_redundant(hosts: list[tuple[int, int]], pieces: list[tuple[Span, int]]) -> tuple[tuple[int, int], ...]:
    """Leave out hosts whose class is that of the piece around them; both lists are sorted by address."""
    kept, at = [], 0
    for address, number in hosts:
        while pieces[at][0].last < address:
            at += 1
        if pieces[at][1] != number:
            kept.append((address, number))
    return tuple(kept)


def classes_inside(classes: Iterable[AddressClass]) -> dict[str, list[AddressClass]]:
    """Return the classes inside each term."""
    inside: dict[str, list[AddressClass]] = {}
    for entry in classes:
        for term in entry.terms:
            inside.setdefault(term, []).append(entry)
    return inside
