"""Commands that look at a running daemon: status, hits, trace."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click

from enforcer.cli import output
from enforcer.cli.client import Client, socket_option
from enforcer.cli.names import nics


@click.command("status")
@socket_option
@output.json_option
def status_command(socket: str, as_json: bool) -> None:
    """Say what is in force, and what is not, and why. Exit status 1 if anything is not as wanted.

    \b
    Example:  enforcer status
    """
    found = Client(socket).ask("GET", "/status")
    if as_json:
        output.emit(found)
    else:
        _show_status(found)
    if not found["well"]:
        raise SystemExit(1)


def _show_status(found: dict[str, Any]) -> None:
    states = [nic["state"] for nic in found["nics"]]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("in force", "pending", "failed"))
    waiting = f"; {found['proposed']} more proposed" if found["proposed"] else ""
    click.echo(f"revision {found['revision']} is in force{waiting}; NICs: {counts}")
    if waits := found["waiting"]:
        when = f"back to {waits['base']} in {max(waits['left'], 0):.0f} s"
        click.echo(f"revision {waits['revision']} goes {when}, unless you run `enforcer confirm`")
    for row in (*found["namespaces"], *found["nics"]):
        if row["state"] != "in force":
            name = row.get("nic") or f"network namespace {row['netns'] or '(own)'}"
            click.echo(f"{name}: {row['state']}: {row['why'].removeprefix(f'{name} ')}")
    for row in found["conntrack"]:
        click.echo(f"connections in {row['netns'] or '(own)'}: {row['count']} of {row['max']}")
    last = found["repairs"]["last"]
    if last:
        click.echo(f"repairs: {found['repairs']['count']}, the last one {_time(last['at'])}: {last['what']}")
    for warning in found["warnings"]:
        click.echo(f"warning: {warning['where']}: {warning['message']} [{warning['code']}]")
    for error in found["errors"]:
        often = f" ({error['times']} times)" if error["times"] > 1 else ""
        click.echo(f"error: {_time(error['at'])}: {error['what']}: {error['why']}{often}")


@click.command("hits")
@click.option("--unused", is_flag=True, help="Only rules that are enabled and that no packet has hit yet.")
@socket_option
@output.json_option
def hits_command(unused: bool, socket: str, as_json: bool) -> None:
    """Say how often each rule decided, and since when that is counted.

    Only the first packet of a flow is judged, so a rule that allows counts flows, and one that denies counts packets.
    A flow that a change has judged once more counts once more. The sums outlive changes, restarts and repairs.

    \b
    Example:  enforcer hits --unused
    """
    found = Client(socket).ask("GET", "/hits", unused=unused)
    if as_json:
        output.emit(found)
        return
    output.table("", ("rule", "hits", "since", "what it says"), map(_hits_row, found["rules"]))
    for reason, count in found["reasons"].items():
        click.echo(f"dropped, {reason}: {count}")


def _hits_row(row: dict[str, Any]) -> tuple[object, ...]:
    words = row["words"] + (f" – {row['not_in_effect']}" if row["not_in_effect"] else "")
    return f"{row['group']}/{row['rule']}", row["hits"] if row["enabled"] else "off", _time(row["since"]), words


@click.command("trace")
@click.option(
    "--nic",
    default="",
    metavar="NIC",
    shell_complete=nics,
    help="Only flows of this NIC: `ecs`, or `ecs:nic` if it has several.",
)
@click.option("--proto", "protocol", default="", metavar="PROTO", help="Only this protocol, like tcp or tcp/22.")
@socket_option
@output.json_option
def trace_command(nic: str, protocol: str, socket: str, as_json: bool) -> None:
    """Follow new flows as they are judged: accepted or denied, by which group and rule; end it with Ctrl-C.

    A flow between two NICs that passes has a line for each. Denied packets are told as far as the deny log goes, which
    is limited for each NIC.

    \b
    Example:  enforcer trace --nic ecs-a --proto tcp
    """
    try:
        for line in Client(socket).lines("/trace", nic=nic, protocol=protocol):
            click.echo(line if as_json else _traced(json.loads(line)))
    except KeyboardInterrupt:
        return


def _traced(row: dict[str, Any]) -> str:
    if "left_out" in row:
        return f"({row['left_out']} lines left out)"
    way = "to" if row["direction"] == "egress" else "from"
    by = f"{row['group']}/{row['rule']}" if row["rule"] else row["reason"]
    answer = " (answers a flow that a change has cut)" if row["reply"] else ""
    return f"{row['verdict']:8} {row['nic']} {row['direction']} {row['protocol']} {way} {row['peer']}: {by}{answer}"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
