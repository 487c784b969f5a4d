"""Commands that ask a policy and touch nothing: check, compile, schema. No privilege needed."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import replace

import click

from enforcer.cli import output
from enforcer.cli.commands import FILE
from enforcer.cli.policies import load_policy, load_with_positions
from enforcer.compiler import compile_policy, show
from enforcer.errors import UsageError
from enforcer.model import (
    Layout,
    Policy,
    advice,
    host_layout,
    lab_layout,
    policy_schema,
    unsilenced,
)
from enforcer.ruleset import lower, render
from enforcer.ruleset.stamps import last_generation
from enforcer.semantics import lint, not_in_effect

POLICY = click.argument("policy", metavar="POLICY", type=FILE)


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
    loaded, position = load_with_positions(policy)
    warnings = position.lines.on(unsilenced(loaded, (*not_in_effect(loaded), *advice(loaded), *lint(loaded))))
    if as_json:
        output.emit({"valid": True, "errors": [], "warnings": [output.problem_document(w) for w in warnings]})
        return
    for warning in warnings:
        output.warn(str(warning), warning.code)
    counts = _count(loaded.security_groups, "security group"), _count(loaded.nics(), "NIC"), _count(warnings, "warning")
    click.echo(f"{policy}: valid; {', '.join(counts)}")


def _count(things: Sized, word: str) -> str:
    return f"{len(things)} {word}" if len(things) == 1 else f"{len(things)} {word}s"


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
    if generation > (most := last_generation(loaded.marks)):
        mask = f"0x{loaded.marks.connection_mask:08x}"
        raise UsageError(f"--generation {generation}: does not fit into the mask {mask}; {most} is the largest")
    chosen = [
        (space, namespace)
        for space, namespace in zip(compiled.namespaces, compiled.layout.namespaces, strict=True)
        if vpc is None or vpc in namespace.vpcs
    ]
    if program:
        programs = {space.name: show(replace(compiled, namespaces=(space,))) for space, _ in chosen}
        if as_json:
            output.emit({"programs": programs})
        else:
            click.echo("".join(programs.values()), nl=False)
        return
    if not chosen:
        what = f"no NIC in {vpc}" if vpc else "no NIC"
        output.note(f"note: {what} names an `interface`, so there is nothing to enforce on a host")
    _tell_scripts({space.name: render(lower(space, generation)) for space, _ in chosen}, as_json=as_json)


def _tell_scripts(scripts: dict[str, str], *, as_json: bool) -> None:
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


@click.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of the policy file, for editors that complete and check while you type.

    \b
    Example:  enforcer schema > enforcer.schema.json
    """
    output.emit(policy_schema())
