"""May hosts, profiles and the maps of NICs change in place, or does a change need a new edition of them?

A packet in the old rules reads sets as they are by the time of each lookup. So for each set that changes in place we
ask what it finds there, and what that leads to (docs/design.md §4). Where it could be a third judgement, neither the
old nor the new one, everything that changes gets a new edition, and the old one stays complete until the sweep.
"""

from __future__ import annotations

from enforcer.compiler.program import AddressMap, NamespaceProgram
from enforcer.ruleset.around import differing_nics


def in_place(before: NamespaceProgram, after: NamespaceProgram) -> bool:
    """Say whether what leads from one program to another may change in place.

    1. A NIC that comes to a profile finds it as it is: the profile does not change in the same transaction.
    2. A packet may read the new class of its peer in an old policy. Either no host changes, or each policy that goes
       knows the classes: none of them is new.
    3. Pieces are those that the packet's rules name, hosts are read as they are. So where both change the policies
       stay, and no host goes: one that the packet does not find any more would have its class of the old pieces.
    """
    _, come = differing_nics(before.nics, after.nics)
    old = {(sides.family, sides.profile): sides for sides in before.sides} if come else {}
    now = {(sides.family, sides.profile): sides for sides in after.sides} if come else {}
    if any(old.get(profile, now[profile]) != now[profile] for nic in come for profile in nic.profiles):
        return False
    if all(one.hosts == other.hosts for one, other in zip(before.addresses, after.addresses, strict=True)):
        return True
    kept = {policy.key for policy in after.policies} if before.policies is not after.policies else set()
    stay = before.policies is after.policies or all(p.key in kept for p in before.policies if p.locals)
    for one, other in zip(before.addresses, after.addresses, strict=True):
        if (
            one.pieces is not other.pieces
            and one.pieces != other.pieces
            and not (stay and _addresses(one) <= _addresses(other))
        ):
            return False
    if stay:
        return True
    return all(
        {entry.number for entry in other.classes} <= {entry.number for entry in one.classes}
        for one, other in zip(before.addresses, after.addresses, strict=True)
    )


def _addresses(addresses: AddressMap) -> set[int]:
    return {address for address, _ in addresses.hosts}
