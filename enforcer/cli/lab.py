"""`enforcer lab …`: a policy as real namespaces and veths, enforced, with real packets to try it. Root needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from ipaddress import ip_address
from typing import Any

import click

from enforcer.cli import output
from enforcer.cli.commands import Group, Seconds
from enforcer.cli.offline import POLICY
from enforcer.cli.policies import load_with_warnings, traffics_of
from enforcer.compiler import compile_policy
from enforcer.dataplane import replace_all
from enforcer.dataplane.namespaces import entered
from enforcer.errors import UsageError
from enforcer.lab import lifecycle
from enforcer.lab.lifecycle import Lab
from enforcer.lab.probe import DEFAULT_TIMEOUT, probe
from enforcer.lab.state import known
from enforcer.model import Action, Policy, endpoint, endpoints, lab_layout, parse_traffic
from enforcer.semantics import matrix

NAME = click.option("--name", metavar="LAB", help="Which lab (default: the only one running, else `lab`).")
TIMEOUT = click.option(
    "--timeout",
    default=DEFAULT_TIMEOUT,
    show_default=True,
    type=Seconds(0.05, 60.0),
    metavar="SECONDS",
)


@click.group(cls=Group)
def lab() -> None:
    """Try a policy with real packets, in network namespaces.

    The lab builds the VPCs, subnets, peerings, ECSs, external hosts, EIPs and load balancers of a policy, enforces the
    policy, and touches nothing of this host's own network.

    \b
    Example:  enforcer lab up examples/figure-1.yaml
              enforcer lab probe my-pc ecs-a icmp
              enforcer lab down
    """


@lab.command()
@POLICY
@NAME
@output.json_option
def up(policy: str, name: str | None, as_json: bool) -> None:
    """Build the lab of POLICY and enforce the policy in it.

    \b
    Example:  enforcer lab up examples/figure-2.yaml --name figure2
    """
    loaded, text = load_with_warnings(policy)
    chosen = name or "lab"
    with output.progress() as report:
        built = lifecycle.up(loaded, chosen, text.decode(), enforcement(loaded, chosen), report)
    tell(built, as_json=as_json)


@lab.command()
@POLICY
@NAME
@output.json_option
def apply(policy: str, name: str | None, as_json: bool) -> None:
    """Change policy and topology of the running lab in place.

    What both policies have is not touched: connections that are still allowed go on, others are cut at the commit.

    \b
    Example:  enforcer lab apply examples/figure-4.yaml
    """
    loaded, text = load_with_warnings(policy)
    chosen = chosen_lab(name)
    with output.progress() as report:
        changed = lifecycle.apply(loaded, chosen, text.decode(), enforcement(loaded, chosen), report)
    if as_json:
        output.emit({"changed": list(changed)})
        return
    for line in changed or ("topology: nothing changed",):
        click.echo(line)
    click.echo("policy: in force")


@lab.command()
@NAME
@output.json_option
def show(name: str | None, as_json: bool) -> None:
    """Show what is running.

    \b
    Example:  enforcer lab show --json
    """
    tell(lifecycle.running(chosen_lab(name)), as_json=as_json)


@lab.command("probe")
@click.argument("src")
@click.argument("dst")
@click.argument("proto", metavar="PROTO[/PORT]")
@NAME
@TIMEOUT
@output.json_option
@click.pass_context
def probe_command(
    context: click.Context, src: str, dst: str, proto: str, name: str | None, timeout: float, as_json: bool
) -> None:
    """Try it once with real packets, request and answer. Exit status: 0 reached, 1 blocked.

    SRC, DST and PROTO are as in `enforcer explain`. TCP connects and is answered, UDP is answered, ICMP is echoed, GRE
    carries a ping through a tunnel, any other protocol is answered on a raw socket.

    \b
    Example:  enforcer lab probe my-pc ecs-a tcp/22
    """
    running = lifecycle.running(chosen_lab(name))
    question = (*endpoints(running.policy, src, dst), parse_traffic(proto))
    observation = probe(running, [question], timeout)[0]
    if as_json:
        output.emit({"src": src, "dst": dst, "proto": proto, **asdict(observation)})
    else:
        rows = [(src, dst, proto, "reached" if observation.reached else "blocked", observation.detail)]
        output.table("", ("from", "to", "proto", "observed", "detail"), rows)
    context.exit(output.DONE if observation.reached else output.NO)


@lab.command("matrix")
@click.option("--proto", "protos", multiple=True, metavar="PROTO[/PORT]", help="Repeat for several.")
@NAME
@TIMEOUT
@output.json_option
@click.pass_context
def matrix_command(
    context: click.Context, protos: tuple[str, ...], name: str | None, timeout: float, as_json: bool
) -> None:
    """Probe every pair of hosts and hold the observation against the policy. Exit status: 0 all agree, 1 not.

    \b
    Example:  enforcer lab matrix --proto icmp --proto tcp/22
    """
    running = lifecycle.running(chosen_lab(name))
    asked = traffics_of(running.policy, protos)
    expected = matrix(running.policy, tuple(asked))
    questions = [(endpoint(running.policy, c.src), endpoint(running.policy, c.dst), c.traffic) for c in expected]
    with output.progress() as report:
        observed = probe(running, questions, timeout, lambda done, total: report("probing", done, total))
    cells = [
        {
            "src": cell.src,
            "dst": cell.dst,
            "proto": asked[cell.traffic],
            "expected": cell.verdict,
            "observed": Action.ALLOW if seen.reached else Action.DENY,
            "reason": cell.explanation.reason,
            "detail": seen.detail,
        }
        for cell, seen in zip(expected, observed, strict=True)
    ]
    wrong = sum(cell["expected"] != cell["observed"] for cell in cells)
    if as_json:
        output.emit({"cells": cells, "wrong": wrong})
    else:
        output.table("", ("from", "to", "proto", "expected", "observed", "", "why"), map(_cell_row, cells))
        click.echo(f"{len(cells)} cells, {wrong} wrong")
    context.exit(output.NO if wrong else output.DONE)


def _cell_row(cell: Mapping[str, str]) -> tuple[object, ...]:
    agrees = cell["expected"] == cell["observed"]
    why = cell["reason"] if agrees else f"{cell['reason']}; observed: {cell['detail']}"
    return (*(cell[key] for key in ("src", "dst", "proto", "expected", "observed")), "" if agrees else "WRONG", why)


@lab.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("host")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@NAME
@click.pass_context
def execute(context: click.Context, host: str, command: tuple[str, ...], name: str | None) -> None:
    """Run COMMAND inside HOST; its exit status is ours.

    \b
    Example:  enforcer lab exec ecs-a -- ping -c1 192.168.0.12
    """
    running = lifecycle.running(chosen_lab(name))
    sys.stdout.flush()
    with entered(running.netns(host)):
        try:
            status = subprocess.run(command, check=False).returncode
        except OSError as error:
            raise UsageError(f"{command[0]!r}: cannot be run ({error.strerror})") from error
    context.exit(status if status >= 0 else 128 - status)


@lab.command()
@click.argument("address")
@click.argument("host")
@NAME
def vip(address: str, host: str, name: str | None) -> None:
    """Let HOST (ecs or ecs:nic) take over the virtual IP ADDRESS.

    The address must be one of the NIC's `allowed_addresses`. Configuring it by hand inside the hosts works as well.

    \b
    Example:  enforcer lab vip 192.168.0.21 ecs-a02
    """
    try:
        parsed = ip_address(address)
    except ValueError as error:
        raise UsageError(f"{address!r}: is not an IP address") from error
    lifecycle.move_virtual_ip(chosen_lab(name), parsed, host)
    click.echo(f"{host} holds {address}")


@lab.command()
@NAME
def down(name: str | None) -> None:
    """Remove the lab: namespaces, links, rules, everything.

    \b
    Example:  enforcer lab down --name figure2
    """
    chosen = chosen_lab(name)
    lifecycle.down(chosen)
    click.echo(f"lab {chosen}: removed")


def chosen_lab(name: str | None) -> str:
    """Return the lab that is meant: the one named, else the only one there is, else `lab`."""
    if name is not None:
        return name
    labs = known()
    if len(labs) > 1 and "lab" not in labs:
        raise UsageError(f"several labs are running ({', '.join(labs)}); say which with --name")
    return labs[0] if len(labs) == 1 else "lab"


def enforcement(policy: Policy, name: str) -> Callable[[], None]:
    """Return what puts a policy in force in the routers of a lab whose wires are there."""
    program = compile_policy(policy, lab_layout(policy, name))

    def enforce() -> None:
        replace_all(program, require=True)

    return enforce


def tell(running: Lab, *, as_json: bool) -> None:
    """Print what a lab consists of."""
    document: dict[str, Any] = {
        "name": running.name,
        "hosts": [
            {"name": h.name, "kind": h.kind, "netns": h.netns, "addresses": [str(a) for a in h.addresses]}
            for h in running.hosts()
        ],
        "dataplanes": [{"vpc": vpc, "netns": netns} for vpc, netns in running.dataplanes()],
    }
    if as_json:
        output.emit(document)
        return
    rows = [(h["name"], h["kind"], h["netns"], ", ".join(h["addresses"])) for h in document["hosts"]]
    rows += [(plane["vpc"], "vpc router", plane["netns"], "") for plane in document["dataplanes"]]
    output.table(f"lab {running.name}", ("host", "kind", "namespace", "addresses"), rows)
