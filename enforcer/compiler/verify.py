"""The checker of a Program: a list of violated invariants, empty for every Program that the compiler builds.

It does not trust the passes: it looks at the result alone. Every test that compiles also verifies.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from enforcer.compiler.program import (
    ADDRESS_BITS,
    ANY_PROTOCOL,
    ANY_SUBKEY,
    LAST_CLASS,
    REST,
    UNCLASSED,
    AddressMap,
    NamespaceProgram,
    Program,
    Region,
    SidePolicy,
)


def verify(program: Program) -> list[str]:
    """List what is wrong with a Program, each as *where: what*."""
    return [
        f"{namespace.name or 'own namespace'}: {violation}"
        for namespace in program.namespaces
        for violation in _namespace(namespace)
    ]


def _namespace(namespace: NamespaceProgram) -> Iterator[str]:
    keys = [policy.key for policy in namespace.policies]
    if len(set(keys)) != len(keys):
        yield "two side policies have one key"
    classes = {}
    for addresses in namespace.addresses:
        yield from _addresses(addresses)
        classes[addresses.family] = {entry.number for entry in addresses.classes}
    for policy in namespace.policies:
        yield from _policy(policy, classes[policy.family])
    interfaces = [nic.interface for nic in namespace.nics]
    if len(set(interfaces)) != len(interfaces):
        yield "two NICs share an interface"
    profiles = {(sides.family, sides.profile) for sides in namespace.sides}
    if len(profiles) != len(namespace.sides):
        yield "two pairs of side policies have one profile"
    for nic in namespace.nics:
        for family, profile in nic.profiles:
            if (family, profile) not in profiles:
                yield f"NIC {nic.label}: IPv{family} profile {profile} does not exist"
    for sides in namespace.sides:
        for key in (sides.ingress, sides.egress):
            if key not in keys:
                yield f"profile {sides.profile}: side policy {key} does not exist"


def _addresses(addresses: AddressMap) -> Iterator[str]:
    where = f"IPv{addresses.family} address map"
    known = {entry.number for entry in addresses.classes}
    if addresses.pieces[0][0].first != 0 or addresses.pieces[-1][0].last != (1 << ADDRESS_BITS[addresses.family]) - 1:
        yield f"{where}: the pieces do not cover the space"
    for (before, _), (after, _) in pairwise(addresses.pieces):
        if before.last + 1 != after.first:
            yield f"{where}: a gap or an overlap after {before.last}"
    hosts = [address for address, _ in addresses.hosts]
    if hosts != sorted(set(hosts)):
        yield f"{where}: hosts are not sorted or not unique"
    for number in (*(number for _, number in addresses.hosts), *(number for _, number in addresses.pieces)):
        if number not in known or not UNCLASSED <= number <= LAST_CLASS:
            yield f"{where}: class {number} is not described"


def _policy(policy: SidePolicy, known: set[int]) -> Iterator[str]:
    numbers = [entry.number for entry in policy.classes]
    if numbers[0] != REST or len(set(numbers)) != len(numbers) or max(numbers) >= UNCLASSED:
        yield f"{policy.key}: local classes are not unique, or mix with global ones"
    for number, local in policy.locals:
        if number not in known:
            yield f"{policy.key}: global class {number} does not exist"
        if local not in numbers:
            yield f"{policy.key}: local class {local} does not exist"
    for entry in policy.classes:
        yield from (f"{policy.key} class {entry.number}: {violation}" for violation in _regions(entry.regions))


def _regions(regions: tuple[Region, ...]) -> Iterator[str]:
    for region in regions:
        for span, whole in ((region.protocols, ANY_PROTOCOL), (region.subkeys, ANY_SUBKEY)):
            if not whole.first <= span.first <= span.last <= whole.last:
                yield f"a span leaves its space: {span}"
    # Regions come in rows of equal protocols: rows must not overlap, nor the sub-keys within a row.
    for before, after in pairwise(regions):
        if before.protocols == after.protocols:
            if before.subkeys.last >= after.subkeys.first:
                yield f"overlap at protocol {after.protocols.first}, sub-key {after.subkeys.first}"
        elif before.protocols.last >= after.protocols.first:
            yield f"rows overlap at protocol {after.protocols.first}"
