"""What would make a way where there is none (S18): a peering, or an EIP; tried on a copy of the policy."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from enforcer.answers.turning.changes import AddPeering, BindEip, Change, changed
from enforcer.model import Endpoint, Family, Policy, path
from enforcer.model.routes import home_of

ROUTE = "route"
# The network of benchmarks (RFC 2544) from which the address of a proposed EIP is taken; nobody sees it.
PROPOSED = IPv4Address("198.18.0.1")


def opened_route(policy: Policy, src: Endpoint, dst: Endpoint, family: Family) -> Change | None:
    """Return the one change after which there is a way; None where none helps, or a way is not what is missing."""
    if path(policy, src, dst, family).exists:
        return None  # a balancer that does not listen: it is reached, and goes no further
    for change in _proposals(policy, src, dst):
        if path(changed(policy, change), src, dst, family).exists:
            return change
    return None


def _proposals(policy: Policy, src: Endpoint, dst: Endpoint) -> Iterator[Change]:
    here, there = home_of(policy, src), home_of(policy, dst)
    if here is not None and there is not None and here != there and not overlap(policy, here, there):
        yield AddPeering((here, there))
    taken = {eip.address for eip in policy.eips}
    free = next(address for number in range(len(taken) + 1) if (address := PROPOSED + number) not in taken)
    for end in (src, dst):
        if end.nic is not None and policy.eip_of(end.nic) is None:
            yield BindEip(end.nic.label, free)


def overlap(policy: Policy, one: str, other: str) -> bool:
    """Return whether two VPCs have addresses in common, and so cannot be peered."""
    return any(
        mine.version == theirs.version and mine.overlaps(theirs)
        for subnet in policy.vpc(one).subnets
        for mine in subnet.networks
        for their_subnet in policy.vpc(other).subnets
        for theirs in their_subnet.networks
    )
