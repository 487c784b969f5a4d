"""Tell the store what became of revisions, in order; what it cannot write now is told again later.

A revision that is in force while the store cannot say so (no space, locked) stays proposed there: its caller waits, and
a next life puts it in force once more. So it is never lost, and never acknowledged before it is on the disk.

    with settling.beside(): …     meanwhile a thread of its own tells the store: no commit waits for the disk

What has come while the disk was at work is flushed together. When nothing comes, the store tends to itself.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from enforcer.agent.store import Outcome, Store
from enforcer.errors import EnforcerError

IDLE = 0.5
"""Seconds without anything to settle after which the store tends to itself, and after which it is told again."""


class Settling:
    """The settlements that the store has not taken yet."""

    def __init__(self, store: Store, failed: Callable[[str, str], None], passed: Callable[[str], None]) -> None:
        self._owed: deque[tuple[tuple[int, ...], Outcome, str]] = deque()
        self._store, self._failed, self._passed = store, failed, passed
        self._said = ""
        self._beside = False
        self._odd: Exception | None = None
        self._woken, self._ending = threading.Event(), threading.Event()

    def settle(self, numbers: Sequence[int], outcome: Outcome, reason: str = "") -> None:
        """Settle revisions now, or as soon as the store takes it; with a thread beside, that one does it."""
        self._owed.append((tuple(numbers), outcome, reason))
        if self._beside:
            self._woken.set()
        else:
            self.flush()

    def retry(self) -> None:
        """Tell the store what it was not told yet; with a thread beside, raise what nobody thought of there."""
        if not self._beside:
            self.flush()
        elif self._odd is not None:
            raise self._odd

    def flush(self) -> None:
        """Tell the store what it was not told yet; what has become of revisions alike is told at once."""
        try:
            while self._owed:
                numbers, outcome, reason = self._owed[0]
                alike = 1
                while alike < len(self._owed) and self._owed[alike][1:] == (outcome, reason):
                    numbers += self._owed[alike][0]
                    alike += 1
                self._store.settle(numbers, outcome, reason)
                for _ in range(alike):
                    self._owed.popleft()
                self._passed("settled")
            self._said = ""
        except EnforcerError as error:
            if str(error) != self._said:  # once, not at every attempt
                self._said = str(error)
                self._failed("store", self._said)

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Settle in a thread of its own meanwhile; what is owed at the end is told before it is over, if it can be."""
        thread = threading.Thread(target=self._run, name="settling", daemon=True)
        self._beside = True
        thread.start()
        try:
            yield
        finally:
            self._ending.set()
            self._woken.set()
            thread.join()
            self._beside = False
            self._ending.clear()
            self.flush()

    def _run(self) -> None:
        while not self._ending.is_set():
            came = self._woken.wait(IDLE)
            self._woken.clear()
            try:
                self.flush()
                if not came:
                    self._tend()
                self._odd = None
            except Exception as error:
                self._odd = error

    def _tend(self) -> None:
        try:
            self._store.tend()
        except EnforcerError as error:
            self._failed("store", str(error))
