"""How answers and errors reach a person or a program: tables or one JSON document; exit statuses of the interface.

Data goes to standard output, everything else to standard error. Colour and progress appear on a terminal only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from enforcer.errors import EnforcerError, PolicyError, Problem

DONE, NO = 0, 1
"""Exit statuses: done, or yes; the answer is no. Errors bring their own (`enforcer.errors`)."""

MOST_COLOURED = 2_000
"""Rows that rich lays out: it takes half a millisecond for each."""

_JSON = "enforcer.json"
Command = TypeVar("Command", bound=Callable[..., Any])


def json_option(command: Command) -> Command:
    """Give a command `--json`: one document on standard output, also when it fails."""

    def remember(context: click.Context, _: click.Parameter, value: bool) -> bool:
        context.meta[_JSON] = value
        return value

    option = click.option("--json", "as_json", is_flag=True, callback=remember, help="Print one JSON document.")
    return option(command)


def wants_json(context: click.Context) -> bool:
    """Return whether the command that runs was given `--json`."""
    return bool(context.meta.get(_JSON))


def console() -> Console:
    """Return the console for data; it wraps nothing when standard output is no terminal."""
    terminal = sys.stdout.isatty()
    return Console(width=None if terminal else 10_000, highlight=False, soft_wrap=not terminal)


def emit(document: object) -> None:
    """Print a JSON document."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, default=str))


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table for people; without colour and blanks at its right where nobody watches, or if it is very long."""
    columns, lines = list(columns), [list(row) for row in rows]
    if len(lines) > MOST_COLOURED or not sys.stdout.isatty():
        click.echo("\n".join(_plain(title, columns, lines)))
        return
    shown = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in lines:
        shown.add_row(*(_cell(value) for value in row))
    console().print(shown)


def _plain(title: str, columns: list[str], rows: list[list[object]]) -> Iterator[str]:
    cells = [columns, *([str(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if title:
        yield title
    for row in cells:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def paragraphs(told: Iterable[Iterable[str]]) -> None:
    """Print sentences for people, an empty line between paragraphs; a verdict at the beginning is coloured."""
    for number, lines in enumerate(told):
        if number:
            click.echo()
        for line in lines:
            first, colon, rest = line.partition(":")
            colour = {"Yes": "green", "No": "red"}.get(first)
            click.echo((click.style(first, fg=colour, bold=True) if colour else first) + colon + rest)


def plan(told: Iterable[Iterable[str]]) -> None:
    """Print a plan: the first line is the answer, the others are sections; what comes is green, what goes is red."""
    colours = {"+": "green", "-": "red", "~": "yellow", "opens": "green", "closes": "red"}
    for number, lines in enumerate(told):
        if number:
            click.echo()
        for place, line in enumerate(lines):
            sign = line.strip().partition(" ")[0].rstrip(":")
            colour = colours.get(sign) if place else None
            click.echo(click.style(line, fg=colour, bold=True if number == 0 else None))


def _cell(value: object) -> str:
    text = str(value).replace("[", r"\[")
    return {
        "allow": "[green]allow[/]",
        "deny": "[red]deny[/]",
        "reached": "[green]reached[/]",
        "blocked": "[red]blocked[/]",
        "WRONG": "[bold red]WRONG[/]",
    }.get(text, text)


def note(text: str) -> None:
    """Say something to a person, on standard error."""
    click.echo(text, err=True)


def warn(text: str, code: str) -> None:
    """Warn a person; the code is what a policy may silence, and what docs/policy.md explains."""
    note(f"warning: {text} [{code}]")


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show what is being done, how much of it is, and how much there is; silent when nobody watches."""
    watching = Console(stderr=True)
    if not watching.is_terminal:
        yield lambda _what, _done, _total: None
        return
    with Progress(TextColumn("{task.description}"), BarColumn(), console=watching, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def advance(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield advance


def problem_document(problem: Problem) -> dict[str, Any]:
    """Return a problem as JSON has it, with its one-line text."""
    return {**asdict(problem), "text": str(problem)}


def report(error: EnforcerError, *, as_json: bool) -> None:
    """Tell a person what is wrong, or print the document of it."""
    notes = getattr(error, "__notes__", [])
    if as_json:
        problems = error.problems if isinstance(error, PolicyError) else (Problem("", str(error)),)
        errors = [problem_document(problem) for problem in problems]
        emit({"valid": False, "errors": errors, "warnings": [], "notes": notes})
        return
    for line in str(error).splitlines():
        note(f"error: {line}")
    for line in notes:
        note(f"note: {line}")
