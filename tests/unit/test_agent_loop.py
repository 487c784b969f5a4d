"""The enforcing loop against a fake kernel: what is proposed is settled, and one bad object freezes nothing else."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from agent_stage import NETWORK, SSH, WEB, Stage, World, ecs, group

from enforcer.agent import loop, settling
from enforcer.agent.events import gathering
from enforcer.agent.events.mailbox import Proposed, Stop, TablesUnknown
from enforcer.agent.loop import MOST_ODDITIES
from enforcer.agent.store import Outcome
from enforcer.dataplane import Committed
from enforcer.ruleset import Ruleset, render

ONE = ecs("one", 11, "tap-1")
TWO = ecs("two", 12, "tap-2")
FAR = ecs("far", 13, "tap-3", netns="other")


@pytest.fixture
def world() -> World:
    return World({"": ["tap-1", "tap-2"], "other": ["tap-3"]})


@pytest.fixture
def stage(tmp_path: Path, world: World) -> Stage:
    return Stage(tmp_path, world)


@pytest.fixture
def running(stage: Stage) -> Stage:
    """Two NICs here, one in another namespace, and a group that allows ssh."""
    number = stage.propose(NETWORK, group("Sg-A", SSH), *ONE, *TWO, *FAR)
    stage.rounds()
    assert stage.outcome(number).outcome is Outcome.IN_FORCE
    return stage


def speaks_of(ruleset: Ruleset, port: int) -> bool:
    return f"6 . {port} " in render(ruleset)


def chains(world: World, netns: str = "") -> frozenset[str]:
    return world.present(netns)["netdev"].chains


# --- revisions --------------------------------------------------------------------------------------------------------


def test_a_revision_is_in_force_when_it_is_settled(running: Stage, world: World) -> None:
    assert speaks_of(world.in_force[""], 22)
    assert not speaks_of(world.in_force[""], 80)
    number = running.propose(group("Sg-A", WEB))
    running.rounds()
    assert running.outcome(number).outcome is Outcome.IN_FORCE
    assert speaks_of(world.in_force[""], 80)
    assert not speaks_of(world.in_force[""], 22)
    assert speaks_of(world.in_force["other"], 80)
    assert running.status()["revision"] == number
    assert [running.nic(name)[0] for name in ("one", "two", "far")] == ["in force"] * 3


def test_an_empty_store_puts_nothing_in_force(stage: Stage, world: World) -> None:
    stage.rounds()
    assert world.in_force == {}
    assert stage.status()["nics"] == []


def test_a_burst_is_one_commit_in_order_and_every_revision_is_settled(running: Stage, world: World) -> None:
    world.calls.clear()
    numbers = [running.propose(group("Sg-A", {**SSH, "multiport": 1000 + n})) for n in range(50)]
    running.rounds()
    assert {running.outcome(number).outcome for number in numbers} == {Outcome.IN_FORCE}
    assert sorted(world.calls) == [("", "difference"), ("other", "difference")]
    assert speaks_of(world.in_force[""], 1049)


def test_of_a_burst_only_the_guilty_revision_is_refused_and_later_ones_stand(running: Stage, world: World) -> None:
    good = [running.propose(group(f"Sg-{n}", WEB)) for n in range(5)]
    bad = running.propose(*ecs("three", 14, "tap-1", groups=["Sg-unknown"]))
    later = [running.propose(group("Sg-A", WEB)), running.propose(group("Sg-9", SSH))]
    running.rounds()
    assert {running.outcome(number).outcome for number in good + later} == {Outcome.IN_FORCE}
    refused = running.outcome(bad)
    assert refused.outcome is Outcome.REFUSED
    assert "Sg-unknown" in refused.reason
    assert speaks_of(world.in_force[""], 80)
    assert "nics/three/eth0" not in running.store.snapshot()


def test_a_revision_that_the_kernel_refuses_changes_nothing_anywhere(running: Stage, world: World) -> None:
    world.broken.add("other")
    before = dict(world.in_force)
    number = running.propose(group("Sg-A", WEB))
    running.rounds()
    assert running.outcome(number).outcome is Outcome.REFUSED
    assert "takes nothing" in running.outcome(number).reason
    assert speaks_of(world.in_force[""], 22), "the first namespace had it already: it is undone"
    assert not speaks_of(world.in_force[""], 80)
    assert world.in_force["other"] == before["other"]
    world.broken.clear()
    assert running.outcome(again := running.propose(group("Sg-A", WEB))).outcome is Outcome.PROPOSED
    running.rounds()
    assert running.outcome(again).outcome is Outcome.IN_FORCE


def test_a_namespace_that_the_policy_names_no_more_is_cleared(running: Stage, world: World) -> None:
    running.propose(("ecs/far", None), ("nics/far/eth0", None))
    running.rounds()
    assert world.present("other") == {}
    assert speaks_of(world.in_force[""], 22)


def test_a_namespace_that_the_policy_names_no_more_may_be_gone_before_anybody_heard_of_it(
    running: Stage, world: World
) -> None:
    del world.interfaces["other"]
    number = running.propose(("ecs/far", None), ("nics/far/eth0", None))
    running.rounds()
    assert running.outcome(number).outcome is Outcome.IN_FORCE
    assert speaks_of(world.in_force[""], 22)


def test_what_a_bug_of_ours_cannot_compile_is_refused_and_the_next_revision_stands(
    running: Stage, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> object:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(running.loop, "_compile", broken)
        number = running.propose(group("Sg-A", WEB))
        running.rounds()
    assert "ZeroDivisionError" in running.outcome(number).reason
    good = running.propose(group("Sg-A", WEB))
    running.rounds()
    assert running.outcome(good).outcome is Outcome.IN_FORCE


# --- lives ------------------------------------------------------------------------------------------------------------


def test_a_new_life_trusts_nothing_and_settles_what_was_proposed(running: Stage, world: World) -> None:
    number = running.propose(group("Sg-A", WEB), heard=False)
    running.dies()
    world.calls.clear()
    running.born()
    assert running.outcome(number).outcome is Outcome.IN_FORCE
    assert sorted(world.calls) == [("", "anew"), ("other", "anew")], "once each, and not first what was in force before"
    assert speaks_of(world.in_force[""], 80)


def test_a_new_life_refuses_what_cannot_be_and_keeps_what_was_in_force(running: Stage, world: World) -> None:
    number = running.propose(*ecs("one", 11, "tap-1", groups=["nobody"]), heard=False)
    later = running.propose(group("Sg-A", WEB), heard=False)
    running.dies()
    running.born()
    assert running.outcome(number).outcome is Outcome.REFUSED
    assert running.outcome(later).outcome is Outcome.IN_FORCE
    assert speaks_of(world.in_force[""], 80)


def test_what_the_store_cannot_write_is_settled_later(
    running: Stage, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from enforcer.agent.store import StoreFailed

    def full(*_: object) -> None:
        raise StoreFailed("no space is left for it")

    number = running.propose(group("Sg-A", WEB))
    with monkeypatch.context() as patch:
        patch.setattr(running.store, "settle", full)
        running.rounds()
    assert speaks_of(world.in_force[""], 80)
    assert running.outcome(number).outcome is Outcome.PROPOSED, "nobody was told that it is done"
    assert "no space" in running.notes.of("failed")[-1][1]
    running.rounds()
    assert running.outcome(number).outcome is Outcome.IN_FORCE


def test_the_next_commit_does_not_wait_for_the_disk_that_an_earlier_one_waits_for(
    running: Stage, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is acknowledged is on the disk, all of it in order; meanwhile the kernel has the next change already."""
    flush, slow, at_the_disk = running.store._flush, threading.Event(), threading.Event()

    def flushed() -> None:
        at_the_disk.set()
        slow.wait(10)
        flush()

    monkeypatch.setattr(running.store, "_flush", flushed)
    looping = threading.Thread(target=running.loop.run)
    looping.start()
    first = running.propose(group("Sg-A", WEB))
    assert at_the_disk.wait(10)
    second = running.propose(group("Sg-A", {**WEB, "multiport": 1234}))
    while not speaks_of(world.in_force[""], 1234):
        assert looping.is_alive()
        time.sleep(0.001)
    told: list[int] = []
    running.store.when_settled(second, lambda revision: told.append(revision.number))
    assert not told, "in force, and nobody was told that it stays so"
    running.mailbox.put(Stop())
    slow.set()
    looping.join()
    assert told == [second]
    assert {running.outcome(number).outcome for number in (first, second)} == {Outcome.IN_FORCE}


def test_the_store_tends_to_itself_when_nothing_is_to_be_settled(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    tended = threading.Event()
    monkeypatch.setattr(settling, "IDLE", 0.01)
    monkeypatch.setattr(running.store, "tend", tended.set)
    looping = threading.Thread(target=running.loop.run)
    looping.start()
    assert tended.wait(10)
    running.mailbox.put(Stop())
    looping.join()


# --- interfaces -------------------------------------------------------------------------------------------------------


def test_an_interface_that_comes_late_is_attached_and_one_that_goes_is_closed_s19(running: Stage, world: World) -> None:
    number = running.propose(*ecs("three", 14, "tap-9"))
    running.rounds()
    assert running.outcome(number).outcome is Outcome.IN_FORCE
    assert "tap-9" in running.outcome(number).reason
    assert running.nic("three") == ("pending", "interface tap-9 does not exist yet")
    world.interfaces[""].add("tap-9")
    running.links_changed("")
    running.rounds()
    assert running.nic("three") == ("in force", "")
    assert world.moved == {"tap-9"}, "so that nothing else need be looked at"
    assert "nic_tap-9" in chains(world)
    world.interfaces[""].discard("tap-9")
    running.links_changed("", "tap-9")
    running.rounds()
    assert running.nic("three")[0] == "pending"
    assert world.moved == {"tap-9"}
    assert "nic_tap-9" not in chains(world)
    assert running.nic("one") == ("in force", "")


def test_an_interface_that_was_away_for_an_instant_is_put_in_force_anew(running: Stage, world: World) -> None:
    world.calls.clear()
    running.links_changed("", "tap-1")
    running.rounds()
    assert world.calls == [("", "difference")], "its index is the same, and still it is another one"
    assert world.moved == {"tap-1"}
    running.links_changed("")
    running.rounds()
    assert world.calls == [("", "difference")], "nothing has changed: nothing is done"


def test_a_new_revision_that_attaches_a_bridge_port_is_refused(running: Stage, world: World) -> None:
    world.interfaces[""].add("tap-9")
    world.ports["tap-9"] = "br0"
    running.links_changed("")
    number = running.propose(*ecs("three", 14, "tap-9"))
    running.rounds()
    assert running.outcome(number).outcome is Outcome.REFUSED
    assert "interface tap-9: is a port of the bridge br0" in running.outcome(number).reason
    assert "take it out of br0" in running.outcome(number).reason


def test_a_nic_whose_interface_becomes_a_bridge_port_is_closed_and_the_others_go_on(
    running: Stage, world: World
) -> None:
    world.ports["tap-1"] = "br0"
    running.links_changed("")
    running.rounds()
    assert running.nic("one")[0] == "failed"
    assert "port of the bridge br0" in running.nic("one")[1]
    assert world.moved == {"tap-1"}
    assert {"closed_in_tap-1", "closed_out_tap-1", "nic_tap-2"} <= chains(world)
    number = running.propose(group("Sg-A", WEB))
    running.rounds()
    assert running.outcome(number).outcome is Outcome.IN_FORCE, "who changes something else is not hindered"
    assert world.moved == frozenset()
    del world.ports["tap-1"]
    running.links_changed("")
    running.rounds()
    assert running.nic("one") == ("in force", "")
    assert "closed_in_tap-1" not in chains(world)


def test_a_nic_that_the_kernel_refuses_at_a_start_is_closed_alone(running: Stage, world: World) -> None:
    running.dies()
    world.refusing.add("tap-2")
    running.born()
    assert running.nic("two") == ("failed", "tap-2 takes no chain")
    assert running.nic("one") == ("in force", "")
    assert running.nic("far") == ("in force", "")
    world.refusing.clear()
    world.indexes.pop(("", "tap-2"))
    running.links_changed("")
    running.rounds()
    assert running.nic("two") == ("in force", "")


def test_a_namespace_that_is_not_there_is_pending_and_hinders_nobody(running: Stage, world: World) -> None:
    number = running.propose(*ecs("three", 14, "tap-9", netns="late"))
    running.rounds()
    assert running.outcome(number).outcome is Outcome.IN_FORCE
    assert running.nic("three") == ("pending", "network namespace late does not exist yet")
    world.interfaces["late"] = {"tap-9"}
    running.namespace_changed("late")
    running.rounds()
    assert running.nic("three") == ("in force", "")
    del world.interfaces["late"]
    running.namespace_changed("late")
    running.rounds()
    assert running.nic("three")[0] == "pending"
    assert running.nic("one") == ("in force", "")


def test_a_namespace_that_fails_does_not_hinder_changes_of_the_others(running: Stage, world: World) -> None:
    world.broken.add("other")
    running.touched("other")
    running.rounds()
    assert running.nic("far") == ("failed", "this namespace takes nothing")
    number = running.propose(group("Sg-A", WEB))
    running.rounds()
    assert running.outcome(number).outcome is Outcome.IN_FORCE
    assert speaks_of(world.in_force[""], 80)
    assert running.nic("far")[0] == "failed"
    world.broken.clear()
    running.namespace_changed("other")
    running.rounds()
    assert speaks_of(world.in_force["other"], 80)


# --- others -----------------------------------------------------------------------------------------------------------


def test_a_foreign_change_is_repaired_whole_and_the_culprit_is_named(running: Stage, world: World) -> None:
    world.calls.clear()
    running.touched("", foreign=False)
    running.rounds()
    assert world.calls == [], "our own commit needs no repair"
    running.touched("")
    running.rounds()
    assert world.calls == [("", "whole")]
    ((netns, what, program, pid, seconds),) = running.notes.of("repaired")
    assert (netns, program, pid) == ("", "nft", 4711)
    assert "changed our tables" in what
    assert seconds < 5
    assert running.status()["repairs"]["count"] == 1
    assert running.status()["repairs"]["last"]["program"] == "nft"


def test_a_hundred_foreign_changes_do_not_keep_a_revision_waiting(running: Stage, world: World) -> None:
    number = running.propose(group("Sg-A", WEB))
    for each in range(100):
        running.touched("", 100 + each)
    running.rounds(1)
    assert running.outcome(number).outcome is Outcome.IN_FORCE
    assert len(running.notes.of("repaired")) == 1


def test_what_nobody_thought_of_is_survived_and_then_given_up(
    running: Stage, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(*_: object) -> None:
        raise KeyError("nobody thought of it")

    with monkeypatch.context() as patch:
        patch.setattr(running.loop, "_hear", odd)
        for _ in range(MOST_ODDITIES - 1):
            running.touched("")
            running.rounds(1)
        running.touched("")
        with pytest.raises(KeyError):
            running.rounds(1)
    assert "nobody thought of it" in running.notes.of("failed")[-1][1]


def test_what_nobody_thought_of_while_it_settles_beside_the_loop_ends_the_loop_too(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else all callers would wait for an answer that nobody gives; a new process settles."""

    def odd(*_: object) -> None:
        raise KeyError("nobody thought of it")

    monkeypatch.setattr(loop, "BEAT", 0.01)
    number = running.propose(group("Sg-A", WEB))
    with monkeypatch.context() as patch:
        patch.setattr(running.store, "settle", odd)
        with pytest.raises(KeyError):
            running.loop.run()
    assert "nobody thought of it" in running.notes.of("failed")[-1][1]
    running.dies()
    running.born()
    assert running.outcome(number).outcome is Outcome.IN_FORCE


def test_after_what_nobody_thought_of_everything_is_replaced_and_goes_on(
    running: Stage, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.calls.clear()
    with monkeypatch.context() as patch:
        patch.setattr(running.loop, "_hear", lambda _: 1 / 0)
        running.touched("")
        running.rounds(1)
    number = running.propose(group("Sg-A", WEB))
    running.rounds()
    assert running.outcome(number).outcome is Outcome.IN_FORCE
    assert sorted(world.calls) == [("", "whole"), ("other", "whole")]


def test_a_listing_that_was_read_before_a_repair_asks_for_no_second_one(running: Stage, world: World) -> None:
    """A comparison that takes long may speak of what has been repaired while it was made."""
    read = time.monotonic()
    running.touched("")
    running.rounds(1)
    world.calls.clear()
    running.mailbox.put(TablesUnknown("", "a listing differs", certain=True, heard=read))
    running.rounds()
    assert world.calls == []
    running.mailbox.put(TablesUnknown("", "a listing differs", certain=True))
    running.rounds()
    assert world.calls == [("", "whole")]


# --- many at once -----------------------------------------------------------------------------------------------------


def test_changes_that_are_being_judged_are_waited_for_and_share_one_commit(running: Stage) -> None:
    later: list[int] = []

    def coming() -> int:
        if later:
            return 0
        later.append(running.propose(group("Sg-B", SSH)))
        return 1

    running.loop.gathering.coming = coming
    first = running.propose(group("Sg-A", WEB))
    running.rounds(1)
    assert [merged for merged, *_ in running.notes.of("committed")][-1] == [first, *later]


def test_those_whose_change_was_just_committed_are_waited_for_and_a_caller_alone_waits_for_nobody(
    running: Stage, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "GATHER_WITHIN", 20.0)
    numbers = [running.propose(group("Sg-A", WEB)), running.propose(group("Sg-B", WEB))]
    commit = world.commit

    def slow(*words: Any, **named: Any) -> Committed:
        time.sleep(0.5)
        return commit(*words, **named)

    with monkeypatch.context() as patch:
        patch.setattr(world, "commit", slow)
        running.rounds(1)
    numbers.append(running.propose(group("Sg-A", SSH)))
    other = threading.Timer(0.02, lambda: numbers.append(running.propose(group("Sg-B", SSH))))
    other.start()
    running.rounds(1)
    other.join()
    assert [merged for merged, *_ in running.notes.of("committed")][-2:] == [numbers[:2], numbers[2:]]
    with monkeypatch.context() as patch:
        patch.setattr(world, "commit", slow)
        running.propose(group("Sg-A", WEB))
        running.rounds(1)
    begun = time.monotonic()
    running.propose(group("Sg-A", SSH))
    running.rounds(1)
    assert time.monotonic() - begun < 0.4, "whose turn it was is here"


def test_who_works_in_the_background_gives_way_while_a_change_is_under_way_and_not_for_ever(
    running: Stage, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "GIVE_WAY", 20.0)
    way, commit, seen = running.loop.gathering, world.commit, []

    def committing(*words: Any, **named: Any) -> Committed:
        reader = threading.Thread(target=way.give_way)
        reader.start()
        reader.join(0.1)
        seen.append(reader)
        assert reader.is_alive()
        return commit(*words, **named)

    way.give_way()  # nothing is under way
    with monkeypatch.context() as patch:
        patch.setattr(world, "commit", committing)
        running.propose(group("Sg-A", WEB))
        running.rounds(1)
    for reader in seen:
        reader.join(10)
        assert not reader.is_alive()
    monkeypatch.setattr(gathering, "GIVE_WAY", 0.01)
    running.propose(group("Sg-A", SSH))
    way.give_way()
    assert seen, "somebody waited, and he who waits for a change that nobody commits goes on"


def test_who_never_proposes_what_he_has_announced_keeps_nobody_waiting_for_long(running: Stage) -> None:
    running.loop.gathering.coming = lambda: 1
    number = running.propose(group("Sg-A", WEB))
    running.rounds(1)
    assert running.outcome(number).outcome is Outcome.IN_FORCE


def test_a_thousand_edits_of_several_clients_arrive_in_order_and_each_learns_its_revision(
    running: Stage, world: World
) -> None:
    """None is lost, and they are merged: far fewer commits than edits."""
    world.calls.clear()
    running.store.follow(running.loop.last + 1, lambda revision: running.mailbox.put(Proposed(revision)))
    looping = threading.Thread(target=running.loop.run)
    learned: dict[int, list[int]] = {client: [] for client in range(4)}

    def edit(client: int) -> None:
        for turn in range(250):
            name = f"Sg-{client}"
            number = running.propose(group(name, {**SSH, "multiport": 1000 + turn}), heard=False)
            if turn % 50 == 49:
                settled = running.store.settled(number, 30.0)
                assert settled.outcome is Outcome.IN_FORCE
            learned[client].append(number)

    clients = [threading.Thread(target=edit, args=(client,)) for client in learned]
    for thread in (looping, *clients):
        thread.start()
    for thread in clients:
        thread.join()
    running.store.settled(max(map(max, learned.values())), 30.0)
    running.mailbox.put(Stop())
    looping.join()
    numbers = sorted(number for each in learned.values() for number in each)
    assert len(numbers) == len(set(numbers)) == 1000
    assert all(each == sorted(each) for each in learned.values())
    assert {running.outcome(number).outcome for number in numbers} == {Outcome.IN_FORCE}
    snapshot = running.store.snapshot()
    assert all('"multiport": 1249' in snapshot[f"security_groups/Sg-{client}"].value for client in learned)
    told = running.notes.of("committed")
    assert sum(len(merged) for merged, *_ in told) >= 1000
    assert len(told) < 500
