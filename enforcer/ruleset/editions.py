"""May hosts, profiles and the maps of NICs change in place, or does a change need a new edition of them?

A packet in the old rules reads sets as they are by the time of each lookup. So for each set that changes in place we
ask what it finds there, and what that leads to (docs/design.md §4). Where it could be a third judgement, neither the
old nor the new one, everything that changes gets a new edition, and the old one stays complete until the sweep.
"""

from __future__ import annotations

from enforcer.compiler.program import NamespaceProgram
from enforcer.ruleset.around import differing_nics


def in_place(before: NamespaceProgram, after: NamespaceProgram) -> bool:
    """Say whether what leads from one program to another may change in place.

    1. A NIC that comes to a profile finds it as it is: the profile does not change in the same transaction.
    2. A packet may read the new class of its peer in an old policy. Either no host changes, or the pieces behind the
       hosts stay and each policy that goes knows the classes: none of them is new.
    """
    _, come = differing_nics(before.nics, after.nics)
    old = {(sides.family, sides.profile): sides for sides in before.sides} if come else {}
    now = {(sides.family, sides.profile): sides for sides in after.sides} if come else {}
    if any(old.get(profile, now[profile]) != now[profile] for nic in come for profile in nic.profiles):
        return False
    if all(one.hosts == other.hosts for one, other in zip(before.addresses, after.addresses, strict=True)):
        return True
    if any(one.pieces != other.pieces for one, other in zip(before.addresses, after.addresses, strict=True)):
        return False
    if before.policies is after.policies:
        return True
    kept = {policy.key for policy in after.policies}
    if all(policy.key in kept for policy in before.policies if policy.locals):
        return True
    return all(
        {entry.number for entry in other.classes} <= {entry.number for entry in one.classes}
        for one, other in zip(before.addresses, after.addresses, strict=True)
    )
