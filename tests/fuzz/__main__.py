"""Fuzz for some minutes: `python -m fuzz --minutes 5 --seed 1`. Exit status 1: the kernel and the oracle disagree.

The same seed draws the same policies and packets; how far a run comes in its minutes is the machine's affair.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time

from fuzz.workers import run, words_of, work


def main() -> int:
    """Parse the command line, run the workers."""
    parser = argparse.ArgumentParser(prog="fuzz", description="Compare the kernel with the oracle, packet by packet.")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--chains", type=int, default=0, help="instead of minutes: chains of policies for each worker")
    parser.add_argument("--draws", type=int, default=700, help="new flows tried under each policy")
    parser.add_argument("--seed", type=int, default=None, help="repeat a run; default: a new one each time")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--worker", type=int, default=None, help="be that worker, alone")
    given = parser.parse_args()
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    if given.worker is not None:
        tally = work(given.worker, seed, minutes=given.minutes, chains=given.chains, draws=given.draws)
        print(words_of(tally), flush=True)
    else:
        print(f"seed {seed}, {given.workers} workers", flush=True)
        begun = time.monotonic()
        tally = run(seed, given.workers, minutes=given.minutes, chains=given.chains, draws=given.draws)
        print(f"seed {seed}, {time.monotonic() - begun:.0f} s: {tally}", flush=True)
    return int(tally.mismatches > 0)


if __name__ == "__main__":
    sys.exit(main())
