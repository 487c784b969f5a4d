"""What a shell completes: names of the daemon's policy, none if it does not answer at once, or of a policy file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from enforcer.cli.client import SOCKET, Client
from enforcer.cli.policies import load_policy
from enforcer.errors import EnforcerError


def groups(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Return the security groups that begin with what is written."""
    return _beginning([each["name"] for each in _policy(context).get("security_groups", [])], begun)


def address_groups(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Return the address groups that begin with what is written."""
    return _beginning([each["name"] for each in _policy(context).get("address_groups", [])], begun)


def rules(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Return the rules of the group that was named before."""
    named = _before(context, "group")
    found = (each for each in _policy(context).get("security_groups", []) if each["name"] == named)
    listed = (rule for group in found for rule in enumerate(group.get("rules", []), start=1))
    return _beginning([rule.get("id") or f"rule-{at}" for at, rule in listed], begun)


def nics(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Return the NICs, an ECS with one of them by its own name."""
    found: list[str] = []
    for ecs in _policy(context).get("ecs", []):
        several = len(ecs["nics"]) > 1
        found += [f"{ecs['name']}:{nic['name']}" if several else ecs["name"] for nic in ecs["nics"]]
    return _beginning(found, begun)


def subnets(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Return the subnets."""
    return _beginning([each["name"] for vpc in _policy(context).get("vpcs", []) for each in vpc["subnets"]], begun)


def entries(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Return the entries of the address group that was named before."""
    named = _before(context, "group")
    found = (each for each in _policy(context).get("address_groups", []) if each["name"] == named)
    return _beginning([str(entry) for group in found for entry in group.get("entries", [])], begun)


def hosts(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Return ECSs and external hosts of the policy file that was named before."""
    try:
        policy, _text = load_policy(str(_before(context, "policy")))
    except EnforcerError:
        return []
    return _beginning([*(ecs.name for ecs in policy.ecs), *(host.name for host in policy.external_hosts)], begun)


def one_of(*words: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return what completes these words."""
    return lambda _context, _parameter, begun: _beginning(list(words), begun)


def _before(context: click.Context, argument: str) -> str | None:
    """Return the argument that was written before; behind an option without its value, click has not taken it yet."""
    return context.params.get(argument) or next(iter(context.args), None)


def _policy(context: click.Context) -> dict[str, Any]:
    try:
        found: dict[str, Any] = Client(context.params.get("socket") or SOCKET).ask("GET", "/policy")["policy"]
    except EnforcerError:
        return {}
    return found


def _beginning(names: list[str], begun: str) -> list[str]:
    return sorted(name for name in names if name.startswith(begun))
