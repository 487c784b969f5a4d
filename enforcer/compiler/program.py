"""The Program: what a policy means for packets, as disjoint regions; no nftables, no text, no policy left in it.

The compiler's intermediate representation, between `Policy` (ordered, overlapping rules) and `Ruleset` (nftables
objects). One `NamespaceProgram` per network namespace:

    address map   every address of a family → its class (addresses that all rules in force treat alike)
    side policy   (direction, family, effective rules) as verdict regions: local class × protocol × sub-key → decider
    nic           which side policies judge the packets of one interface

Everything is a tuple in a canonical order: the same policy gives an equal Program, whatever the order of a dictionary.
`show` prints it, `verify` lists violated invariants. Must not know: nft's syntax, names of kernel objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

from enforcer.model import Action, DenyLog, Direction, Family, IPAddress, IPNetwork, Layout, Marks, PortRange
from enforcer.model.runs import Runs

FAMILIES: tuple[Family, ...] = (4, 6)
ADDRESS_BITS: dict[Family, int] = {4: 32, 6: 128}
REST = 0
"""The local class of every address that no address term of the policy's rules contains."""

UNCLASSED = 0x8000_0000
"""The global class of every address that no address term in force contains. Global classes have the top bit set, local
ones have not: a lookup can tell which of the two it holds, and 0 is never the class of a host that was looked up."""

LAST_CLASS = 0xFFFE_FFFF
"""The highest number of a global class. What is above are verdicts in the kernel, where they take a class's place."""


class Span(NamedTuple):
    """An inclusive interval of integers: addresses, protocols or sub-keys."""

    first: int
    last: int


Subkeys = Span | PortRange
"""An interval of sub-keys: the very ports of a rule where it decides all of them."""

ANY_SUBKEY = Span(0, 0xFFFF)
ANY_PROTOCOL = Span(0, 255)


@dataclass(frozen=True, slots=True)
class Decider:
    """The rule that decides a region; it is named in comments, counters and explanations."""

    group: str
    rule: str
    action: Action

    def __str__(self) -> str:
        return f"{self.group}/{self.rule}"


@dataclass(frozen=True, slots=True)
class Region:
    """All packets of some protocols and sub-keys that one rule decides.

    The sub-key is the destination port for TCP and UDP, `type << 8 | code` for ICMP and ICMPv6 and anything for other
    protocols (then it is `ANY_SUBKEY`).
    """

    protocols: Span
    subkeys: Subkeys
    decider: Decider


@dataclass(frozen=True, slots=True)
class LocalClass:
    """Addresses that one side policy treats alike, with the disjoint regions that hold for them.

    What no region of a class covers is decided as for `REST`, whose regions hold for every address.
    """

    number: int
    regions: tuple[Region, ...]


@dataclass(frozen=True, slots=True)
class SidePolicy:
    """One direction and family of an effective rule list, compiled; shared by all NICs with that list.

    `locals` maps global address classes to local ones; a class that is not listed is `REST`. What no region covers is
    denied (S7). `key` stands for the rules and the regions in use: `locals` may differ under one key, but a global
    class has the same local one wherever both are listed. `lineage` stands for the list, whatever its rules are.
    """

    key: str
    lineage: str
    direction: Direction
    family: Family
    groups: tuple[str, ...]
    locals: tuple[tuple[int, int], ...]
    classes: tuple[LocalClass, ...]


@dataclass(frozen=True, slots=True)
class AddressClass:
    """A set of addresses that belong to exactly these terms (`10.0.0.0/8`, `group Sg-A`, `address group ipGroup-A`)."""

    number: int
    terms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AddressMap:
    """Every address of one family → its class: single addresses first, then pieces that cover the whole space.

    `displaced` are the classes whose own number was taken by another: nearly always none.
    """

    family: Family
    classes: tuple[AddressClass, ...]
    hosts: Runs[tuple[int, int]]
    pieces: tuple[tuple[Span, int], ...]
    displaced: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Sides:
    """The two side policies, by key, that judge one family's packets of the NICs of a profile.

    `profile` names the pair and stays while the policies change: it stands for the groups and the ECS type.
    """

    family: Family
    profile: str
    ingress: str
    egress: str


@dataclass(frozen=True, slots=True)
class NicProgram:
    """One enforced interface: what may be sent from it (S16) and who judges its packets.

    `addresses` are private ones and `allowed_addresses`; `mac` None means that it is not known and not checked. Its
    judges are named by their profiles, so a changed rule changes no NIC.
    """

    label: str
    interface: str
    mac: str | None
    addresses: tuple[IPNetwork, ...]
    source_dest_check: bool
    profiles: tuple[tuple[Family, str], ...]


@dataclass(frozen=True, slots=True)
class BalancerExemption:
    """A listener with `transfer_client_ip`: what it forwards is not judged at the backend (S12)."""

    address: IPAddress
    protocol: int
    port: int


@dataclass(frozen=True, slots=True)
class NamespaceProgram:
    """All that is enforced in one network namespace; `owned`: undeclared interfaces are dropped."""

    name: str
    owned: bool
    declared: tuple[str, ...]
    nics: tuple[NicProgram, ...]
    sides: tuple[Sides, ...]
    policies: tuple[SidePolicy, ...]
    addresses: tuple[AddressMap, ...]
    exemptions: tuple[BalancerExemption, ...]
    marks: Marks
    revoke_both: bool
    deny_log: DenyLog

    def sides_of(self, nic: NicProgram) -> tuple[Sides, ...]:
        """Return the side policies of a NIC, by family."""
        return tuple(sides for sides in self.sides if (sides.family, sides.profile) in nic.profiles)

    def policy(self, key: str) -> SidePolicy:
        """Return the side policy with that key."""
        return next(policy for policy in self.policies if policy.key == key)


@dataclass(frozen=True, slots=True)
class Program:
    """The compiled policy, one part per namespace of the layout."""

    namespaces: tuple[NamespaceProgram, ...]
    layout: Layout


def address_text(family: Family, value: int) -> str:
    """Print an address held as an integer (host hits are integers for speed)."""
    return str(ip_address(value.to_bytes(ADDRESS_BITS[family] // 8, "big")))
