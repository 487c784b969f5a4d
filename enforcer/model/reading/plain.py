"""The quick way to read JSON, for texts of which nobody will ask where something stands.

    plain('{"version": 1}')  ──▶  {"version": 1}

Never says that a text is wrong: whatever `document.read` might see differently – an escape, a float, a key that stands
twice, a number of many digits, too many values – is None here, and for `document.read` to judge. What it does return is
what `document.read` would have.
"""

from __future__ import annotations

import json
from typing import Any, Final

_LONGEST_NUMBER: Final = 40


class _NotPlain(Exception):
    """The text has something that YAML and JSON may see differently."""


def plain(text: str, most_values: int) -> dict[str, Any] | None:
    """Return what a JSON text says; None: read it the other way."""
    if not text.startswith("{") or "\\" in text:
        return None
    if sum(map(text.count, ",[{")) >= most_values:  # every value follows one of them
        return None
    try:
        value = json.loads(
            text, object_pairs_hook=_mapping, parse_int=_whole, parse_float=_refuse, parse_constant=_refuse
        )
    except (ValueError, RecursionError, _NotPlain):
        return None
    return value if isinstance(value, dict) else None


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _NotPlain
    return found


def _whole(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise _NotPlain
    return int(digits)


def _refuse(_: str) -> Any:
    raise _NotPlain
