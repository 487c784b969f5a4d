"""The one printed form of a Program: what golden tests compare and what a maintainer reads.

namespace lab-vpc-x (owned)
  nic ecs-a on v-ecs-a fa:16:3e:00:00:01 192.168.0.11
    IPv4 ingress i4_0123456789  egress e4_9876543210
  addresses IPv4
    class 80000000  (in no term)
    class 9f3ac2d1  group Sg-A
    192.168.0.11 → 9f3ac2d1
    0.0.0.0–255.255.255.255 → 80000000
  side policy i4_0123456789  ingress IPv4 of Sg-A
    class 9f3ac2d1 → 2c5b1e07
    2c5b1e07: 0–255 → allow Sg-A/A02
    rest: tcp 22 → allow Sg-A/A01
"""

from __future__ import annotations

from collections.abc import Iterator

from enforcer.compiler.program import (
    ANY_SUBKEY,
    REST,
    UNCLASSED,
    AddressMap,
    NamespaceProgram,
    NicProgram,
    Program,
    Region,
    SidePolicy,
    Span,
    address_text,
)
from enforcer.model import GRE, ICMP, ICMPV6, TCP, UDP

PROTOCOL_NAMES = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMPV6: "icmpv6", GRE: "gre"}


def show(program: Program) -> str:
    """Print a Program in its canonical form."""
    lines = [line for namespace in program.namespaces for line in _namespace(namespace)]
    return "\n".join(lines) + "\n"


def _namespace(namespace: NamespaceProgram) -> Iterator[str]:
    yield f"namespace {namespace.name or '(own)'}" + (" (owned)" if namespace.owned else "")
    if namespace.declared:
        yield f"  declared {' '.join(namespace.declared)}"
    if namespace.revoke_both:
        yield "  revoke both"
    for exemption in namespace.exemptions:
        protocol = span(Span(exemption.protocol, exemption.protocol))
        yield f"  not judged: forwarded by {exemption.address} {protocol} {exemption.port}"
    for nic in namespace.nics:
        yield from _nic(namespace, nic)
    for addresses in namespace.addresses:
        yield from _addresses(addresses)
    for policy in namespace.policies:
        yield from _policy(policy)


def _nic(namespace: NamespaceProgram, nic: NicProgram) -> Iterator[str]:
    own = " ".join(str(n.network_address) if n.num_addresses == 1 else str(n) for n in nic.addresses)
    unchecked = "" if nic.source_dest_check else " (any source)"
    yield f"  nic {nic.label} on {nic.interface} {nic.mac or '(any MAC)'} {own}{unchecked}"
    for sides in namespace.sides_of(nic):
        yield f"    IPv{sides.family} ingress {sides.ingress}  egress {sides.egress}"


def _addresses(addresses: AddressMap) -> Iterator[str]:
    yield f"  addresses IPv{addresses.family}"
    for entry in addresses.classes:
        terms = "(in no term)" if entry.number == UNCLASSED else ", ".join(entry.terms)
        yield f"    class {entry.number:08x}  {terms}"
    for address, number in addresses.hosts:
        yield f"    {address_text(addresses.family, address)} → {number:08x}"
    for piece, number in addresses.pieces:
        first, last = (address_text(addresses.family, value) for value in piece)
        yield f"    {first}–{last} → {number:08x}"


def _policy(policy: SidePolicy) -> Iterator[str]:
    yield f"  side policy {policy.key}  {policy.direction} IPv{policy.family} of {', '.join(policy.groups)}"
    for number, local in policy.locals:
        yield f"    class {number:08x} → {local:08x}"
    for entry in policy.classes:
        name = "rest" if entry.number == REST else f"{entry.number:08x}"
        if not entry.regions:
            yield f"    {name}: nothing"
        for region in entry.regions:
            yield f"    {name}: {show_region(region)}"


def show_region(region: Region) -> str:
    """Print one region: what it covers and who decides it."""
    subkeys = "" if region.subkeys == ANY_SUBKEY else f" {_subkeys(region)}"
    return f"{span(region.protocols)}{subkeys} → {region.decider.action} {region.decider}"


def span(value: Span) -> str:
    """Print protocols: a name, a number, or a range of numbers."""
    if value.first == value.last:
        return PROTOCOL_NAMES.get(value.first, str(value.first))
    return f"{value.first}–{value.last}"


def _subkeys(region: Region) -> str:
    first, last = region.subkeys
    if region.protocols.first in (ICMP, ICMPV6):
        if first == last:
            return f"type {first >> 8} code {first & 0xFF}"
        return f"types {first >> 8}.{first & 0xFF}–{last >> 8}.{last & 0xFF}"
    return str(first) if first == last else f"{first}–{last}"
