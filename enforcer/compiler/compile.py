"""Policy → Program: one namespace at a time, one side policy per distinct rule list.

NICs with the same groups, ECS type and direction share a side policy: the Program grows with distinct rule lists, not
with ECSs. See `effective`, `terms`, `classes`, `regions` and `sides` for the passes in their order.
"""

from __future__ import annotations

from ipaddress import ip_network

from enforcer.compiler.classes import address_map
from enforcer.compiler.effective import effective_rules, narrowing
from enforcer.compiler.program import (
    FAMILIES,
    AddressMap,
    BalancerExemption,
    NamespaceProgram,
    NicProgram,
    Program,
    SidePolicy,
    Sides,
)
from enforcer.compiler.sides import RuleList, digest
from enforcer.compiler.terms import Term, Terms
from enforcer.model import TCP, UDP, Attachment, Direction, Family, Layout, Namespace, Policy

_ListKey = tuple[tuple[str, ...], str, Direction, Family]


def compile_policy(policy: Policy, layout: Layout) -> Program:
    """Compile a policy for the namespaces of a layout; deterministic, and pure."""
    return Program(tuple(_namespace(policy, namespace) for namespace in layout.namespaces), layout)


def _namespace(policy: Policy, namespace: Namespace) -> NamespaceProgram:
    terms = Terms(policy, namespace.vpcs)
    guarded = [attachment for attachment in namespace.attachments if attachment.ref.nic.port_security]
    lists: dict[_ListKey, RuleList] = {}
    for attachment in guarded:
        for family in families(attachment):
            for direction in Direction:
                key = _list_key(attachment, direction, family)
                if key not in lists:
                    groups = tuple(policy.group(name) for name in key[0])
                    rules = effective_rules(groups, key[1], policy.limits.costly_rules, direction, family)
                    lists[key] = RuleList(direction, family, rules, terms)
    maps = {family: _address_map(lists, family) for family in FAMILIES}
    inside = {family: _classes_of(maps[family]) for family in FAMILIES}
    compiled = {
        key: rules.compile(inside[rules.family], key[0], maps[rules.family].displaced) for key, rules in lists.items()
    }
    nics = tuple(_nic(attachment, compiled) for attachment in guarded)
    unguarded = tuple(a.interface for a in namespace.attachments if not a.ref.nic.port_security)
    return NamespaceProgram(
        name=namespace.name,
        owned=namespace.owned,
        declared=(*namespace.infrastructure, *unguarded),
        nics=nics,
        policies=tuple(sorted({side.key: side for side in compiled.values()}.values(), key=lambda side: side.key)),
        addresses=tuple(maps[family] for family in FAMILIES),
        exemptions=_exemptions(policy, namespace),
        marks=policy.marks,
        revoke_both=policy.revoke == "both",
        deny_log=policy.deny_log,
    )


def families(attachment: Attachment) -> tuple[Family, ...]:
    """Return the families that a NIC can speak: those of its addresses, both without a source check (S16)."""
    nic = attachment.ref.nic
    if not nic.source_dest_check:
        return FAMILIES
    spoken = {address.version for address in (*nic.addresses, *nic.allowed_addresses)}
    return tuple(family for family in FAMILIES if family in spoken)


def _list_key(attachment: Attachment, direction: Direction, family: Family) -> _ListKey:
    ref = attachment.ref
    return (ref.nic.security_groups, narrowing(ref.ecs.type_class), direction, family)


def _address_map(lists: dict[_ListKey, RuleList], family: Family) -> AddressMap:
    used: dict[str, Term] = {}
    for rules in lists.values():
        if rules.family == family:
            used.update((term.name, term) for term in rules.terms if term is not None)
    return address_map((used[name] for name in sorted(used)), family)


def _classes_of(addresses: AddressMap) -> dict[str, tuple[int, ...]]:
    inside: dict[str, list[int]] = {}
    for entry in addresses.classes:
        for term in entry.terms:
            inside.setdefault(term, []).append(entry.number)
    return {term: tuple(numbers) for term, numbers in inside.items()}


def _nic(attachment: Attachment, compiled: dict[_ListKey, SidePolicy]) -> NicProgram:
    nic = attachment.ref.nic
    own = sorted({*map(ip_network, nic.addresses), *nic.allowed_addresses}, key=lambda n: (n.version, n))
    return NicProgram(
        label=attachment.ref.label,
        interface=attachment.interface,
        mac=attachment.mac,
        addresses=tuple(own),
        source_dest_check=nic.source_dest_check,
        sides=tuple(
            Sides(
                family,
                ingress=compiled[_list_key(attachment, Direction.INGRESS, family)].key,
                egress=compiled[_list_key(attachment, Direction.EGRESS, family)].key,
                profile=digest(nic.security_groups, narrowing(attachment.ref.ecs.type_class)),
            )
            for family in families(attachment)
        ),
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
