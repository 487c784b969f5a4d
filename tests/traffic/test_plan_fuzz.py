"""Does a plan name exactly the connections that a change then cuts? Random policies, changes and flows, real packets.

Of every flow that was let through, the plan says before the change whether it goes on (S14). Afterwards each is tried
in both directions, in a random order: what the plan cuts arrives at neither end, everything else at both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random

import pytest
from fuzz.aim import Aim, Keys
from fuzz.expect import goes_on, passes
from fuzz.rig import Rig, rigged
from fuzz.scenes import Scene, changed, random_scene, str_of
from fuzz.shots import SCTP, Flow, Turn, backwards

from enforcer.agent.plan import seen
from enforcer.agent.plan.connections import Live, Views, live
from enforcer.dataplane.conntrack import Tracked
from enforcer.model import TCP, Policy, lab_layout, parse_policy
from enforcer.semantics import Oracle
from enforcer.semantics.sides import BEGINNINGS

pytestmark = [pytest.mark.traffic, pytest.mark.timeout(600)]

SEEDS = range(6)
DRAWS, CHANGES = 500, 4
_Key = tuple[object, ...]


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with rigged(f"p{os.getpid() % 10**8}") as built:
        yield built


@pytest.mark.parametrize("seed", SEEDS)
def test_exactly_what_is_predicted_is_cut(rig: Rig, seed: int) -> None:
    rng, keys = Random(seed), Keys()
    rig.forget()
    scene = random_scene(rng)
    policy = parse_policy(str_of(scene))
    rig.enforce(policy)
    flows: list[tuple[Flow, bool]] = []
    for _ in range(CHANGES):
        flows += opened(rig, rng, policy, keys)
        scene = another(rng, scene)
        new = parse_policy(str_of(scene))
        predicted = predict(rig, policy, new)
        rig.enforce(new)
        cut, anew = ({of(each.legs[0].tracked) for each in found} for found in (predicted.cut, predicted.anew))
        # What begins anew is another conversation: who may begin it is not this test's question.
        flows = survivors(rig, rng, [each for each in flows if key(each[0]) not in anew], cut)
        policy = new


def another(rng: Random, scene: Scene) -> Scene:
    """Change a scene so much that it cuts something: a few steps, or the rules of quite another one."""
    if rng.random() < 0.4:
        return random_scene(rng)
    for _ in range(rng.choice((1, 2, 4))):
        scene = changed(rng, scene)
    return scene


def predict(rig: Rig, old: Policy, new: Policy) -> Live:
    was, becomes = (Views.of(policy, lab_layout(policy, rig.name)) for policy in (old, new))
    return live(was, becomes, seen(was, becomes))


def opened(rig: Rig, rng: Random, policy: Policy, keys: Keys) -> list[tuple[Flow, bool]]:
    """Open flows, and let half of them be answered; return those that were let through."""
    aim, oracle = Aim(rng, policy, keys), Oracle(policy)
    drawn = [flow for flow in (aim.flow() for _ in range(DRAWS)) if flow is not None]
    drawn = [flow for flow in drawn if tracked(flow) and goes_on(flow) and passes(oracle, flow, "open", begun=False)]
    arrived = rig.send([(flow, "open") for flow in drawn])
    through = [flow for flow, where in zip(drawn, arrived, strict=True) if where == {flow.receiver}]
    assert through == drawn
    answered = [rng.random() < 0.5 for _ in through]
    rig.send([(flow, "answer") for flow, talks in zip(through, answered, strict=True) if talks])
    return list(zip(through, answered, strict=True))


def tracked(flow: Flow) -> bool:
    """Say whether it is a conversation under numbers that we know: an ICMP answer to nothing is none (S13)."""
    beginnings = BEGINNINGS[flow.protocol, flow.source.version] if flow.is_icmp else ()
    return flow.protocol != SCTP and (not flow.is_icmp or flow.icmp_type in beginnings)


def survivors(rig: Rig, rng: Random, flows: list[tuple[Flow, bool]], cut: set[_Key]) -> list[tuple[Flow, bool]]:
    """Try every flow in both directions; return those that go on."""
    turns = [turns_of(rng, flow, answered) for flow, answered in flows]
    first = rig.send([(flow, pair[0]) for (flow, _), pair in zip(flows, turns, strict=True)])
    second = rig.send([(flow, pair[1]) for (flow, _), pair in zip(flows, turns, strict=True)])
    wrong, alive = [], []
    for (flow, _), pair, *ways in zip(flows, turns, first, second, strict=True):
        for turn, where in zip(pair, ways, strict=True):
            end = flow.sender if backwards(turn) else flow.receiver
            if where != (frozenset() if key(flow) in cut else {end}):
                wrong.append(
                    (flow, turn, sorted(where), "predicted: cut" if key(flow) in cut else "predicted: goes on")
                )
        if key(flow) not in cut:
            alive.append((flow, True))
    assert wrong == [], "\n".join(map(str, wrong))
    return alive


def turns_of(rng: Random, flow: Flow, answered: bool) -> tuple[Turn, Turn]:
    ways: list[Turn] = ["onward", "talk"] if answered else ["open", "answer"]
    rng.shuffle(ways)
    # A SYN after its answer would be another connection's; an acknowledgement is not.
    if ways[0] == "answer" and flow.protocol == TCP:
        ways[1] = "onward"
    return ways[0], ways[1]


def key(flow: Flow) -> _Key:
    if flow.is_icmp:
        return (flow.protocol, flow.source, flow.destination, (flow.icmp_type, flow.icmp_code, flow.key))
    return (flow.protocol, flow.source, flow.destination, (flow.key, flow.port))


def of(tracked: Tracked) -> _Key:
    first = tracked.original
    numbers = tracked.icmp or (first.source_port, first.destination_port)
    return (tracked.protocol, first.source, first.destination, numbers)
