"""Names that lead nowhere: rules about nobody (S19), security groups without a NIC, address groups without a rule.

Each cause is reported once: a group without members that rules name is reported at those rules. A policy without any
ECS is one that its instances join later, so nothing is said there about who is in which group.
"""

from __future__ import annotations

from collections.abc import Iterator

from enforcer.errors import Problem
from enforcer.model import Policy, Rule, SecurityGroup
from enforcer.semantics.lint.views import views

DEFAULT = "default"  # exists in any case (S2)


def empty_remotes(policy: Policy, group: SecurityGroup) -> Iterator[Problem]:
    """Yield a warning for each listed rule whose remote is nobody, and so matches nothing."""
    for _, rule in group.listed():
        if rule.enabled and (who := _nobody(policy, group, rule)):
            where = f"security_groups[{group.name}].rules[{rule.id}]"
            yield Problem(where, f"matches nothing (S19): {who}", code="empty-remote-group")


def _nobody(policy: Policy, group: SecurityGroup, rule: Rule) -> str:
    """Say why the rule's remote is nobody; an empty text if it is somebody."""
    if (entries := rule.remote_address_group) is not None:
        return "" if policy.address_group(entries).ranges else f"address group {entries} has no entry; write one"
    remote = rule.remote_group
    if remote is None or remote == group.name or not policy.ecs:
        return ""
    members = policy.members(remote)
    if not members:
        return f"no NIC is in group {remote}; associate one, or leave the rule out"
    if all(member.vpc.name not in view.vpcs for view in views(policy, group) for member in members):
        return f"all NICs in group {remote} are in VPCs without a way to this group's (S18); peer them"
    return ""


def unused_group(policy: Policy, group: SecurityGroup) -> Iterator[Problem]:
    """Yield a warning if no NIC has the group and no rule of another group names it."""
    if group.name == DEFAULT or not policy.ecs or policy.members(group.name):
        return
    others = (other for other in policy.security_groups if other.name != group.name)
    if all(rule.remote_group != group.name for other in others for rule in other.rules):
        message = "is used by no NIC and by no rule of another group; associate it, or leave it out"
        yield Problem(f"security_groups[{group.name}]", message, code="unused-group")


def unused_address_groups(policy: Policy) -> Iterator[Problem]:
    """Yield a warning for each address group that no rule names."""
    named = {rule.remote_address_group for group in policy.security_groups for rule in group.rules}
    for group in policy.address_groups:
        if group.name not in named:
            message = "is named by no rule; leave it out"
            yield Problem(f"address_groups[{group.name}]", message, code="unused-address-group")
