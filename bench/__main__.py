"""Run the measurements: `scripts/bench [--quick] [--only SWEEP]…`; see the package for what is measured.

Results go to bench/results.json and docs/performance/*.svg unless `--out` names another directory; tables are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from bench import cases, plots, report, sweeps
from bench.generation import Change, change
from bench.shape import Shape
from bench.topology import topology
from bench.turns import Taken, take

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"full": sweeps.FULL, "quick": sweeps.QUICK, "tiny": sweeps.TINY}
LIVE_FLOWS = {"full": 100_000, "quick": 100_000, "tiny": 300}
GENERATION = "generation"


def main() -> None:
    """Take the figures and keep them."""
    wanted = _arguments()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    size = SIZES[wanted.size]
    chosen = wanted.only or [*sweeps.SWEEPS, GENERATION]
    taken: dict[str, tuple[sweeps.Sweep, Taken]] = {}
    changed: Change | None = None
    for name in chosen:
        print(f"{name} …", file=sys.stderr, flush=True)
        if name == GENERATION:
            with topology() as made:
                changed = change(made, Shape(), LIVE_FLOWS[wanted.size])
            continue
        sweep = sweeps.SWEEPS[name](size)
        also = [cases.file(path) for path in wanted.also]
        with topology(sweep.nics) as made:
            taken[name] = (sweep, take(made, wanted.turns or size.turns, [*sweep.cases, *also], sweep.measures))
    found = report.document(wanted.size, taken, changed)
    wanted.out.mkdir(parents=True, exist_ok=True)
    results = wanted.out / "results.json"
    before = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    results.write_text(json.dumps({**before, **found}, indent=1) + "\n", encoding="utf-8")
    print("\n".join(report.tables(found)))
    plots.draw(found, wanted.plots or wanted.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure the packet's way beside its peers.")
    parser.add_argument("--quick", dest="size", action="store_const", const="quick", default="full")
    parser.add_argument("--tiny", dest="size", action="store_const", const="tiny", help="only prove that it works")
    parser.add_argument("--only", action="append", choices=[*sweeps.SWEEPS, GENERATION], help="a part; may be repeated")
    parser.add_argument("--turns", type=int, help="turns of each sweep")
    parser.add_argument(
        "--also", action="append", type=Path, default=[], metavar="FILE", help="an nft script as a case"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "bench", help="directory of results.json")
    parser.add_argument("--plots", type=Path, help="directory of the plots")
    return parser.parse_args()


if __name__ == "__main__":
    main()
