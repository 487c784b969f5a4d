"""A policy that is asked often: remembers the rankings, memberships and ways that answers have in common.

Nothing is decided here. `Oracle(policy)` may stand wherever this package takes a policy, and gives the same answers
faster: a ranking is shared by all NICs with the same groups and ECS type, a membership by all NICs of a VPC.
"""

from __future__ import annotations

from enforcer.model import Direction, Endpoint, Family, IPAddress, NicRef, Path, Policy, path
from enforcer.semantics.effect import Ranked, rank
from enforcer.semantics.matching import members_seen_from


class Oracle:
    """One policy and what was already worked out about it."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._rankings: dict[tuple[tuple[str, ...], str, Direction, Family], tuple[Ranked, ...]] = {}
        self._members: dict[tuple[str, str], frozenset[IPAddress]] = {}
        self._paths: dict[tuple[object, ...], Path] = {}

    @classmethod
    def of(cls, policy: Policy | Oracle) -> Oracle:
        """Return the oracle itself, or a new one for the policy."""
        return policy if isinstance(policy, Oracle) else cls(policy)

    def with_rules_of(self, policy: Policy) -> Oracle:
        """Return an oracle for a policy that differs from this one's in the rules of its groups and in nothing else.

        Who is a member of what, and who reaches whom, stays known.
        """
        other = Oracle(policy)
        other._members, other._paths = self._members, self._paths
        return other

    def ranked(self, ref: NicRef, direction: Direction, family: Family) -> tuple[Ranked, ...]:
        """Return the rules of the NIC's groups in the order of S7, those not in effect included."""
        key = (ref.nic.security_groups, ref.ecs.type_class, direction, family)
        if key not in self._rankings:
            self._rankings[key] = rank(self.policy, *key)
        return self._rankings[key]

    def members(self, group: str | None, vpc: str) -> frozenset[IPAddress]:
        """Return the members of a group as seen from a VPC; no group has no members."""
        if group is None:
            return frozenset()
        if (group, vpc) not in self._members:
            self._members[group, vpc] = members_seen_from(self.policy, group, vpc)
        return self._members[group, vpc]

    def path(self, src: Endpoint, dst: Endpoint, family: Family) -> Path:
        """Return the way from one endpoint to the other (S18)."""
        key = (src.label, src.addresses, dst.label, dst.addresses, family)
        if key not in self._paths:
            self._paths[key] = path(self.policy, src, dst, family)
        return self._paths[key]


def effective(policy: Policy | Oracle, ref: NicRef, direction: Direction, family: Family) -> tuple[Ranked, ...]:
    """Return the rules in effect for a NIC, in the order in which they are asked (S7, S9, S10)."""
    return tuple(one for one in Oracle.of(policy).ranked(ref, direction, family) if not one.lapse)
