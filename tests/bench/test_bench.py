"""The measurements run and say what they say they say; no figure is judged here, for this machine is busy testing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bench.plots import GROWN
from bench.report import BARS
from bench.sweeps import SWEEPS
from enforcer.dataplane import namespaces

pytestmark = pytest.mark.traffic

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_a_tiny_run_writes_the_document_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before = set(namespaces.names("bench-"))
    parts = ("base", "nics", "generation")
    chosen = [word for part in parts for word in ("--only", part)]
    done = subprocess.run(
        [ROOT / "scripts" / "bench", "--tiny", *chosen, "--out", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=290,
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


@pytest.mark.timeout(600)
def test_the_quick_run_measures_every_sweep_and_draws(tmp_path: Path) -> None:
    """What `make bench-quick` does, all of it."""
    before = set(namespaces.names("bench-"))
    done = subprocess.run(
        [ROOT / "scripts" / "bench", "--quick", "--out", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=590,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "results.json").read_text())
    assert set(found["sweeps"]) == set(SWEEPS)
    assert found["generation"]["lost"] == 0, "packets of allowed flows"
    assert {"600 rules, of conntrack alone"} <= {bar["bar"] for bar in found["bars"]} <= {name for name, *_ in BARS}
    assert {path.name for path in tmp_path.glob("*.svg")} == {f"{name}.svg" for name in GROWN}
    assert set(namespaces.names("bench-")) == before, "its namespaces are gone"
