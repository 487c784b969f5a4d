"""The names that a shell completes: asked of the daemon, and none if it does not answer at once."""

from __future__ import annotations

from typing import Any

import click

from enforcer.cli.client import SOCKET, Client
from enforcer.errors import EnforcerError


def groups(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Return the security groups that begin with what is written."""
    return _beginning([each["name"] for each in _policy(context).get("security_groups", [])], begun)


def address_groups(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Return the address groups that begin with what is written."""
    return _beginning([each["name"] for each in _policy(context).get("address_groups", [])], begun)


def rules(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Return the rules of the group that was named before."""
    found = (
        each for each in _policy(context).get("security_groups", []) if each["name"] == context.params.get("group")
    )
    listed = (rule for group in found for rule in enumerate(group.get("rules", []), start=1))
    return _beginning([rule.get("id") or f"rule-{at}" for at, rule in listed], begun)


def nics(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Return the NICs, an ECS with one of them by its own name."""
    found: list[str] = []
    for ecs in _policy(context).get("ecs", []):
        several = len(ecs["nics"]) > 1
        found += [f"{ecs['name']}:{nic['name']}" if several else ecs["name"] for nic in ecs["nics"]]
    return _beginning(found, begun)


def _policy(context: click.Context) -> dict[str, Any]:
    try:
        found: dict[str, Any] = Client(context.params.get("socket") or SOCKET).ask("GET", "/policy")["policy"]
    except EnforcerError:
        return {}
    return found


def _beginning(names: list[str], begun: str) -> list[str]:
    return sorted(name for name in names if name.startswith(begun))
