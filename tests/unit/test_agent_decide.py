"""What the loop does next: repairs first, only what is due, and the fewest NICs closed for the rest to be in force."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policies import compiled, three_hosts

from enforcer.agent.decide import (
    MOST_MERGED,
    MOST_PATIENCE,
    Attach,
    Commit,
    Place,
    Replace,
    decide,
    guilty,
    patience,
    wanted,
)
from enforcer.dataplane.notices import Link

NICS = ("v-ecs-a", "v-ecs-b", "v-ecs-c")
PROGRAM = replace(compiled(three_hosts()), name="router")
LINKS = {name: Link(name, index) for index, name in enumerate(NICS, start=4)}
INDEXES = {name: link.index for name, link in LINKS.items()}
BRIDGE = Link("br0", 30, 0, "bridge")


def place(**changes: object) -> Place:
    """A place where all is in force, but for the changes."""
    found = Place("router", PROGRAM, links=LINKS, bound=INDEXES, loaded=True)
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def steps(one: Place, *proposed: int, now: float = 100.0) -> list[object]:
    return list(decide({"router": one}, proposed, now))


def test_nothing_is_done_when_all_is_in_force() -> None:
    assert steps(place()) == []


def test_what_is_proposed_is_committed_together_and_not_without_end() -> None:
    assert steps(place(), 7, 8) == [Commit((7, 8))]
    assert steps(place(), *range(3000)) == [Commit(tuple(range(MOST_MERGED)))]


def test_after_a_fault_the_place_is_replaced_whole_before_anything_else() -> None:
    fault = place(fault="nft flush ruleset")
    assert steps(fault, 7) == [Replace("router", "nft flush ruleset"), Commit((7,))]
    assert isinstance(steps(place(loaded=False))[0], Replace)


def test_an_interface_that_came_went_or_was_changed_is_attached() -> None:
    gone = {name: link for name, link in LINKS.items() if name != "v-ecs-a"}
    for links in (gone, {**LINKS, "v-ecs-a": Link("v-ecs-a", 99)}, {**LINKS, "v-ecs-a": Link("v-ecs-a", 4, 30)}):
        assert steps(place(links=links)) == [Attach("router")]
    assert steps(place(links={**LINKS, "other": Link("other", 50)})) == [], "who is no NIC does not matter"


def test_a_namespace_that_is_not_there_is_left_alone() -> None:
    assert steps(place(links=None, loaded=False, fault="whatever")) == []


def test_what_failed_is_tried_again_in_its_time_and_each_time_later() -> None:
    failed = place(fault="refused")
    delays = []
    for _ in range(12):
        failed.failed("refused", 100.0)
        delays.append(failed.retry_at - 100.0)
    assert delays == sorted(delays)
    assert delays[0] < 1
    assert delays[-1] == MOST_PATIENCE
    assert steps(failed, now=failed.retry_at - 0.01) == []
    assert steps(failed, now=failed.retry_at) != []
    assert patience({"router": failed}, 100.0, 60.0) == MOST_PATIENCE
    assert patience({"router": failed}, 100.0, 1.0) == 1.0


def test_a_refused_nic_is_tried_again_alone_and_at_once_when_it_is_another_interface() -> None:
    bound = {name: index for name, index in INDEXES.items() if name != "v-ecs-a"}
    refused = place(refused={"v-ecs-a": (4, "takes no chain")}, bound=bound, closed={"v-ecs-a": "takes no chain"})
    refused.anew_at = 130.0
    assert steps(refused) == []
    assert steps(refused, now=130.0) == [Attach("router", anew=True)]
    refused.links = {**LINKS, "v-ecs-a": Link("v-ecs-a", 44)}
    assert steps(refused) == [Attach("router")]


def test_a_port_of_a_bridge_is_closed_and_told_what_would_be_right() -> None:
    one = place(links={**LINKS, "v-ecs-b": Link("v-ecs-b", 5, 30), "br0": BRIDGE})
    bound, closed = wanted(one)
    assert bound == {"v-ecs-a": 4, "v-ecs-c": 6}
    assert closed == {
        "v-ecs-b": "is a port of the bridge br0, so the enforcer would not see its packets; "
        "take it out of br0 and route to it"
    }


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_exactly_the_guilty_are_found(everyone: set[int], bad: set[int]) -> None:
    names, culprits = {f"tap-{n}" for n in everyone}, {f"tap-{n}" for n in bad & everyone}
    asked = []

    def refusal(closed: frozenset[str]) -> str:
        asked.append(closed)
        return ", ".join(sorted(culprits - closed))

    found = guilty(names, refusal)
    assert found.keys() == culprits
    assert all(name in why for name, why in found.items())


def test_one_bad_nic_among_thousands_costs_few_questions() -> None:
    asked: list[frozenset[str]] = []

    def refusal(closed: frozenset[str]) -> str:
        asked.append(closed)
        return "" if "tap-777" in closed else "bad"

    assert guilty([f"tap-{n}" for n in range(2000)], refusal) == {"tap-777": "bad"}
    assert len(asked) < 40


def test_who_is_named_is_asked_about_first() -> None:
    """At 2,000 NICs a question takes the kernel seconds."""
    asked: list[frozenset[str]] = []

    def refusal(closed: frozenset[str]) -> str:
        asked.append(closed)
        bad = [name for name in ("tap-777", "tap-9") if name not in closed]
        return f"line 3: 'chain nic_{bad[0]} {{': Device or resource busy" if bad else ""

    assert guilty([f"tap-{n}" for n in range(2000)], refusal).keys() == {"tap-777", "tap-9"}
    assert len(asked) == 4


def test_one_that_is_named_and_innocent_is_not_closed() -> None:
    def refusal(closed: frozenset[str]) -> str:
        return "" if "tap-2" in closed else "line 9: 'elements = { \"tap-1\" }': No such file or directory"

    assert guilty(["tap-1", "tap-2", "tap-3"], refusal).keys() == {"tap-2"}


@pytest.mark.parametrize("everyone", [(), ("tap-1", "tap-2")])
def test_nobody_is_guilty_when_closing_all_does_not_help(everyone: tuple[str, ...]) -> None:
    assert guilty(everyone, lambda _: "it is about something else") == {}
