"""What is closed beside somebody keeps nobody waiting, and is closed in the end."""

from __future__ import annotations

import threading

import pytest

from enforcer.dataplane.closing import close_beside, closed_beside


class Slow:
    """Something whose closing takes until it is let go."""

    def __init__(self) -> None:
        self.let_go, self.closed = threading.Event(), threading.Event()

    def close(self) -> None:
        assert self.let_go.wait(10)
        self.closed.set()


def test_who_closes_goes_on_at_once():
    slow = Slow()
    close_beside(slow)
    assert not slow.closed.is_set()
    slow.let_go.set()
    assert slow.closed.wait(10)


def test_it_is_closed_also_where_its_use_has_failed():
    slow = Slow()
    with pytest.raises(LookupError), closed_beside(slow):
        raise LookupError
    slow.let_go.set()
    assert slow.closed.wait(10)
