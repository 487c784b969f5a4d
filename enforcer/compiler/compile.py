"""Policy → Program: one namespace at a time, one side policy per distinct rule list.

NICs with the same groups, ECS type and direction share a side policy: the Program grows with distinct rule lists, not
with ECSs. See `effective`, `terms`, `classes`, `regions` and `sides` for the passes in their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network

from enforcer.compiler.classes import address_map, classes_inside
from enforcer.compiler.effective import effective_rules, narrowing
from enforcer.compiler.program import (
    FAMILIES,
    BalancerExemption,
    NamespaceProgram,
    NicProgram,
    Program,
    SidePolicy,
    Sides,
)
from enforcer.compiler.sides import Part, Parts, RuleList, digest, part
from enforcer.compiler.terms import Term, Terms
from enforcer.model import TCP, UDP, Attachment, Direction, Family, Layout, Namespace, Policy

ListKey = tuple[tuple[str, ...], str, Direction, Family]


def compile_policy(policy: Policy, layout: Layout) -> Program:
    """Compile a policy for the namespaces of a layout; deterministic, and pure."""
    return Program(tuple(compile_namespace(policy, each).program for each in layout.namespaces), layout)


@dataclass(frozen=True, slots=True)
class Compiled:
    """One namespace's program, with what it was made of: a later one takes over what has not changed."""

    namespace: Namespace
    lists: Mapping[ListKey, RuleList]
    sides: Mapping[ListKey, SidePolicy]
    program: NamespaceProgram


def compile_namespace(policy: Policy, namespace: Namespace) -> Compiled:
    """Compile a policy for one namespace."""
    terms = Terms(policy, namespace.vpcs)
    judged = guarded(namespace)
    lists: dict[ListKey, RuleList] = {}
    for attachment in judged:
        for key in list_keys(attachment):
            if key not in lists:
                lists[key] = rule_list(key, list_parts(policy, key))
    maps = {family: address_map(terms_in_use(lists, terms, family), family) for family in FAMILIES}
    inside = {family: classes_inside(maps[family].classes) for family in FAMILIES}
    sides = {
        key: rules.compile(inside[rules.family], key[0], maps[rules.family].displaced) for key, rules in lists.items()
    }
    program = NamespaceProgram(
        name=namespace.name,
        owned=namespace.owned,
        declared=declared(namespace),
        nics=tuple(map(nic_program, judged)),
        sides=profiles(sides),
        policies=distinct(sides.values()),
        addresses=tuple(maps[family] for family in FAMILIES),
        exemptions=_exemptions(policy, namespace),
        marks=policy.marks,
        revoke_both=policy.revoke == "both",
        deny_log=policy.deny_log,
    )
    return Compiled(namespace, lists, sides, program)


def guarded(namespace: Namespace) -> list[Attachment]:
    """Return the NICs that are judged: those that have not switched it off (S16)."""
    return [attachment for attachment in namespace.attachments if attachment.ref.nic.port_security]


def declared(namespace: Namespace) -> tuple[str, ...]:
    """Return the interfaces that are nobody's business."""
    return (*namespace.infrastructure, *(a.interface for a in namespace.attachments if not a.ref.nic.port_security))


def list_parts(policy: Policy, key: ListKey, before: RuleList | None = None) -> Parts:
    """Return the groups of a list with their effective rules: those of `before`, where the group is the same."""
    names, ecs_type, direction, family = key
    known = {each.group.name: each for each in before.parts} if before else {}
    limit = policy.limits.costly_rules
    found: list[Part] = []
    for group in map(policy.group, names):
        was = known.get(group.name)
        if was is None or was.group is not group:
            kept = was.rules if was else ()
            was = part(group, effective_rules(group, ecs_type, limit, direction, family, kept))
        found.append(was)
    return tuple(found)


def rule_list(key: ListKey, parts: Parts, before: RuleList | None = None) -> RuleList:
    """Build the rule list that a key stands for; what `before` was the same under that key is taken from there."""
    names, ecs_type, direction, family = key
    return RuleList(direction, family, parts, before, profile_name(names, ecs_type))


def profiles(sides: Mapping[ListKey, SidePolicy]) -> tuple[Sides, ...]:
    """Return which side policies judge the NICs of each profile, sorted by family and profile."""
    found = []
    for (groups, ecs_type, direction, family), ingress in sides.items():
        if direction is Direction.INGRESS:
            egress = sides[groups, ecs_type, Direction.EGRESS, family]
            found.append(Sides(family, profile_name(groups, ecs_type), ingress.key, egress.key))
    return tuple(sorted(found, key=lambda each: (each.family, each.profile)))


@lru_cache(4096)
def profile_name(groups: tuple[str, ...], ecs_type: str) -> str:
    """Name a list of groups on a narrowing ECS type."""
    return digest(groups, ecs_type)


def distinct(sides: Iterable[SidePolicy]) -> tuple[SidePolicy, ...]:
    """Return side policies once each, in the order of their keys."""
    return tuple(sorted({side.key: side for side in sides}.values(), key=lambda side: side.key))


def families(attachment: Attachment) -> tuple[Family, ...]:
    """Return the families that a NIC can speak: those of its addresses, both without a source check (S16)."""
    nic = attachment.ref.nic
    if not nic.source_dest_check:
        return FAMILIES
    spoken = {address.version for address in (*nic.addresses, *nic.allowed_addresses)}
    return tuple(family for family in FAMILIES if family in spoken)


def list_keys(attachment: Attachment) -> Iterator[ListKey]:
    """Yield the keys of the rule lists that judge a NIC."""
    for family in families(attachment):
        for direction in Direction:
            yield _list_key(attachment, direction, family)


def _list_key(attachment: Attachment, direction: Direction, family: Family) -> ListKey:
    ref = attachment.ref
    return (ref.nic.security_groups, narrowing(ref.ecs.type_class), direction, family)


def terms_in_use(lists: Mapping[ListKey, RuleList], terms: Terms, family: Family) -> tuple[Term, ...]:
    """Return the terms of a family's rule lists, by name."""
    names = {name for rules in lists.values() if rules.family == family for name in rules.places}
    return tuple(terms.named(name, family) for name in sorted(names))


def nic_program(attachment: Attachment) -> NicProgram:
    """Compile one NIC."""
    nic = attachment.ref.nic
    profile = profile_name(nic.security_groups, narrowing(attachment.ref.ecs.type_class))
    own = sorted({*map(ip_network, nic.addresses), *nic.allowed_addresses}, key=lambda n: (n.version, n))
    return NicProgram(
        label=attachment.ref.label,
        interface=attachment.interface,
        mac=attachment.mac,
        addresses=tuple(own),
        source_dest_check=nic.source_dest_check,
        profiles=tuple((family, profile) for family in families(attachment)),
    )


def _exemptions(policy: Policy, namespace: Namespace) -> tuple[BalancerExemption, ...]:
    """List the listeners whose forwarded traffic is not judged here (S12): the balancer is in one of our VPCs."""
    found = [
        BalancerExemption(balancer.address, TCP if listener.protocol == "tcp" else UDP, listener.port)
        for balancer in policy.load_balancers
        if policy.vpc_of_subnet(balancer.subnet).name in namespace.vpcs
        for listener in balancer.listeners
        if listener.transfer_client_ip
    ]
    return tuple(sorted(found, key=lambda e: (e.address.version, e.address, e.protocol, e.port)))
