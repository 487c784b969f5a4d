"""The slow comparison of listings (drift): what no notice told of is found, and our own changes are not it."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path

import pytest
from kernel_asking import NICS, RULES, program
from scratch import Scratch

from enforcer.agent.events.audit import Audit
from enforcer.agent.events.mailbox import Mailbox, TablesUnknown
from enforcer.agent.kernel import Nftables
from enforcer.agent.seeing.counting import Counting
from enforcer.agent.store import SqliteStore
from enforcer.dataplane import listing
from enforcer.ruleset import names

pytestmark = pytest.mark.kernel


class Auditing:
    """An audit over one namespace, and what it found."""

    def __init__(self, scratch: Scratch) -> None:
        self.kernel, self.mailbox, self.scratch = Nftables(), Mailbox(), scratch
        self.failures: list[str] = []
        self.audit = Audit(self.kernel, self.mailbox, lambda: 1.0, lambda _, why: self.failures.append(why))

    def commit(self, text: str = RULES) -> None:
        self.kernel.commit(program(text, name=self.scratch.name))

    def found(self) -> list[str]:
        self.audit.look()
        assert self.failures == []
        events = self.mailbox.take(0.0)
        assert all(isinstance(event, TablesUnknown) and event.certain for event in events)
        return [event.netns for event in events if isinstance(event, TablesUnknown)]


@pytest.fixture
def auditing(scratch: Scratch) -> Auditing:
    scratch.add(*NICS)
    made = Auditing(scratch)
    made.commit()
    assert made.found() == []
    return made


def test_what_is_as_it_was_is_no_drift(auditing: Auditing) -> None:
    assert auditing.found() == []
    auditing.commit(RULES.replace("22", "443"))
    assert auditing.found() == []
    assert auditing.found() == []


def test_who_compares_everything_gives_way_to_changes_between_two_messages(auditing: Auditing) -> None:
    given: list[str] = []
    asked = partial(given.append, "way")
    assert listing.digest(auditing.scratch.name, asked) == listing.digest(auditing.scratch.name)
    assert len(given) > 10, "the tables are some messages"
    given.clear()
    Audit(auditing.kernel, auditing.mailbox, lambda: 1.0, lambda _, why: None, asked).look()
    assert len(given) > 10


class Place:
    """The one namespace where counters are read."""

    def __init__(self, netns: str) -> None:
        self.netns = netns

    def namespaces(self) -> tuple[str, ...]:
        return (self.netns,)

    def nic_of(self, netns: str, index: int) -> str | None:
        return None


def test_a_reading_of_counters_gives_way_but_to_a_change_that_waits_for_its_end(
    auditing: Auditing, tmp_path: Path
) -> None:
    netns, given = auditing.scratch.name, []
    counting = Counting(SqliteStore(tmp_path / "store.db"), lambda what, why: auditing.failures.append(why))
    change = threading.Thread(target=counting.leaving, args=(netns, None))
    counting.give_way = partial(given.append, "way")
    counting.read(Place(netns))
    assert len(given) > 10
    given.clear()

    def begin_a_change() -> None:
        given.append("way")
        change.start()
        while not counting._urgent:
            time.sleep(0.001)

    counting.give_way = begin_a_change
    counting.read(Place(netns))
    change.join()
    assert given == ["way"]
    assert auditing.failures == []


def test_tables_of_others_are_no_drift(auditing: Auditing) -> None:
    auditing.scratch.run("nft", "add", "table", "inet", "mine")
    assert auditing.found() == []


def test_what_packets_write_down_is_no_drift(auditing: Auditing) -> None:
    """The set of what was denied, by NIC, is filled in the kernel, and forgets."""
    element = f'{{ "{NICS[0]}" counter limit rate 10/second burst 50 packets }}'
    auditing.scratch.run("nft", "add", "element", "inet", names.TABLE, names.DENIALS, element)
    assert NICS[0] in auditing.scratch.run("nft", "list", "set", "inet", names.TABLE, names.DENIALS)
    assert auditing.found() == []
    auditing.scratch.run("nft", "flush", "map", "inet", names.TABLE, names.FROM[4])
    assert auditing.found() == [auditing.scratch.name], "and other sets are still compared"


@pytest.mark.parametrize(
    "words",
    [
        ("insert", "rule", "inet", names.TABLE, names.PREROUTING, "accept"),
        ("flush", "set", "netdev", names.TABLE, "source4"),
        ("delete", "table", "netdev", names.TABLE),
        ("flush", "ruleset"),
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_what_somebody_changed_is_drift_until_it_is_mended(auditing: Auditing, words: tuple[str, ...]) -> None:
    auditing.scratch.run("nft", *words)
    assert auditing.found() == [auditing.scratch.name]
    auditing.kernel.commit(program(name=auditing.scratch.name), whole=True)
    assert auditing.found() == []


def test_a_listing_that_others_may_have_changed_is_not_believed(auditing: Auditing) -> None:
    """A foreign change right after a commit does not become what later listings are compared with."""
    auditing.commit(RULES.replace("22", "443"))
    auditing.scratch.run("nft", "insert", "rule", "inet", names.TABLE, names.PREROUTING, "accept")
    assert auditing.found() == [], "nothing to compare with yet: notices have told of it"
    auditing.kernel.commit(program(name=auditing.scratch.name), whole=True)
    assert auditing.found() == []


def test_a_namespace_that_went_away_is_told_of_by_others(auditing: Auditing) -> None:
    from enforcer.dataplane import namespaces

    namespaces.delete(auditing.scratch.name)
    auditing.audit.look()
    assert auditing.mailbox.empty()


def test_what_counters_count_is_no_drift_and_other_elements_in_their_place_are(auditing: Auditing) -> None:
    """Counters of rules and of elements; a changed value of one element among many."""
    run = auditing.scratch.run
    run("nft", f"add map inet {names.TABLE} x {{ type mark : mark; counter; }}")
    run("nft", "add", "element", "inet", names.TABLE, "x", '{ 1 counter comment "a" : 1, 2 counter comment "b" : 2 }')
    before = listing.digest(auditing.scratch.name)
    run("nft", "delete", "element", "inet", names.TABLE, "x", "{ 1 }")
    assert listing.digest(auditing.scratch.name) != before
    counted = '{ 1 counter packets 7 bytes 99 comment "a" : 1 }'
    run("nft", "add", "element", "inet", names.TABLE, "x", counted)
    assert listing.digest(auditing.scratch.name) == before
    run("nft", "delete", "element", "inet", names.TABLE, "x", "{ 1 }")
    run("nft", "add", "element", "inet", names.TABLE, "x", '{ 1 counter comment "a" : 2 }')
    assert listing.digest(auditing.scratch.name) != before
