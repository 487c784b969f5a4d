"""The files of the embedded store: who may use them, whether they are whole, and which version wrote them.

    store.db   the database, 0600, in a directory that only root and the group may enter (0750)
    store.lock held by the one process that uses the database, with its pid

A store is never begun anew where there was one: a file that is damaged, empty, foreign or written by a newer version
is an error that names it, and what is in the kernel stays in force. A new database is made under another name and put
in place whole, so that an empty file is always damage. Example: `with opened(Path("/var/lib/enforcer/store.db")) …`.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from enforcer.agent.store.interface import StoreDamaged, StoreFailed

APPLICATION = 0x656E6672  # "enfr": what `file` shows, and how a foreign database is told from ours
VERSION = 1
WAIT_FOR_OTHERS = 2.0
"""Seconds for which a reader from outside (`sqlite3 store.db .backup …`) may keep us waiting."""

MOST_JOURNALLED = 8000
"""Pages of 4 KiB in the journal after which whoever writes copies them into the file, if nobody has done so before."""

SCHEMA = """
CREATE TABLE revisions (
    number INTEGER PRIMARY KEY, at REAL NOT NULL, uid INTEGER NOT NULL, by_part TEXT NOT NULL, message TEXT NOT NULL,
    outcome TEXT NOT NULL, reason TEXT NOT NULL
);
CREATE INDEX unsettled ON revisions (number) WHERE outcome = 'proposed';
CREATE TABLE changes (
    key TEXT NOT NULL, revision INTEGER NOT NULL, value TEXT, refused INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (key, revision)
);
CREATE INDEX changes_of ON changes (revision);
CREATE TABLE notes (key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL);
CREATE TABLE kept (floor INTEGER NOT NULL);
INSERT INTO kept VALUES (0);
"""
"""`changes` of revisions at or below `kept.floor` are what was left when the revisions themselves were dropped."""

MIGRATIONS: dict[int, str] = {}
"""From a version to the next: the statements that make it so."""


def opened(path: Path) -> tuple[sqlite3.Connection, int]:
    """Return a connection to the store at `path`, made if there is none, and the lock to be closed after it."""
    with explained(path):
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        lock = _locked(path)
        try:
            _exists(path)
            return _connected(path), lock
        except BaseException:
            os.close(lock)
            raise


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say into errors that say which file, what, and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        damaged = getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
        raise (StoreDamaged if damaged else StoreFailed)(f"{path}: {_what(error)}") from error
    except OSError as error:
        where = error.filename or path
        if isinstance(error, FileExistsError | NotADirectoryError):
            raise StoreFailed(f"{where}: is not a directory; name one, or move what is there away") from error
        raise StoreFailed(f"{where}: {error.strerror}; the enforcer needs to read and write it") from error


def _what(error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return f"is damaged ({error}); {RESTORE}"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return "is locked by another program; end that program (`fuser` names it) and try again"
    if name.startswith("SQLITE_FULL"):
        return "no space is left for it; nothing was changed: make room and try again"
    if name.startswith(("SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return f"cannot be read or written ({error}); nothing was changed: look at the disk and the file's permissions"
    return f"failed ({name or type(error).__name__}: {error}); nothing was changed"


RESTORE = "what is in the kernel stays in force: put a backup in its place, or move it away and apply the policy again"


def _locked(path: Path) -> int:
    """Return an open file that holds the store for this process; the kernel lets go of it however we end."""
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        what = f"is in use by the process {holder}, a daemon that runs already"
        raise StoreFailed(f"{path}: {what}; stop that one first") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _exists(path: Path) -> None:
    """Make the database if there never was one; raise if there was."""
    if path.exists():
        if path.stat().st_size == 0:
            raise StoreDamaged(f"{path}: is damaged (it is empty); {RESTORE}")
        return
    if (journal := path.with_name(path.name + "-wal")).exists():
        raise StoreDamaged(f"{path}: is missing beside its journal {journal.name}; {RESTORE}")
    fresh = path.with_name(path.name + ".new")
    for left in (fresh, fresh.with_name(fresh.name + "-journal")):
        left.unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_CREAT | os.O_WRONLY, 0o600))
    connection = sqlite3.connect(fresh, isolation_level=None)
    try:
        version = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
        connection.executescript(f"BEGIN; {SCHEMA} {version} COMMIT;")
    finally:
        connection.close()
    fresh.rename(path)
    _flush_directory(path.parent)


def opened_journal(path: Path) -> int:
    """Return a descriptor of the journal, to flush it by; its name in the directory is on the disk then.

    One of our own is safe: SQLite's locks are on the database and its shared memory. The journal stays the same file
    as long as a connection is open.
    """
    journal = os.open(f"{path}-wal", os.O_RDWR | os.O_CLOEXEC)
    _flush_directory(path.parent)
    return journal


def _flush_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=WAIT_FOR_OTHERS, isolation_level=None, check_same_thread=False)
    try:
        ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION
        if not ours:
            raise StoreDamaged(f"{path}: is a database of another program; {RESTORE}")
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise StoreDamaged(f"{path}: is damaged ({found.splitlines()[-1]}); {RESTORE}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {MOST_JOURNALLED}")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        _upgraded(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def checkpoint(path: Path) -> None:
    """Copy what the journal has into the file, by a connection of its own: nobody who writes meanwhile waits for it."""
    connection = sqlite3.connect(path, timeout=WAIT_FOR_OTHERS, isolation_level=None)
    try:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    finally:
        connection.close()


def _upgraded(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        what = f"was written by a newer enforcer (format {version}, this one knows {VERSION})"
        raise StoreFailed(f"{path}: {what}; install that version again, or restore a backup from before the upgrade")
    for step in range(version, VERSION):
        connection.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[step]} PRAGMA user_version = {step + 1}; COMMIT;")
