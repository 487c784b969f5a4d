"""The embedded store: revisions in an SQLite file, as `interface` asks for, for one daemon and its threads.

Durability is chosen by what was promised. The journal is a WAL with `synchronous = NORMAL`, which waits for the disk at
checkpoints only:
- `propose` does not wait: the page cache outlives a killed process, and nothing was acknowledged yet;
- `settle` as in force flushes the WAL once for a whole burst, all that was proposed before it included, and only then
  wakes those who wait: what was acknowledged outlives a loss of power. The wait is neither in the way of the kernel's
  commit, which has happened by then, nor of the next proposals, which do not queue behind it;
- a refusal is not flushed: if it is lost, the revision is tried and refused again.
What takes long (copying the journal into the file, dropping old revisions) is for `tend`, in an idle moment.

What is asked at every change (head, last revisions, notes) is held in memory and changes after the transaction only.
Example: `SqliteStore(Path("/var/lib/enforcer/store.db")).propose([Change("ecs/a", "{…}")], author=Author(0))`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from enforcer.agent.store.dropping import Keep, drop, droppable
from enforcer.agent.store.interface import Author, Change, Conflict, Entry, Outcome, Revision, UnknownRevision
from enforcer.agent.store.opening import checkpoint, explained, opened, opened_journal
from enforcer.agent.store.recent import Recent

COMPACT_EVERY, TEND_AT_LAST = 500, 1000
"""After how many settled revisions old ones are dropped, and after how many no idle moment is waited for."""


class SqliteStore:
    """A `Store` in the file `path`; one process at a time may have it open."""

    def __init__(self, path: Path, *, keep: Keep | None = None, clock: Callable[[], float] = time.time) -> None:
        self._path, self._keep, self._clock = path, keep or Keep(), clock
        self._changed = threading.Condition(threading.RLock())
        self._published: dict[str, str] = {}
        self._recent = Recent()
        self._waiting: dict[int, list[Callable[[Revision], None]]] = {}
        self._following: list[Callable[[Revision], None]] = []
        self._connection, self._lock = opened(path)
        self._journal = -1
        with explained(path):
            self._floor = self._number("SELECT floor FROM kept")
            self._last = max(self._number("SELECT max(number) FROM revisions"), self._floor)
            self._head = self._highest()
            self._notes = {row[0]: Entry(*row) for row in self._connection.execute("SELECT * FROM notes")}
        self._since_compaction = 0
        self._journalled = 0
        self.compact()

    def close(self) -> None:
        """Close the file and let another process have it."""
        with self._changed:
            self._connection.close()
            for descriptor in (self._journal, self._lock):
                if descriptor >= 0:
                    os.close(descriptor)
            self._journal = self._lock = -1

    @property
    def head(self) -> int:
        return self._head

    def propose(
        self,
        changes: Collection[Change],
        *,
        author: Author,
        message: str = "",
        if_revision: int | None = None,
        expected: Mapping[str, int] | None = None,
        notes: Collection[Change] = (),
    ) -> Revision:
        with self._changed:
            with self._transaction() as connection:
                self._compare(if_revision, expected or {})
                number, at = self._last + 1, self._clock()
                revision = Revision(number, at, author, message, tuple(changes), Outcome.PROPOSED)
                row = (number, at, author.uid, author.by, message, Outcome.PROPOSED.value, "")
                connection.execute("INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?, ?)", row)
                rows = ((change.key, number, change.value) for change in changes)
                connection.executemany("INSERT INTO changes (key, revision, value) VALUES (?, ?, ?)", rows)
                for note in notes:
                    self._note(note.key, note.value, number)
            self._last = self._head = number
            self._noted(notes, number)
            self._recent.hold(revision)
            for tell in self._following:
                tell(revision)
        return revision

    def settle(self, numbers: Collection[int], outcome: Outcome, reason: str = "") -> None:
        if outcome is Outcome.PROPOSED:
            raise ValueError("a revision is settled as in force or refused")
        with self._transaction() as connection:
            rows = [(outcome.value, reason, number) for number in numbers if self._is_proposed(number)]
            connection.executemany("UPDATE revisions SET outcome = ?, reason = ? WHERE number = ?", rows)
            if outcome is Outcome.REFUSED:
                refused = [(number,) for _, _, number in rows]
                connection.executemany("UPDATE changes SET refused = 1 WHERE revision = ?", refused)
        if outcome is Outcome.IN_FORCE:
            self._flush()
        with self._changed:
            for _, _, number in rows:
                self._recent.settle(number, outcome, reason)
            if outcome is Outcome.REFUSED:
                self._head = self._highest()
            self._changed.notify_all()
            told = [(self.revision(n), tell) for _, _, n in rows for tell in self._waiting.pop(n, ())]
        for revision, tell in told:
            tell(revision)
        self._journalled += len(rows)
        self._since_compaction += len(rows)
        if self._journalled >= TEND_AT_LAST:
            self.tend()

    def snapshot(self, revision: int | None = None) -> dict[str, Entry]:
        with self._reading() as connection:
            number = self._head if revision is None else revision
            if number != self._head and not (number == 0 == self._floor):
                self._row(number)
            newest = "SELECT key, value, max(revision) FROM changes WHERE revision <= ? AND NOT refused GROUP BY key"
            rows = connection.execute(newest, (number,)).fetchall()
        return {key: Entry(key, value, written) for key, value, written in rows if value is not None}

    def revision(self, number: int) -> Revision:
        if (recent := self._recent.get(number)) is not None:
            return recent
        with self._reading():
            return self._read(self._row(number))

    def history(self, *, most: int = 50, before: int | None = None) -> tuple[Revision, ...]:
        below = self._last + 1 if before is None else before
        with self._reading() as connection:
            chosen = "SELECT * FROM revisions WHERE number < ? ORDER BY number DESC LIMIT ?"
            rows = connection.execute(chosen, (below, most)).fetchall()
            return tuple(self._read(row) for row in rows)

    def unsettled(self) -> tuple[Revision, ...]:
        with self._reading() as connection:
            chosen = "SELECT * FROM revisions WHERE outcome = 'proposed' ORDER BY number"
            return tuple(self._read(row) for row in connection.execute(chosen).fetchall())

    def follow(self, after: int, tell: Callable[[Revision], None]) -> None:
        with self._changed:
            for revision in self._above(after):
                tell(revision)
            self._following.append(tell)

    def settled(self, number: int, timeout: float) -> Revision:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_proposed(number), timeout)
            return self.revision(number)

    def when_settled(self, number: int, tell: Callable[[Revision], None]) -> None:
        with self._changed:
            if self._is_proposed(number):
                self._waiting.setdefault(number, []).append(tell)
                return
            revision = self.revision(number)
        tell(revision)

    def remember(self, key: str, value: str | None) -> None:
        with self._changed:
            with self._transaction():
                self._note(key, value, self._head)
            self._noted((Change(key, value),), self._head)

    def remembered(self, key: str) -> Entry | None:
        return self._notes.get(key)

    def publish(self, key: str, value: str) -> None:
        with self._changed:
            self._published[key] = value

    def published(self, key: str) -> str | None:
        with self._changed:
            return self._published.get(key)

    def tend(self) -> None:
        if self._since_compaction >= COMPACT_EVERY:
            self.compact()
        if self._journalled:
            self._journalled = 0
            with explained(self._path):
                checkpoint(self._path)

    def compact(self) -> None:
        """Drop revisions that need not be kept, and what only they have said; never one that is not settled."""
        with self._transaction() as connection:
            self._since_compaction = 0
            floor = droppable(connection, self._keep, self._last, self._head, self._clock())
            if floor <= self._floor:
                return
            drop(connection, floor)
        with self._changed:
            self._floor = floor
            self._recent.forget(floor)

    # --- inside ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Run one writing transaction, alone; whatever goes wrong in it, nothing of it is left."""
        with self._changed, explained(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._changed, explained(self._path):
            yield self._connection

    def _flush(self) -> None:
        """Wait until the journal is on the disk, without keeping others from writing to it."""
        with explained(self._path):
            if self._journal < 0:
                self._journal = opened_journal(self._path)
            os.fdatasync(self._journal)

    def _compare(self, if_revision: int | None, expected: Mapping[str, int]) -> None:
        if if_revision is not None and if_revision != self._head:
            mend = "look at what changed (`enforcer history`) and try again"
            raise Conflict(f"the head is revision {self._head}, not {if_revision}; {mend}")
        for key, wanted in expected.items():
            newest = "SELECT value, max(revision) FROM changes WHERE key = ? AND NOT refused"
            value, written = self._connection.execute(newest, (key,)).fetchone()
            found = 0 if value is None else written
            if found != wanted:
                mend = "look at it again and try again"
                raise Conflict(f"{key}: was written by revision {found}, not {wanted}; {mend}")

    def _note(self, key: str, value: str | None, number: int) -> None:
        if value is None:
            self._connection.execute("DELETE FROM notes WHERE key = ?", (key,))
        else:
            self._connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", (key, value, number))

    def _noted(self, notes: Collection[Change], number: int) -> None:
        """Hold in memory what a transaction has noted; others read it meanwhile."""
        for note in notes:
            if note.value is None:
                self._notes.pop(note.key, None)
            else:
                self._notes[note.key] = Entry(note.key, note.value, number)

    def _number(self, query: str, *parameters: object) -> int:
        return int(self._connection.execute(query, parameters).fetchone()[0] or 0)

    def _highest(self) -> int:
        """Return the head as the file has it."""
        found = self._number("SELECT max(number) FROM revisions WHERE outcome != 'refused'")
        return max(found, self._floor)

    def _is_proposed(self, number: int) -> bool:
        return self.revision(number).outcome is Outcome.PROPOSED

    def _above(self, after: int) -> tuple[Revision, ...]:
        if self._recent.get(after + 1) is not None:
            return self._recent.above(after)
        with self._reading() as connection:
            rows = connection.execute("SELECT * FROM revisions WHERE number > ? ORDER BY number", (after,)).fetchall()
            return tuple(self._read(row) for row in rows)

    def _row(self, number: int) -> tuple[Any, ...]:
        row = self._connection.execute("SELECT * FROM revisions WHERE number = ?", (number,)).fetchone()
        if row is None:
            kept = f"the kept ones are {self._floor + 1} to {self._last}" if self._last else "there are none yet"
            raise UnknownRevision(f"revision {number}: does not exist; {kept}")
        return tuple(row)

    def _read(self, row: tuple[Any, ...]) -> Revision:
        number, at, uid, by, message, outcome, reason = row
        chosen = "SELECT key, value FROM changes WHERE revision = ? ORDER BY rowid"
        changes = tuple(Change(key, value) for key, value in self._connection.execute(chosen, (number,)))
        return Revision(number, at, Author(uid, by), message, changes, Outcome(outcome), reason)
