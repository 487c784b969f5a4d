"""Commands about the whole policy and its revisions: history, show, diff, rollback, confirm; `apply` sends one."""

from __future__ import annotations

import difflib
import json
import pwd
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import click

from enforcer.cli import output
from enforcer.cli.client import Client, changing, socket_option, told
from enforcer.cli.policies import read_policy, rejecting

REVISION = click.IntRange(min=0)


@dataclass(frozen=True, slots=True)
class Applying:
    """A policy file to be put in force, and under which conditions."""

    policy: str
    message: str = ""
    if_revision: int | None = None
    confirm: float | None = None
    require: bool = False


def send(asked: Applying, *, socket: str, as_json: bool) -> None:
    """Have the daemon put a policy file in force, and say in which revision it is."""
    content = read_policy(asked.policy)
    query = {key: value for key, value in asdict(asked).items() if key != "policy" and value is not False}
    with rejecting(asked.policy):
        done = Client(socket).change("PUT", "/policy", content=content, **query)
    told(done, as_json=as_json)
    if done["confirm_within"] and not as_json:
        output.note(f"note: it goes back in {done['confirm_within']:.0f} s, unless you run `enforcer confirm`")


@click.command("history")
@click.option("-n", "--most", default=20, show_default=True, type=click.IntRange(1, 1000), help="So many of the last.")
@click.option("--before", type=REVISION, metavar="REV", help="Those before this revision.")
@socket_option
@output.json_option
def history_command(most: int, before: int | None, socket: str, as_json: bool) -> None:
    """List the revisions, newest first: who changed what, when and why, and what became of it.

    \b
    Example:  enforcer history -n 5
    """
    found = Client(socket).ask("GET", "/revisions", most=most, before=before)
    if as_json:
        output.emit(found)
        return
    if not found["revisions"]:
        output.note("note: there are none" + (" before that" if before else " yet"))
        return
    output.table("", ("revision", "when", "who", "outcome", "what"), (_row(each) for each in found["revisions"]))
    if found["waiting"]:
        when = f"back by itself in {max(found['left'], 0):.0f} s"
        output.note(f"note: revision {found['waiting']} goes {when}, unless you run `enforcer confirm`")


def _row(revision: dict[str, Any]) -> tuple[object, ...]:
    when = datetime.fromtimestamp(revision["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    outcome = {"in_force": "in force"}.get(revision["outcome"], revision["outcome"])
    what = revision["message"] + (f" ({revision['reason']})" if revision["outcome"] == "refused" else "")
    return revision["revision"], when, revision["by"] or _user(revision["uid"]), outcome, what.replace("\n", "; ")


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@click.command("show")
@click.argument("revision", metavar="[REV]", type=REVISION, required=False)
@socket_option
@output.json_option
def show_command(revision: int | None, socket: str, as_json: bool) -> None:
    """Print the policy as of a revision, by default the last one; it can be applied again as it is.

    \b
    Example:  enforcer show 12 > before.yaml
    """
    found = Client(socket).ask("GET", "/policy", revision=revision)
    if as_json:
        output.emit(found)
        return
    click.echo(f"# revision {found['revision']}")
    click.echo(_yaml(found["policy"]), nl=False)


@click.command("diff")
@click.argument("old", metavar="REV", type=REVISION)
@click.argument("new", metavar="REV", type=REVISION)
@socket_option
@output.json_option
def diff_command(old: int, new: int, socket: str, as_json: bool) -> None:
    """Print what differs between two revisions, resource by resource.

    \b
    Example:  enforcer diff 11 12
    """
    found = Client(socket).ask("GET", "/difference", old=old, new=new)
    if as_json:
        output.emit(found)
        return
    for change in found["changes"]:
        before, after = (_yaml(change[side]).splitlines() if change[side] else [] for side in ("old", "new"))
        key = change["key"]
        for line in difflib.unified_diff(before, after, f"{key} in {old}", f"{key} in {new}", lineterm=""):
            click.secho(line, fg={"+": "green", "-": "red", "@": "cyan"}.get(line[0]))
    if not found["changes"]:
        click.echo(f"revisions {old} and {new} say the same")


def _yaml(document: dict[str, Any]) -> str:
    """Return plain data as YAML for people: names first, rules one to a line."""
    import yaml  # noqa: PLC0415

    if not document:
        return ""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(_in_order(document), Dumper=dumper, sort_keys=False, allow_unicode=True, width=110))


def _in_order(value: Any) -> Any:
    """Return data with the keys that say what something is first, and long lists of items last."""
    if isinstance(value, list):
        return [_in_order(item) for item in value]
    if not isinstance(value, dict):
        return value
    first = ("version", "name", "id", "direction", "action", "priority", "ethertype", "protocol", "multiport")
    keys = sorted(value, key=lambda key: (first.index(key) if key in first else len(first), _is_items(value[key])))
    return {key: _in_order(value[key]) for key in keys}


def _is_items(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


@click.command("rollback")
@click.argument("revision", metavar="REV", type=REVISION)
@changing
def rollback_command(revision: int, socket: str, message: str, if_revision: int | None, as_json: bool) -> None:
    """Put what was in force as of REV in force again, as a new revision.

    \b
    Example:  enforcer rollback 11 -m "the office cannot log in"
    """
    query = {"message": message, "if_revision": if_revision}
    told(Client(socket).change("POST", "/rollback", {"revision": revision}, **query), as_json=as_json)


@click.command("confirm")
@socket_option
@output.json_option
def confirm_command(socket: str, as_json: bool) -> None:
    """Keep what was applied with `--confirm`; without this, it goes back by itself.

    \b
    Example:  enforcer apply policy.yaml --confirm 60 && enforcer confirm
    """
    told(Client(socket).ask("POST", "/confirm"), as_json=as_json)


@click.command("api-schema")
def api_schema_command() -> None:
    """Print the OpenAPI document of the daemon's API, for those who write other clients.

    \b
    Example:  enforcer api-schema > enforcer.openapi.json
    """
    from enforcer.agent.api.app import openapi  # noqa: PLC0415  only this command needs it

    click.echo(json.dumps(openapi(), indent=2, ensure_ascii=False))
