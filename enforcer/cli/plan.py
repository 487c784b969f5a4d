"""`enforcer plan`: what a policy would change, and which live connections it would cut, before anything happens."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import click

from enforcer.agent.plan import document, paragraphs, plan, seen
from enforcer.agent.plan.connections import Seen, Views
from enforcer.cli import output
from enforcer.cli.offline import layout_for
from enforcer.cli.policies import load_policy
from enforcer.errors import SystemRefused

NO_ROOT = "that needs root; without it, connection tracking cannot be read"


@click.command("plan")
@click.argument("policy", metavar="POLICY", type=click.Path())
@click.option("--against", metavar="OLD", type=click.Path(), help="The policy in force; no daemon is asked.")
@click.option("--lab", metavar="LAB", help="As a lab of this name has it.")
@click.option("--host", is_flag=True, help="As a host has it: NICs with an `interface` only.")
@output.json_option
def plan_command(policy: str, against: str | None, lab: str | None, host: bool, as_json: bool) -> None:
    """Say what POLICY would change: rules, NICs, who reaches whom, kernel objects, and live connections that it cuts.

    Nothing is changed. Exit status 0: no live connection would be cut; 1: some would be.

    \b
    Example:  enforcer plan --against examples/figure-4.yaml examples/figure-4-without-peering.yaml
    """
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
