"""Turns: every case once, then every case again, so that what disturbs the machine disturbs all of them.

A figure is never compared across turns: a ratio is taken inside each turn, and the median of the ratios is reported,
with the lowest and the highest as their spread.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench import cases
from bench.topology import Topology

Measure = Callable[[Topology, cases.Case], float]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some figures, with the lowest and the highest."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """Take the spread of figures."""
        return cls(median(figures), min(figures), max(figures))


@dataclass
class Taken:
    """The figures of one sweep: for each measure and case, one figure per turn."""

    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, measure: str, case: str, figure: float) -> None:
        """Note one figure of a turn."""
        self.figures.setdefault(measure, {}).setdefault(case, []).append(figure)

    def spread(self, measure: str, case: str) -> Spread:
        """Return the spread of a case's own figures."""
        return Spread.of(self.figures[measure][case])

    def ratio(self, measure: str, case: str, to: str) -> Spread:
        """Return the spread of the ratios to another case, each taken within one turn."""
        mine, theirs = self.figures[measure][case], self.figures[measure][to]
        return Spread.of([one / other for one, other in zip(mine, theirs, strict=True)])


def take(made: Topology, turns: int, listed: Sequence[cases.Case], measures: Mapping[str, Measure]) -> Taken:
    """Take every measure of every case in turns."""
    taken = Taken()
    for turn in range(turns):
        for case in listed:
            try:
                case.install(made)
                for name, measure in measures.items():
                    taken.add(name, case.name, measure(made, case))
            finally:
                cases.clear(made)
        print(f"  turn {turn + 1} of {turns}", file=sys.stderr, flush=True)
    return taken
