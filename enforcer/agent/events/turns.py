"""Whose turn it is to change the kernel: the loop's, or for an instant that of the thread which takes a plain edit.

    with turns.taken(): …            the loop, for what a round does
    with turns.at_once(work): …      another thread: what is proposed in the block is put in force by `work`, behind it

To wake the loop for an edit that comes alone, and to give it the interpreter, takes as long as a part of the commit. So
who proposes it commits it, if the loop has nothing to do and nothing else is under way; otherwise the block is like any
other, and the loop is woken by what is put in the mailbox. Either way one thread at a time is at it, in the order in
which things were put in: nobody takes from the mailbox but in his turn.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from enforcer.agent.events.gathering import Gathering
from enforcer.agent.events.mailbox import Mailbox


class Turns:
    """One turn at a time."""

    def __init__(self, mailbox: Mailbox, gathering: Gathering) -> None:
        self._mailbox, self._gathering = mailbox, gathering
        self._lock = threading.Lock()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for a turn, and keep it for the length of the block."""
        with self._lock:
            yield

    @contextmanager
    def at_once(self, work: Callable[[], None]) -> Iterator[None]:
        """Do some work behind the block, in this thread, if nobody else has the turn or may want it."""
        if not self._mailbox.empty() or self._gathering.several() or not self._lock.acquire(blocking=False):
            yield
            return
        self._mailbox.attended = self._gathering.working = True
        try:
            yield
            work()
        finally:
            self._mailbox.attended = self._gathering.working = False
            self._lock.release()
            self._mailbox.ring()  # the loop has the rest to do: what is published, what is to be tidied
