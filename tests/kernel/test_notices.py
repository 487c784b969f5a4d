"""What the kernel says by itself of interfaces and of transactions of nftables; lost notices are not silence."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest
from kernel_asking import RULES, program
from patience import patient
from scratch import Scratch

from enforcer import dataplane
from enforcer.agent.events.listener import Listener
from enforcer.agent.events.mailbox import Event, LinksChanged, Mailbox, TablesTouched
from enforcer.dataplane import namespaces, notices
from enforcer.dataplane.hearing.nflog import DenialSocket
from enforcer.dataplane.namespaces import entered
from enforcer.dataplane.notices import Generation, Gone, Link, LinkSocket, Overrun, TableSocket
from enforcer.errors import SystemRefused
from enforcer.ruleset.names import TABLE

pytestmark = pytest.mark.kernel


@pytest.fixture
def links(scratch: Scratch) -> Iterator[LinkSocket]:
    with LinkSocket(scratch.name) as made:
        yield made


@pytest.fixture
def tables(scratch: Scratch) -> Iterator[TableSocket]:
    with TableSocket(scratch.name) as made:
        yield made


def told(links: LinkSocket) -> list[Link | Gone]:
    """What was said, each thing once."""
    return list(dict.fromkeys(links.read()))


def named(found: list[Link | Gone]) -> set[tuple[str, str]]:
    return {(type(each).__name__, each.name) for each in found}


def test_interfaces_that_appear_are_renamed_and_vanish_are_told(scratch: Scratch, links: LinkSocket) -> None:
    assert notices.by_name(links.dump()).keys() == {"lo"}
    scratch.ip("link", "add", "one", "type", "veth", "peer", "name", "two")
    assert named(told(links)) == {("Link", "one"), ("Link", "two")}
    number = notices.by_name(links.dump())["two"].index
    scratch.ip("link", "set", "two", "name", "three")
    assert Link("three", number, 0, "veth") in told(links)
    scratch.ip("link", "del", "one")
    assert Gone("three", number) in told(links)
    assert notices.by_name(links.dump()).keys() == {"lo"}


def test_an_interface_that_becomes_a_port_of_a_bridge_is_told(scratch: Scratch, links: LinkSocket) -> None:
    scratch.ip("link", "add", "one", "type", "veth", "peer", "name", "two")
    scratch.ip("link", "add", "br0", "type", "bridge")
    scratch.ip("link", "set", "one", "master", "br0")
    last = {each.name: each for each in told(links)}
    assert last["one"].master == last["br0"].index
    assert last["br0"].kind == "bridge"
    scratch.ip("link", "set", "one", "nomaster")
    assert {each.name: each for each in told(links)}["one"].master == 0


def test_an_interface_that_moves_to_another_namespace_is_gone_from_this_one(
    scratch: Scratch, other_scratch: Scratch, links: LinkSocket
) -> None:
    scratch.ip("link", "add", "one", "type", "veth", "peer", "name", "two")
    with LinkSocket(other_scratch.name) as others:
        links.read()
        scratch.ip("link", "set", "two", "netns", other_scratch.name)
        assert named(told(links)) >= {("Gone", "two")}
        assert named(told(others)) == {("Link", "two")}


def test_a_transaction_is_told_with_its_program_and_whether_our_tables_were_touched(
    scratch: Scratch, tables: TableSocket
) -> None:

    def by(*words: str) -> Generation:
        with entered(scratch.name):
            process = subprocess.Popen(["nft", *words])
        assert process.wait(timeout=patient(10)) == 0
        (found,) = tables.read()
        assert (found.program, found.pid) == ("nft", process.pid)
        return found

    first = by("add table inet enforcer")
    assert first.ours_touched
    assert not by("add table inet mine").ours_touched
    assert not by("add table ip enforcer").ours_touched, "of another family"
    assert by("flush ruleset").ours_touched
    assert notices.generation(scratch.name) == first.number + 3


def test_our_own_commit_is_one_generation_for_each_transaction(scratch: Scratch, tables: TableSocket) -> None:
    scratch.add("v-ecs-a", "v-ecs-b", "v-ecs-c")
    for text in (RULES, RULES.replace("22", "443"), RULES):
        steps: list[dataplane.Step] = []
        before = notices.generation(scratch.name)
        dataplane.replace(program(text, name=scratch.name), passed=steps.append)
        transactions = [step for step in steps if step in dataplane.TRANSACTIONS]
        assert [each.number for each in tables.read()] == [before + n + 1 for n in range(len(transactions))]


@pytest.mark.parametrize("what", ["links", "tables"])
def test_notices_that_found_no_room_are_reported_as_lost(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """ENOBUFS: whoever reads learns that something is missing, and from then on everything again."""
    monkeypatch.setattr(notices, "_ROOM", 4096)
    opening: Callable[[str], LinkSocket | TableSocket] = LinkSocket if what == "links" else TableSocket
    with opening(scratch.name) as told_to:
        for number in range(30):
            scratch.ip("link", "add", f"v{number}", "type", "veth", "peer", "name", f"w{number}")
            scratch.run("nft", "add", "table", "inet", f"t{number}")
        with pytest.raises(Overrun):
            told_to.read()
        told_to.read()
        scratch.ip("link", "del", "v0")
        scratch.run("nft", "add", "table", "inet", "enforcer")
        assert told_to.read() != []


def test_a_namespace_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(SystemRefused, match="nowhere"):
        LinkSocket("nowhere")
    assert not namespaces.exists("nowhere")


def test_who_changed_our_tables_is_told_before_what_interface_came_at_the_same_time(scratch: Scratch) -> None:
    """The commit for the interface mends the tables in passing: they would be ours again, and nobody blamed."""
    mailbox = Mailbox()
    failures: list[str] = []
    listener = Listener(mailbox, lambda what, why: failures.append(why))
    listener.look(scratch.name)
    scratch.add("tap-late")
    scratch.run("nft", "add", "table", "inet", TABLE)
    listener.start()
    found: list[Event] = []
    while len({type(event) for event in found}) < 2:
        found += mailbox.take(10.0)
    listener.end()
    assert isinstance(found[0], TablesTouched)
    assert isinstance(found[1], LinksChanged)
    assert failures == []


def test_what_hears_of_denied_packets_has_a_number_that_no_other_socket_had(scratch: Scratch):
    """The kernel takes a group away from whoever has the number of a socket that is closed, and may be late with it."""
    numbers = set()
    for _ in range(3):
        with DenialSocket(scratch.name, 5371):
            group, number, *_ = scratch.run("cat", "/proc/net/netfilter/nfnetlink_log").split()
        assert (group, int(number) > 1 << 22) == ("5371", True), "not the number of a process"
        numbers.add(number)
    assert len(numbers) == 3
