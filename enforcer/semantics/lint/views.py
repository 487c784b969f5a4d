"""What a security group's rules are about where the group is in use.

The same group means different packets in different places: members of a remote group are seen from the NIC's VPC (S18),
and some ECS types leave rules out (S10). A `View` is one such place; whoever says that a rule *never* decides asks all
views of its group. A group that no NIC has is looked at once, as a NIC that sees every VPC would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from enforcer.model import ICMP, ICMPV6, Direction, Family, NicRef, Policy, Rule, SecurityGroup
from enforcer.semantics.effect import KAI1, NARROW_TYPES, rank
from enforcer.semantics.lint.packets import EVERY_SUBKEY, Box, Interval, Intervals

MOST_WALKED = 2_000  # far beyond any cloud, so that a hostile file costs seconds and not minutes
LAST_ADDRESS: dict[Family, int] = {4: 2**32 - 1, 6: 2**128 - 1}


@dataclass(frozen=True)
class View:
    """A place from which a group's rules are seen; `vpcs` are those whose members are visible there."""

    policy: Policy
    group: SecurityGroup
    vpcs: frozenset[str]
    type_class: str

    def ranked(self, direction: Direction, family: Family) -> tuple[Rule, ...]:
        """Return the group's rules in effect here, in the order of S7: the first 2,000."""
        ranking = rank(self.policy, (self.group.name,), self.type_class, direction, family)
        return tuple(one.rule for one in ranking if not one.lapse)[:MOST_WALKED]

    def box(self, rule: Rule) -> Box:
        """Return the packets that the rule is about, seen from here."""
        return Box(rule.protocol, subkeys(rule), self.addresses(rule))

    def addresses(self, rule: Rule) -> tuple[Interval, ...]:
        """Return the peers that the rule is about, seen from here."""
        if (network := rule.remote_ip_prefix) is not None:
            return ((int(network.network_address), int(network.broadcast_address)),)
        if rule.remote_address_group is not None:
            return self._entries(rule.remote_address_group, rule.family)
        if rule.remote_group is not None:
            return self._members(rule.remote_group, rule.family)
        return ((0, LAST_ADDRESS[rule.family]),)

    def _entries(self, name: str, family: Family) -> tuple[Interval, ...]:
        key = ("entries", name, family)
        if key not in self._known:
            ranges = self.policy.address_group(name).ranges
            found = ((int(each.first), int(each.last)) for each in ranges if each.first.version == family)
            self._known[key] = Intervals(found).intervals()
        return self._known[key]

    def _members(self, name: str, family: Family) -> tuple[Interval, ...]:
        key = ("members", name, family)
        if key not in self._known:
            found = {
                int(address)
                for member in self.policy.members(name)
                if member.vpc.name in self.vpcs
                for address in member.nic.addresses
                if address.version == family
            }
            self._known[key] = Intervals((each, each) for each in sorted(found)).intervals()
        return self._known[key]

    @cached_property
    def _known(self) -> dict[tuple[str, str, Family], tuple[Interval, ...]]:
        return {}


def views(policy: Policy, group: SecurityGroup) -> tuple[View, ...]:
    """Return the places where the group's rules apply, each kind once; one that sees all if no NIC has the group."""
    places = {_place(policy, group, ref.vpc.name, ref.ecs.type_class): None for ref in _filtered(policy, group)}
    if not places:
        places = {(frozenset(vpc.name for vpc in policy.vpcs), ""): None}
    return tuple(View(policy, group, vpcs, type_class) for vpcs, type_class in places)


def _filtered(policy: Policy, group: SecurityGroup) -> Iterator[NicRef]:
    return (ref for ref in policy.members(group.name) if ref.nic.port_security)


def _place(policy: Policy, group: SecurityGroup, vpc: str, type_class: str) -> tuple[frozenset[str], str]:
    """Return what tells one place from another for this group: VPCs matter to remote groups only, few types do."""
    by_members = any(rule.remote_group is not None for rule in group.rules)
    vpcs = frozenset((vpc, *policy.peers_of(vpc))) if by_members else frozenset()
    return vpcs, type_class if type_class == KAI1 else ("S1" if type_class in NARROW_TYPES else "")


def subkeys(rule: Rule) -> tuple[Interval, ...]:
    """Return the sub-keys that the rule is about, as sorted intervals that neither overlap nor touch."""
    if rule.ports:
        return Intervals((ports.first, ports.last) for ports in rule.ports).intervals()
    if rule.protocol in (ICMP, ICMPV6) and rule.icmp_type is not None:
        first = rule.icmp_type << 8
        return ((first, first | 0xFF),) if rule.icmp_code is None else ((first | rule.icmp_code,) * 2,)
    return (EVERY_SUBKEY,)


def everywhere(rule: Rule) -> bool:
    """Say whether the rule is about every address of its family, as written."""
    prefix = rule.remote_ip_prefix
    return (prefix is None or prefix.prefixlen == 0) and rule.remote_group is None and rule.remote_address_group is None
