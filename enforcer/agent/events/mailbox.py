"""The loop's mailbox: any thread puts events in, the loop takes all that are there, in order."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from enforcer.agent.store import Revision
from enforcer.dataplane.notices import Generation


@dataclass(frozen=True, slots=True)
class Proposed:
    """A revision waits to be put in force."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class LinksChanged:
    """The interfaces of a namespace have changed; `away` ones were gone, and may be back under the same index."""

    netns: str
    away: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NamespaceChanged:
    """A name under /run/netns has another namespace behind it than before, or none."""

    netns: str


@dataclass(frozen=True, slots=True)
class TablesTouched:
    """A transaction touched our tables: one of ours, or not."""

    netns: str
    notice: Generation
    heard: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class TablesUnknown:
    """Our tables may have been changed: notices were lost, or a listing differs from an earlier one."""

    netns: str
    why: str
    certain: bool = False
    heard: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Stop:
    """The loop shall end; the rules stay in the kernel (S19)."""


Event = Proposed | LinksChanged | NamespaceChanged | TablesTouched | TablesUnknown | Stop


class Mailbox:
    """Events for the loop; while it is `attended` somebody is at work who will look into it, and ring if need be."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._bell = threading.Lock()
        self._bell.acquire()
        self._put = self._taken = 0  # revisions, by whoever has the store's lock, and by whoever has the turn
        self.attended = False

    def put(self, event: Event) -> None:
        """Put an event in; never waits. Revisions are put in one after the other."""
        self._put += isinstance(event, Proposed)
        self._events.append(event)
        if not self.attended:
            self.ring()

    def ring(self) -> None:
        """Wake whoever waits, or comes to wait next."""
        with suppress(RuntimeError):  # it is rung already
            self._bell.release()

    def wait(self, timeout: float) -> None:
        """Wait until the bell is rung, for some seconds at most; events stay where they are."""
        self._bell.acquire(timeout=timeout)

    def take(self, timeout: float) -> list[Event]:
        """Return all events that are there, or wait for the first one."""
        if timeout > 0 and not self._events:
            self.wait(timeout)
        found = [self._events.popleft() for _ in range(len(self._events))]
        self._taken += sum(isinstance(event, Proposed) for event in found)
        return found

    @property
    def proposed(self) -> int:
        """How many revisions wait in it."""
        return self._put - self._taken

    def empty(self) -> bool:
        """Say whether nothing waits."""
        return not self._events
