"""Commands that enforce a policy on this host: apply, by the daemon or without one, and clear."""

from __future__ import annotations

from dataclasses import asdict

import click

from enforcer.cli import output
from enforcer.cli.client import alone, changing, socket_option
from enforcer.cli.commands import FILE, Seconds
from enforcer.cli.offline import POLICY
from enforcer.cli.policies import load_policy, load_with_warnings
from enforcer.cli.revisions import Applying, send
from enforcer.compiler import compile_policy
from enforcer.dataplane import Committed, clear, replace_all
from enforcer.errors import UsageError
from enforcer.model import host_layout


@click.command("apply")
@POLICY
@click.option("--confirm", type=Seconds(1, 86400), metavar="SECONDS", help="Go back unless confirmed in time.")
@click.option("--require", is_flag=True, help="Refuse if an interface does not exist, instead of keeping it closed.")
@click.option("--without-daemon", is_flag=True, help="Load the kernel once, on a host where no daemon runs.")
@changing
def apply_command(
    policy: str,
    confirm: float | None,
    require: bool,
    without_daemon: bool,
    socket: str,
    message: str,
    if_revision: int | None,
    as_json: bool,
) -> None:
    """Have the daemon put POLICY in force, in place of all that is, and keep it in force.

    Each NIC that names an `interface` (and `netns`, if it is not this one) is filtered; the other NICs are known as
    peers. An interface that does not exist yet is closed until it does. An interface that is a port of a bridge is
    refused. With --confirm, the policy goes back by itself unless `enforcer confirm` follows in time.

    Without the daemon, the rules are loaded once: they stay in the kernel, an interface that comes later stays closed
    until this is run again, and `enforcer clear` removes them.

    \b
    Example:  enforcer apply examples/hosts.yaml -m "as agreed with the office"
    """
    if not without_daemon:
        asked = Applying(policy, message, if_revision, confirm, require)
        send(asked, socket=socket, as_json=as_json)
        return
    if confirm is not None or message or if_revision is not None:
        raise UsageError("--without-daemon: keeps no revisions; leave out --confirm, --message and --if-revision")
    alone(socket, "leave out --without-daemon, or stop the daemon first")
    _load(policy, require=require, as_json=as_json)


def _load(policy: str, *, require: bool, as_json: bool) -> None:
    """Put a policy in force by ourselves, once."""
    loaded, _ = load_with_warnings(policy)
    layout = host_layout(loaded)
    if not layout.namespaces:
        raise UsageError(f"{policy}: no NIC names an `interface`, so there is nothing to enforce here; try `lab up`")
    committed = replace_all(compile_policy(loaded, layout), require=require)
    for each in committed:
        for interface in each.absent:
            output.note(f"warning: interface {interface}: does not exist; it stays closed until you apply again")
    if as_json:
        output.emit({"namespaces": [asdict(each) for each in committed]})
        return
    output.table("in force", ("namespace", "generation", "closed"), (_row(each) for each in committed))


def _row(committed: Committed) -> tuple[object, ...]:
    return (committed.netns or "(own)", committed.generation, ", ".join(committed.absent) or "–")


@click.command("clear")
@click.argument("policy", metavar="[POLICY]", type=FILE, required=False)
@click.option("--netns", "names", multiple=True, metavar="NAME", help="This network namespace; repeat for several.")
@socket_option
@output.json_option
def clear_command(policy: str | None, names: tuple[str, ...], socket: str, as_json: bool) -> None:
    """Remove the enforcer's tables: nothing is filtered there any more.

    Clears the namespaces of POLICY, or those named, or this one. Other tables are not touched. Refused while a daemon
    runs, for it would put them back.

    \b
    Example:  enforcer clear examples/hosts.yaml
    """
    alone(socket, "stop the daemon first, or apply a policy without those NICs")
    wanted = list(names)
    if policy is not None:
        loaded, _ = load_policy(policy)
        wanted += [namespace.name for namespace in host_layout(loaded).namespaces]
    cleared = {netns: clear(netns) for netns in dict.fromkeys(wanted or [""])}
    if as_json:
        output.emit({"cleared": [netns for netns, was_there in cleared.items() if was_there]})
        return
    for netns, was_there in cleared.items():
        click.echo(f"{netns or '(own namespace)'}: {'cleared' if was_there else 'nothing to clear'}")
