"""Which NICs are judged by other rules than before, and in which directions? Pure.

A NIC is affected in a direction if the rules in effect for it (S7, S9, S10) say something else, or if a group or
address group that one of them names as its remote has other members, as seen from its VPC. That other rules judge it
does not say that a verdict changes: for this see `cells`. NICs with the same groups, type and VPC are compared once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from enforcer.model import Direction, NicRef, Rule
from enforcer.semantics import Oracle

BOTH = (Direction.INGRESS, Direction.EGRESS)
_Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Affected:
    """One NIC, and the directions in which other rules judge it; `how`: it is new, gone, or only judged otherwise."""

    nic: str
    directions: tuple[Direction, ...]
    how: str


def affected(old: Oracle, new: Oracle) -> tuple[Affected, ...]:
    """Return the NICs that a change affects, in the new policy's order; those that are gone come last."""
    before = {ref.label: ref for ref in old.policy.nics()}
    after = {ref.label: ref for ref in new.policy.nics()}
    compared = _Compared(old, new)
    found: list[Affected] = []
    for label, ref in after.items():
        if label not in before:
            found.append(Affected(label, BOTH, "new"))
        elif directions := tuple(each for each in BOTH if compared.differ(before[label], ref, each)):
            found.append(Affected(label, directions, "judged otherwise"))
    found += [Affected(label, BOTH, "gone") for label in before if label not in after]
    return tuple(found)


class _Compared:
    def __init__(self, old: Oracle, new: Oracle) -> None:
        self._old, self._new = old, new
        self._known: dict[_Key, bool] = {}
        self._remotes: dict[_Key, bool] = {}

    def differ(self, was: NicRef, now: NicRef, direction: Direction) -> bool:
        """Say whether a NIC's rules of a direction, or those whom they name, are others."""
        if _guard(was) != _guard(now):
            return True
        if not now.nic.port_security:
            return False
        key = (direction, *(_profile(ref) for ref in (was, now)))
        if key not in self._known:
            self._known[key] = any(self._family_differs(was, now, direction, family) for family in (4, 6))
        return self._known[key]

    def _family_differs(self, was: NicRef, now: NicRef, direction: Direction, family: int) -> bool:
        old, new = (
            list(_in_effect(oracle, ref, direction, family)) for oracle, ref in ((self._old, was), (self._new, now))
        )
        if [_says(rule) for rule in old] != [_says(rule) for rule in new]:
            return True
        return any(self._remote_differs(rule, was.vpc.name, now.vpc.name) for rule in new)

    def _remote_differs(self, rule: Rule, was_in: str, is_in: str) -> bool:
        if rule.remote_group is not None:
            key: _Key = ("group", rule.remote_group, was_in, is_in)
            if key not in self._remotes:
                before = self._old.members(rule.remote_group, was_in)
                self._remotes[key] = before != self._new.members(rule.remote_group, is_in)
            return self._remotes[key]
        if (name := rule.remote_address_group) is not None:
            key = ("address group", name)
            if key not in self._remotes:
                ranges = [set(oracle.policy.address_group(name).ranges) for oracle in (self._old, self._new)]
                self._remotes[key] = ranges[0] != ranges[1]
            return self._remotes[key]
        return False


def _guard(ref: NicRef) -> _Key:
    """Return what S16 asks of the NIC: where it may send from, and whether it is asked anything."""
    nic = ref.nic
    allowed = frozenset(nic.allowed_addresses)
    return (
        frozenset(nic.addresses),
        allowed,
        nic.mac,
        nic.source_dest_check,
        nic.port_security,
        nic.interface,
        nic.netns,
    )


def _profile(ref: NicRef) -> _Key:
    return (ref.nic.security_groups, ref.ecs.type_class, ref.vpc.name)


def _in_effect(oracle: Oracle, ref: NicRef, direction: Direction, family: int) -> Iterator[Rule]:
    return (one.rule for one in oracle.ranked(ref, direction, 4 if family == 4 else 6) if not one.lapse)


def _says(rule: Rule) -> _Key:
    """Return what decides, without the names that explanations use."""
    remote = (rule.remote_ip_prefix, rule.remote_group, rule.remote_address_group)
    return (rule.action, rule.protocol, rule.ports, rule.icmp_type, rule.icmp_code, *remote)
