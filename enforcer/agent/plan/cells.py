"""Which cells of the reachability matrix does a change open or close? Asked of the oracle, within bounds. Pure.

1. Only pairs are looked at whose verdict can change: from a host whose egress rules changed, to one whose ingress rules
   did, and of hosts that are new or gone; all pairs where VPCs, peerings, EIPs, balancers or external hosts changed, or
   what judges an instance that forwards.
2. Of the kinds of traffic, only those that a rule speaks of which is new, gone or has other peers; all of them where
   rules have changed places, hosts are new or gone, or the ways changed.
3. Of these, only the cells are explained where an end says something else than before, or the way is another. Both ends
   are asked by a `Judge`, which remembers. (With custom routes others are asked too, so every cell is explained.)
4. Thousands of NICs make more cells than anybody waits for: `left_out` counts what was not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from enforcer.agent.plan.affected import Affected
from enforcer.agent.plan.connections.alike import Judge
from enforcer.answers import Difference, Region, differences_among, hosts, regions
from enforcer.model import Direction, Endpoint, Policy, Traffic, endpoint
from enforcer.semantics import chosen_family
from enforcer.semantics.matching import speaks_of

MOST_CELLS = 50_000


@dataclass(frozen=True, slots=True)
class Cells:
    """What opens and closes, of `asked` cells; `regions` are the kinds of traffic that were asked about."""

    found: tuple[Difference, ...]
    regions: tuple[Region, ...]
    asked: int
    left_out: int


def cells(old: Judge, new: Judge, affected: Sequence[Affected], most: int = MOST_CELLS) -> Cells:
    """Compare both matrices where they can differ."""
    columns = _columns(old.policy, new.policy, affected)
    pairs = list(dict.fromkeys(_pairs(old.policy, new.policy, affected)))
    asked = pairs[: most // max(1, len(columns))]
    suspects = _Suspects(old, new)
    questions = [
        (src, dst, column.traffic) for src, dst in asked for column in columns if suspects(src, dst, column.traffic)
    ]
    found = differences_among(old.oracle, new.oracle, questions)
    return Cells(found, columns, len(asked) * len(columns), (len(pairs) - len(asked)) * len(columns))


def _columns(old: Policy, new: Policy, affected: Sequence[Affected]) -> tuple[Region, ...]:
    """Return the kinds of traffic whose verdict can change."""
    everything = regions(old, new)
    if _ways(old) != _ways(new) or any(one.rules is None for one in affected):
        return everything
    rules = {id(rule): rule for one in affected for rule in one.rules or ()}.values()
    return tuple(region for region in everything if any(speaks_of(rule, region.traffic) for rule in rules))


def _pairs(old: Policy, new: Policy, affected: Sequence[Affected]) -> Iterator[tuple[str, str]]:
    everybody = tuple(dict.fromkeys((*hosts(new), *hosts(old))))
    first = {policy.nic_ref(ecs.name).label: ecs.name for policy in (old, new) for ecs in policy.ecs}
    sends = {first[one.nic] for one in affected if Direction.EGRESS in one.directions and one.nic in first}
    hears = {first[one.nic] for one in affected if Direction.INGRESS in one.directions and one.nic in first}
    if _ways(old) != _ways(new) or any(_forwards(policy, affected) for policy in (old, new)):
        sends = set(everybody)
    hearers = [name for name in everybody if name in hears]
    for src in everybody:
        for dst in everybody if src in sends else hearers:
            if src != dst:
                yield src, dst


def _forwards(policy: Policy, affected: Sequence[Affected]) -> bool:
    """Say whether a NIC that is judged otherwise may be asked about what others send each other."""
    if not any(vpc.routes for vpc in policy.vpcs):
        return False
    nics = {one.nic for one in affected}
    return any(not ref.nic.source_dest_check for ref in policy.nics() if ref.label in nics)


def _ways(policy: Policy) -> tuple[object, ...]:
    """Return what decides who has a way to whom at all (S18)."""
    return (policy.vpcs, policy.peerings, policy.eips, policy.load_balancers, policy.external_hosts)


class _Suspects:
    """Says whether a cell can differ between two policies; where that is not sure, it can."""

    def __init__(self, old: Judge, new: Judge) -> None:
        self._judges = (old, new)
        self._routed = any(vpc.routes for judge in self._judges for vpc in judge.policy.vpcs)
        self._ends: list[dict[str, Endpoint]] = [
            {name: endpoint(judge.policy, name) for name in hosts(judge.policy)} for judge in self._judges
        ]

    def __call__(self, src: str, dst: str, traffic: Traffic) -> bool:
        if self._routed or any(name not in ends for ends in self._ends for name in (src, dst)):
            return True
        said = [
            _said(judge, ends[src], ends[dst], traffic) for judge, ends in zip(self._judges, self._ends, strict=True)
        ]
        return said[0] != said[1]


def _said(judge: Judge, src: Endpoint, dst: Endpoint, traffic: Traffic) -> tuple[object, ...]:
    """Return what both ends say about a cell, and whether there is a way."""
    family = chosen_family(src, dst, traffic)
    route = judge.oracle.path(src, dst, family)
    verdicts = []
    for ref, direction, peer in (
        (src.nic, Direction.EGRESS, route.destination or dst.address(family)),
        (dst.nic, Direction.INGRESS, route.source or src.address(family)),
    ):
        if ref is not None and peer is not None:
            verdicts.append(judge.allows(ref, direction, peer, ref.nic.addresses[0], traffic))
    return (family, route.exists, *verdicts)
