"""Changes of a policy, small enough to be said in a sentence, and what the policy is with one of them.

Used to find out what would turn a verdict: each proposal is made to a copy of the policy and the oracle is asked again.
Nothing here decides which change to propose, and nothing is written anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import assert_never

from enforcer.model import Eip, Peering, Policy, Rule, SecurityGroup
from enforcer.semantics import Oracle


@dataclass(frozen=True, slots=True)
class AddRule:
    """A rule more in a group: behind the others, or before them all."""

    group: str
    rule: Rule
    first: bool = False


@dataclass(frozen=True, slots=True)
class RemoveRule:
    """A rule less in a group."""

    group: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class AddPeering:
    """Two VPCs peered."""

    vpcs: tuple[str, str]


@dataclass(frozen=True, slots=True)
class BindEip:
    """An EIP for a NIC; `address` only stands for the one that the cloud would give."""

    nic: str
    address: IPv4Address


Change = AddRule | RemoveRule | AddPeering | BindEip


def changed(policy: Policy, *changes: Change) -> Policy:
    """Return a copy of the policy with the changes made, in their order."""
    for change in changes:
        policy = _changed(policy, change)
    return policy


def after(oracle: Oracle, *changes: Change) -> Oracle:
    """Return the oracle of the changed policy, which remembers what the changes leave as it is."""
    policy = changed(oracle.policy, *changes)
    only_rules = all(isinstance(change, AddRule | RemoveRule) for change in changes)
    return oracle.with_rules_of(policy) if only_rules else Oracle(policy)


def _changed(policy: Policy, change: Change) -> Policy:
    match change:
        case AddRule(group, rule, first):
            rules = policy.group(group).rules
            return _with_rules(policy, group, (rule, *rules) if first else (*rules, rule))
        case RemoveRule(group, rule):
            return _with_rules(policy, group, tuple(one for one in policy.group(group).rules if one.id != rule.id))
        case AddPeering(vpcs):
            peering = Peering.model_validate({"name": "-".join(("peering", *vpcs))[:64], "vpcs": vpcs})
            return policy.model_copy(update={"peerings": (*policy.peerings, peering)})
        case BindEip(nic, address):
            eip = Eip.model_validate({"address": str(address), "ecs": nic})
            return policy.model_copy(update={"eips": (*policy.eips, eip)})
    assert_never(change)


def _with_rules(policy: Policy, name: str, rules: tuple[Rule, ...]) -> Policy:
    def with_them(group: SecurityGroup) -> SecurityGroup:
        return group.model_copy(update={"rules": rules}) if group.name == name else group

    return policy.model_copy(update={"security_groups": tuple(map(with_them, policy.security_groups))})
