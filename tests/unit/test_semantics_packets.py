"""Sets of packets are exact: held against plain sets of points, and at the ends of their spaces."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.semantics.lint.packets import EVERY_SUBKEY, Box, Cover, Interval, Intervals

PROTOCOLS = (None, 6, 17, 200)
POINTS = range(12)


def intervals(most: int = 3) -> st.SearchStrategy[tuple[Interval, ...]]:
    """Draw sorted intervals that neither overlap nor touch, over a few numbers."""
    return st.sets(st.sampled_from(POINTS), max_size=most * 2).map(
        lambda found: Intervals((n, n) for n in sorted(found)).intervals()
    )


BOXES = st.builds(Box, st.sampled_from(PROTOCOLS), intervals(), intervals())


def numbers(found: tuple[Interval, ...]) -> set[int]:
    return {n for first, last in found for n in range(first, last + 1)}


def points(box: Box) -> set[tuple[int, int, int]]:
    """Return the packets of a box; protocol 1 stands for all that nobody names."""
    protocols = [1, *(p for p in PROTOCOLS if p is not None)] if box.protocol is None else [box.protocol]
    return set(product(protocols, numbers(box.subkeys), numbers(box.addresses)))


@given(st.lists(st.tuples(st.sampled_from(POINTS), st.sampled_from(POINTS)).map(lambda p: (min(p), max(p)))))
def test_intervals_are_sorted_and_joined_where_they_touch(added: list[Interval]):
    found = Intervals(added)
    assert numbers(found.intervals()) == numbers(tuple(added))
    assert all(one[1] + 1 < other[0] for one, other in zip(found.intervals(), found.intervals()[1:], strict=False))
    for first in POINTS:
        near = found.within((first, first + 2))
        assert near == [one for one in found.intervals() if one[0] <= first + 2 and one[1] >= first]


@given(BOXES, BOXES)
@settings(max_examples=200)
def test_a_box_holds_another_exactly_if_it_has_all_of_its_packets(one: Box, other: Box):
    if points(other):
        assert one.holds(other) == (points(other) <= points(one))
    if one.addresses and other.addresses:
        shared = {(p, s) for p, s, _ in points(one)} & {(p, s) for p, s, _ in points(other)}
        assert one.meets(other) == bool(shared)


@given(st.lists(BOXES, max_size=6), BOXES)
@settings(max_examples=300)
def test_a_cover_holds_a_box_exactly_if_its_boxes_together_have_all_of_its_packets(boxes: list[Box], asked: Box):
    union = set[tuple[int, int, int]]().union(*map(points, boxes))
    assert Cover(boxes).holds(asked) == (points(asked) <= union)


def test_all_protocols_are_held_by_each_of_the_256_together_and_by_no_fewer():
    every, one = ((0, 9),), ((5, 5),)
    each = [Box(protocol, (EVERY_SUBKEY,), every) for protocol in range(256)]
    assert Cover(each).holds(Box(None, (EVERY_SUBKEY,), one))
    for missing in (0, 6, 255):
        fewer = each[:missing] + each[missing + 1 :]
        assert not Cover(fewer).holds(Box(None, (EVERY_SUBKEY,), one))
        assert Cover(fewer).holds(Box(1, (EVERY_SUBKEY,), one))
        narrower = Box(missing, (EVERY_SUBKEY,), ((0, 4),))
        assert not Cover([*fewer, narrower]).holds(Box(None, (EVERY_SUBKEY,), one))


@pytest.mark.parametrize("subkey", [0, 255, 256, 0xFFFF])
def test_sub_keys_are_found_at_the_ends_of_their_space(subkey: int):
    cover = Cover([Box(6, ((subkey, subkey),), ((1, 1),))])
    assert cover.holds(Box(6, ((subkey, subkey),), ((1, 1),)))
    assert not cover.holds(Box(6, ((subkey ^ 1, subkey ^ 1),), ((1, 1),)))


def test_a_box_without_packets_is_held_by_anything():
    for nothing in (Box(6, (), ((1, 1),)), Box(6, ((1, 5),), ()), Box(None, ((1, 5),), ())):
        assert Cover().holds(nothing)
        assert Cover([Box(6, ((2, 3),), ((1, 1),))]).holds(nothing)
