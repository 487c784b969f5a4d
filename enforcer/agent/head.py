"""The head: what is wanted once all that was proposed is in force, and the only way in which it changes.

    change ──judge against the head──▶ propose ──▶ Store

A change is judged and proposed under one lock, so that of two clients each is judged after the other, and what was
judged is what is proposed. When the loop has refused a revision, what is wanted is found anew, beginning at what is in
force.

While a revision waits to be confirmed (`confirming`), nothing else changes. Must not know HTTP. Example:
`head.change(lambda now: add_rule(now.resources, "web", rule), author=Author(0))`.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Collection
from typing import Protocol

from enforcer.agent.desired import Desired
from enforcer.agent.resources import NOTHING_YET, SETTINGS
from enforcer.agent.store import Author, Change, Conflict, Outcome, Revision, Store, UnknownRevision
from enforcer.errors import PolicyError
from enforcer.model.groups import SecurityGroup
from enforcer.model.policy import Limits
from enforcer.semantics.effect import QUOTA, beyond_quota

ATTEMPTS = 5
"""How often a change is tried when the head moves under it, because the loop refused something."""


class Planned(Protocol):
    """What a change is to be, found under the lock (`edits.Edit` is one)."""

    @property
    def changes(self) -> tuple[Change, ...]:
        """The changes; none if it is so already."""

    @property
    def said(self) -> str:
        """One line: what was done."""

    @property
    def rule(self) -> tuple[str, str] | None:
        """Group and name of a rule that it puts there."""


class Head:
    """The one place where changes are judged and proposed."""

    def __init__(self, store: Store, in_force: Callable[[], tuple[int, Desired]] | None = None) -> None:
        """`in_force` tells revision and meaning of what the loop has in force; without it, the store is read whole."""
        self._store = store
        self._in_force = in_force or self._read
        self._lock = threading.Lock()
        self._at: tuple[int, Desired] | None = None
        self._pending: deque[int] = deque()

    def now(self) -> tuple[int, Desired]:
        """Return the head's number and what is wanted as of it."""
        with self._lock:
            return self._now()

    def renewed(self) -> tuple[int, Desired]:
        """Like `now`, but take the loop's objects where all is in force, so that both remember the same ones."""
        with self._lock:
            self._at = None
            return self._now()

    def change(
        self,
        make: Callable[[Desired], Planned],
        *,
        author: Author,
        message: str = "",
        if_revision: int | None = None,
        notes: Callable[[int], Collection[Change]] = lambda _: (),
        allowed: Callable[[], None] = lambda: None,
    ) -> tuple[Revision | None, str]:
        """Judge and propose what `make` finds against the head; return the revision, None if nothing changes.

        `allowed` raises if nothing may change just now. `notes` are written with it, given the head before it. Raises
        PolicyError with all that would be wrong, Conflict if the head is not `if_revision`.
        """
        attempts = 1 if if_revision is not None else ATTEMPTS
        while True:
            attempts -= 1
            with self._lock:
                allowed()
                number, desired = self._now()
                if if_revision is not None and if_revision != number:
                    raise Conflict(_other(number, if_revision))
                planned = make(desired)
                try:
                    return self._proposed(planned, author, message, notes), self._said(planned)
                except Conflict:
                    if not attempts:
                        raise

    def change_at_once(
        self,
        make: Callable[[Desired], Planned],
        *,
        author: Author,
        message: str = "",
        if_revision: int | None = None,
        allowed: Callable[[], None] = lambda: None,
    ) -> tuple[Revision | None, str] | None:
        """Like `change`, if that takes no longer than a look at what is touched; None if it would, and nothing is done.

        It would where somebody else is at it, where the head is to be found anew, and where anything may be wrong.
        """
        if not self._lock.acquire(blocking=False):
            return None
        try:
            allowed()
            if self._moved() or self._at is None or if_revision not in (None, self._at[0]):
                return None
            planned = make(self._at[1])
            if not self._at[1].vouches_for(planned.changes):
                return None
            return self._proposed(planned, author, message, lambda _: ()), self._said(planned)
        except Conflict:
            if self._moved():
                return None
            raise
        finally:
            self._lock.release()

    def _proposed(
        self, planned: Planned, author: Author, message: str, notes: Callable[[int], Collection[Change]]
    ) -> Revision | None:
        """Judge and propose what is planned for the head as `_now` has just found it."""
        if not planned.changes:
            return None
        number, desired = self._now()
        after = desired.with_changes(planned.changes)
        words = message or planned.said
        made = self._store.propose(
            planned.changes, author=author, message=words, if_revision=number, notes=notes(number)
        )
        self._at = (made.number, after)
        self._pending.append(made.number)
        return made

    def _said(self, planned: Planned) -> str:
        """Return what was done, and whether the rule that it is about does not take effect (S9)."""
        if planned.rule is None or self._at is None:
            return planned.said
        group, named = planned.rule
        desired = self._at[1]
        rules = desired.items["security_groups"][group]
        assert isinstance(rules, SecurityGroup)
        most = Limits.model_validate(json.loads(desired.resources.get(SETTINGS, NOTHING_YET)).get("limits", {}))
        beyond = named in beyond_quota(rules, most.costly_rules)
        return f"{planned.said}, but {QUOTA}, see `enforcer status`" if beyond else planned.said

    def at(self, number: int) -> dict[str, str]:
        """Return the resources as of a revision."""
        return {key: entry.value for key, entry in self._store.snapshot(number).items()}

    def _now(self) -> tuple[int, Desired]:
        if self._at is None or self._moved():
            self._at = self._followed()
        return self._at

    def _moved(self) -> bool:
        """Return whether the head is to be found anew."""
        return self._at is None or self._at[0] != self._store.head or self._refused()

    def _refused(self) -> bool:
        """Return whether something on which the head was built has been refused; forget what is in force."""
        while self._pending and (outcome := self._store.revision(self._pending[0]).outcome) is not Outcome.PROPOSED:
            if outcome is Outcome.REFUSED:
                return True
            self._pending.popleft()
        return False

    def _followed(self) -> tuple[int, Desired]:
        """Return what is wanted at the head: what is in force, and after it what was proposed and not refused.

        A proposed revision that needs a refused one is refused by the loop presently; until then it is left out.
        """
        number, desired = self._in_force()
        head = self._store.head
        self._pending = deque(range(number + 1, head + 1))
        for each in range(number + 1, head + 1):
            try:
                revision = self._store.revision(each)
                if revision.outcome is not Outcome.REFUSED:
                    desired = desired.with_changes(revision.changes)
            except (PolicyError, ValueError, UnknownRevision):
                continue
        return head, desired

    def _read(self) -> tuple[int, Desired]:
        head = self._store.head
        return head, Desired.of(self.at(head))


def _other(head: int, wanted: int) -> str:
    return f"the head is revision {head}, not {wanted}; look at what changed (`enforcer history`) and try again"
