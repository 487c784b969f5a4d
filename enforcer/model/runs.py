"""Long sequences of which one follows the other and little differs: kept in runs, most of which both share.

    members = Runs.of(range(6000))
    later = members.spliced(17, 18, (-1,))     # `members` is as it was; one run is another one
    differing(members, later)                  # the items of that run alone, before and after

To copy, or to compare, a tuple of thousands touches each of them: that is more than all the rest of a small change, the
more so where they have left the processor's caches. Never changed in place; equal to a tuple of the same items. Pure.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain, compress, count
from operator import is_not
from typing import Any, Final, TypeVar, overload

RUN: Final = 64
"""Items of a run that is made; it may grow to twice as many, and shrink to a quarter."""

FEW: Final = 8
"""Runs that are compared one by one, if no more differ."""

T = TypeVar("T")


class Runs(Sequence[T]):
    """A sequence in runs; `_begins` is where each begins, and where the last one ends."""

    __slots__ = ("_begins", "_runs")

    def __init__(self, runs: tuple[tuple[T, ...], ...], begins: Sequence[int] | None = None) -> None:
        self._runs = runs
        self._begins = [0, *accumulate(map(len, runs))] if begins is None else begins

    @classmethod
    def of(cls, items: Iterable[T]) -> Runs[T]:
        """Return a sequence of items."""
        return items if isinstance(items, Runs) else cls(_cut(tuple(items)))

    def __len__(self) -> int:
        return self._begins[-1]

    def __iter__(self) -> Iterator[T]:
        return chain.from_iterable(self._runs)

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[T]: ...
    def __getitem__(self, at: int | slice) -> T | Sequence[T]:
        if isinstance(at, slice):
            return tuple(self)[at]
        at += len(self) if at < 0 else 0
        if not 0 <= at < len(self):
            raise IndexError(at)
        run = bisect_right(self._begins, at) - 1
        return self._runs[run][at - self._begins[run]]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Runs):
            if self._begins == other._begins:
                return self._runs == other._runs
            return len(self) == len(other) and tuple(self) == tuple(other)
        return tuple(self) == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def place(self, wanted: Any, key: Callable[[T], Any]) -> int:
        """Return where the first item stands whose key is not below `wanted`; the items are in the order of keys."""
        run = max(bisect_left(self._runs, wanted, key=lambda each: key(each[0])) - 1, 0)
        return self._begins[run] + (bisect_left(self._runs[run], wanted, key=key) if self._runs else 0)

    def spliced(self, first: int, last: int, items: Iterable[T]) -> Runs[T]:
        """Return the sequence with other items in the place of those from `first` to before `last`."""
        begins, runs = self._begins, self._runs
        if not runs:
            return Runs.of(items)
        low = min(bisect_right(begins, first), len(runs)) - 1
        high = max(bisect_left(begins, last), low + 1)
        new = (*runs[low][: first - begins[low]], *items, *runs[high - 1][last - begins[high - 1] :])
        if len(new) < RUN // 4 and high < len(runs):
            new += runs[high]
            high += 1
        cut = (new,) if 0 < len(new) <= 2 * RUN else _cut(new)
        same = high - low == 1 == len(cut) and len(new) == len(runs[low])
        return Runs((*runs[:low], *cut, *runs[high:]), begins if same else None)


def _cut(items: tuple[T, ...]) -> tuple[tuple[T, ...], ...]:
    return tuple(items[at : at + RUN] for at in range(0, len(items), RUN))


def differing(one: Sequence[T], other: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """Return of both what may differ, in order: all else is in both, the very same and in the same order."""
    if not isinstance(one, Runs) or not isinstance(other, Runs):
        return _differing(one, other)
    old, new = _differing(one._runs, other._runs)
    if len(old) != len(new) or len(old) > FEW:  # many runs may differ in nothing but where they are cut
        return _differing(tuple(chain.from_iterable(old)), tuple(chain.from_iterable(new)))
    pairs = [_differing(*pair) for pair in zip(old, new, strict=True)]
    return pairs[0] if len(pairs) == 1 else ([e for a, _ in pairs for e in a], [e for _, b in pairs for e in b])


def _differing(one: Sequence[T], other: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    if len(one) == len(other):
        places = list(compress(count(), map(is_not, one, other)))
        return [one[at] for at in places], [other[at] for at in places]
    first, last = same_ends(one, other)
    return one[first : len(one) - last], other[first : len(other) - last]


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
