"""Resources under keys, changed by revisions: what the operator wants, and what became of each change.

interface   what a store is, with etcd's semantics: whoever keeps that can take its place
sqlite      the embedded one: SQLite in a file
opening     its files: made, locked, and checked before anything is read from them
copying     a copy of what is in force, for a boot that finds the file damaged
dropping    how much history is kept
"""

from enforcer.agent.store.dropping import Keep
from enforcer.agent.store.interface import (
    Author,
    Change,
    Conflict,
    Entry,
    Outcome,
    Revision,
    Store,
    StoreDamaged,
    StoreFailed,
    UnknownRevision,
)
from enforcer.agent.store.sqlite import SqliteStore

__all__ = [
    "Author",
    "Change",
    "Conflict",
    "Entry",
    "Keep",
    "Outcome",
    "Revision",
    "SqliteStore",
    "Store",
    "StoreDamaged",
    "StoreFailed",
    "UnknownRevision",
]
