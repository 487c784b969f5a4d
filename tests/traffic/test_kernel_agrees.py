"""Kernel and oracle agree on more than 100,000 packets over hundreds of random policies (S7–S10, S13, S14, S16).

`fuzz` says how. The seed is fixed, so that a run can be repeated; `scripts/fuzz` draws others. The tally is printed.
"""

from __future__ import annotations

import os
import time

import pytest
from fuzz.workers import run

pytestmark = pytest.mark.traffic

SEED = 2026
CHAINS, LENGTH, DRAWS = 62, 4, 320


def test_kernel_and_oracle_agree_on_every_packet(capsys: pytest.CaptureFixture[str]) -> None:
    workers = min(2, len(os.sched_getaffinity(0)))
    begun = time.monotonic()
    tally = run(SEED, workers, chains=CHAINS // workers, draws=DRAWS)
    with capsys.disabled():
        print(f"\nkernel and oracle: {tally}; {time.monotonic() - begun:.0f} s", flush=True)
    assert tally.mismatches == 0, "shrunk and written to tests/regressions"
    assert tally.packets >= 100_000
    assert tally.policies == CHAINS * LENGTH
    # New flows, replies, errors, and flows judged again: some of each go on, some are cut, and some come back.
    assert set(tally.turns) == {"open", "answer", "onward", "talk", "error", "again"}
    assert 0.3 < tally.passed / tally.packets < 0.9, "both verdicts are asked for"
    assert min(tally.kept, tally.cut) > 1000
    assert tally.healed > 20
