"""The wall clock may jump: nothing waits by it, nothing is ordered by it; it only dates what people read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from agent_stage import NETWORK, SSH, WEB, Stage, World, ecs, group

from enforcer.agent.store import Outcome, SqliteStore

ENFORCER = Path(__file__).parents[2] / "enforcer"
WALL_CLOCK = {"time", "time_ns", "now", "utcnow", "today", "localtime", "gmtime", "ctime"}
DATED = {
    "agent/status.py": "when a repair or an error was",
    "agent/store/sqlite.py": "when a revision was proposed, and how many days it is kept",
    "agent/confirming.py": "a time until which to confirm outlives a restart, so it cannot be monotonic",
    "agent/seeing/counting.py": "since when hits are counted",
    "agent/seeing/metrics.py": "when a failure was seen last",
}
"""Who may look at the wall clock, and what for."""


def looks_at_the_wall_clock(path: Path) -> bool:
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in WALL_CLOCK
        and isinstance(node.value, ast.Name)
        and node.value.id in ("time", "datetime", "date")
        for node in ast.walk(ast.parse(path.read_text()))
    )


def test_only_what_people_read_is_dated() -> None:
    modules = [*(ENFORCER / "agent").rglob("*.py"), *(ENFORCER / "dataplane").rglob("*.py")]
    found = {str(path.relative_to(ENFORCER)) for path in modules if looks_at_the_wall_clock(path)}
    assert found <= DATED.keys()


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_revisions_stay_in_order_when_the_clock_jumps(tmp_path: Path, jump: float) -> None:
    stage = Stage(tmp_path, World({"": ["tap-1"]}))
    stage.store.close()
    times = iter([1e9, 1e9 + jump, 1e9, 1e9 - jump])
    stage.store = SqliteStore(stage.file, clock=lambda: next(times))
    stage.born()
    numbers = [
        stage.propose(*change)
        for change in ((NETWORK, group("Sg-A", SSH), *ecs("one", 11, "tap-1")), (group("Sg-A", WEB),), (group("Sg-B"),))
    ]
    stage.rounds()
    assert numbers == [1, 2, 3]
    assert {stage.outcome(number).outcome for number in numbers} == {Outcome.IN_FORCE}
    assert stage.nic("one") == ("in force", "")
