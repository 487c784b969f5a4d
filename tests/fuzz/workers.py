"""Workers side by side: one for each processor, each with a stage of its own, and the sum of what they sent.

A worker is a process (`python -m fuzz --worker 0 …`): it pins itself to its processor. It goes on for some minutes or
for some chains; the second sends the same packets each time. A mismatch is shrunk and written to `tests/regressions/`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from fuzz.campaign import Campaign, Tally
from fuzz.cases import shrink, write
from fuzz.rig import rigged

ENOUGH = 3
"""After so many mismatches a worker ends."""
REPORT_EVERY = 30.0
_APART = 10**6


def work(number: int, seed: int, *, minutes: float, chains: int, draws: int) -> Tally:
    """Run one worker until its time is over, its chains are done, or it has found enough."""
    until, reported = time.monotonic() + 60 * minutes, time.monotonic()
    with rigged(f"z{os.getpid() % 10**8}n{number}", number) as rig:
        campaign = Campaign(rig, seed + number * _APART, draws)
        tally, done = campaign.tally, 0
        while (done < chains if chains else time.monotonic() < until) and tally.mismatches < ENOUGH:
            mismatch, done = campaign.chain(), done + 1
            if mismatch is not None:
                name = f"seed-{seed}-{number}-{tally.mismatches}"
                kept = write(mismatch, name)  # as it is first: shrinking takes minutes
                print(f"worker {number}: {mismatch.words}; in {kept}, shrinking it", file=sys.stderr, flush=True)
                case = shrink(rig, mismatch)
                write(case, name)
                print(f"worker {number}: {case.words}; shrunk in {kept}", file=sys.stderr, flush=True)
            if time.monotonic() - reported > REPORT_EVERY:
                reported = time.monotonic()
                print(f"worker {number}: {tally}", file=sys.stderr, flush=True)
    return tally


def run(seed: int, workers: int, *, minutes: float = 0.0, chains: int = 0, draws: int) -> Tally:
    """Run workers side by side, each for `chains` chains if that is given, else for some minutes; add up."""
    words = [sys.executable, "-m", "fuzz", "--seed", str(seed), "--draws", str(draws)]
    words += ["--chains", str(chains)] if chains else ["--minutes", str(minutes)]
    here = Path(__file__).parents[1]
    started = [
        subprocess.Popen((*words, "--worker", str(number)), cwd=here, stdout=subprocess.PIPE, text=True)
        for number in range(workers)
    ]
    total = Tally()
    for worker in started:
        said, _ = worker.communicate()
        if worker.returncode not in (0, 1):
            raise RuntimeError(f"a worker ended with status {worker.returncode}: its error is above")
        total += Tally(**json.loads(said))
    return total


def words_of(tally: Tally) -> str:
    """Return a tally as a worker hands it to its parent."""
    return json.dumps(asdict(tally))
