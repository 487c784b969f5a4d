"""What is said of many durations: the median and the 99th percentile."""

from __future__ import annotations

Figures = dict[str, float]


def spread(milliseconds: list[float]) -> Figures:
    """Return p50 and p99."""
    ordered = sorted(milliseconds)
    return {"p50": round(ordered[len(ordered) // 2], 3), "p99": round(ordered[int(len(ordered) * 0.99)], 3)}
