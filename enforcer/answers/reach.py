"""What may reach one host: every other host of the policy by what it may send, and the host's own inbound rules.

The hosts of a policy are not the world: addresses that nobody in it has are let in by rules, so these are listed too,
in the order in which they are asked (S7), those that are not in effect with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from enforcer.answers.regions import Region
from enforcer.errors import UsageError
from enforcer.model import Direction, Endpoint, Family, Policy, endpoint
from enforcer.semantics import Explanation, Oracle, Ranked, explain


@dataclass(frozen=True, slots=True)
class Way:
    """One conversation that gets through to the host."""

    src: str
    region: Region
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class Reach:
    """All that may reach a host; `rules` are its inbound rules in the order asked, IPv4 before IPv6."""

    host: Endpoint
    ways: tuple[Way, ...]
    rules: tuple[Ranked, ...]


def reach(policy: Policy | Oracle, host: Endpoint, asked: Sequence[Region]) -> Reach:
    """Return what may reach a host, of the hosts that the policy knows and the regions that are asked for."""
    oracle = Oracle.of(policy)
    if host.nic is None and host.balancer is None and host.external is None:
        raise UsageError(f"{host.label} belongs to nobody in the policy; name an ECS, an external host or a balancer")
    ways = tuple(
        Way(name, region, found)
        for name in sources(oracle.policy, host)
        for region in asked
        for found in (explain(oracle, endpoint(oracle.policy, name), host, region.traffic),)
        if found.allowed
    )
    families: tuple[Family, ...] = (4, 6)
    rules = (
        ()
        if host.nic is None
        else tuple(
            one
            for family in families
            if host.nic.nic.address(family) is not None
            for one in oracle.ranked(host.nic, Direction.INGRESS, family)
        )
    )
    return Reach(host, ways, rules)


def sources(policy: Policy, host: Endpoint) -> tuple[str, ...]:
    """Return who could send: every NIC of another ECS, and every other external host."""
    own = None if host.nic is None else host.nic.ecs.name
    nics = (ref.label for ref in policy.nics() if ref.ecs.name != own)
    return (*nics, *(one.name for one in policy.external_hosts if one != host.external))
