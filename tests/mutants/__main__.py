"""Try mutants: `python -m mutants --sample 400 --seed 1`. Exit status 1: less than 90 % were killed.

`--again` tries survivors with tests that come near from outside, the kernel's among them; `--show` lists the survivors.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

os.environ["HYPOTHESIS_PROFILE"] = "mutants"

from mutants.covering import CACHE, ROOT, Cover, cover, modules, others
from mutants.operators import Mutant, mutants

FLOOR = 90
KEPT = CACHE / "mutants.jsonl"
PATIENCE = 10.0
"""Processor seconds beyond three times what the tests take without a mutant."""


AGAIN = 120.0
"""Processor seconds for a second try."""


def named(content: str, path: Path) -> Iterator[tuple[str, Path, Mutant]]:
    """Yield a module's mutants, each with a name that holds as long as the module stays as it is."""
    for number, mutant in enumerate(mutants(content)):
        key = hashlib.sha256(f"{path.relative_to(ROOT)} {number} {content}".encode()).hexdigest()[:12]
        yield key, path, mutant


def trial(path: Path, mutant: Mutant, covered: Cover, most: float) -> tuple[str, int]:
    """Try a mutant against the tests that run its line, as many as fit into `most` seconds."""
    from mutants.trial import killed

    chosen, total = list[str](), 0.0
    for test in covered.of(path, mutant.line):
        total += covered.seconds[test]
        if chosen and total > most:
            total -= covered.seconds[test]
            continue
        chosen.append(test)
    if not chosen:
        return "survived", 0
    return killed(path, mutant.tree, chosen, 3 * total + PATIENCE), len(chosen)


def again(path: Path, mutant: Mutant) -> tuple[str, int]:
    """Try a mutant against the tests that come near from outside."""
    from mutants.trial import killed

    return killed(path, mutant.tree, others(), AGAIN), len(others())


def main() -> int:
    """Parse the command line, try what has not been tried, print the sum."""
    parser = argparse.ArgumentParser(prog="mutants", description="Would the tests notice a small mistake?")
    parser.add_argument("--sample", type=int, default=400, help="how many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--all", action="store_true", help="every mutant")
    parser.add_argument("--most", type=float, default=30, help="seconds of tests for one mutant")
    parser.add_argument("--part", default="1/1", help="2/3: try the second third of these, beside other processes")
    parser.add_argument("--again", action="store_true", help="try survivors again, with further tests")
    parser.add_argument("--only", default="", help="only modules whose path contains this")
    parser.add_argument("--show", action="store_true", help="list the survivors that are known, try nothing")
    given = parser.parse_args()
    every = [one for path in modules() for one in named(path.read_text(), path) if given.only in str(path)]
    drawn = every if given.all else Random(given.seed).sample(every, min(given.sample, len(every)))
    part, parts = map(int, given.part.split("/"))
    known = {}
    if KEPT.exists():
        known = {entry["key"]: entry for entry in map(json.loads, KEPT.read_text().splitlines())}
    if not given.show:
        covered = cover()
        with KEPT.open("a") as kept:
            for at, (key, path, mutant) in enumerate(drawn):
                tried = known.get(key, {}).get("end")
                if at % parts != part - 1 or tried != ("survived" if given.again else None):
                    continue
                end, tests = again(path, mutant) if given.again else trial(path, mutant, covered, given.most)
                place = f"{path.relative_to(ROOT)}:{mutant.line}"
                known[key] = {"key": key, "end": end, "tests": tests, "at": place, "was": mutant.was, "now": mutant.now}
                kept.write(json.dumps(known[key], ensure_ascii=False) + "\n")
                kept.flush()
                print(f"{at + 1}/{len(drawn)} {end} by {tests} tests: {place}: {mutant.was} → {mutant.now}", flush=True)
    return summed([known[key] for key, _, _ in drawn if key in known], len(every))


def summed(tried: list[dict[str, str]], of: int) -> int:
    """Print the survivors and the share of the killed; return the exit status."""
    for entry in sorted((e for e in tried if e["end"] == "survived"), key=lambda e: e["at"]):
        print(f"survived: {entry['at']}: {entry['was']} → {entry['now']} ({entry['tests']} tests)")
    ends = Counter(entry["end"] for entry in tried)
    share = 100 * (len(tried) - ends["survived"]) / max(1, len(tried))
    print(f"{len(tried)} of {of} mutants tried: {share:.1f} % killed ({dict(ends)})")
    return int(share < FLOOR)


if __name__ == "__main__":
    sys.exit(main())
