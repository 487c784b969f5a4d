"""Plots of a run for docs/performance.md: new flows a second, for every sweep that grows something.

matplotlib is an extra of the project (`pip install '.[bench]'`); without it a run keeps its figures and draws nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FLOWS = "new flows/s"
GROWN = {"rules": "rules on the NIC", "nics": "NICs in the router", "members": "members of the remote group"}


def draw(found: Mapping[str, Any], directory: Path) -> list[Path]:
    """Draw what the document has figures for; return the files."""
    if find_spec("matplotlib") is None:
        return []
    import matplotlib  # noqa: PLC0415 — an extra

    matplotlib.use("svg")
    from matplotlib import pyplot  # noqa: PLC0415

    directory.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, label in GROWN.items():
        if name not in found["sweeps"]:
            continue
        figures = found["sweeps"][name]["figures"][FLOWS]
        figure, axes = pyplot.subplots(figsize=(6, 3.6))
        axes.axhline(figures["conntrack"]["median"], color="grey", linestyle="--", label="conntrack alone")
        for form in ("ours", "list", "iptables"):
            points = [(int(case.split()[1]), each) for case, each in figures.items() if case.split()[0] == form]
            if points:
                xs, ys = [x for x, _ in points], [each["median"] for _, each in points]
                spread = [[y - e["lowest"] for y, (_, e) in zip(ys, points, strict=True)]]
                spread.append([e["highest"] - y for y, (_, e) in zip(ys, points, strict=True)])
                axes.errorbar(xs, ys, yerr=spread, marker="o", capsize=3, label=form)
        axes.set(xscale="log", yscale="log", xlabel=label, ylabel=FLOWS)
        axes.legend(fontsize="small")
        axes.grid(visible=True, which="both", alpha=0.2)
        target = directory / f"{name}.svg"
        figure.savefig(target, bbox_inches="tight", metadata={"Date": None})
        pyplot.close(figure)
        drawn.append(target)
    return drawn
