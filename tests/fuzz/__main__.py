"""Fuzz for some minutes: `python -m fuzz --minutes 5 --seed 1`. Exit status 1: the kernel and the oracle disagree.

Each processor has a worker with a stage of its own, seeded from the seed. A mismatch is shrunk and written to
`tests/regressions/`; after three of them a worker ends.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import time

from fuzz.campaign import campaigns
from fuzz.cases import shrink, write
from fuzz.rig import rigged

ENOUGH = 3
REPORT_EVERY = 30.0


def work(number: int, seed: int, minutes: float) -> int:
    """Run one worker; return how many mismatches it found."""
    mismatches, reported, tally = 0, time.monotonic(), None
    with rigged(f"z{os.getpid() % 10**8}n{number}", number) as rig:
        for tally, mismatch in campaigns(rig, seed, time.monotonic() + 60 * minutes):
            if mismatch is not None:
                mismatches += 1
                case = shrink(rig, mismatch)
                print(
                    f"worker {number}: {case.words}; written to {write(case, f'seed-{seed}-{mismatches}')}", flush=True
                )
            if mismatches >= ENOUGH:
                break
            if time.monotonic() - reported > REPORT_EVERY:
                reported = time.monotonic()
                print(f"worker {number}: {tally}", flush=True)
    print(f"worker {number} (seed {seed}): {tally}; {mismatches} mismatches", flush=True)
    return mismatches


def main() -> int:
    """Parse the command line, run the workers."""
    parser = argparse.ArgumentParser(prog="fuzz", description="Compare the kernel with the oracle, packet by packet.")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=None, help="repeat a run; default: a new one each time")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--worker", type=int, default=None, help="be that worker, alone")
    given = parser.parse_args()
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    if given.worker is not None:
        return int(work(given.worker, seed + given.worker * 10**6, given.minutes) > 0)
    print(f"seed {seed}, {given.workers} workers, {given.minutes:g} minutes", flush=True)
    words = (sys.executable, "-m", "fuzz", "--seed", str(seed), "--minutes", str(given.minutes), "--worker")
    workers = [subprocess.Popen((*words, str(number))) for number in range(given.workers)]
    return max([worker.wait() for worker in workers])


if __name__ == "__main__":
    sys.exit(main())
