"""The enforcing loop: the only one that changes the kernel. It takes steps until there is nothing to do.

    mailbox ──take──▶ what happened ──decide──▶ steps ──commit──▶ kernel ──settle──▶ store

What holds if we crash right after each step of a change:
1. Take: revisions are in the store as proposed. The next life finds them there.
2. Compile, commit: the kernel has all of a namespace's change or nothing of it (`dataplane.commit`). The next life
   puts what is in force and what is proposed in force, whole, and settles it.
3. Settle: the store says that it is in force, on the disk. Only then does the caller hear of it. The next change is not
   kept waiting for that (`settling`).

It has a thread of its own; an edit that comes alone is put in force by the thread that takes it, in a turn of its own
(`at_once`).

A revision that is refused – by the model, an interface or the kernel – is settled as refused, and what it did to other
namespaces is undone. Of a burst that is refused, halves are tried, so that only the guilty revision is refused.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import assert_never

from enforcer.agent.decide import Attach, Commit, Replace, Step, decide, patience
from enforcer.agent.desired import Desired
from enforcer.agent.events.gathering import Gathering
from enforcer.agent.events.mailbox import (
    Event,
    LinksChanged,
    Mailbox,
    NamespaceChanged,
    Proposed,
    Stop,
    TablesTouched,
    TablesUnknown,
)
from enforcer.agent.events.turns import Turns
from enforcer.agent.kernel import Kernel
from enforcer.agent.memory import give_back, uncollected
from enforcer.agent.observer import Observer
from enforcer.agent.places import Eyes, Places
from enforcer.agent.settling import Settling
from enforcer.agent.status import KEY, Status, closed_yet
from enforcer.agent.store import Outcome, Revision, Store, StoreFailed
from enforcer.compiler import Program
from enforcer.compiler.incremental import Compiler
from enforcer.errors import EnforcerError
from enforcer.model import Policy

BEAT = 1.0
"""Seconds after which the loop says that it is alive, at the latest, when it is not at work."""

PUBLISH_EVERY = 0.2
"""Seconds that a status may be old while one change follows the other."""

MOST_ODDITIES = 5
"""Unexpected failures in a row after which the loop gives up: a new process knows no half-done things."""


class Loop:
    """Takes events and proposed revisions, and keeps the policy in force.

    `in_force` is the revision that is, and what it wants: one pair, which other threads may read. `gathering` decides
    how many revisions one commit merges. What a thread proposes in a block of `at_once()` is put in force behind it, by
    the same thread, where there is nothing else to do.
    """

    def __init__(
        self,
        store: Store,
        kernel: Kernel,
        eyes: Eyes,
        mailbox: Mailbox,
        observer: Observer,
        *,
        desired: Callable[[Mapping[str, str]], Desired],
        compile_: Callable[[Policy], Program] | None = None,
        passed: Callable[[str], None] = lambda _: None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._kernel, self._mailbox, self._observer = store, kernel, mailbox, observer
        self._read, self._passed, self._alive = desired, passed, alive
        self._compile = compile_ or Compiler().compile
        self._places = Places(kernel, eyes, observer)
        self._settling = Settling(store, observer.failed, passed)
        self._status = Status()
        self._events: deque[Event] = deque()
        self._proposed: deque[Revision] = deque()
        self._suspicions: dict[str, tuple[str, str, int, float]] = {}
        self._mended: dict[str, float] = {}
        self._published = 0.0
        self._oddities = 0
        self.gathering = Gathering(mailbox)
        self._turns = Turns(mailbox, self.gathering)
        self.at_once = partial(self._turns.at_once, self._commit_here)
        self.last = 0

    # --- life --------------------------------------------------------------------------------------------------------

    @uncollected()
    def begin(self) -> None:
        """Put in force what the store says; `last` is the last revision that was looked at.

        What was in force and what was proposed when the earlier life ended go together, if they can: a packet of a
        connection that both allow meets nothing else.
        """
        begun = time.monotonic()
        newest = self._store.history(most=1)
        self.last = newest[0].number if newest else 0
        unsettled = [revision for revision in self._store.unsettled() if revision.number <= self.last]
        self._revision = unsettled[0].number - 1 if unsettled else self._store.head
        entries = self._store.snapshot(self._revision)
        self._desired = self._read({key: entry.value for key, entry in entries.items()})
        self.in_force = (self._revision, self._desired)
        self._program = self._compile(self._desired.policy)
        self._places.begin(self._program)
        if unsettled:
            self._commit(unsettled)
        for step in tuple(decide(self._places.all, (), time.monotonic())):
            self._take(step)
        loaded = sum(place.loaded for place in self._places.all.values())
        self._observer.loaded(self._revision, loaded, time.monotonic() - begun)
        self._publish()

    def run(self) -> None:
        """Take rounds until a Stop; the rules stay in the kernel (S19)."""
        with self._settling.beside():
            while self.round(BEAT):
                pass

    def round(self, most: float) -> bool:
        """Wait for something to happen, at most some seconds, and do what is to be done; False: stop."""
        self._alive()
        if not self._proposed and not self._events and self._mailbox.empty():
            self._mailbox.wait(patience(self._places.all, time.monotonic(), most))
        with self._turns.taken():
            return self._round()

    def _round(self) -> bool:
        self._events += self._mailbox.take(0.0)
        if self._events and isinstance(self._events[-1], Proposed):
            self.gathering.wait(len(self._events))
            self._events += self._mailbox.take(0.0)
        self.gathering.working = any(isinstance(event, Proposed) for event in self._events)
        try:
            while self._events:
                event = self._events.popleft()
                if isinstance(event, Stop):
                    return False
                self._hear(event)
            for step in tuple(decide(self._places.all, [each.number for each in self._proposed], time.monotonic())):
                self._take(step)
            self._settling.retry()
            self._publish_when_due()
            if not self._proposed and self._mailbox.empty():
                self._kernel.tidy()
            self._oddities = 0
        except Exception as error:
            self._odd(error)
            if self._oddities >= MOST_ODDITIES:
                raise
        finally:
            self.gathering.working = False
        return True

    def _commit_here(self) -> None:
        """Commit what has been proposed, and nothing else: what else there is comes first, and the loop does it."""
        self._events += self._mailbox.take(0.0)
        while self._events and isinstance(self._events[0], Proposed):
            self._hear(self._events.popleft())
        due = tuple(decide(self._places.all, [each.number for each in self._proposed], time.monotonic()))
        if not self._events and len(due) == 1 and isinstance(due[0], Commit):
            try:
                self._take(due[0])
            except Exception as error:
                self._odd(error)

    def _odd(self, error: Exception) -> None:
        """Survive what nobody thought of: trust nothing that is in the kernel, and begin again from what is wanted."""
        self._oddities += 1
        self._observer.failed("loop", f"{type(error).__name__}: {error}")
        self._places.distrust("the enforcer met an unexpected failure")

    def namespaces(self) -> tuple[str, ...]:
        """Return the namespaces in which there are NICs; for any thread."""
        return tuple(self._places.all)

    # --- what happened -----------------------------------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        match event:
            case Proposed(revision):
                self._proposed.append(revision)
            case LinksChanged(netns, away):
                self._places.links_changed(netns, away)
                self._status.changed = True
            case NamespaceChanged(netns):
                self._places.namespace_changed(netns)
                self._status.changed = True
            case TablesTouched(netns, notice, heard):
                if not self._kernel.is_ours(netns, notice):
                    what = f"somebody else changed our tables: {notice.program}, process {notice.pid}"
                    self._suspect(netns, what, notice.program, notice.pid, heard)
            case TablesUnknown(netns, why, certain, heard):
                fresh = heard > self._mended.get(netns, 0.0)  # else it was about what has been replaced meanwhile
                if (certain and fresh) or not self._kernel.is_last_ours(netns):
                    self._suspect(netns, why, "", 0, heard)
            case Stop():
                pass
            case _:
                assert_never(event)

    def _suspect(self, netns: str, what: str, program: str, pid: int, heard: float) -> None:
        self._places.suspect(netns, what)
        self._suspicions.setdefault(netns, (what, program, pid, heard))

    # --- steps -------------------------------------------------------------------------------------------------------

    def _take(self, step: Step) -> None:
        match step:
            case Replace(netns):
                with uncollected():
                    replaced = self._places.replace(netns)
                if replaced:
                    self._mended[netns] = time.monotonic()
                if replaced and (suspicion := self._suspicions.pop(netns, None)) is not None:
                    what, program, pid, heard = suspicion
                    self._repaired(netns, what, program, pid, self._mended[netns] - heard)
                give_back()
            case Attach(netns, anew):
                self._places.attach(netns, anew=anew)
            case Commit(numbers):
                self._commit([self._proposed.popleft() for _ in numbers])
            case _:
                assert_never(step)
        self._status.changed = True

    def _repaired(self, netns: str, what: str, program: str, pid: int, seconds: float) -> None:
        self._observer.repaired(netns, what, program, pid, seconds)
        self._status.repaired(netns, what, program, pid, seconds)

    @uncollected()
    def _commit(self, revisions: Sequence[Revision]) -> None:
        """Put revisions in force together; if that is refused, halves of them, and refuse what is left alone."""
        begun = time.monotonic()
        numbers = [revision.number for revision in revisions]
        self._passed("taken")
        try:
            desired = self._desired
            for revision in revisions:  # one after the other, as the API has judged them: it has done the work
                desired = desired.with_changes(revision.changes)
            program = self._compile(desired.policy)
            self._passed("compiled")
            committed = self._places.enforce(program)
        except StoreFailed:
            raise
        except Exception as error:
            if len(revisions) > 1:
                self._commit(revisions[: len(revisions) // 2])
                self._commit(revisions[len(revisions) // 2 :])
            else:
                self._refuse(numbers[0], error)
            return
        took = time.monotonic() - begun
        self.gathering.committed(len(revisions), took)
        self._passed("committed")
        self._desired, self._program, self._revision = desired, program, numbers[-1]
        self.in_force = (self._revision, desired)
        self._settling.settle(numbers, Outcome.IN_FORCE, closed_yet(self._places.all.values()))
        self._observer.committed(numbers, committed, took)
        self._status.changed = True

    def _refuse(self, number: int, error: Exception) -> None:
        ours = isinstance(error, EnforcerError)
        why = str(error) if ours else f"this is a bug of the enforcer: {type(error).__name__}: {error}"
        self._settling.settle([number], Outcome.REFUSED, why)
        self._observer.refused(number, why)
        if not ours:
            self._observer.failed(f"revision {number}", why)

    # --- what it says ------------------------------------------------------------------------------------------------

    def _publish_when_due(self) -> None:
        if self._status.changed and (self._mailbox.empty() or time.monotonic() - self._published > PUBLISH_EVERY):
            self._publish()

    def _publish(self) -> None:
        self._status.changed = False
        self._published = time.monotonic()
        document = self._status.document(self._revision, len(self._proposed), self._program, self._places.all)
        self._store.publish(KEY, document)
        self._passed("published")
