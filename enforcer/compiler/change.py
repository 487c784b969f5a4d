"""What differs between two policies of which one follows the other, as far as the compiler need know.

    change_of(before, after)  ──▶  Change(gone ECSs, come ECSs, changed groups …), None: compile everything anew

Objects that did not change are the very same in both; so only identities are compared. Must not know: namespaces'
programs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, count
from operator import is_not
from typing import Any

from enforcer.model import Attachment, Ecs, Family, Namespace, NicRef, Policy
from enforcer.model.runs import differing

_CONSTANT = ("version", "limits", "marks", "deny_log", "revoke", "vpcs", "peerings", "load_balancers")


@dataclass(frozen=True, slots=True)
class Change:
    """Two policies, the ECSs that one of them has alone, and the names of groups and address groups that differ."""

    before: Policy
    after: Policy
    gone: tuple[Ecs, ...]
    come: tuple[Ecs, ...]
    groups: frozenset[str]
    address_groups: frozenset[str]

    def namespaces(self) -> set[str]:
        """Return the namespaces in which an interface is attached or detached."""
        return {nic.netns for ecs in (*self.gone, *self.come) for nic in ecs.nics if nic.interface is not None}

    def speaks(self) -> bool:
        """Say whether lists may come to speak of other terms."""
        return bool(self.groups or self.namespaces())


def change_of(before: Policy, after: Policy) -> Change | None:
    """Compare two policies; None: they differ in what all else rests upon."""
    if any(not _same(getattr(before, field), getattr(after, field)) for field in _CONSTANT):
        return None
    groups, address_groups = (
        frozenset(each.name for part in _difference(getattr(before, field), getattr(after, field)) for each in part)
        for field in ("security_groups", "address_groups")
    )
    return Change(before, after, *_difference(before.ecs, after.ecs), groups, address_groups)


def _same(one: Any, other: Any) -> bool:
    return one is other or one == other


def _difference(before: Sequence[Any], after: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return what is gone and what has come; what is in both keeps its order.

    One that stays but stands at another place is gone and has come.
    """
    if before is after:
        return (), ()
    old, new = differing(before, after)
    kept = {id(each) for each in old} & {id(each) for each in new}
    if [id(each) for each in old if id(each) in kept] != [id(each) for each in new if id(each) in kept]:
        kept = set()
    return tuple(e for e in old if id(e) not in kept), tuple(e for e in new if id(e) not in kept)


def listings(
    policy: Policy, ecs: Ecs, visible: frozenset[str], family: Family, used: Collection[str]
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the addresses of an ECS with the terms in use that list them as members."""
    for nic in ecs.nics:
        names = tuple(name for group in nic.security_groups if (name := f"group {group}") in used)
        if names and policy.vpc_of_subnet(nic.subnet).name in visible:
            for address in nic.addresses:
                if address.version == family:
                    yield int(address), names


def attached(namespace: Namespace, change: Change) -> Namespace | None:
    """Return a namespace with the NICs that it then has; None: it would not be the same namespace any more."""
    gone = {ecs.name for ecs in change.gone}
    come = [(ecs, [nic for nic in ecs.nics if _inside(nic, namespace)]) for ecs in change.come]
    if not any(nics for _, nics in come) and not any(_inside(n, namespace) for ecs in change.gone for n in ecs.nics):
        return namespace
    new = {ecs.name for ecs, nics in come if nics}
    stays: Sequence[Attachment] = namespace.attachments
    if gone:
        stays = [each for each in stays if each.ref.ecs.name not in gone]
    attachments = stays if not new else _put_in(stays, new, namespace, change)
    others = {change.after.vpc_of_subnet(nic.subnet).name for _, nics in come for nic in nics} - {*namespace.vpcs[:1]}
    several = len(namespace.vpcs) != 1 or not attachments or others
    if several and tuple(dict.fromkeys(each.ref.vpc.name for each in attachments)) != namespace.vpcs:
        return None
    return Namespace(namespace.name, namespace.vpcs, tuple(attachments), namespace.owned, namespace.infrastructure)


def _inside(nic: Any, namespace: Namespace) -> bool:
    return nic.interface is not None and nic.netns == namespace.name


def _put_in(
    stays: Sequence[Attachment], new: Collection[str], namespace: Namespace, change: Change
) -> list[Attachment]:
    """Put new attachments where the policy has their ECSs; all that come lie between the ends that are the same."""
    policy, begin = change.after, 0
    least = min(len(change.before.ecs), len(policy.ecs))
    at = next(compress(count(), map(is_not, change.before.ecs, policy.ecs)), least)
    while at and not any(_inside(nic, namespace) for nic in policy.ecs[at - 1].nics):
        at -= 1
    if at:
        name = policy.ecs[at - 1].name
        begin = next(place for place in range(len(stays), 0, -1) if stays[place - 1].ref.ecs.name == name)
    found, put = list(stays[:begin]), begin
    left = len(new)
    while left:
        ecs = policy.ecs[at]
        at += 1
        if ecs.name in new:
            left -= 1
            refs = (NicRef(ecs, nic, policy.vpc_of_subnet(nic.subnet)) for nic in ecs.nics if _inside(nic, namespace))
            found += [Attachment(ref, ref.nic.interface or "", ref.nic.mac) for ref in refs]
        else:
            while put < len(stays) and stays[put].ref.ecs.name == ecs.name:
                found.append(stays[put])
                put += 1
    return [*found, *stays[put:]]
