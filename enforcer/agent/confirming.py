"""`apply --confirm SECONDS`: a revision that goes back by itself unless somebody confirms it in time.

    proposed with a note ──settled──▶ its time runs ──confirm──▶ stays
                                            └────────time up────▶ a rollback revision, by `confirm-timeout`

The note in the store says to which revision to go back and until when, so a daemon that is started anew goes on where
the last one was. Time is the machine's time since it booted, which no change of the clock touches and which goes on in
suspend. After a reboot only the clock is left: what remains of the time by it, and never more than the whole time. If
in doubt, it goes back early: a change that locked its author out is undone, one that did not can be applied again.

While a revision waits, everything else is refused, except going back: there is one state to return to.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enforcer.agent.edits import Edit
from enforcer.agent.head import Head
from enforcer.agent.resources import difference
from enforcer.agent.store import Author, Change, Conflict, Outcome, Store
from enforcer.errors import EnforcerError

NOTE = "confirm"
BY = "confirm-timeout"
LOOK_EVERY = 1.0
"""Seconds after which the time is looked at again, for a wait does not go on in suspend; and after which a refused
return is tried again."""

PATIENCE = 60.0
"""Seconds to wait until the return is in force."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A revision that waits to be confirmed, and how long still; `base` is the revision to which it would go back."""

    revision: int
    base: int
    left: float


@dataclass(frozen=True, slots=True)
class Clocks:
    """The times by which a deadline is kept; tests put their own."""

    since_boot: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    wall: Callable[[], float] = time.time
    boot: Callable[[], str] = lambda: Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class Confirming:
    """Keeps the deadline of the revision that waits, if one does."""

    def __init__(
        self,
        store: Store,
        head: Head,
        clocks: Clocks | None = None,
        failed: Callable[[str, str], None] = lambda _what, _why: None,
    ) -> None:
        self._store, self._head, self._clocks, self._failed = store, head, clocks or Clocks(), failed
        self._ending, self._woken = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="confirming", daemon=True)

    def start(self) -> None:
        """Begin to watch the deadline."""
        self._thread.start()

    def end(self) -> None:
        """Stop watching; the note stays for the next life."""
        self._ending.set()
        self._woken.set()
        self._thread.join()

    def note(self, seconds: float, base: int) -> Change:
        """Return the note that goes with a revision which must be confirmed within `seconds`."""
        document = {"base": base, "seconds": seconds, "boot": self._clocks.boot()}
        document |= {"until": self._clocks.since_boot() + seconds, "wall": self._clocks.wall() + seconds}
        return Change(NOTE, json.dumps(document))

    def begin(self, number: int) -> None:
        """Let the time run from now, for revision `number` has just come in force."""
        with self._lock:
            entry = self._store.remembered(NOTE)
            if entry is not None and entry.revision == number:
                noted = json.loads(entry.value)
                fresh = json.loads(self.note(noted["seconds"], noted["base"]).value or "")
                self._store.remember(NOTE, json.dumps({**fresh, "revision": number}))
        self._woken.set()

    def waiting(self) -> Waiting | None:
        """Return what waits to be confirmed."""
        entry = self._store.remembered(NOTE)
        if entry is None:
            return None
        noted = json.loads(entry.value)
        number = noted.get("revision", entry.revision)
        if self._store.revision(number).outcome is Outcome.REFUSED:
            self._store.remember(NOTE, None)
            return None
        return Waiting(number, noted["base"], self._left(noted))

    def free(self, to: int | None = None) -> None:
        """Raise Conflict while something waits: nothing else may change, but one may go back `to` what was before."""
        found = self.waiting()
        if found is not None and found.base != to:
            mend = f"`enforcer confirm` keeps it, `enforcer rollback {found.base}` goes back at once"
            what = f"revision {found.revision} waits to be confirmed, for {max(found.left, 0):.0f} s more"
            raise Conflict(f"{what}; {mend}")

    def confirm(self) -> int:
        """Keep the revision that waits, and return its number; raise Conflict if none does."""
        with self._lock:
            found = self.waiting()
            if found is None or found.left <= 0:
                raise Conflict("no revision waits to be confirmed; `enforcer history` says whether it went back")
            self._store.remember(NOTE, None)
        self._woken.set()
        return found.revision

    def went_back(self, base: int) -> None:
        """Forget what waited, for somebody went back to `base` himself."""
        with self._lock:
            found = self.waiting()
            if found is not None and found.base == base:
                self._store.remember(NOTE, None)

    def _left(self, noted: dict[str, Any]) -> float:
        if noted["boot"] == self._clocks.boot():
            return float(noted["until"] - self._clocks.since_boot())
        return float(min(noted["wall"] - self._clocks.wall(), noted["seconds"]))

    def _run(self) -> None:
        while not self._ending.is_set():
            self._woken.clear()
            wait: float | None = None
            try:
                found = self.waiting()
                if found is not None:
                    wait = min(found.left, LOOK_EVERY)
                    if found.left <= 0:
                        wait = None if self._went_back(found) else LOOK_EVERY
            except EnforcerError as error:
                self._failed("confirm", str(error))
                wait = LOOK_EVERY
            if not self._ending.is_set():
                self._woken.wait(wait)

    def _went_back(self, found: Waiting) -> bool:
        """Go back to what was before; forget what waited once that is in force, and say whether it is."""
        said = f"revision {found.revision} was not confirmed in time: back to revision {found.base}"
        with self._lock:
            if self.waiting() is None:
                return True
            before = self._head.at(found.base)
            made, _ = self._head.change(lambda now: Edit(difference(now.resources, before), said), author=Author(0, BY))
            if made is not None:
                made = self._store.settled(made.number, PATIENCE)
                if made.outcome is not Outcome.IN_FORCE:
                    self._failed("confirm", f"{said}: {made.outcome.value} {made.reason}")
                    return False
            self._store.remember(NOTE, None)
        return True
