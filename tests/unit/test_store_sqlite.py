"""The embedded store keeps the contract of stores, and says what is wrong with its file instead of beginning anew."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import settings
from store_contract import StoreContract

from enforcer.agent.store import (
    Author,
    Change,
    Conflict,
    Keep,
    Outcome,
    Revision,
    SqliteStore,
    Store,
    StoreFailed,
    opening,
)
from enforcer.agent.store import UnknownRevision as Unknown
from enforcer.agent.store.sqlite import COMPACT_EVERY, TEND_AT_LAST

ME = Author(1000)


class Contract(StoreContract):
    def make(self) -> Store:
        self.directory = Path(tempfile.mkdtemp())
        return SqliteStore(self.directory / "store.db")

    def opened_again(self, store: Store) -> Store:
        assert isinstance(store, SqliteStore)
        store.close()
        return SqliteStore(self.directory / "store.db")

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.directory)


TestContract = Contract.TestCase
TestContract.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "store.db"


def put(store: SqliteStore, key: str, value: str | None, outcome: Outcome = Outcome.IN_FORCE) -> int:
    made = store.propose([Change(key, value)], author=ME)
    store.settle([made.number], outcome)
    return made.number


# --- its file ---


def test_only_root_and_the_group_may_look_at_it(path: Path):
    store = SqliteStore(path)
    put(store, "a", "1")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == dict.fromkeys(
        ("store.db", "store.db-wal", "store.db-shm", "store.lock"), 0o600
    )


def test_one_process_uses_it_and_the_next_is_told_which(path: Path):
    store = SqliteStore(path)
    with pytest.raises(
        StoreFailed, match=rf"store.db: is in use by the process {os.getpid()}, .*; stop that one first"
    ):
        SqliteStore(path)
    store.close()
    SqliteStore(path).close()


@pytest.mark.parametrize("damage", ["emptied", "scribbled on", "truncated", "not ours", "gone, its journal left"])
def test_a_damaged_store_is_an_error_that_says_what_to_do_and_is_left_as_it_is(path: Path, damage: str):
    """Never a silent fresh start: what an operator has asked for would be forgotten."""
    store = SqliteStore(path)
    for number in range(50):
        put(store, f"key/{number}", "x" * 1000)
    store.close()
    whole = path.read_bytes()
    if damage == "emptied":
        path.write_bytes(b"")
    elif damage == "scribbled on":
        path.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 8192) + whole[-4096:])
    elif damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2 // 4096 * 4096 + 100])
    elif damage == "not ours":
        path.unlink()
        sqlite3.connect(path).executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1);").close()
    else:
        path.unlink()
        path.with_name("store.db-wal").write_bytes(b"x")
    left = path.read_bytes() if path.exists() else None
    with pytest.raises(StoreFailed, match=r"store\.db: is .*; what is in the kernel stays in force: put a backup"):
        SqliteStore(path)
    assert (path.read_bytes() if path.exists() else None) == left
    path.write_bytes(whole)
    path.with_name("store.db-wal").unlink(missing_ok=True)
    assert len(SqliteStore(path).snapshot()) == 50, "a backup in its place works"


def test_a_store_of_a_newer_version_is_not_touched(path: Path):
    SqliteStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {opening.VERSION + 1}")
    connection.close()
    with pytest.raises(StoreFailed, match=r"written by a newer enforcer \(format 2, this one knows 1\); install"):
        SqliteStore(path)


def test_an_older_store_is_brought_up_to_date_in_one_step(path: Path, monkeypatch: pytest.MonkeyPatch):
    store = SqliteStore(path)
    put(store, "a", "1")
    store.close()
    monkeypatch.setattr(opening, "VERSION", 2)
    monkeypatch.setattr(opening, "MIGRATIONS", {1: "CREATE TABLE more (a);"})
    store = SqliteStore(path)
    assert store.snapshot()["a"].value == "1"
    store.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    assert connection.execute("SELECT count(*) FROM more").fetchone() == (0,)
    connection.close()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFailed, match=r"file: is not a directory; name one, or move what is there away"):
        SqliteStore(tmp_path / "file" / "store.db")


def test_a_store_that_somebody_locks_refuses_the_change_and_says_so(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(opening, "WAIT_FOR_OTHERS", 0.01)
    store = SqliteStore(path)
    first = put(store, "a", "1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreFailed, match=r"store.db: is locked by another program; .*`fuser`"):
        store.propose([Change("a", "2")], author=ME)
    other.execute("ROLLBACK")
    assert (store.head, store.snapshot()["a"].value) == (first, "1")
    assert put(store, "a", "3") == first + 1, "it goes on when the other has let go"


def test_a_full_disk_refuses_the_change_and_keeps_what_was_there(path: Path):
    store = SqliteStore(path)
    first = put(store, "a", "1")
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLITE_FULL, as from a full disk
    with pytest.raises(StoreFailed, match=r"store.db: no space is left for it; nothing was changed: make room"):
        store.propose([Change("b", "x" * 1_000_000)], author=ME)
    assert store.head == first
    assert {key: entry.value for key, entry in store.snapshot().items()} == {"a": "1"}
    store._connection.execute("PRAGMA max_page_count = 1000000")
    assert put(store, "b", "x" * 1_000_000) == first + 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
@pytest.mark.kernel
def test_a_disk_that_is_really_full_refuses_the_change_and_keeps_what_was_there(tmp_path: Path):
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from enforcer.agent.store import *
store = SqliteStore(Path({str(tmp_path)!r}) / "store.db")
store.settle([store.propose([Change("a", "1")], author=Author(0)).number], Outcome.IN_FORCE)
refused = 0
for number in range(100):
    try:
        store.propose([Change(f"b{{number}}", "x" * 100_000)], author=Author(0))
    except StoreFailed as error:
        assert "no space" in str(error) or "cannot be read or written" in str(error), error
        refused += 1
assert refused > 50, refused
head = store.head
assert store.snapshot()["a"].value == "1" and len(store.snapshot()) == head
store.close()
again = SqliteStore(Path({str(tmp_path)!r}) / "store.db")
assert again.head == head and len(again.snapshot()) == head
"""
    mounted = (
        f"mount -t tmpfs -o size=1m tmpfs {tmp_path} && exec {sys.executable} -c '{script.replace(chr(39), chr(34))}'"
    )
    done = subprocess.run(["unshare", "-m", "sh", "-c", mounted], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_was_settled_outlives_a_killed_process(path: Path):
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from enforcer.agent.store import *
store = SqliteStore(Path({str(path)!r}))
while True:
    made = store.propose([Change("a", str(store.head + 1))], author=Author(0))
    store.settle([made.number], Outcome.IN_FORCE)
    print(made.number, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(100):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    acknowledged = [int(line) for line in process.stdout.read().split("\n") if line] or [100]
    process.wait()
    process.stdout.close()
    store = SqliteStore(path)
    assert store.head >= acknowledged[-1] >= 100
    assert store.revision(acknowledged[-1]).outcome is Outcome.IN_FORCE
    assert store.snapshot()["a"].value == str(store.head)


# --- many at once ---


def test_proposals_of_many_threads_come_one_after_the_other_and_none_is_lost(path: Path):
    store = SqliteStore(path)
    seen: list[int] = []
    learned: list[int] = []

    def settling() -> None:
        proposed: queue.SimpleQueue[Revision] = queue.SimpleQueue()
        store.follow(0, proposed.put)
        while len(seen) < 400:
            revision = proposed.get(timeout=10)
            seen.append(revision.number)
            store.settle([revision.number], Outcome.IN_FORCE)

    def changing(who: int) -> None:
        for number in range(50):
            made = store.propose([Change(f"{who}/{number}", "x")], author=Author(who))
            assert store.settled(made.number, 10).outcome is Outcome.IN_FORCE
            learned.append(made.number)

    threads = [threading.Thread(target=settling), *(threading.Thread(target=changing, args=(n,)) for n in range(8))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen == list(range(1, 401))
    assert sorted(learned) == seen
    assert len(store.snapshot()) == 400


def test_of_those_who_saw_the_same_head_one_wins(path: Path):
    store = SqliteStore(path)
    won: list[int] = []
    lost: list[Conflict] = []
    together = threading.Barrier(8)

    def changing(who: int) -> None:
        together.wait()
        try:
            won.append(store.propose([Change("a", str(who))], author=Author(who), if_revision=0).number)
        except Conflict as conflict:
            lost.append(conflict)

    threads = [threading.Thread(target=changing, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert won == [1]
    assert len(lost) == 7
    assert all(error.exit_status == 1 for error in lost)
    assert "the head is revision 1, not 0; look at what changed" in str(lost[0])


def test_what_is_published_is_gone_with_the_process(path: Path):
    store = SqliteStore(path)
    store.publish("status", "fine")
    assert store.published("status") == "fine"
    store.close()
    assert SqliteStore(path).published("status") is None


# --- what it does when it has time ---


def test_an_idle_moment_copies_the_journal_into_the_file_and_drops_what_is_old(path: Path, tmp_path: Path):
    store = SqliteStore(path, keep=Keep(most=10, days=90, least=2))
    many = range(COMPACT_EVERY)
    for number in many:
        store.propose([Change("a", str(number))], author=ME)
    store.settle([number + 1 for number in many], Outcome.IN_FORCE)
    assert len(store.history(most=2 * COMPACT_EVERY)) == COMPACT_EVERY, "nobody who waits for an answer waits for that"
    store.tend()
    assert len(store.history(most=2 * COMPACT_EVERY)) == 10
    alone = shutil.copy(path, tmp_path / "without-its-journal.db")
    assert sqlite3.connect(alone).execute("SELECT max(number) FROM revisions").fetchone() == (COMPACT_EVERY,)


def test_a_store_that_is_never_idle_does_the_same_after_a_thousand_revisions(path: Path, tmp_path: Path):
    store = SqliteStore(path, keep=Keep(most=10, days=90, least=2))
    for _ in range(TEND_AT_LAST):
        store.propose([], author=ME)
    store.settle(range(1, TEND_AT_LAST + 1), Outcome.IN_FORCE)
    assert len(store.history(most=TEND_AT_LAST)) == 10
    alone = shutil.copy(path, tmp_path / "without-its-journal.db")
    assert sqlite3.connect(alone).execute("SELECT max(number) FROM revisions").fetchone() == (TEND_AT_LAST,)


# --- how much history is kept ---


def test_old_revisions_are_dropped_and_what_they_left_stays(path: Path):
    store = SqliteStore(path, keep=Keep(most=10, days=90, least=2))
    put(store, "old", "stays")
    put(store, "gone", "x")
    put(store, "gone", None)
    put(store, "refused", "x", Outcome.REFUSED)
    for number in range(20):
        put(store, "new", str(number))
    before = store.snapshot()
    store.compact()
    assert store.snapshot() == before
    assert before["old"].revision == 1
    assert [revision.number for revision in store.history(most=100)] == list(range(24, 14, -1))
    assert store.snapshot(15)["new"].value == "10"
    with pytest.raises(Unknown, match=r"revision 3: does not exist; the kept ones are 15 to 24"):
        store.snapshot(3)
    rows = store._connection.execute("SELECT count(*) FROM changes").fetchone()[0]
    assert rows == 12, "10 kept, and what two of the dropped ones left"
    store.close()
    again = SqliteStore(path)
    assert again.snapshot() == before
    assert again.propose([], author=ME).number == 25


def test_revisions_are_dropped_by_age_but_some_always_stay(path: Path):
    now = 1_000_000.0
    store = SqliteStore(path, keep=Keep(most=100, days=1, least=3), clock=lambda: now)
    for number in range(10):
        put(store, "a", str(number))
    now += 2 * 86400
    store.compact()
    assert [revision.number for revision in store.history()] == [10, 9, 8]


def test_what_is_not_settled_is_never_dropped(path: Path):
    store = SqliteStore(path, keep=Keep(most=1, days=0, least=0))
    waiting = store.propose([Change("a", "1")], author=ME)
    for number in range(10):
        put(store, "b", str(number))
    store.compact()
    assert store.unsettled() == (waiting,)
    store.settle([waiting.number], Outcome.REFUSED)
    store.compact()
    assert set(store.snapshot()) == {"b"}
