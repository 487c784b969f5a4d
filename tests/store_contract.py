"""What every store must do, as a machine that runs it beside a plain dictionary; any implementation can be its subject.

class TestMine(StoreContract.TestCase) … with `make` returning a fresh, empty store
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from enforcer.agent.store import Author, Change, Conflict, Outcome, Revision, Store, UnknownRevision

KEYS = st.sampled_from(("ecs/a", "ecs/b", "settings", "nics/a/eth0"))
VALUES = st.none() | st.text(max_size=5)
CHANGES = st.dictionaries(KEYS, VALUES, max_size=3)


class StoreContract(RuleBasedStateMachine):
    """The store beside a model: the list of all revisions, from which everything else follows."""

    def make(self) -> Store:
        raise NotImplementedError

    def opened_again(self, store: Store) -> Store:
        """Close and open it again, if that is what it can do."""
        return store

    @initialize()
    def empty(self) -> None:
        self.store = self.make()
        self.revisions: list[Revision] = []
        self.followed: list[Revision] = []
        self.store.follow(0, self.followed.append)
        self.notes: dict[str, tuple[str, int]] = {}

    # --- the model ---

    def head(self) -> int:
        return max((r.number for r in self.revisions if r.outcome is not Outcome.REFUSED), default=0)

    def resources(self, number: int) -> dict[str, tuple[str, int]]:
        found: dict[str, tuple[str, int]] = {}
        for revision in self.revisions:
            if revision.number <= number and revision.outcome is not Outcome.REFUSED:
                for change in revision.changes:
                    found.pop(change.key, None)
                    if change.value is not None:
                        found[change.key] = (change.value, revision.number)
        return found

    def proposed(self) -> list[int]:
        return [r.number for r in self.revisions if r.outcome is Outcome.PROPOSED]

    # --- what can be done ---

    @rule(changes=CHANGES, message=st.text(max_size=5), uid=st.integers(0, 2**31), note=VALUES)
    def propose(self, changes: dict[str, str | None], message: str, uid: int, note: str | None) -> None:
        wanted = [Change(key, value) for key, value in changes.items()]
        made = self.store.propose(wanted, author=Author(uid), message=message, notes=[Change("note", note)])
        assert made.number == len(self.revisions) + 1
        assert (made.author, made.message, made.changes) == (Author(uid), message, tuple(wanted))
        assert made.outcome is Outcome.PROPOSED
        self.revisions.append(made)
        self.notes.pop("note", None)
        if note is not None:
            self.notes["note"] = (note, made.number)

    @rule(changes=CHANGES, off=st.integers(-2, 2))
    def propose_if_the_head_is(self, changes: dict[str, str | None], off: int) -> None:
        wanted = [Change(key, value) for key, value in changes.items()]
        if off:
            with pytest.raises(Conflict):
                self.store.propose(wanted, author=Author(0), if_revision=self.head() + off)
        else:
            self.revisions.append(self.store.propose(wanted, author=Author(0), if_revision=self.head()))

    @rule(key=KEYS, off=st.integers(-1, 1), value=VALUES)
    def propose_if_the_key_is_as_seen(self, key: str, off: int, value: str | None) -> None:
        _, written = self.resources(self.head()).get(key, ("", 0))
        if off:
            with pytest.raises(Conflict):
                self.store.propose([Change(key, value)], author=Author(0), expected={key: written + off})
        else:
            made = self.store.propose([Change(key, value)], author=Author(0), expected={key: written})
            self.revisions.append(made)

    @precondition(lambda self: self.proposed())
    @rule(data=st.data(), outcome=st.sampled_from((Outcome.IN_FORCE, Outcome.IN_FORCE, Outcome.REFUSED)))
    def settle(self, data: st.DataObject, outcome: Outcome) -> None:
        chosen = data.draw(st.lists(st.sampled_from(self.proposed()), min_size=1, unique=True))
        told: list[Revision] = []
        self.store.when_settled(chosen[0], told.append)
        assert told == []
        self.store.settle(chosen, outcome, "why")
        for number in chosen:
            self.revisions[number - 1] = replace(self.revisions[number - 1], outcome=outcome, reason="why")
            assert self.store.settled(number, 0) == self.revisions[number - 1]
        assert told == [self.revisions[chosen[0] - 1]]
        self.store.when_settled(chosen[-1], told.append)
        assert told[1:] == [self.revisions[chosen[-1] - 1]]

    @precondition(lambda self: self.revisions)
    @rule()
    def settle_again_changes_nothing(self) -> None:
        done = [r.number for r in self.revisions if r.outcome is not Outcome.PROPOSED]
        self.store.settle(done, Outcome.REFUSED, "again")

    @rule(value=VALUES)
    def remember(self, value: str | None) -> None:
        self.store.remember("other", value)
        self.notes.pop("other", None)
        if value is not None:
            self.notes["other"] = (value, self.head())

    @rule()
    def close_and_open(self) -> None:
        self.store = self.opened_again(self.store)
        self.store.follow(len(self.revisions), self.followed.append)

    # --- what must be so ---

    @invariant()
    def the_head_is_the_last_that_is_not_refused(self) -> None:
        assert self.store.head == self.head()

    @invariant()
    def snapshots_are_as_if_what_was_refused_had_never_been(self) -> None:
        for number in {0, len(self.revisions) // 2, self.head(), len(self.revisions)}:
            found = {key: (e.value, e.revision) for key, e in self.store.snapshot(number).items()}
            assert found == self.resources(number)
        assert self.store.snapshot() == self.store.snapshot(self.head())

    @invariant()
    def history_is_all_that_happened(self) -> None:
        assert list(self.store.history(most=100)) == self.revisions[::-1][:100]
        assert list(self.store.history(most=1, before=3)) == self.revisions[:2][::-1][:1]
        assert list(self.store.unsettled()) == [self.revisions[number - 1] for number in self.proposed()]
        for number in {1, len(self.revisions)} - {0}:
            if number <= len(self.revisions):
                assert self.store.revision(number) == self.revisions[number - 1]
        with pytest.raises(UnknownRevision):
            self.store.revision(len(self.revisions) + 1)

    @invariant()
    def who_follows_hears_each_revision_once_and_in_order(self) -> None:
        for after in {0, len(self.revisions) // 2, len(self.revisions)}:
            heard: list[Revision] = []
            self.store.follow(after, heard.append)
            assert heard == self.revisions[after:]
        assert [each.number for each in self.followed] == [each.number for each in self.revisions]

    @rule()
    def tend(self) -> None:
        self.store.tend()

    @invariant()
    def notes_are_kept(self) -> None:
        for key in ("note", "other"):
            entry = self.store.remembered(key)
            assert (None if entry is None else (entry.value, entry.revision)) == self.notes.get(key)
