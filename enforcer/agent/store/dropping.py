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


def droppable(connection: sqlite3.Connection, keep: Keep, last: int, head: int, now: float) -> int:
    """Return the highest revision that need not be kept; below the head and below all that is not settled."""
    old = _number(connection, "SELECT max(number) FROM revisions WHERE at < ?", now - keep.days * 86400)
    floor = min(max(old, last - keep.most), last - keep.least)
    first = _number(connection, "SELECT min(number) FROM revisions WHERE outcome = 'proposed'")
    return min(floor, head - 1, *([first - 1] if first else []))


def _number(connection: sqlite3.Connection, query: str, *parameters: object) -> int:
    return int(connection.execute(query, parameters).fetchone()[0] or 0)


def drop(connection: sqlite3.Connection, floor: int) -> None:
    """Drop the revisions up to `floor`, within a transaction: first what was refused, then what was overwritten."""
    connection.execute("UPDATE kept SET floor = ?", (floor,))
    connection.execute("DELETE FROM revisions WHERE number <= ?", (floor,))
    connection.execute("DELETE FROM changes WHERE revision <= ? AND refused", (floor,))
    connection.execute(SUPERSEDED, (floor, floor))
    connection.execute("DELETE FROM changes WHERE revision <= ? AND value IS NULL", (floor,))
