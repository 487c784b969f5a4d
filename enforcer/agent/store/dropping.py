"""How much history is kept, and how the rest is dropped without losing what it has left behind.

A dropped revision cannot be shown any more; what it wrote stays for as long as nothing has overwritten it.
Example: `Keep(most=100, days=7)` for a host on which much changes.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keep:
    """The last `most` revisions are kept, less those older than `days`, but always the last `least`."""

    most: int = 10_000
    days: float = 90
    least: int = 1_000


SUPERSEDED = """
DELETE FROM changes WHERE revision <= ? AND EXISTS (
    SELECT 1 FROM changes AS later WHERE later.key = changes.key AND later.revision > changes.revision
    AND later.revision <= ?
)
"""


def drop(connection: sqlite3.Connection, floor: int) -> None:
    """Drop the revisions up to `floor`, within a transaction: first what was refused, then what was overwritten."""
    connection.execute("UPDATE kept SET floor = ?", (floor,))
    connection.execute("DELETE FROM revisions WHERE number <= ?", (floor,))
    connection.execute("DELETE FROM changes WHERE revision <= ? AND refused", (floor,))
    connection.execute(SUPERSEDED, (floor, floor))
    connection.execute("DELETE FROM changes WHERE revision <= ? AND value IS NULL", (floor,))
