"""Tell the store what became of revisions, in order; what it cannot write now is told again later.

A revision that is in force while the store cannot say so (no space, locked) stays proposed there: its caller waits, and
a next life puts it in force once more. So it is never lost, and never acknowledged before it is on the disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from enforcer.agent.store import Outcome, Store
from enforcer.errors import EnforcerError


class Settling:
    """The settlements that the store has not taken yet."""

    def __init__(self, store: Store, failed: Callable[[str, str], None]) -> None:
        self.owed: deque[tuple[tuple[int, ...], Outcome, str]] = deque()
        self._store, self._failed = store, failed
        self._said = ""

    def settle(self, numbers: Sequence[int], outcome: Outcome, reason: str = "") -> None:
        """Settle revisions now, or as soon as the store takes it."""
        self.owed.append((tuple(numbers), outcome, reason))
        self.flush()

    def flush(self) -> None:
        """Tell the store what it was not told yet."""
        try:
            while self.owed:
                self._store.settle(*self.owed[0])
                self.owed.popleft()
            self._said = ""
        except EnforcerError as error:
            if str(error) != self._said:  # once, not at every attempt
                self._said = str(error)
                self._failed("store", self._said)
