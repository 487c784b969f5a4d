"""An edit that comes alone is put in force by the thread that proposes it; otherwise by the loop, in the same order."""

from __future__ import annotations

import threading

import pytest
from agent_stage import SSH, WEB, Stage, World, group
from test_agent_loop import running, speaks_of, stage, world

from enforcer.agent.events.mailbox import Proposed, Stop
from enforcer.agent.store import Outcome

__all__ = ["running", "stage", "world"]


def test_who_proposes_alone_puts_it_in_force_himself(running: Stage, world: World) -> None:
    with running.loop.at_once():
        number = running.propose(group("Sg-A", WEB))
        assert running.outcome(number).outcome is Outcome.PROPOSED, "behind the block"
    assert running.outcome(number).outcome is Outcome.IN_FORCE
    assert speaks_of(world.in_force[""], 80)
    assert running.status()["revision"] == number - 1, "what can wait is left to the loop"
    running.rounds(1)
    assert running.status()["revision"] == number


def test_what_is_refused_at_once_changes_nothing_and_the_next_one_stands(running: Stage, world: World) -> None:
    world.broken = {""}
    with running.loop.at_once():
        bad = running.propose(group("Sg-A", WEB))
    assert running.outcome(bad).outcome is Outcome.REFUSED
    assert not any(speaks_of(world.in_force[netns], 80) for netns in ("", "other"))
    world.broken = set()
    running.rounds()
    with running.loop.at_once():
        good = running.propose(group("Sg-A", WEB))
    assert running.outcome(good).outcome is Outcome.IN_FORCE


def test_what_came_before_an_edit_is_done_before_it_and_by_the_loop(running: Stage, world: World) -> None:
    earlier = running.propose(group("Sg-A", WEB))
    with running.loop.at_once():
        later = running.propose(group("Sg-A", SSH))
    assert [running.outcome(each).outcome for each in (earlier, later)] == [Outcome.PROPOSED] * 2
    running.rounds()
    assert running.notes.of("committed")[-1][0] == [earlier, later]
    assert speaks_of(world.in_force[""], 22)


def test_what_others_did_meanwhile_is_repaired_before_an_edit_is_in_force(running: Stage, world: World) -> None:
    world.calls.clear()
    with running.loop.at_once():
        number = running.propose(group("Sg-A", WEB))
        running.touched("")
    assert running.outcome(number).outcome is Outcome.PROPOSED
    running.rounds()
    assert world.calls[0] == ("", "whole")
    assert set(world.calls[1:]) == {("", "difference"), ("other", "difference")}
    assert running.outcome(number).outcome is Outcome.IN_FORCE


def test_who_proposes_while_the_loop_is_at_work_is_not_kept_and_the_loop_does_it_next(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work, go_on = threading.Event(), threading.Event()

    def tidy() -> None:
        at_work.set()
        assert go_on.wait(30)

    monkeypatch.setattr(running.world, "tidy", tidy)
    looping = threading.Thread(target=running.loop.run)
    looping.start()
    try:
        running.mailbox.ring()
        assert at_work.wait(30)
        with running.loop.at_once():
            number = running.propose(group("Sg-A", WEB))
        assert running.outcome(number).outcome is Outcome.PROPOSED
        go_on.set()
        assert running.store.settled(number, 30).outcome is Outcome.IN_FORCE
    finally:
        go_on.set()
        running.mailbox.put(Stop())
        looping.join(30)


def test_edits_of_many_threads_are_in_force_in_their_order_whoever_puts_them_there(running: Stage) -> None:
    looping = threading.Thread(target=running.loop.run)
    looping.start()
    running.store.follow(running.loop.last, lambda revision: running.mailbox.put(Proposed(revision)))
    learned: list[int] = []

    def edit(who: int) -> None:
        for turn in range(20):
            with running.loop.at_once():
                number = running.propose(group(f"own-{who}", (SSH, WEB)[turn % 2]), heard=False)
            assert running.store.settled(number, 30).outcome is Outcome.IN_FORCE
            learned.append(number)

    callers = [threading.Thread(target=edit, args=(who,)) for who in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    running.mailbox.put(Stop())
    looping.join(30)
    assert len(learned) == 80
    committed = [number for numbers, *_ in running.notes.of("committed") for number in numbers]
    assert committed == sorted(committed)
    assert set(learned) <= set(committed)


def test_what_nobody_thought_of_at_once_is_survived_and_the_loop_replaces_everything(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("nobody thought of that")

    with monkeypatch.context() as patched:
        patched.setattr(running.notes, "committed", broken, raising=False)
        with running.loop.at_once():
            running.propose(group("Sg-A", WEB))
    assert running.notes.of("failed")[-1] == ("loop", "RuntimeError: nobody thought of that")
    assert all(place.fault for place in running.loop._places.all.values())
