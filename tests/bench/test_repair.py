"""Repairs are measured, at a tiny size, with a daemon and flows; no figure is judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(120)
def test_a_flush_is_repaired_by_a_daemon_while_flows_live() -> None:
    words = ["--nics", "6", "--lists", "2", "--members", "20", "--rules", "6", "--flows", "50", "--turns", "2"]
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "bench.repair", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["nics"], found["flows"]) == (6, 50)
    assert {name: each["worst"] >= each["median"] > 0 for name, each in found["milliseconds"].items()} == {
        "open": True,
        "repaired": True,
        "logged": True,
    }
