"""Advice: what a valid policy does against the cloud's recommendations, as warnings with stable codes.

Rules that are not in effect (S9, S10) are not known here; the compiler and the oracle report those.
Example: six groups on a NIC yield `ecs[ecs-a].security_groups: 6 groups …` with the code `S11-groups`.
"""

from __future__ import annotations

from collections.abc import Iterator

from enforcer.errors import Problem
from enforcer.model.policy import Policy

MOST_GROUPS = 5
MOST_INSTANCES = 6000


def advice(policy: Policy) -> tuple[Problem, ...]:
    """Return the warnings: `S11-groups`, `S11-instances`, and `no-mac` where anti-spoofing is incomplete (S16)."""
    return (*_many_groups(policy), *_many_instances(policy), *_unknown_macs(policy))


def _many_groups(policy: Policy) -> Iterator[Problem]:
    for ref in policy.nics():
        if (count := len(ref.nic.security_groups)) > MOST_GROUPS:
            message = f"{count} groups on one NIC slow its traffic down; associate at most {MOST_GROUPS}"
            yield Problem(f"{ref.place}.security_groups", message, code="S11-groups")


def _many_instances(policy: Policy) -> Iterator[Problem]:
    for group in policy.security_groups:
        if (count := len({ref.ecs.name for ref in policy.members(group.name)})) > MOST_INSTANCES:
            message = f"{count} instances slow the group down; associate at most {MOST_INSTANCES}, split the group"
            yield Problem(f"security_groups[{group.name}]", message, code="S11-instances")


def _unknown_macs(policy: Policy) -> Iterator[Problem]:
    for ref in policy.nics():
        if ref.nic.interface is not None and ref.nic.mac is None and ref.nic.port_security:
            message = (
                f"is missing, so the source MAC on {ref.nic.interface} cannot be checked (S16); write the NIC's mac"
            )
            yield Problem(f"{ref.place}.mac", message, code="no-mac")
