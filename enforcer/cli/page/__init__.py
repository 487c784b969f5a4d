"""The matrix as one HTML page that needs nothing else: grid, filters, and the explanation of the cell that is clicked.

The page asks no network: style, script and data are in it, and its content security policy allows nothing besides. All
names and texts of the policy are data – JSON in an element that no browser runs – and reach the page as text nodes.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any

from enforcer.answers import Position, Region, answer, paragraphs
from enforcer.model import Policy, endpoint
from enforcer.semantics import Oracle

Document = dict[str, Any]
Report = Callable[[str, int, int], None]


def silent(_what: str, _done: int, _total: int) -> None:
    """Report to nobody."""


def page(policy: Policy, columns: Sequence[Region], position: Position, report: Report = silent) -> str:
    """Return the page: every pair of hosts, each asked for every column; `report` is told how far it is."""
    style, script = _part("page.css"), _part("page.js")
    title = f"Who reaches whom: {position.source}" if position.source else "Who reaches whom"
    parts = {
        "title": escape(title),
        "style": style,
        "style-hash": _hash(style),
        "script": script,
        "script-hash": _hash(script),
        "data": embedded(page_data(policy, columns, position, title, report)),
    }
    text = _part("page.html")
    pieces = text.split("%%")  # names between pairs of %%, so that no value is searched for names
    return "".join(parts[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def page_data(
    policy: Policy, columns: Sequence[Region], position: Position, title: str, report: Report = silent
) -> Document:
    """Return what the script draws: hosts, columns, and for each source, destination and column an explanation.

    Equal explanations are kept once, and equal lines in them: `cells[source][destination][column]` is a number into
    `explanations`, and these have numbers into `lines`.
    """
    oracle = Oracle(policy)
    hosts = [(ecs.name, "ecs") for ecs in policy.ecs] + [(host.name, "external") for host in policy.external_hosts]
    ends = [endpoint(policy, name) for name, _ in hosts]
    lines: dict[str, int] = {}
    known: dict[tuple[str, bool, tuple[tuple[int, ...], ...]], int] = {}

    def number(src: int, dst: int, column: Region) -> int:
        found = answer(oracle, ends[src], ends[dst], column.traffic)
        told = tuple(
            tuple(lines.setdefault(line, len(lines)) for line in paragraph) for paragraph in paragraphs(found, position)
        )
        key = (str(found.explanation.verdict), found.explanation.route.exists, told)
        return known.setdefault(key, len(known))

    every = range(len(ends))
    cells = []
    for src in every:
        report("explaining", src, len(ends))
        cells.append([[number(src, dst, column) for column in columns] if src != dst else [] for dst in every])
    return {
        "title": title,
        "hosts": [
            {"name": name, "kind": kind, "addresses": [str(address) for address in end.addresses]}
            for (name, kind), end in zip(hosts, ends, strict=True)
        ],
        "columns": [
            {"word": column.word, "text": column.text, "label": column.text.partition(" (")[0]} for column in columns
        ],
        "lines": list(lines),
        "explanations": [{"verdict": verdict, "route": route, "words": told} for verdict, route, told in known],
        "cells": cells,
    }


def embedded(document: Document) -> str:
    """Return JSON that can stand in a script element: nothing in it can end the element, or begin a comment or tag."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _part(name: str) -> str:
    return (files(__name__) / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return what a content security policy calls this text; HTML gives the element's text unchanged."""
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()
