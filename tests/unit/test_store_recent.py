"""Which revisions are held in memory: the last ones, as far as they are not large."""

from __future__ import annotations

from enforcer.agent.store import Author, Change, Outcome, Revision
from enforcer.agent.store.recent import MOST_RECENT, MOST_TEXT, Recent


def revision(number: int, text: int = 10) -> Revision:
    changes = (Change("security_groups/web", "x" * text), Change("security_groups/gone", None))
    return Revision(number, 0.0, Author(0), "", changes, Outcome.PROPOSED)


def held(recent: Recent, numbers: range) -> list[int]:
    return [number for number in numbers if recent.get(number) is not None]


def test_so_many_are_held_and_no_more():
    recent = Recent()
    for number in range(MOST_RECENT + 3):
        recent.hold(revision(number))
    assert held(recent, range(MOST_RECENT + 3)) == list(range(3, MOST_RECENT + 3))
    assert [each.number for each in recent.above(MOST_RECENT)] == [MOST_RECENT + 1, MOST_RECENT + 2]


def test_large_ones_push_out_what_was_before_and_the_newest_is_always_there():
    recent, half = Recent(), MOST_TEXT // 2
    for number, text in enumerate((10, half, half, 3 * MOST_TEXT)):
        recent.hold(revision(number, text))
        assert held(recent, range(number + 1)) == [[0], [0, 1], [1, 2], [3]][number]
    recent.hold(revision(4))
    assert held(recent, range(5)) == [4], "it is too large for anything beside it"


def test_what_was_forgotten_takes_no_room():
    recent = Recent()
    for number in range(3):
        recent.hold(revision(number, MOST_TEXT // 2))
        recent.settle(number, Outcome.IN_FORCE, "")
        recent.forget(number)
    recent.hold(revision(3, MOST_TEXT))
    assert held(recent, range(4)) == [3]


def test_what_is_settled_is_so_when_it_is_asked_for():
    recent = Recent()
    recent.hold(revision(1))
    recent.settle(1, Outcome.REFUSED, "no")
    recent.settle(7, Outcome.REFUSED, "it is not held")
    found = recent.get(1)
    assert found is not None
    assert (found.outcome, found.reason) == (Outcome.REFUSED, "no")
