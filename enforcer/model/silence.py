"""Which warnings an operator wants to see: those whose code no `silence` names at their place or above it.

    silence: [no-mac]                                      at the top: in the whole file
    security_groups: [{silence: [unused-group], rules: …   in a group: of the group and its rules
    rules: [{id: A01, silence: [shadowed-rule], …          in a rule: of this rule

Errors cannot be silenced; they are no warnings. Example: `unsilenced(policy, advice(policy))`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from enforcer.errors import Problem
from enforcer.model.policy import Policy


def unsilenced(policy: Policy, warnings: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the warnings without those that the policy silences, in their order."""
    silenced = set(_silenced(policy))
    return tuple(
        warning for warning in warnings if not any((place, warning.code) in silenced for place in _above(warning.where))
    )


def _silenced(policy: Policy) -> Iterator[tuple[str, str]]:
    """Yield each silenced code with the place at and below which it is silent; the whole file is the empty place."""
    yield from (("", code) for code in policy.silence)
    for group in policy.security_groups:
        place = f"security_groups[{group.name}]"
        yield from ((place, code) for code in group.silence)
        yield from ((f"{place}.rules[{rule.id}]", code) for rule in group.rules for code in rule.silence)


def _above(where: str) -> Iterator[str]:
    """Yield the places that hold `where`: the file, and each item on the way; names contain no bracket."""
    yield ""
    yield from (where[: end + 1] for end, character in enumerate(where) if character == "]")
