"""The last revisions, held in memory as far as they are not large; older ones are read from the file.

    recent.hold(revision)       the newest one
    recent.get(7)               as it is now, None: it is not held
    recent.settle(7, …)         it is in force, or refused

Without I/O. A rule's edit says its group anew, and an `apply` all that differs: so the room is bounded, not the number
alone. What is held is without gaps, and the newest is always there.
"""

from __future__ import annotations

from dataclasses import replace

from enforcer.agent.store.interface import Outcome, Revision

MOST_RECENT = 4096
MOST_TEXT = 4 << 20
"""How many revisions are held, and how many characters of what they say."""


class Recent:
    """Revisions by number, in their order."""

    def __init__(self) -> None:
        self._held: dict[int, Revision] = {}
        self._text = 0

    def hold(self, revision: Revision) -> None:
        """Hold the newest revision, and let go of the oldest where there are many, or much is in them."""
        self._held[revision.number] = revision
        self._text += _text(revision)
        while len(self._held) > MOST_RECENT or (self._text > MOST_TEXT and len(self._held) > 1):
            self._let_go(next(iter(self._held)))

    def get(self, number: int) -> Revision | None:
        """Return a revision; None: it is not held."""
        return self._held.get(number)

    def above(self, number: int) -> tuple[Revision, ...]:
        """Return those after a number, of which the first is held."""
        return tuple(each for each in self._held.values() if each.number > number)

    def settle(self, number: int, outcome: Outcome, reason: str) -> None:
        """Say what has become of a revision, if it is held."""
        if (known := self._held.get(number)) is not None:
            self._held[number] = replace(known, outcome=outcome, reason=reason)

    def forget(self, last: int) -> None:
        """Let go of the revisions up to one."""
        for number in [each for each in self._held if each <= last]:
            self._let_go(number)

    def _let_go(self, number: int) -> None:
        self._text -= _text(self._held.pop(number))


def _text(revision: Revision) -> int:
    return sum(len(change.value or "") for change in revision.changes)
