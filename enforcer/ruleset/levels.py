"""Regions of a side policy, sorted by how the kernel finds them: exact keys first, what is left by default last.

    points      class . protocol . sub-key     hash: single ports, and ranges of a few
    ranges      class . protocol . interval    interval map: what is neither point nor default
    protocols   class . protocol               hash: the protocol's default, if all its sub-keys are decided
    classes     class                          hash: the class's default, if all protocols are decided

The levels are asked in this order and the first that answers decides. So a range may swallow the points inside it, and
a default needs no range at all: an interval map costs a packet more with every interval (it compares 256 at once),
a hash does not. Real groups name ports one by one and whole protocols; their interval maps stay empty or tiny.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from enforcer.compiler.program import ANY_PROTOCOL, ANY_SUBKEY, Decider, LocalClass, Region, SidePolicy, Span

FEW = 16
"""A region of at most that many sub-keys becomes points."""


@dataclass(slots=True)
class Levels:
    """The entries of each level, with the local class in front, in the order of the Program."""

    points: list[tuple[int, int, int, Decider]] = field(default_factory=list)
    ranges: list[tuple[int, int, Span, Decider]] = field(default_factory=list)
    protocols: list[tuple[int, int, Decider]] = field(default_factory=list)
    classes: list[tuple[int, Decider]] = field(default_factory=list)


def levels(policy: SidePolicy) -> Levels:
    """Sort the regions of all local classes into levels."""
    found = Levels()
    for entry in policy.classes:
        _sort(entry, found)
    return found


def _sort(entry: LocalClass, found: Levels) -> None:
    rows: dict[Span, list[Region]] = {}
    for region in entry.regions:
        rows.setdefault(region.protocols, []).append(region)
    default = _class_default(rows)
    if default is not None:
        found.classes.append((entry.number, default))
    for protocols, regions in rows.items():
        for protocol in range(protocols.first, protocols.last + 1):
            fallback = _most_common(regions) if _whole(regions) else None
            if fallback is not None and fallback != default:
                found.protocols.append((entry.number, protocol, fallback))
            _sort_row(entry.number, protocol, regions, fallback, found)


def _class_default(rows: dict[Span, list[Region]]) -> Decider | None:
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


def _sort_row(number: int, protocol: int, regions: list[Region], fallback: Decider | None, found: Levels) -> None:
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
            found.points += [(number, protocol, subkey, region.decider) for subkey in range(span.first, span.last + 1)]
            reach = span.last if span.first == reach + 1 else reach
            continue
        before = found.ranges[-1] if found.ranges else None
        if (
            before is not None
            and before[:2] == (number, protocol)
            and before[3] == region.decider
            and reach + 1 == span.first
        ):
            found.ranges[-1] = (number, protocol, Span(before[2].first, span.last), region.decider)
        else:
            found.ranges.append((number, protocol, span, region.decider))
        reach = span.last
