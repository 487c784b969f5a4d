"""How long the loop waits for more changes before it commits those that are there: a burst is one commit.

To commit for many takes little longer than for one, and whoever commits holds the interpreter, so that nobody else is
judged meanwhile. Waited for are changes that are being judged this moment, and those whose last change has just been
committed, for they may ask again: for these no longer than that commit took. So a caller alone, who is never one of
several, waits for nobody, and callers whom a slow disk keeps waiting keep nobody waiting in turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from enforcer.agent.events.mailbox import Mailbox

GATHER_WITHIN = 0.01
"""Seconds that it takes at most."""

GIVE_WAY = 0.005
"""Seconds for which a thread in the background lets changes go first, between two pieces of its work."""

PAUSE = 0.0003
"""Seconds after which it is looked again whether they are here."""


class Gathering:
    """Waits for the rest of a burst; `coming` changes are about to be proposed, `working`: one is being committed."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.coming: Callable[[], int] = lambda: 0
        self.working = False
        self._mailbox = mailbox
        self._callers, self._until = 0, 0.0

    def committed(self, merged: int, seconds: float) -> None:
        """Take notice of a commit that has just ended: those whose changes it merged may ask again."""
        self._callers, self._until = merged + self._mailbox.proposed, time.monotonic() + seconds

    def wait(self, here: int) -> None:
        """Wait until the rest of a burst is in the mailbox, `here` being those that are not in it any more."""
        latest = time.monotonic() + GATHER_WITHIN
        while (now := time.monotonic()) < latest and (self.coming() or self._more(here, now)):
            time.sleep(PAUSE)

    def several(self) -> bool:
        """Say whether the rest of a burst may come, which one commit is to merge."""
        return self._more(1, time.monotonic())

    def give_way(self) -> None:
        """Wait while a change is under way, for an instant at most; for threads that work in the background.

        Each time that whoever judges or commits asks the disk or the kernel for something, another thread may take
        the interpreter, and keeps it for some milliseconds.
        """
        latest = time.monotonic() + GIVE_WAY
        while (self.working or self.coming() or self._mailbox.proposed) and time.monotonic() < latest:
            time.sleep(PAUSE)

    def _more(self, here: int, now: float) -> bool:
        return now < self._until and here + self._mailbox.proposed < self._callers
