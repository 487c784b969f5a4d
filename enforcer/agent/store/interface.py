"""What a store of desired state is: keys with versions, transactions as revisions, snapshots, followers (etcd watches).

A *revision* is one transaction over any number of keys. It is `proposed` by the API and `settled` by the enforcing
loop: `in_force` once the kernel has it, or `refused`, and then it is as if it had never been, for every snapshot. So
a change that is acknowledged is on disk and in the kernel, and one that crashed in between is tried after a restart.

Beside the resources are *notes*: small durable facts under keys of their own, without history, such as the time until
which a revision must be confirmed.

Must not know: policies, nftables. Values are JSON texts. Safe to call from several threads. Every call may raise
StoreFailed, and has then changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from enforcer.errors import EnforcerError, SystemRefused, UsageError


class Conflict(EnforcerError):
    """Somebody else changed it first: the store is not at the revision that the caller has seen."""

    exit_status = 1


class StoreFailed(SystemRefused):
    """The store cannot be opened, read or written (damaged, locked, no space): nothing of this call is in it."""


class StoreDamaged(StoreFailed):
    """The store is there, and is not whole, or is not ours."""


class UnknownRevision(UsageError, KeyError):
    """There is no such revision, or it is so old that it was dropped."""

    def __str__(self) -> str:
        return str(self.args[0])


class Outcome(StrEnum):
    """What became of a revision."""

    PROPOSED = "proposed"
    IN_FORCE = "in_force"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Author:
    """Who asked: the uid of the socket's peer (SO_PEERCRED), and what it was on this host's behalf, if anything.

    `by` is empty for a person, else the part of the enforcer that acted by itself (`confirm-timeout` …).
    """

    uid: int
    by: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A resource: its value, and the revision that wrote it."""

    key: str
    value: str
    revision: int


@dataclass(frozen=True, slots=True)
class Change:
    """One key's part of a revision; `value` None deletes."""

    key: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Revision:
    """One transaction. `at` is Unix time in seconds; `reason` says why it was refused, or what the commit did."""

    number: int
    at: float
    author: Author
    message: str
    changes: tuple[Change, ...]
    outcome: Outcome
    reason: str = ""


class Store(Protocol):
    """The store; numbers of revisions start at 1 and grow, 0 is the empty store."""

    @property
    def head(self) -> int:
        """The highest revision that is not refused; proposed ones count."""

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
        """Write a revision, to be settled by the loop; durable against a crash of the process when this returns.

        Compare-and-set: raises Conflict, and writes nothing, unless the head is `if_revision` and each key of
        `expected` was written by that revision (0: does not exist). `notes` are written in the same transaction.
        """

    def settle(self, numbers: Collection[int], outcome: Outcome, reason: str = "") -> None:
        """Say what became of proposed revisions (the loop alone does), in one transaction; wakes those who wait.

        Durable against a loss of power when this returns; `numbers` that are settled already stay as they are.
        """

    def snapshot(self, revision: int | None = None) -> dict[str, Entry]:
        """Return all resources as of a revision, by default the head; what was refused is not in it.

        Raises UnknownRevision for one that never was or is so old that it was dropped.
        """

    def revision(self, number: int) -> Revision:
        """Return one revision; UnknownRevision (a KeyError) if there is none."""

    def history(self, *, most: int = 50, before: int | None = None) -> tuple[Revision, ...]:
        """Return revisions, newest first, refused ones included."""

    def unsettled(self) -> tuple[Revision, ...]:
        """Return the proposed revisions in their order: what a loop that starts has to deal with."""

    def follow(self, after: int, tell: Callable[[Revision], None]) -> None:
        """Call `tell` with each revision above `after` when it is proposed, in order, each once; first what is there.

        In the thread that proposes; `tell` must be quick and raise nothing.
        """

    def settled(self, number: int, timeout: float) -> Revision:
        """Wait until a revision is settled, and return it; returns it as it is when the time is up."""

    def when_settled(self, number: int, tell: Callable[[Revision], None]) -> None:
        """Call `tell` once with a revision when it is settled, at once if it is; from the thread that settles it.

        For those who wait for many without a thread for each; `tell` must be quick and raise nothing.
        """

    def remember(self, key: str, value: str | None) -> None:
        """Write a note, or drop it (None); durable against a crash of the process."""

    def remembered(self, key: str) -> Entry | None:
        """Return a note, with the revision in whose transaction it was written, else the head of that moment."""

    def tend(self) -> None:
        """Do what the store needs done now and then; called when nothing else is to do, now and then."""

    def publish(self, key: str, value: str) -> None:
        """Put down what is the case (status of NICs …): no revision, no history, gone with the process."""

    def published(self, key: str) -> str | None:
        """Return what was last published under a key."""
