"""Which NICs are judged by other rules than before, and in which directions? Pure.

A NIC is affected in a direction if the rules in effect for it (S7, S9, S10) say something else, or if a group or
address group that one of them names as its remote has other members, as seen from its VPC. That other rules judge it
does not say that a verdict changes: for this see `cells`. NICs with the same groups, type and VPC are compared once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from enforcer.model import Direction, NicRef, Rule
from enforcer.semantics import Oracle

BOTH = (Direction.INGRESS, Direction.EGRESS)
_Key = tuple[object, ...]
Rules = tuple[Rule, ...] | None
"""Rules that are in one policy alone, or whose peers are others; none: nothing differs, None: anything may."""


@dataclass(frozen=True, slots=True)
class Affected:
    """One NIC, and the directions in which other rules judge it; `how`: it is new, gone, or only judged otherwise.

    A packet that none of `rules` speaks of, whoever the peer, has the verdict that it had; None: any may have another.
    """

    nic: str
    directions: tuple[Direction, ...]
    how: str
    rules: Rules = None


def affected(old: Oracle, new: Oracle) -> tuple[Affected, ...]:
    """Return the NICs that a change affects, in the new policy's order; those that are gone come last."""
    before = {ref.label: ref for ref in old.policy.nics()}
    after = {ref.label: ref for ref in new.policy.nics()}
    compared = _Compared(old, new)
    found: list[Affected] = []
    for label, ref in after.items():
        if label not in before:
            found.append(Affected(label, BOTH, "new"))
        else:
            rules = {each: compared.differing(before[label], ref, each) for each in BOTH}
            if directions := tuple(each for each in BOTH if rules[each] != ()):
                found.append(Affected(label, directions, "judged otherwise", _together(rules.values())))
    found += [Affected(label, BOTH, "gone") for label in before if label not in after]
    return tuple(found)


class _Compared:
    def __init__(self, old: Oracle, new: Oracle) -> None:
        self._old, self._new = old, new
        self._known: dict[_Key, Rules] = {}
        self._remotes: dict[_Key, bool] = {}

    def differing(self, was: NicRef, now: NicRef, direction: Direction) -> Rules:
        """Return what of a NIC's rules of a direction, or of those whom they name, is different."""
        if _guard(was) != _guard(now):
            return None
        if not now.nic.port_security:
            return ()
        key = (direction, *(_profile(ref) for ref in (was, now)))
        if key not in self._known:
            self._known[key] = _together(self._of_family(was, now, direction, family) for family in (4, 6))
        return self._known[key]

    def _of_family(self, was: NicRef, now: NicRef, direction: Direction, family: int) -> Rules:
        old, new = (
            list(_in_effect(oracle, ref, direction, family)) for oracle, ref in ((self._old, was), (self._new, now))
        )
        said, says = ([_says(rule) for rule in rules] for rules in (old, new))
        others = [rule for rule in new if self._remote_differs(rule, was.vpc.name, now.vpc.name)]
        if said == says:
            return tuple(others)
        gone, come = Counter(said) - Counter(says), Counter(says) - Counter(said)
        if _without(said, gone) != _without(says, come):
            return None
        alone = [rule for rules, some in ((old, gone), (new, come)) for rule in rules if _says(rule) in some]
        return (*alone, *others)

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


def _together(found: Iterable[Rules]) -> Rules:
    """Return all of what is different, once."""
    rules: dict[int, Rule] = {}
    for some in found:
        if some is None:
            return None
        rules.update((id(rule), rule) for rule in some)
    return tuple(rules.values())


def _without(said: Iterable[_Key], some: Counter[_Key]) -> list[_Key]:
    """Return what is left of a list, in its order, without the first ones of each kind that are to be left out."""
    out, left = Counter(some), list[_Key]()
    for each in said:
        if out[each]:
            out[each] -= 1
        else:
            left.append(each)
    return left


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
