"""Regions of a local class, sorted by how the kernel finds them: exact keys first, what is left by default last.

    points      class . protocol . sub-key     hash: single ports, and ranges of a few
    ranges      class . protocol . interval    interval map: what is neither point nor default
    protocols   class . protocol               hash: the protocol's default, if all its sub-keys are decided
    classes     class                          hash: the class's default, if all protocols are decided

The levels are asked in this order and the first that answers decides. So a range may swallow the points inside it, and
a default needs no range at all: an interval map costs a packet more with every interval (it compares 256 at once),
a hash does not. Real groups name ports one by one and whole protocols; their interval maps stay empty or tiny.

They are asked for the packet's local class first and then, unless that was it, for `REST`: what the rules for any
address decide is said once and not once for each class. Only where a class has a default, which would hide it, it is
said again: such a class *leans* on the rest, and has other entries when the rest has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any

from enforcer.compiler.program import ANY_PROTOCOL, ANY_SUBKEY, Decider, Region, Span, Subkeys

Rows = dict[Span, list[Region]]
"""Regions by the protocols that they cover; the regions of a row are in the order of their sub-keys."""

POINT, RANGE, PROTOCOL, CLASS = range(4)
"""The levels, in the order in which they are asked."""

FEW = 16
"""A region of at most that many sub-keys becomes points."""


@dataclass(slots=True, eq=False)
class Levels:  # noqa: PLW1641  it is filled once it is there
    """The entries of one local class on each level, in the order of the Program; `classes` has one or none.

    Points, which are most of them, are kept as the regions of one protocol and few sub-keys that they are in: while a
    policy is loaded the entries of all of its lists are there at once.
    """

    few: list[Region] = field(default_factory=list)
    ranges: list[tuple[int, Subkeys, Decider]] = field(default_factory=list)
    protocols: list[tuple[int, Decider]] = field(default_factory=list)
    classes: list[tuple[Decider]] = field(default_factory=list)
    leans: bool = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Levels) and (self.leans, self.rows) == (other.leans, other.rows)

    @property
    def points(self) -> list[tuple[int, int, Decider]]:
        """Protocol, sub-key and decider of each point."""
        return [
            (region.protocols.first, subkey, region.decider)
            for region in self.few
            for subkey in range(region.subkeys.first, region.subkeys.last + 1)
        ]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many entries each level has."""
        spans = (region.subkeys for region in self.few)
        points = sum(span.last - span.first + 1 for span in spans)
        return (points, len(self.ranges), len(self.protocols), len(self.classes))

    @property
    def named(self) -> tuple[frozenset[int], ...]:
        """The protocols in the keys of each level; `ANY_PROTOCOL`'s first where keys have none."""
        points = frozenset(region.protocols.first for region in self.few)
        others = (frozenset(row[0] for row in level) for level in (self.ranges, self.protocols))
        return (points, *others, frozenset(ANY_PROTOCOL.first for _ in self.classes))

    def __getitem__(self, level: int) -> Sequence[tuple[Any, ...]]:
        """Return the entries of one level, the decider last in each."""
        return self.points if level == POINT else (self.ranges, self.protocols, self.classes)[level - RANGE]

    @property
    def rows(self) -> tuple[Sequence[tuple[Any, ...]], ...]:
        """The entries, level by level."""
        return (self.points, self.ranges, self.protocols, self.classes)


def levels_of_rest(regions: Iterable[Region]) -> Levels:
    """Sort what the rules for any address decide into levels."""
    found, rows = Levels(), rows_of(regions)
    _sort(rows, _class_default(rows), found)
    return found


def levels_above(regions: Iterable[Region], rest: Rows) -> Levels:
    """Sort what is asked for before `rest` into levels.

    A row that one of its rules mostly decides gets that rule as its default, with what `rest` decides as exceptions;
    of another row only what differs from `rest` is said.
    """
    found, rows = Levels(), rows_of(regions)
    wide = {span: regions for span, regions in rows.items() if _mostly_one(regions)}
    found.leans = bool(wide)
    if sum(span.last - span.first + 1 for span in wide) > (ANY_PROTOCOL.last + 1) // 2:
        complete = _over(rows, rest, ANY_PROTOCOL)
        if (default := _class_default(complete)) is not None:
            _sort(complete, default, found)
            return found
    for protocols, row in rows.items():
        if protocols in wide:
            _sort(_over({protocols: row}, rest, protocols), None, found)
        else:
            for protocol in range(protocols.first, protocols.last + 1):
                _sort_row(protocol, row, None, found)
    return found


def rows_of(regions: Iterable[Region]) -> Rows:
    """Sort regions by the protocols that they cover."""
    rows: Rows = {}
    for region in regions:
        rows.setdefault(region.protocols, []).append(region)
    return rows


def _sort(rows: Rows, default: Decider | None, found: Levels) -> None:
    if default is not None:
        found.classes.append((default,))
    for protocols, regions in rows.items():
        fallback = _most_common(regions) if _whole(regions) else None
        for protocol in range(protocols.first, protocols.last + 1):
            if fallback is not None and fallback != default:
                found.protocols.append((protocol, fallback))
            _sort_row(protocol, regions, fallback, found)


def _mostly_one(regions: list[Region]) -> bool:
    sizes = Counter[Decider]()
    for region in regions:
        sizes[region.decider] += region.subkeys.last - region.subkeys.first + 1
    return max(sizes.values()) > (ANY_SUBKEY.last + 1) // 2


def _over(rows: Rows, rest: Rows, protocols: Span) -> Rows:
    """Return the rows of some protocols as they are decided, by `rows` first and then by `rest`."""
    starts = {span.first for span in (*rows, *rest)} | {span.last + 1 for span in (*rows, *rest)}
    inside = {start for start in starts if protocols.first < start <= protocols.last}
    found: Rows = {}
    for first, after in pairwise([protocols.first, *sorted(inside), protocols.last + 1]):
        span = Span(first, after - 1)
        upper, lower = (
            next((regions for at, regions in each.items() if at.first <= first <= at.last), []) for each in (rows, rest)
        )
        if filled := _filled(span, upper, lower):
            found[span] = filled
    return found


def _filled(protocols: Span, upper: list[Region], lower: list[Region]) -> list[Region]:
    """Fill the gaps of `upper` with what `lower` has there; both are in the order of their sub-keys."""
    filled: list[Region] = []
    here, at = ANY_SUBKEY.first, 0
    for region in (*upper, None):
        gap = Span(here, region.subkeys.first - 1 if region else ANY_SUBKEY.last)
        while at < len(lower) and lower[at].subkeys.last < gap.first:
            at += 1
        for below in islice(lower, at, None):
            if below.subkeys.first > gap.last:
                break
            first, last = max(gap.first, below.subkeys.first), min(gap.last, below.subkeys.last)
            if first <= last:
                filled.append(Region(protocols, Span(first, last), below.decider))
        if region:
            filled.append(Region(protocols, region.subkeys, region.decider))
            here = region.subkeys.last + 1
    return filled


def _class_default(rows: Rows) -> Decider | None:
    """Return who decides most protocols whole, if every packet of the class is decided by some rule."""
    decided = sum(span.last - span.first + 1 for span, regions in rows.items() if _whole(regions))
    if decided != ANY_PROTOCOL.last + 1:
        return None
    whole = Counter[Decider]()
    for span, regions in rows.items():
        if len(regions) == 1:
            whole[regions[0].decider] += span.last - span.first + 1
    return whole.most_common(1)[0][0] if whole else None


def _whole(regions: list[Region]) -> bool:
    """Say whether a row's regions, which are disjoint, cover all sub-keys."""
    covered = sum(region.subkeys.last - region.subkeys.first + 1 for region in regions)
    return covered == ANY_SUBKEY.last + 1


def _most_common(regions: list[Region]) -> Decider:
    sizes = Counter[Decider]()
    for region in regions:
        sizes[region.decider] += region.subkeys.last - region.subkeys.first + 1
    return sizes.most_common(1)[0][0]


def _sort_row(protocol: int, regions: list[Region], fallback: Decider | None, found: Levels) -> None:
    """Sort one protocol's regions, which are in the order of their sub-keys.

    A range goes on over the points behind it if the same rule decides on their far side; `reach` is how far the points
    that adjoin the last range go. What the default decides is left out, and no range may swallow it.
    """
    reach = -1
    for region in regions:
        span = region.subkeys
        if region.decider == fallback:
            continue
        if span.last - span.first < FEW:
            alone = region.protocols.first == region.protocols.last
            found.few.append(region if alone else Region(Span(protocol, protocol), span, region.decider))
            reach = span.last if span.first == reach + 1 else reach
            continue
        before = found.ranges[-1] if found.ranges else None
        if before is not None and before[0] == protocol and before[2] == region.decider and reach + 1 == span.first:
            found.ranges[-1] = (protocol, Span(before[1].first, span.last), region.decider)
        else:
            found.ranges.append((protocol, span, region.decider))
        reach = span.last
