"""Resources under keys, changed by revisions: what the operator wants, and what became of each change.

interface   what a store is, with etcd's semantics: whoever keeps that can take its place
"""

from enforcer.agent.store.interface import Author, Change, Conflict, Entry, Outcome, Revision, Store

__all__ = ["Author", "Change", "Conflict", "Entry", "Outcome", "Revision", "Store"]
