"""What a run found: the document that is kept (bench/results.json), and its tables for people.

{"host": {"kernel", "cpu", "cores", "load"}, "date", "size",
 "sweeps": {SWEEP: {"figures": {MEASURE: {CASE: {"median", "lowest", "highest", "turns": [figure, …]}}},
                    "ratios": [{"measure", "case", "to", "median", "lowest", "highest"}]}},
 "generation": {"flows", "sent", "lost", "before", "after", "commit_ms"},
 "changes", "requests", "cold", "repair": {SIZE: the document of a measurement of its own (`bench.kept`)},
 "bars": [{"bar", "wanted", "median", "lowest", "highest", "met"}]}
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.generation import Change
from bench.sweeps import Sweep
from bench.turns import Spread, Taken

FLOWS, PACKETS, TCP = "new flows/s", "established packets/s", "TCP Gbit/s"
BARS: tuple[tuple[str, str, str, str, str, float], ...] = (
    ("600 rules, of conntrack alone", "base", FLOWS, "ours", "conntrack", 0.93),
    ("600 rules, × the ordered list", "match", FLOWS, "ours last", "list last", 30),
    ("600 rules, × iptables and ipset", "match", FLOWS, "ours last", "iptables last", 30),
    ("600 rules against 1", "rules", FLOWS, "ours 600", "ours 1", 0.97),
    ("1,000 NICs against 2", "nics", FLOWS, "ours 1000", "ours 2", 0.97),
    ("6,000 members against 10", "members", FLOWS, "ours 6000", "ours 10", 0.97),
    ("established packets, of conntrack alone", "base", PACKETS, "ours", "conntrack", 0.95),
    ("TCP throughput, of conntrack alone", "base", TCP, "ours", "conntrack", 0.97),
)
"""What the project wants: name, sweep, measure, case, compared to, at least."""


def document(size: str, taken: Mapping[str, tuple[Sweep, Taken]], change: Change | None) -> dict[str, Any]:
    """Build the document of a run."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": host(),
        "size": size,
        "sweeps": {name: _sweep(sweep, found) for name, (sweep, found) in taken.items()},
        "generation": asdict(change) if change else None,
        "bars": list(_bars(taken)),
    }


def host() -> dict[str, Any]:
    """Say on what it was measured."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    return {"kernel": platform.release(), "cpu": cpu, "cores": os.cpu_count(), "load": os.getloadavg()[0]}


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()


def _sweep(sweep: Sweep, taken: Taken) -> dict[str, Any]:
    figures = {
        measure: {case: {**asdict(Spread.of(turns)), "turns": turns} for case, turns in of.items()}
        for measure, of in taken.figures.items()
    }
    ratios = [
        {"measure": measure, "case": case, "to": to, **asdict(taken.ratio(measure, case, to))}
        for measure in taken.figures
        for case, to in sweep.ratios
    ]
    return {"figures": figures, "ratios": ratios}


def _bars(taken: Mapping[str, tuple[Sweep, Taken]]) -> Iterator[dict[str, Any]]:
    for bar, sweep, measure, case, to, wanted in BARS:
        if sweep in taken and {case, to} <= taken[sweep][1].figures.get(measure, {}).keys():
            spread = taken[sweep][1].ratio(measure, case, to)
            yield {"bar": bar, "wanted": wanted, **asdict(spread), "met": spread.median >= wanted}


def tables(found: Mapping[str, Any]) -> Iterator[str]:
    """Print a document as Markdown tables, ready for docs/performance.md."""
    host = found["host"]
    machine = f"kernel {host['kernel']}, {host['cores']} × {host['cpu']}, load {host['load']:.1f}"
    yield f"{found['date']}, {found['size']} run, {machine}"
    if found["bars"]:
        yield "\n| bar | at least | median | lowest – highest | met |\n| --- | --- | --- | --- | --- |"
        for bar in found["bars"]:
            spread = f"{_number(bar['lowest'])} – {_number(bar['highest'])}"
            met = "yes" if bar["met"] else "**no**"
            yield f"| {bar['bar']} | {bar['wanted']} | {_number(bar['median'])} | {spread} | {met} |"
    for name, sweep in found["sweeps"].items():
        yield from _table(name, sweep)
    if change := found["generation"]:
        before, after = _pair(change["before"]), _pair(change["after"])
        yield (
            f"\nA new generation under {change['flows']:,} live flows: {change['sent']:,} packets sent, "
            f"{change['lost']} lost; µs a packet p50/p99 before {before}, from the change on {after}; "
            f"the commit took {change['commit_ms']:.0f} ms."
        )


def _table(name: str, sweep: Mapping[str, Any]) -> Iterator[str]:
    for measure, of in sweep["figures"].items():
        yield f"\n{name}: {measure}\n\n| case | median | lowest – highest | ratios |\n| --- | --- | --- | --- |"
        for case, figure in of.items():
            ratios = "; ".join(
                f"{_number(each['median'])} of {each['to']}"
                for each in sweep["ratios"]
                if (each["measure"], each["case"]) == (measure, case)
            )
            spread = f"{_number(figure['lowest'])} – {_number(figure['highest'])}"
            yield f"| {case} | {_number(figure['median'])} | {spread} | {ratios} |"


def _pair(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.2f}/{pair[1]:.2f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
