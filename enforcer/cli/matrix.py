"""`enforcer matrix`: who reaches whom, as a grid, as one HTML page, or as what changes between two policies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from enforcer.answers import Difference, Region, differences, region_of, regions
from enforcer.cli import output
from enforcer.cli.commands import FILE
from enforcer.cli.page import page
from enforcer.cli.policies import load_policy, load_with_positions
from enforcer.errors import SystemRefused, UsageError
from enforcer.model import Action, Policy, parse_traffic
from enforcer.semantics import Cell, Oracle, matrix

MOST_CELLS = 1_000_000
MOST_PAGE_CELLS = 40_000  # a page of about 10 MB, which browsers still draw at once


@click.command("matrix")
@click.argument("policy", metavar="[POLICY]", type=FILE, required=False)
@click.option("--proto", "protos", multiple=True, metavar="PROTO[/PORT]", help="Repeat for several.")
@click.option("--why", is_flag=True, help="One line for each cell, with the reason.")
@click.option(
    "--html",
    "page_file",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write one page to look at.",
)
@click.option("--diff", "pair", nargs=2, type=FILE, metavar="OLD NEW", help="What NEW opens and closes.")
@output.json_option
def matrix_command(
    policy: str | None,
    protos: tuple[str, ...],
    why: bool,
    page_file: str | None,
    pair: tuple[str, str] | None,
    as_json: bool,
) -> None:
    """Who can reach whom, for each PROTO (default: every region of ports that some rule names).

    \b
    Example:  enforcer matrix examples/figure-2.yaml --proto icmp --proto ssh
              enforcer matrix examples/figure-2.yaml --html figure-2.html
              enforcer matrix --diff examples/figure-4.yaml examples/figure-4-without-peering.yaml
    """
    if pair is not None:
        if policy is not None or page_file is not None:
            raise UsageError("--diff OLD NEW compares two policies; give no third, and no --html")
        _tell_differences(*pair, protos, as_json=as_json)
        return
    if policy is None:
        raise UsageError("matrix needs a POLICY, or --diff OLD NEW")
    loaded, position = load_with_positions(policy)
    columns = _columns(protos, loaded)
    if page_file is not None:
        _bounded(loaded, columns, MOST_PAGE_CELLS)
        with output.progress() as report:
            text = page(loaded, columns, position, report)
        _write(page_file, text)
        output.note(f"{page_file}: written")
        if not as_json:
            return
    cells = matrix(loaded, [column.traffic for column in columns])
    words = {column.traffic: column for column in columns}
    if as_json:
        output.emit({"cells": [_cell_document(cell, words[cell.traffic]) for cell in cells]})
    elif why:
        rows = ((c.src, c.dst, words[c.traffic].text, c.verdict, c.explanation.reason) for c in cells)
        output.table("", ("from", "to", "proto", "verdict", "why"), rows)
    else:
        _tell_grid(cells, columns)


def _columns(protos: tuple[str, ...], *policies: Policy) -> tuple[Region, ...]:
    """Return what is asked of every pair, each once, in the words in which it was asked for."""
    if not protos:
        columns = regions(*policies)
    else:
        asked = {parse_traffic(word): word for word in reversed(protos)}
        columns = tuple(region_of(traffic, word) for traffic, word in reversed(asked.items()))
    for policy in policies:
        _bounded(policy, columns, MOST_CELLS)
    return columns


def _bounded(policy: Policy, columns: Sequence[Region], most: int) -> None:
    hosts = len(policy.ecs) + len(policy.external_hosts)
    cells = hosts * (hosts - 1) * len(columns)
    if cells > most:
        what = f"{hosts:,} hosts and {len(columns):,} kinds of traffic make {cells:,} cells, more than {most:,}"
        raise UsageError(f"{what}; name those that you want with --proto, or ask `enforcer explain --all HOST`")


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise SystemRefused(f"{path}: cannot be written ({error.strerror})") from error


def _cell_document(cell: Cell, column: Region) -> dict[str, str]:
    return {
        "src": cell.src,
        "dst": cell.dst,
        "proto": column.word,
        "region": column.text,
        "verdict": str(cell.verdict),
        "reason": cell.explanation.reason,
    }


def _tell_grid(cells: Sequence[Cell], columns: Sequence[Region]) -> None:
    """Print rows of sources, columns of destinations, and in each cell what gets through."""
    names = list(dict.fromkeys(cell.src for cell in cells))
    found: dict[tuple[str, str], list[str]] = {(src, dst): [] for src in names for dst in names}
    words = {column.traffic: column.word for column in columns}
    for cell in cells:
        if cell.verdict == Action.ALLOW:
            found[cell.src, cell.dst].append(words[cell.traffic])

    def shown(src: str, dst: str) -> str:
        if src == dst:
            return ""
        if len(columns) == 1:
            return "allow" if found[src, dst] else "deny"
        return "all" if len(found[src, dst]) == len(columns) else " ".join(found[src, dst]) or "–"

    output.table("", ("from ↓ to →", *names), ((src, *(shown(src, dst) for dst in names)) for src in names))
    output.note("asked: " + "; ".join(column.text for column in columns))


def _tell_differences(old_path: str, new_path: str, protos: tuple[str, ...], *, as_json: bool) -> None:
    old, new = load_policy(old_path)[0], load_policy(new_path)[0]
    columns = _columns(protos, old, new)
    words = {column.traffic: column for column in columns}
    found = differences(Oracle(old), Oracle(new), [column.traffic for column in columns])
    opens = sum(each.opens for each in found)
    if as_json:
        shown = [_difference_document(each, words[each.traffic]) for each in found]
        output.emit({"cells": shown, "opens": opens, "closes": len(found) - opens})
        return
    if found:
        rows = ((each.word, each.src, each.dst, words[each.traffic].text, each.reason) for each in found)
        output.table("", ("", "from", "to", "what", "why"), rows)
    click.echo(f"{opens} opened, {len(found) - opens} closed")


def _difference_document(each: Difference, column: Region) -> dict[str, Any]:
    return {
        "src": each.src,
        "dst": each.dst,
        "proto": column.word,
        "region": column.text,
        "change": each.word,
        "verdict": "allow" if each.opens else "deny",
        "before": str(each.before.verdict) if each.before else None,
        "after": str(each.after.verdict) if each.after else None,
        "reason": each.reason,
    }
