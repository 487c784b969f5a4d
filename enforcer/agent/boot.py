"""Before the network comes up: put in force what was in force when the host went down, and end.

Interfaces that are not there yet are closed by name, so that none of them can send or receive before the daemon has
attached it (S19). Revisions that nobody was told are in force are left to the daemon.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from enforcer.agent.desired import Desired
from enforcer.agent.loop import compiled
from enforcer.agent.store import SqliteStore
from enforcer.dataplane import Committed, namespaces, replace
from enforcer.errors import EnforcerError


@dataclass(frozen=True, slots=True)
class Booted:
    """What is in force now, as of which revision, and what is not: namespaces that are not there, or refuse."""

    revision: int
    committed: tuple[Committed, ...]
    absent: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]


def boot(path: Path, put: Callable[..., Committed] = replace) -> Booted:
    """Put the last good state of the store at `path` in force, each namespace on its own."""
    store = SqliteStore(path)
    try:
        unsettled = store.unsettled()
        revision = unsettled[0].number - 1 if unsettled else store.head
        entries = store.snapshot(revision)
    finally:
        store.close()
    program = compiled(Desired.of({key: entry.value for key, entry in entries.items()}).policy)
    committed: list[Committed] = []
    failed: list[tuple[str, str]] = []
    there = [each for each in program.namespaces if namespaces.exists(each.name)]
    for namespace in there:
        try:
            committed.append(put(namespace))
        except EnforcerError as error:
            failed.append((namespace.name, str(error)))
    absent = tuple(each.name for each in program.namespaces if each not in there)
    return Booted(revision, tuple(committed), absent, tuple(failed))
