"""Sets of packets, exactly: which packets a rule is about, and whether others together are about all of them.

A packet, as far as one direction and ethertype of S8 go, is a point: protocol × sub-key × peer address. The sub-key is
the destination port of TCP and UDP, `type << 8 | code` of ICMP, and nothing that rules ask about otherwise. A rule is a
`Box`: one protocol or all, some intervals of sub-keys, some intervals of addresses. A `Cover` is a union of boxes.

How a `Cover` answers whether it holds a box:

1. It keeps one list of address intervals for each protocol and each interval of sub-keys that some box had.
2. The sub-keys of the box that is asked about are cut where one of those intervals begins or ends, so that all
   packets of a piece are in the same intervals of sub-keys.
3. The cover holds the box exactly if, for each piece, the addresses of these intervals together hold the box's.

Must not know: rules, policies, order. Numbers are plain integers; intervals are inclusive.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

Interval = tuple[int, int]
EVERY_SUBKEY: Interval = (0, 0xFFFF)
ALL_PROTOCOLS = None
PROTOCOL_COUNT = 256


@dataclass(frozen=True, slots=True)
class Box:
    """The packets of one protocol (None: of all), some sub-keys and some addresses; no interval means no packet."""

    protocol: int | None
    subkeys: tuple[Interval, ...]
    addresses: tuple[Interval, ...]

    def meets(self, other: Box) -> bool:
        """Say whether there is a protocol and a sub-key that both have; addresses are not asked."""
        if None not in (self.protocol, other.protocol) and self.protocol != other.protocol:
            return False
        return any(a[0] <= b[1] and b[0] <= a[1] for a in self.subkeys for b in other.subkeys)


class Intervals:
    """A growing set of integers as sorted intervals that neither overlap nor touch."""

    def __init__(self, intervals: Iterable[Interval] = ()) -> None:
        self._first: list[int] = []
        self._last: list[int] = []
        for interval in intervals:
            self.add(interval)

    def add(self, interval: Interval) -> None:
        """Add all numbers of an interval."""
        first, last = interval
        begin = bisect_left(self._last, first - 1)  # the first interval that overlaps this one or touches it
        end = bisect_right(self._first, last + 1)
        if begin < end:
            first, last = min(first, self._first[begin]), max(last, self._last[end - 1])
        self._first[begin:end] = [first]
        self._last[begin:end] = [last]

    def within(self, interval: Interval) -> list[Interval]:
        """Return the intervals that overlap `interval`."""
        begin, end = bisect_left(self._last, interval[0]), bisect_right(self._first, interval[1])
        return list(zip(self._first[begin:end], self._last[begin:end], strict=True))

    def intervals(self) -> tuple[Interval, ...]:
        """Return all intervals, sorted."""
        return tuple(zip(self._first, self._last, strict=True))


class Cover:
    """A union of boxes that can be asked whether it holds another one."""

    def __init__(self, boxes: Iterable[Box] = ()) -> None:
        self._layers: dict[int | None, dict[Interval, Intervals]] = defaultdict(dict)
        for box in boxes:
            self.add(box)

    def add(self, box: Box) -> None:
        """Add the packets of a box."""
        for subkeys in box.subkeys:
            layer = self._layers[box.protocol].setdefault(subkeys, Intervals())
            for interval in box.addresses:
                layer.add(interval)

    def holds(self, box: Box) -> bool:
        """Say whether every packet of the box is in the union; a box without packets always is."""
        if box.protocol is not None:
            return self._holds(box, (box.protocol, ALL_PROTOCOLS))
        # A protocol that no box names is held by the boxes of all protocols alone, and then so is every other one.
        if self._holds(box, (ALL_PROTOCOLS,)):
            return True
        named = [protocol for protocol in self._layers if protocol is not None]
        return len(named) == PROTOCOL_COUNT and all(self._holds(box, (each, ALL_PROTOCOLS)) for each in named)

    def _holds(self, box: Box, protocols: tuple[int | None, ...]) -> bool:
        layers = [
            (subkeys, addresses)
            for protocol in protocols
            if protocol in self._layers
            for subkeys, addresses in self._layers[protocol].items()
        ]
        return all(_held(interval, box.addresses, layers) for interval in box.subkeys)


def _held(subkeys: Interval, addresses: tuple[Interval, ...], layers: list[tuple[Interval, Intervals]]) -> bool:
    """Say whether layers hold the packets of one interval of sub-keys."""
    near = [(span, held) for span, held in layers if span[0] <= subkeys[1] and subkeys[0] <= span[1]]
    cuts = {subkeys[0], *(span[0] for span, _ in near), *(span[1] + 1 for span, _ in near)}
    for cut in sorted(cut for cut in cuts if subkeys[0] <= cut <= subkeys[1]):
        here = [held for span, held in near if span[0] <= cut <= span[1]]
        if not all(_joined(interval, here) for interval in addresses):
            return False
    return True


def _joined(interval: Interval, sets: list[Intervals]) -> bool:
    """Say whether the sets together hold an interval."""
    missing = interval[0]
    for first, last in sorted(found for each in sets for found in each.within(interval)):
        if first > missing:
            return False
        missing = max(missing, last + 1)
    return missing > interval[1]
