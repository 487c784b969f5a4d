"""Commands that ask a policy and touch nothing: check, compile, explain, matrix, schema. No privilege needed."""

from __future__ import annotations

from typing import Any

import click

from enforcer.cli import output
from enforcer.cli.policies import load_policy, traffics_of
from enforcer.compiler import compile_policy, show
from enforcer.errors import UsageError
from enforcer.model import (
    Layout,
    Policy,
    advice,
    endpoints,
    host_layout,
    lab_layout,
    parse_traffic,
    policy_schema,
    unsilenced,
)
from enforcer.ruleset import lower, render
from enforcer.semantics import Explanation, SideVerdict, explain, lint, matrix, not_in_effect

POLICY = click.argument("policy", metavar="POLICY", type=click.Path())


@click.command()
@POLICY
@output.json_option
def check(policy: str, as_json: bool) -> None:
    """Validate POLICY and say what a reviewer would see.

    All errors are printed, not only the first, each with the place, the value and the mend. Warnings name rules that
    do not take effect (quota, ECS type), rules that can never decide, remotes that are nobody, management ports that
    are open to the world, unused groups, and advice; they do not make the policy invalid. A `silence: [CODE]` in the
    file, in a group or in a rule keeps the warnings of that code from being shown.

    \b
    Example:  enforcer check examples/figure-1.yaml
    """
    loaded, _ = load_policy(policy)
    warnings = unsilenced(loaded, (*not_in_effect(loaded), *advice(loaded), *lint(loaded)))
    if as_json:
        output.emit({"valid": True, "errors": [], "warnings": [output.problem_document(w) for w in warnings]})
        return
    for warning in warnings:
        output.note(f"warning: {warning} [{warning.code}]")
    groups, nics = len(loaded.security_groups), len(loaded.nics())
    click.echo(f"{policy}: valid; {groups} security groups, {nics} NICs, {len(warnings)} warnings")


@click.command("compile")
@POLICY
@click.option("--vpc", metavar="NAME", help="Only the namespace of this VPC.")
@click.option("--lab", metavar="LAB", help="As a lab of this name would have it (default name: lab).")
@click.option("--host", is_flag=True, help="As `apply` would have it: NICs with an `interface` only.")
@click.option("--generation", default=1, show_default=True, type=click.IntRange(min=1), help="Stamp of the flows.")
@click.option("--program", is_flag=True, help="Print the compiled program instead: classes and regions.")
@output.json_option
def compile_command(
    policy: str, vpc: str | None, lab: str | None, host: bool, generation: int, program: bool, as_json: bool
) -> None:
    """Print the nft script that would be applied, byte for byte.

    A policy whose NICs name an `interface` is compiled for this host, any other for a lab: one script per network
    namespace.

    \b
    Example:  enforcer compile examples/figure-2.yaml --vpc vpc-x
    """
    loaded, _ = load_policy(policy)
    compiled = compile_policy(loaded, layout_for(loaded, lab, host=host))
    if vpc is not None and vpc not in (known := [each.name for each in loaded.vpcs]):
        raise UsageError(f"--vpc {vpc!r}: is not defined in {policy}; its VPCs are {', '.join(known) or 'none'}")
    chosen = [
        (space, namespace)
        for space, namespace in zip(compiled.namespaces, compiled.layout.namespaces, strict=True)
        if vpc is None or vpc in namespace.vpcs
    ]
    if program:
        click.echo(show(compiled), nl=False)
        return
    scripts = {space.name: render(lower(space, generation)) for space, _ in chosen}
    if as_json:
        output.emit({"scripts": scripts})
        return
    for name, script in scripts.items():
        if len(scripts) > 1:
            click.echo(f"# network namespace {name or '(own)'}")
        click.echo(script, nl=False)


def layout_for(policy: Policy, lab: str | None, *, host: bool) -> Layout:
    """Choose the layout: as asked; else the host's if any NIC names an interface, else a lab's."""
    if lab is not None and host:
        raise UsageError("--lab and --host exclude each other; give one of them")
    if host or (lab is None and any(ref.nic.interface for ref in policy.nics())):
        return host_layout(policy)
    return lab_layout(policy, lab or "lab")


@click.command("explain")
@POLICY
@click.argument("src")
@click.argument("dst")
@click.argument("proto", metavar="PROTO[/PORT]")
@output.json_option
@click.pass_context
def explain_command(context: click.Context, policy: str, src: str, dst: str, proto: str, as_json: bool) -> None:
    """Would a new connection from SRC to DST pass, and which rule decides on each side?

    SRC and DST are an ECS, ecs:nic, an external host, a load balancer or an IP address. PROTO is tcp/22, udp/53,
    icmp, icmp/8/0, icmpv6, gre or a protocol number. Exit status: 0 allowed, 1 denied.

    \b
    Example:  enforcer explain examples/figure-1.yaml my-pc ecs-a tcp/22
    """
    loaded, _ = load_policy(policy)
    answer = explain(loaded, *endpoints(loaded, src, dst), parse_traffic(proto))
    if as_json:
        output.emit({"src": src, "dst": dst, "proto": proto, **explanation_document(answer)})
    else:
        _tell(answer, f"{src} → {dst} {proto}")
    context.exit(output.DONE if answer.allowed else output.NO)


def _tell(answer: Explanation, question: str) -> None:
    rows: list[tuple[str, object, str]] = [
        ("route", "yes" if answer.route.exists else "no", answer.route.reason),
    ]
    for name, side in (("egress", answer.egress), ("ingress", answer.ingress)):
        if side is None:
            rows.append((name, "–", "that end is no ECS: nothing is filtered there"))
            continue
        rows.append((name, side.verdict, side.reason))
        rows += [("", "", f"passed over: {over.group}/{over.rule.id}: {over.reason}") for over in side.passed_over]
    rows += [
        (f"via {each.nic}", each.side.verdict, f"{each.direction}: {each.side.reason}") for each in answer.forwarders
    ]
    rows += [("backend", each.side.verdict, f"{each.ecs}:{each.port}: {each.side.reason}") for each in answer.backends]
    output.table(f"{question}: {answer.verdict}", ("side", "verdict", "why"), rows)


def explanation_document(answer: Explanation) -> dict[str, Any]:
    """Return an explanation as JSON has it."""
    return {
        "verdict": str(answer.verdict),
        "reason": answer.reason,
        "family": answer.family,
        "route": answer.route.exists,
        "route_reason": answer.route.reason,
        "egress": side_document(answer.egress),
        "ingress": side_document(answer.ingress),
        "forwarders": [
            {"nic": each.nic, "direction": str(each.direction), **(side_document(each.side) or {})}
            for each in answer.forwarders
        ],
        "backends": [
            {"ecs": each.ecs, "port": each.port, **(side_document(each.side) or {})} for each in answer.backends
        ],
    }


def side_document(side: SideVerdict | None) -> dict[str, Any] | None:
    """Return one side's verdict as JSON has it; None where that end is no ECS."""
    if side is None:
        return None
    runner_up = side.runner_up
    return {
        "verdict": str(side.verdict),
        "group": side.group,
        "rule": side.rule.id if side.rule else None,
        "reason": side.reason,
        "passed_over": [
            {"group": over.group, "rule": over.rule.id, "reason": over.reason} for over in side.passed_over
        ],
        "runner_up": {"group": runner_up.group, "rule": runner_up.rule.id} if runner_up else None,
    }


@click.command("matrix")
@POLICY
@click.option("--proto", "protos", multiple=True, metavar="PROTO[/PORT]", help="Repeat for several.")
@output.json_option
def matrix_command(policy: str, protos: tuple[str, ...], as_json: bool) -> None:
    """Who can reach whom, for each PROTO (default: what the policy's rules name).

    \b
    Example:  enforcer matrix examples/figure-2.yaml --proto icmp --proto tcp/22
    """
    loaded, _ = load_policy(policy)
    asked = traffics_of(loaded, protos)
    cells = matrix(loaded, tuple(asked))
    if as_json:
        shown = [
            {
                "src": c.src,
                "dst": c.dst,
                "proto": asked[c.traffic],
                "verdict": c.verdict,
                "reason": c.explanation.reason,
            }
            for c in cells
        ]
        output.emit({"cells": shown})
        return
    rows = ((c.src, c.dst, asked[c.traffic], c.verdict, c.explanation.reason) for c in cells)
    output.table("", ("from", "to", "proto", "verdict", "why"), rows)


@click.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of the policy file, for editors that complete and check while you type.

    \b
    Example:  enforcer schema > enforcer.schema.json
    """
    output.emit(policy_schema())
