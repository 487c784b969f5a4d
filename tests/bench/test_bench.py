"""The measurements run and say what they say they say; no figure is judged here, for this machine is busy testing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from enforcer.dataplane import namespaces

pytestmark = pytest.mark.traffic

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(120)
def test_a_tiny_run_writes_the_document_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before = set(namespaces.names("bench-"))
    parts = ("base", "nics", "generation")
    chosen = [word for part in parts for word in ("--only", part)]
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--tiny", *chosen, "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "results.json").read_text())
    assert set(found) == {"date", "host", "size", "sweeps", "generation", "bars"}
    assert set(found["sweeps"]) == {"base", "nics"}
    figures = found["sweeps"]["base"]["figures"]
    assert {"new flows/s", "established packets/s", "first packet p99 µs", "connections/s"} <= set(figures)
    for of in figures.values():
        assert set(of) == {"nothing", "conntrack", "ours", "ours, host", "list"}, "every measure of every case"
        assert all(0 < each["lowest"] <= each["median"] <= each["highest"] for each in of.values())
    ratios = found["sweeps"]["base"]["ratios"]
    assert {("ours", "conntrack"), ("ours", "list")} <= {(each["case"], each["to"]) for each in ratios}
    assert found["generation"]["lost"] == 0, "packets of allowed flows"
    assert {bar["bar"] for bar in found["bars"]} >= {"600 rules, of conntrack alone"}
    assert "| ours |" in done.stdout, "and a table for people"
    assert set(namespaces.names("bench-")) == before, "its namespaces are gone"
