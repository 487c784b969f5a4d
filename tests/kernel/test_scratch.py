"""A Ctrl-C in the midst of making a scratch namespace leaves nothing behind, wherever it strikes."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
import scratch
from scratch import scratch_namespace

from enforcer.dataplane import namespaces

pytestmark = pytest.mark.kernel

FILES = (scratch.__file__, namespaces.__file__)


@contextmanager
def lines_seen(seen: Callable[[FrameType], None], *more: str) -> Iterator[None]:
    """Call `seen` before each line that this thread runs in the modules that make the namespace, and in `more`."""

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename in (*FILES, *more):
            if event == "line":
                seen(frame)
            return trace
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def test_interrupted_at_any_line_until_it_is_made_it_leaves_no_name_behind() -> None:
    struck = 0
    while _interrupted(struck):
        struck += 1
    assert struck > 15, "lines at which it was interrupted, before one run came to its end"


def _interrupted(at: int) -> bool:
    """Make a namespace with a Ctrl-C before a line; say whether it came to that."""
    names, left = set[str](), at + 1

    def strike(frame: FrameType) -> None:
        nonlocal left
        names.update([frame.f_locals["netns"]] if frame.f_code.co_name == "create" else ())
        left -= 1
        if left == 0:
            signal.raise_signal(signal.SIGINT)

    try:
        with lines_seen(strike):
            for each in scratch_namespace():
                left = 0  # made: from here on no line is struck
                assert each.name in namespaces.names()
    except KeyboardInterrupt:
        return True
    finally:
        assert names.isdisjoint(namespaces.names())
    return False


def test_interrupted_while_a_thread_is_at_work_on_it_it_leaves_no_name_behind() -> None:
    """The thread goes on where its maker was told to stop: what it makes then must go, too."""
    main, goes_on, names = threading.get_ident(), threading.Event(), set[str]()

    def at_work(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_name == "make" and event == "line" and not goes_on.is_set():
            signal.pthread_kill(main, signal.SIGINT)
            assert goes_on.wait(10)
        return at_work

    def told(frame: FrameType) -> None:
        """Let the thread go on when somebody waits for it, or else in the midst of what takes the namespace away."""
        doing, stopped = frame.f_code.co_name, isinstance(sys.exc_info()[1], KeyboardInterrupt)
        names.update([frame.f_locals["netns"]] if doing == "create" else ())
        if stopped and doing == "join":
            goes_on.set()
        elif stopped and doing == "delete" and "path" in frame.f_locals and not goes_on.is_set():
            deleting.append(frame.f_lineno)
            if len(deleting) == 2:
                goes_on.set()
                makers = [each for each in threading.enumerate() if each.name.startswith("create-")]
                for each in makers:
                    each.join()

    deleting: list[int] = []
    threading.settrace(at_work)
    try:
        with pytest.raises(KeyboardInterrupt), lines_seen(told, threading.__file__):
            next(scratch_namespace())
    finally:
        threading.settrace(None)
    assert names
    assert names.isdisjoint(namespaces.names())
