"""Long sequences in runs: they are what a tuple is, and one that follows another shares nearly all with it."""

from __future__ import annotations

from itertools import pairwise
from operator import neg

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.model.runs import RUN, Runs, differing, same_ends

SPLICES = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 3 * RUN), st.lists(st.integers(), max_size=3 * RUN)), max_size=6
)


@given(length=st.integers(0, 5 * RUN), splices=SPLICES)
def test_a_sequence_in_runs_is_what_a_tuple_is_however_it_is_changed(length: int, splices: list[tuple[int, int, list]]):
    told, found = list(range(length)), Runs.of(range(length))
    for begin, more, items in splices:
        first = min(begin, len(told))
        last = min(first + more, len(told))
        before = tuple(told)
        told[first:last] = items
        found, old = found.spliced(first, last, items), found
        assert old == before, "what was there stays as it was"
        assert found == tuple(told)
        assert [found[at] for at in range(len(found))] == told
        assert found[first : first + 5] == tuple(told[first : first + 5])
        assert found == Runs.of(told)
        assert hash(found) == hash(tuple(told))
        assert found[-1:] == tuple(told[-1:])


@given(length=st.integers(0, 5 * RUN), splices=SPLICES)
def test_what_differs_is_told_and_all_else_is_in_both(length: int, splices: list[tuple[int, int, list]]):
    versions = [Runs.of(object() for _ in range(length))]
    for begin, more, items in splices:
        first = min(begin, len(versions[-1]))
        last = min(first + more, len(versions[-1]))
        versions.append(versions[-1].spliced(first, last, [object() for _ in items]))
    for one, other in (*pairwise(versions), (versions[0], versions[-1])):
        gone, come = ({id(each) for each in part} for part in differing(one, other))
        assert [id(each) for each in one if id(each) not in gone] == [id(e) for e in other if id(e) not in come]
        before, after = {id(each) for each in one}, {id(each) for each in other}
        assert before - after <= gone <= before
        assert after - before <= come <= after


def test_one_item_changed_among_thousands_is_found_without_the_others():
    before = Runs.of(range(6000))
    at = before.place(4711, lambda each: each)
    assert before[at] == 4711
    after = before.spliced(at, at + 1, (-1,))
    assert differing(before, after) == ([4711], [-1])
    assert max(map(len, differing(after, after.spliced(17, 17, (0.5,))))) <= 2 * RUN


def test_one_that_comes_and_one_that_goes_far_from_it_are_all_that_differs():
    before = Runs.of(object() for _ in range(6000))
    after = before.spliced(10, 11, (object(),)).spliced(5990, 5991, (object(),))
    gone, come = differing(before, after)
    assert (list(gone), list(come)) == ([before[10], before[5990]], [after[10], after[5990]])


def test_what_was_made_anew_shares_no_run_and_differs_only_where_its_items_do():
    items = [object() for _ in range(6000)]
    one, new = Runs.of(items), object()
    assert tuple(map(list, differing(one, Runs.of(items)))) == ([], [])
    assert tuple(map(list, differing(one, Runs.of((*items[:9], new, *items[9:]))))) == ([], [new])
    assert tuple(map(list, differing(one, Runs.of((*items[:9], *items[10:]))))) == ([items[9]], [])
    assert tuple(map(list, differing(one, Runs.of((*items[:9], new, *items[10:]))))) == ([items[9]], [new])


def test_runs_stay_neither_tiny_nor_huge():
    found = Runs.of(range(10 * RUN))
    for _ in range(9 * RUN):
        found = found.spliced(1, 2, ())
    assert len(found._runs) < RUN // 2
    for number in range(20 * RUN):
        found = found.spliced(1, 1, (number,))
    assert max(map(len, found._runs)) <= 2 * RUN


def test_an_item_is_found_by_its_key_where_it_stands_or_would():
    found = Runs.of(range(0, -1000, -2))
    assert found.place(10, neg) == 5
    assert found.place(11, neg) == 6
    assert found.place(-1, neg) == 0
    assert found.place(5000, neg) == len(found)
    assert Runs.of(()).place(1, neg) == 0
    with pytest.raises(IndexError):
        found[len(found)]


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("", "", (0, 0)),
        ("abc", "abc", (3, 0)),
        ("abc", "abxc", (2, 1)),
        ("abc", "", (0, 0)),
        ("aaa", "aa", (2, 0)),
        ("abcdef", "axxxef", (1, 2)),
        ("x" + "y" * 500 + "z", "x" + "y" * 300 + "z", (301, 1)),
        ("p" * 300 + "1" + "q" * 300, "p" * 300 + "22" + "q" * 300, (300, 300)),
    ],
)
def test_what_two_sequences_share_at_their_ends(one: str, other: str, shared: tuple[int, int]):
    assert same_ends(one, other) == shared
    assert same_ends(tuple(one), tuple(other)) == shared
