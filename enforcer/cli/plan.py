"""`enforcer plan`: what a policy would change, and which live connections it would cut, before anything happens."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import click

from enforcer.agent.plan import document, paragraphs, plan, seen
from enforcer.agent.plan.connections import Seen, Views
from enforcer.cli import output
from enforcer.cli.client import Client, socket_option
from enforcer.cli.commands import FILE
from enforcer.cli.offline import layout_for
from enforcer.cli.policies import load_policy, read_policy, rejecting
from enforcer.errors import SystemRefused, UsageError

NO_ROOT = "that needs root; without it, connection tracking cannot be read"


@click.command("plan")
@click.argument("policy", metavar="POLICY", type=FILE)
@click.option("--against", metavar="OLD", type=FILE, help="Compare with this policy, and ask no daemon.")
@click.option("--first", is_flag=True, help="Compare with nothing: as the first policy here; ask no daemon.")
@click.option("--lab", metavar="LAB", help="As a lab of this name has it.")
@click.option("--host", is_flag=True, help="As a host has it: NICs with an `interface` only.")
@socket_option
@output.json_option
def plan_command(
    policy: str, against: str | None, first: bool, lab: str | None, host: bool, socket: str, as_json: bool
) -> None:
    """Say what POLICY would change: rules, NICs, who reaches whom, kernel objects, and live connections that it cuts.

    It is compared with what the daemon has in force, or with OLD. Nothing is changed. Live connections are looked at by
    the daemon, or by root where the policy's namespaces are. Exit status 0: none would be cut; 1: some would be.

    \b
    Example:  enforcer plan --against examples/figure-4.yaml examples/figure-4-without-peering.yaml
    """
    if against is not None and first:
        raise UsageError("--against and --first exclude each other; give one of them")
    if against is None and not first:
        if lab is not None or host:
            raise UsageError("--lab and --host are for --against and --first; the daemon knows its host")
        content = read_policy(policy)
        with rejecting(policy):
            told = Client(socket).ask("POST", "/plan", content=content)
    else:
        told = _offline(policy, against, lab, host=host)
    if as_json:
        output.emit(told)
    else:
        output.plan(paragraphs(told))
    if told["live"] is not None and told["live"]["cut"]:
        click.get_current_context().exit(output.NO)


def _offline(policy: str, against: str | None, lab: str | None, *, host: bool) -> dict[str, Any]:
    new = load_policy(policy)[0]
    old = load_policy(against)[0] if against is not None else None
    if os.geteuid() != 0:
        return document(plan(old, new, lambda each: layout_for(each, lab, host=host), unseen=NO_ROOT))
    return document(plan(old, new, lambda each: layout_for(each, lab, host=host), _look))


def _look(old: Views | None, new: Views) -> Iterable[Seen]:
    try:
        return tuple(seen(old, new))
    except PermissionError as error:
        raise SystemRefused(
            f"connection tracking: cannot be read ({error.strerror}); be root, or ask the daemon"
        ) from error
