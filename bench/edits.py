"""Changes of the estate that are none of members or ports: NICs, their groups, address groups, new terms.

Each is given as what turn N does; what comes in one turn goes in the next, so the estate stays as large as it was.
ECSs are in runs, as in the daemon: to say what is changed must not take as long as the change.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from bench.estate import GROUPS_OF_A_LIST, document
from enforcer.model import AddressGroup, Policy, Rule, parse_policy
from enforcer.model.runs import Runs

ADDRESS_GROUPS = {"hosts": "198.51.100.1", "ranges": "198.51.100.64/26"}


class Changing(Protocol):
    """A policy in force."""

    policy: Policy
    nics: int

    def commit(self, **changes: Any) -> None:
        """Put a changed policy in force."""


def with_addresses(written: dict[str, Any]) -> dict[str, Any]:
    """Let the first group of each list have a rule about each of two address groups."""
    for group in written["security_groups"]:
        if group["name"].startswith("g-") and group["name"].endswith("-0"):
            group["rules"] += [{"id": a, "direction": "ingress", "remote_address_group": a} for a in ADDRESS_GROUPS]
    return {**written, "address_groups": [{"name": name, "entries": [at]} for name, at in ADDRESS_GROUPS.items()]}


def edits(estate: Changing, lists: int) -> dict[str, Callable[[int], None]]:
    """Return the changes by their names."""
    last = lists - 1
    known = [f"g-{last}-{part}" for part in range(GROUPS_OF_A_LIST)]
    return {
        "NIC attached, detached, list in force": _nic(estate, 0, known),
        "NIC attached, detached, new list": _nic(estate, 1, known[::-1]),
        "groups of a NIC": _groups(estate, [*known[1:], known[0]] if lists == 1 else [f"g-0-{n}" for n in range(5)]),
        "address-group entry": _entries(estate, 0, "198.51.100.7"),
        "address-group range": _entries(estate, 1, "203.0.113.0/28"),
        "rule added, list of few NICs": _rule(estate, f"g-{last}-2"),
        "rule added, list of half the NICs": _rule(estate, "g-0-2"),
        "rule with a new prefix": _rule(estate, f"g-{last}-1", remote_ip_prefix="203.0.113.128/28"),
    }


def _nic(estate: Changing, number: int, groups: list[str]) -> Callable[[int], None]:
    written = {"name": f"new-{number}", "subnet": "s", "addresses": [f"10.0.250.{number + 1}"],
               "mac": f"fa:16:3e:ff:00:0{number}", "interface": f"n{estate.nics + number}",
               "security_groups": groups}  # fmt: skip
    named = [{"name": name, "rules": []} for name in groups]
    new = parse_policy(json.dumps({**document(0, 0, members=0), "security_groups": named, "ecs": [written]})).ecs[0]

    def change(turn: int) -> None:
        ecs = Runs.of(estate.policy.ecs)
        estate.commit(ecs=ecs.spliced(0, 1, ()) if turn % 2 else ecs.spliced(0, 0, (new,)))

    return change


def _groups(estate: Changing, groups: list[str]) -> Callable[[int], None]:
    at = next(n for n, ecs in enumerate(estate.policy.ecs) if ecs.name == f"local-{estate.nics - 1}")
    one = estate.policy.ecs[at]
    nic = one.nics[0].model_copy(update={"security_groups": tuple(groups)})
    other = one.model_copy(update={"nics": (nic,)})

    def change(turn: int) -> None:
        estate.commit(ecs=Runs.of(estate.policy.ecs).spliced(at, at + 1, (one if turn % 2 else other,)))

    return change


def _entries(estate: Changing, at: int, entry: str) -> Callable[[int], None]:
    one = estate.policy.address_groups[at]
    written = {"version": 1, "address_groups": [{"name": one.name, "entries": [ADDRESS_GROUPS[one.name], entry]}]}
    more: AddressGroup = parse_policy(json.dumps(written)).address_groups[0]

    def change(turn: int) -> None:
        groups = estate.policy.address_groups
        estate.commit(address_groups=(*groups[:at], one if turn % 2 else more, *groups[at + 1 :]))

    return change


def _rule(estate: Changing, name: str, **remote: str) -> Callable[[int], None]:
    group = estate.policy.group(name)
    new = Rule.model_validate({"id": "new", "direction": "ingress", "protocol": "tcp", "multiport": "22", **remote})
    other = group.model_copy(update={"rules": (*group.rules, new)})

    def change(turn: int) -> None:
        groups = (
            (group if turn % 2 else other) if each.name == name else each for each in estate.policy.security_groups
        )
        estate.commit(security_groups=tuple(groups))

    return change
