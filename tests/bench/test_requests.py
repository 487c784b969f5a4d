"""Measurements of requests run, at a tiny size, and say what they say they say; no figure is judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(120)
def test_requests_to_a_daemon_are_measured_alone_and_in_a_crowd_and_kept_beside_other_figures(tmp_path: Path) -> None:
    kept = tmp_path / "results.json"
    kept.write_text('{"sweeps": {}}')
    size = ["--nics", "4", "--lists", "1", "--members", "300", "--turns", "4", "--edits", "128", "--into", str(kept)]
    command = ["unshare", "--net", sys.executable, "-m", "bench.requests", *size]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    member = found["milliseconds"]["a member"]
    assert member["request to answer"]["p50"] > member["request to in force"]["p50"] > member["commit"]["p50"] / 2 > 0
    assert "commit" not in found["milliseconds"]["nothing to change"]
    crowds = [each for name, each in found.items() if "connections" in name]
    assert [each["edits"] for each in crowds] == [128] * 4, "each has learned its revision, in order"
    assert set(found["resident, MB"]) == {"nothing loaded", "in force", "after all edits"}
    written = json.loads(kept.read_text())
    assert written["requests"]["4 NICs"].items() >= found.items()
    assert written["sweeps"] == {}
