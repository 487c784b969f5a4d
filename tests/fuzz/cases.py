"""A mismatch as a value: replayed on a rig, shrunk to what is needed for it, and kept as a file.

A case is one flow, the scenes that it lived in, and what was sent of it in which scene. The file holds just that, with
the oracle's and the kernel's answers in words; `tests/traffic/test_regressions.py` replays every file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from enforcer.errors import EnforcerError
from enforcer.model import parse_policy
from enforcer.semantics import Oracle
from fuzz.expect import passes
from fuzz.scenes import Scene, str_of
from fuzz.shots import Flow, Turn, backwards

if TYPE_CHECKING:
    from fuzz.rig import Rig

REGRESSIONS = Path(__file__).parent.parent / "regressions"


@dataclass(frozen=True, slots=True)
class Step:
    """A turn of the flow while the scene of that number is in force."""

    scene: int
    turn: Turn


@dataclass(frozen=True)
class Case:
    """Scenes, one flow, its steps; `words` say what was seen in the last step."""

    scenes: list[Scene]
    flow: Flow
    steps: tuple[Step, ...]
    words: str = ""


def replay(rig: Rig, case: Case) -> str | None:
    """Send the flow again, step by step; say what does not agree, or return None if all does."""
    rig.forget()
    standing, oracle, begun = -1, None, False
    for step in case.steps:
        for number in range(standing + 1, step.scene + 1):
            policy = parse_policy(str_of(case.scenes[number]))
            rig.enforce(policy)
            standing, oracle = number, Oracle(policy)
        assert oracle is not None
        if not begun and step.turn != "open":
            return None  # shrunk too far: the flow was never let through
        wanted = passes(oracle, case.flow, step.turn, begun=begun)
        (where,) = rig.send([(case.flow, step.turn)])
        end = case.flow.sender if backwards(step.turn) else case.flow.receiver
        if where != (frozenset([end]) if wanted else frozenset()):
            seen = f"came out at {', '.join(sorted(where))}" if where else "came out nowhere"
            return (
                f"scene {step.scene + 1}, {step.turn}: {seen}, the oracle says it {'passes' if wanted else 'does not'}"
            )
        begun = begun or wanted
    return None


def shrink(rig: Rig, case: Case, seconds: float = 240.0) -> Case:
    """Drop greedily whatever the mismatch does not need, for some time; a case not seen again is returned as it is."""
    until = time.monotonic() + seconds
    words = replay(rig, case)
    if words is None:
        return replace(case, words=f"not seen again: {case.words}")
    case = replace(case, words=words)
    progress = True
    while progress:
        progress = False
        for smaller in _smaller(case):
            if time.monotonic() > until:
                break
            try:
                words = replay(rig, smaller)
            except (EnforcerError, AssertionError):
                continue
            if words is not None:
                case, progress = replace(smaller, words=words), True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    """Yield everything that is one step smaller, the biggest steps first."""
    for number in range(len(case.scenes)):
        if all(step.scene != number for step in case.steps):
            scenes = case.scenes[:number] + case.scenes[number + 1 :]
            steps = tuple(Step(step.scene - (step.scene > number), step.turn) for step in case.steps)
            yield replace(case, scenes=scenes, steps=steps)
    for at in range(len(case.steps) - 1):
        yield replace(case, steps=case.steps[:at] + case.steps[at + 1 :])
    for number, scene in enumerate(case.scenes):
        for cut in _cuts(scene):
            smaller = deepcopy(scene)
            cut(smaller)
            if smaller != scene:
                yield replace(case, scenes=[*case.scenes[:number], smaller, *case.scenes[number + 1 :]])


def _cuts(scene: Scene) -> Iterator[Callable[[Scene], object]]:
    for at, group in enumerate(scene["security_groups"]):
        yield lambda s, at=at: s["security_groups"][at].update(rules=[])
        yield lambda s, at=at: s["security_groups"][at].pop("template", 0)
        for rule in reversed(range(len(group["rules"]))):
            yield lambda s, at=at, rule=rule: s["security_groups"][at]["rules"].pop(rule)
            for key in set(group["rules"][rule]) - {"direction", "ethertype"}:
                yield lambda s, at=at, rule=rule, key=key: s["security_groups"][at]["rules"][rule].pop(key)
    for name, nic in scene["nics"].items():
        for key in set(nic) - {"security_groups"}:
            yield lambda s, name=name, key=key: s["nics"][name].pop(key)
        if len(nic["security_groups"]) > 1:
            for group in nic["security_groups"]:
                yield lambda s, name=name, group=group: s["nics"][name]["security_groups"].remove(group)
    for at, addresses in enumerate(scene["address_groups"]):
        for entry in addresses["entries"]:
            yield lambda s, at=at, entry=entry: s["address_groups"][at]["entries"].remove(entry)
    for key in ("costly_rules", "revoke"):
        yield lambda s, key=key: s.pop(key, None)


def write(case: Case, name: str) -> Path:
    """Keep a case as `tests/regressions/NAME.yaml`."""
    REGRESSIONS.mkdir(exist_ok=True)
    path = REGRESSIONS / f"{name}.yaml"
    content: dict[str, Any] = {
        "seen": case.words,
        "flow": case.flow.words(),
        "steps": [{"scene": step.scene, "turn": step.turn} for step in case.steps],
        "scenes": case.scenes,
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False, width=120))
    return path


def read(path: Path) -> Case:
    """Read a file of `write`."""
    content = yaml.safe_load(path.read_text())
    flow = content["flow"]
    ends = {name: ip_address(flow[name]) for name in ("source", "destination")}
    steps = tuple(Step(step["scene"], step["turn"]) for step in content["steps"])
    return Case(content["scenes"], Flow(**(flow | ends)), steps, content["seen"])
