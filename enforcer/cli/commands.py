"""Groups of commands: their help, and what is said when a command fails.

`Commands` is the group of all: our errors and click's become messages, or the JSON document that was asked for, and
exit statuses of the interface; no traceback reaches a user for them. `Group` is one of its groups, such as `rule`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from importlib import import_module
from itertools import takewhile
from typing import Any

import click

from enforcer.cli import output
from enforcer.errors import EnforcerError, UsageError

FILE = click.Path(readable=False)
"""A file or `-`: whoever opens it says what is wrong with it, not click."""
MAY_BE_EMPTY = frozenset(("message", "description", "netns"))
_ASKED_JSON = "enforcer.asked-json"


class Seconds(click.FloatRange):
    """A time, within bounds; what is not a number is none."""

    name = "number of seconds"

    def __init__(self, least: float, most: float) -> None:
        super().__init__(least, most)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value!r} is not a valid {self.name}.", param, ctx)
        return found


class _Command(click.Command):
    """A command whose options say something: the empty variable of a script must not mean "every port" or "anybody"."""

    def invoke(self, ctx: click.Context) -> Any:
        for option in (each for each in self.params if isinstance(each, click.Option)):
            value = ctx.params.get(option.name or "")
            if option.name not in MAY_BE_EMPTY and "" in (value if isinstance(value, tuple) else (value,)):
                raise UsageError(f"{option.opts[-1]}: is empty; write something, or leave it out")
        return super().invoke(ctx)


class Group(click.Group):
    """A group whose help says of each command what it does, in one whole sentence."""

    command_class = _Command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_commands(self, ctx, formatter, "Commands", self.list_commands(ctx))


class Commands(Group):
    """The group of all commands.

    `later` names commands and where each stands (`module:name`): loaded when somebody asks for it, and not before.
    `sections` lists all of them for the help, by what they are for.
    """

    def __init__(
        self,
        *args: Any,
        later: Mapping[str, str] | None = None,
        sections: Mapping[str, Sequence[str]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._later, self._sections = dict(later or {}), dict(sections or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._later})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._later:
            module, _, name = self._later.pop(cmd_name).partition(":")
            self.add_command(getattr(import_module(module), name), cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in self._sections.items():
            _write_commands(self, ctx, formatter, title, names)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        extra.setdefault("color", False if os.environ.get("NO_COLOR") else None)
        as_json = "--json" in takewhile(lambda word: word != "--", args)
        try:
            context = super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            _misused(error, as_json=as_json)
            raise click.exceptions.Exit(error.exit_code) from error
        context.meta[_ASKED_JSON] = as_json
        return context

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            _misused(error, as_json=_asked_json(ctx.meta))
            ctx.exit(error.exit_code)
        except EnforcerError as error:
            output.report(error, as_json=output.wants_json(ctx))
            ctx.exit(error.exit_status)
        except PermissionError as error:
            output.note(f"error: {error.strerror}: this needs root (or CAP_NET_ADMIN and CAP_SYS_ADMIN)")
            ctx.exit(EnforcerError.exit_status)


def _asked_json(meta: MutableMapping[str, Any]) -> bool:
    """Return whether `--json` is among the words: click may have failed before it came to the option."""
    return bool(meta.get(_ASKED_JSON))


def _misused(error: click.UsageError, *, as_json: bool) -> None:
    """Say how a command is used, and what is wrong with the words that were given."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    wrong = UsageError(error.format_message())
    if error.ctx is not None:
        usage = " ".join(error.ctx.get_usage().split())
        wrong.add_note(f"{usage[0].lower()}{usage[1:]}; `{error.ctx.command_path} --help` says more")
    output.report(wrong, as_json=as_json)


def _write_commands(
    group: click.Group, ctx: click.Context, formatter: click.HelpFormatter, title: str, names: Iterable[str]
) -> None:
    found = [(name, group.get_command(ctx, name)) for name in names]
    rows = [(name, command.get_short_help_str(limit=1000)) for name, command in found if command and not command.hidden]
    with formatter.section(title):
        formatter.write_dl(rows)
