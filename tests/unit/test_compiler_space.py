"""An address space that is changed where something changes is the one that is built of what there is then."""

from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
from hypothesis import example, given, settings

from enforcer.compiler.classes import address_map, classes_inside
from enforcer.compiler.program import Span
from enforcer.compiler.space import Space
from enforcer.compiler.terms import Term

END = (1 << 32) - 1
EDGES = (*range(9), END - 1, END)
NAMES = ("a", "b", "c", "d")

spans = st.one_of(
    st.builds(lambda one, other: Span(min(one, other), max(one, other)), *[st.sampled_from(EDGES)] * 2),
    st.builds(lambda first: Span(first, min(first + 1, END)), st.sampled_from(EDGES)),
)


def apart(found: list[Span]) -> tuple[Span, ...]:
    """Keep of some spans those that do not overlap one before: a term's own never do."""
    kept: list[Span] = []
    for span in found:
        if all(span.last < other.first or other.last < span.first for other in kept):
            kept.append(span)
    return tuple(sorted(kept))


Listed = dict[str, tuple[Span, ...]]
terms = st.dictionaries(st.sampled_from(NAMES), st.lists(spans, max_size=4).map(apart))


def many(of: Listed, name: str) -> tuple[Span, ...]:
    return tuple(span for span in of.get(name, ()) if span.first != span.last)


def singles(of: Listed) -> set[tuple[int, str]]:
    return {(span.first, name) for name, found in of.items() for span in found if span.first == span.last}


def listings(come: set[tuple[int, str]], gone: set[tuple[int, str]]) -> dict[int, Counter[str]]:
    listed: dict[int, Counter[str]] = {}
    for sign, differing in ((1, come - gone), (-1, gone - come)):
        for address, name in differing:
            listed.setdefault(address, Counter())[name] = sign
    return listed


def spans_of(*ends: tuple[int, int]) -> tuple[Span, ...]:
    return tuple(Span(*each) for each in ends)


@settings(max_examples=400)
@example(  # addresses alone between a piece and one that becomes like it: they are one then
    {"a": spans_of((0, 3)), "b": spans_of((3, 4)), "c": spans_of((4, 5)), "d": spans_of((6, 9))},
    [{"a": spans_of((0, 3), (6, 9)), "b": spans_of((3, 4)), "c": spans_of((4, 5))}],
)
@example(  # the same behind it
    {"a": spans_of((6, 9)), "b": spans_of((4, 5)), "c": spans_of((3, 4)), "d": spans_of((0, 2))},
    [{"a": spans_of((0, 2), (6, 9)), "b": spans_of((4, 5)), "c": spans_of((3, 4))}],
)
@example(  # what is left alone of a piece belongs to the next one
    {"a": spans_of((0, 5)), "b": spans_of((6, 9))},
    [{"a": spans_of((0, 5)), "b": spans_of((6, 9)), "c": spans_of((3, 4))}],
)
@given(terms, st.lists(terms, max_size=5))
def test_a_space_that_is_changed_is_the_one_that_is_built_anew(before: Listed, later: list[Listed]):
    space = Space({n: many(before, n) for n in NAMES if many(before, n)}, listings(singles(before), set()), 4)
    space.inside(NAMES)
    for now in later:
        ranges = {name: many(now, name) for name in NAMES if many(now, name) != many(before, name)}
        listed = listings(singles(now), singles(before))
        known = {entry.number for entry in space.map.classes}
        found = space.with_ranges(ranges, listed) if ranges else space.changed(listed)
        expected = address_map((Term(name, now[name]) for name in NAMES if now.get(name)), 4)
        assert found is not None
        assert found[0] == space.map == expected
        assert {entry.number for entry in found[1]} == {entry.number for entry in expected.classes} - known
        assert space.inside(NAMES) == classes_inside(expected.classes)
        before = now
