"""Sets of packets, exactly: which packets a rule is about, and whether others together are about all of them.

A packet, as far as one direction and ethertype of S8 go, is a point: protocol × sub-key × peer address. The sub-key is
the destination port of TCP and UDP, `type << 8 | code` of ICMP, and nothing that rules ask about otherwise. A rule is a
`Box`: one protocol or all, some intervals of sub-keys, some intervals of addresses. A `Cover` is a union of boxes.

How a `Cover` answers whether it holds a box:

1. It keeps one layer of address intervals for each protocol and each interval of sub-keys that some box had.
2. The sub-keys of the box that is asked about are cut where a layer ends: all packets of a piece are in the layers that
   its first sub-key has, and perhaps in more.
3. The cover holds the box exactly if, for the first sub-key of each piece, the addresses of these layers together hold
   the box's. A layer that does so alone does it up to its end, and the pieces in between need not be looked at.

Must not know: rules, policies, order. Numbers are plain integers; intervals are inclusive.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter

Interval = tuple[int, int]
EVERY_SUBKEY: Interval = (0, 0xFFFF)
ALL_PROTOCOLS = None
PROTOCOL_COUNT = 256
BUCKET_BITS = 8  # layers are found by the first bits of a sub-key
BUCKETS = 1 << 16 - BUCKET_BITS


@dataclass(frozen=True, slots=True)
class Box:
    """The packets of one protocol (None: of all), some sub-keys and some addresses; no interval means no packet."""

    protocol: int | None
    subkeys: tuple[Interval, ...]
    addresses: tuple[Interval, ...]

    def holds(self, other: Box) -> bool:
        """Say whether every packet of another box is in this one."""
        if self.protocol not in (ALL_PROTOCOLS, other.protocol):
            return False
        return _all_in(other.subkeys, self.subkeys) and _all_in(other.addresses, self.addresses)

    def meets(self, other: Box) -> bool:
        """Say whether there is a protocol and a sub-key that both have; addresses are not asked."""
        if None not in (self.protocol, other.protocol) and self.protocol != other.protocol:
            return False
        return any(a[0] <= b[1] and b[0] <= a[1] for a in self.subkeys for b in other.subkeys)


def _all_in(some: tuple[Interval, ...], others: tuple[Interval, ...]) -> bool:
    """Say whether each interval lies in one of the others, both sorted, the others neither overlapping nor touching."""
    for first, last in some:
        at = bisect_right(others, first, key=lambda interval: interval[0]) - 1
        if at < 0 or others[at][1] < last:
            return False
    return True


class Intervals:
    """A growing set of integers as sorted intervals that neither overlap nor touch.

    What is added is joined with the rest when somebody asks: most layers of most rules nobody ever asks about.
    """

    def __init__(self, intervals: Iterable[Interval] = ()) -> None:
        self._joined: list[Interval] = []
        self._added: list[Iterable[Interval]] = [intervals]

    def add(self, intervals: Iterable[Interval]) -> None:
        """Add all numbers of some intervals."""
        self._added.append(intervals)

    def within(self, interval: Interval) -> list[Interval]:
        """Return the intervals that overlap `interval`."""
        joined = self._settled()
        begin = bisect_left(joined, interval[0], key=itemgetter(1))
        return joined[begin : bisect_right(joined, interval[1], key=itemgetter(0))]

    def intervals(self) -> tuple[Interval, ...]:
        """Return all intervals, sorted."""
        return tuple(self._settled())

    def _settled(self) -> list[Interval]:
        if self._added:
            found: list[Interval] = []
            end = -2
            for first, last in sorted(chain(self._joined, *self._added)):
                if first > end + 1:
                    found.append((first, last))
                    end = last
                elif last > end:
                    found[-1] = (found[-1][0], last)
                    end = last
            self._joined, self._added = found, []
        return self._joined


class Cover:
    """A union of boxes that can be asked whether it holds another one."""

    def __init__(self, boxes: Iterable[Box] = ()) -> None:
        self._layers: dict[int | None, Layers] = defaultdict(Layers)
        for box in boxes:
            self.add(box)

    def add(self, box: Box) -> None:
        """Add the packets of a box."""
        for subkeys in box.subkeys:
            self._layers[box.protocol].add(subkeys, box.addresses)

    def holds(self, box: Box) -> bool:
        """Say whether every packet of the box is in the union; a box without packets always is."""
        if box.protocol is not ALL_PROTOCOLS:
            return self._holds(box, box.protocol)
        # A protocol that no box names is held by the boxes of all protocols alone, and then so is every other one.
        named = [protocol for protocol in self._layers if protocol is not ALL_PROTOCOLS]
        if len(named) < PROTOCOL_COUNT:
            return self._holds(box, ALL_PROTOCOLS)
        return all(self._holds(box, protocol) for protocol in named)

    def _holds(self, box: Box, protocol: int | None) -> bool:
        layers = [self._layers[each] for each in {protocol, ALL_PROTOCOLS} if each in self._layers]
        return not box.addresses or all(_held(interval, box.addresses, layers) for interval in box.subkeys)


class Layers:
    """Address intervals by the interval of sub-keys that they are for, found by any sub-key in it."""

    def __init__(self) -> None:
        self._by_subkeys: dict[Interval, Intervals] = {}
        self._near: tuple[list[tuple[Interval, Intervals]], ...] = tuple([] for _ in range(BUCKETS))

    def add(self, subkeys: Interval, addresses: Iterable[Interval]) -> None:
        """Add addresses for an interval of sub-keys."""
        if subkeys not in self._by_subkeys:
            layer = self._by_subkeys[subkeys] = Intervals()
            for bucket in range(subkeys[0] >> BUCKET_BITS, (subkeys[1] >> BUCKET_BITS) + 1):
                self._near[bucket].append((subkeys, layer))
        self._by_subkeys[subkeys].add(addresses)

    def at(self, subkey: int) -> list[tuple[Interval, Intervals]]:
        """Return the layers whose interval of sub-keys has `subkey` in it."""
        return [layer for layer in self._near[subkey >> BUCKET_BITS] if layer[0][0] <= subkey <= layer[0][1]]


def _held(subkeys: Interval, addresses: tuple[Interval, ...], layers: list[Layers]) -> bool:
    """Say whether layers hold the packets of one interval of sub-keys: piece by piece, from the first on."""
    subkey = subkeys[0]
    while subkey <= subkeys[1]:
        here = sorted((layer for each in layers for layer in each.at(subkey)), key=_end, reverse=True)
        alone = next((span for span, held in here if all(_joined(one, [held]) for one in addresses)), None)
        if alone is not None:
            subkey = alone[1] + 1
            continue
        if not all(_joined(interval, [held for _, held in here]) for interval in addresses):
            return False
        subkey = here[-1][0][1] + 1  # a layer that begins before the first one ends can only hold more
    return True


def _end(layer: tuple[Interval, Intervals]) -> int:
    return layer[0][1]


def _joined(interval: Interval, sets: list[Intervals]) -> bool:
    """Say whether the sets together hold an interval."""
    missing = interval[0]
    for first, last in sorted(found for each in sets for found in each.within(interval)):
        if first > missing:
            return False
        missing = max(missing, last + 1)
    return missing > interval[1]
