"""What a reviewer would see in a valid policy: rules that can never decide, names that lead nowhere, doors left open.

    shadowed-rule, duplicate-rule, contradicting-rules   `hidden`: the rule can never decide, and these hide it
    world-open-management                                `exposure`: anybody may try the password
    empty-remote-group, unused-group, unused-address-group   `absent`: a name that leads nowhere

Each warning is exact for the policy as it stands: what it says never happens cannot happen with these rules, members
and entries. `packets` is the arithmetic behind that, `views` says where a group's rules apply. What the operator has
silenced is not known here (`enforcer.model.unsilenced`). Example: `lint(policy)[0].code == "shadowed-rule"`.
"""

from __future__ import annotations

from enforcer.errors import Problem
from enforcer.model import Policy
from enforcer.semantics.lint.absent import empty_remotes, unused_address_groups, unused_group
from enforcer.semantics.lint.exposure import exposures
from enforcer.semantics.lint.hidden import hidden_rules

__all__ = ["lint"]


def lint(policy: Policy) -> tuple[Problem, ...]:
    """Return the warnings of a review, address groups first, then group by group."""
    return (
        *unused_address_groups(policy),
        *(
            problem
            for group in policy.security_groups
            for check in (unused_group, hidden_rules, empty_remotes, exposures)
            for problem in check(policy, group)
        ),
    )
