"""Measurements of starts and memory run, at a tiny size, and say what they say they say; no figure is judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]


def measured(*words: str) -> dict[str, Any]:
    command = ["unshare", "--net", sys.executable, "-m", "bench.cold", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.timeout(120)
def test_a_start_a_repair_a_restart_and_another_policy_are_measured_beside_nft() -> None:
    found = measured("start", "--nics", "6", "--lists", "2", "--members", "20", "--rules", "6")
    assert set(found["seconds"]) == {
        "parse",
        "compile",
        "commit",
        "repair after a flush",
        "restart, resources to a policy",
        "restart, what is there put there anew",
        "another policy, compile",
        "another policy, commit",
        "nft -f of the same script",
    }
    assert all(each["wall"] > 0 for each in found["seconds"].values())
    assert found["another policy was a difference"]
    assert all(size > 0 for size in found["resident, MB"].values())


@pytest.mark.timeout(120)
def test_a_curve_of_compilation_has_a_row_for_each_number_of_lists() -> None:
    found = measured("curve", "--most", "10", "--members", "20", "--rules", "6")
    assert [row["lists"] for row in found["compile"]] == [1, 10]


@pytest.mark.timeout(120)
def test_one_member_among_many_sets_is_changed_in_every_way() -> None:
    found = measured("shape", "--sets", "20", "--each", "5", "--turns", "4")
    assert len(found["milliseconds"]) == 4


@pytest.mark.timeout(120)
def test_growth_is_watched_from_the_first_change_to_the_last() -> None:
    found = measured("growth", "--nics", "4", "--lists", "1", "--members", "20", "--changes", "20")
    assert [row["changes"] for row in found["growth"]] == list(range(0, 21, 2))
