"""How long tests wait for what shall happen: on an emulated processor (scripts/vm-test) so many times as long."""

from __future__ import annotations

import os

SLOWNESS = float(os.environ.get("SLOWNESS", "1"))


def patient(seconds: float) -> float:
    """Return how long to wait here for what takes no longer than `seconds` on a processor of its own."""
    return seconds * SLOWNESS
