"""A small typed part of nftables: just the nouns and statements that the enforcer uses, in nft's own words.

Knows no security group. What is not expressible here never reaches the kernel, so a tracer can walk every Ruleset and
names from outside cannot smuggle in syntax: `render` turns these values into text, each by its type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple


class KeyType(Enum):
    """Data types of set keys and map values; the value is nft's name."""

    IPV4 = "ipv4_addr"
    IPV6 = "ipv6_addr"
    IFINDEX = "iface_index"
    IFNAME = "ifname"
    ETHER = "ether_addr"
    CLASSID = "classid"
    PROTOCOL = "inet_proto"
    SERVICE = "inet_service"
    TARGET = "@th,64,128"
    MARK = "mark"
    OTHER = ""


class Field(Enum):
    """What a statement can read from a packet: nft's expression, and the type of what it yields.

    `NS_TARGET` is the target address of a neighbour solicitation or advertisement (RFC 4861 §4.3), which nft 1.0.6
    cannot name. `SOURCE_PORT` is the first 16 bits of the transport header: in ICMP they are type and code.
    """

    IIF = ("iif", KeyType.IFINDEX)
    OIF = ("oif", KeyType.IFINDEX)
    IIFNAME = ("iifname", KeyType.IFNAME)
    OIFNAME = ("oifname", KeyType.IFNAME)
    NFPROTO = ("meta nfproto", KeyType.OTHER)
    PROTOCOL = ("meta protocol", KeyType.OTHER)
    L4PROTO = ("meta l4proto", KeyType.PROTOCOL)
    MARK = ("meta mark", KeyType.MARK)
    PRIORITY = ("meta priority", KeyType.CLASSID)
    ETHER_SOURCE = ("ether saddr", KeyType.ETHER)
    ETHER_TYPE = ("ether type", KeyType.OTHER)
    IPV4_SOURCE = ("ip saddr", KeyType.IPV4)
    IPV4_DESTINATION = ("ip daddr", KeyType.IPV4)
    IPV6_SOURCE = ("ip6 saddr", KeyType.IPV6)
    IPV6_DESTINATION = ("ip6 daddr", KeyType.IPV6)
    IPV6_HOPLIMIT = ("ip6 hoplimit", KeyType.OTHER)
    ARP_OPERATION = ("arp operation", KeyType.OTHER)
    ARP_SENDER_ETHER = ("arp saddr ether", KeyType.ETHER)
    ARP_SENDER_IP = ("arp saddr ip", KeyType.IPV4)
    ICMPV6_TYPE = ("icmpv6 type", KeyType.OTHER)
    DESTINATION_PORT = ("th dport", KeyType.SERVICE)
    SOURCE_PORT = ("th sport", KeyType.SERVICE)
    UDP_SOURCE_PORT = ("udp sport", KeyType.SERVICE)
    UDP_DESTINATION_PORT = ("udp dport", KeyType.SERVICE)
    TCP_FLAGS = ("tcp flags", KeyType.OTHER)
    NS_TARGET = ("@th,64,128", KeyType.TARGET)
    FIB_SOURCE_TYPE = ("fib saddr type", KeyType.OTHER)
    FIB_DESTINATION_TYPE = ("fib daddr type", KeyType.OTHER)
    CT_STATE = ("ct state", KeyType.OTHER)
    CT_DIRECTION = ("ct direction", KeyType.OTHER)
    CT_STATUS = ("ct status", KeyType.OTHER)
    CT_MARK = ("ct mark", KeyType.MARK)
    CT_ORIGINAL_DPORT = ("ct original proto-dst", KeyType.SERVICE)
    CT_ORIGINAL_IPV4_DESTINATION = ("ct original ip daddr", KeyType.IPV4)
    CT_ORIGINAL_IPV6_DESTINATION = ("ct original ip6 daddr", KeyType.IPV6)

    @property
    def text(self) -> str:
        """nft's expression."""
        return self.value[0]

    @property
    def type(self) -> KeyType:
        """The type of the value."""
        return self.value[1]


class Interval(NamedTuple):
    """An inclusive interval as one part of a key."""

    first: int
    last: int


KeyPart = int | str | Interval
Key = tuple[KeyPart, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`accept`, `drop`, `return`, or `jump`/`goto` a chain of the same table."""

    kind: Literal["accept", "drop", "return", "jump", "goto"]
    chain: str = ""


ACCEPT, DROP, RETURN = Verdict("accept"), Verdict("drop"), Verdict("return")


def jump(chain: str) -> Verdict:
    """Go to a chain and come back."""
    return Verdict("jump", chain)


def goto(chain: str) -> Verdict:
    """Go to a chain; its end returns to where the last jump came from."""
    return Verdict("goto", chain)


@dataclass(frozen=True, slots=True)
class Match:
    """`field op value`; `value` is a word or number of nft, or an integer compared after `mask`."""

    field: Field
    value: str | int
    op: Literal["==", "!=", ">="] = "=="
    mask: int | None = None


@dataclass(frozen=True, slots=True)
class InSet:
    """`a . b @set` or, negated, `a . b != @set`; a single field may be masked first."""

    fields: tuple[Field, ...]
    set: str
    negated: bool = False
    mask: int | None = None


@dataclass(frozen=True, slots=True)
class Dispatch:
    """`a . b vmap @map`: the verdict of the element found; no element: go on with the next rule."""

    fields: tuple[Field, ...]
    map: str


@dataclass(frozen=True, slots=True)
class Load:
    """`meta priority set a . b map @map`: no element: the rule ends and leaves the priority as it was."""

    fields: tuple[Field, ...]
    map: str


@dataclass(frozen=True, slots=True)
class SetPriority:
    """`meta priority set n`."""

    value: int


@dataclass(frozen=True, slots=True)
class SetMark:
    """`meta|ct mark set mark & keep | bits`."""

    field: Field
    keep: int
    bits: int


@dataclass(frozen=True, slots=True)
class UseTimeout:
    """`ct timeout set name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Counter:
    """Count packets and bytes; the kernel keeps the sums."""


@dataclass(frozen=True, slots=True)
class Throttle:
    """`update @set { field counter limit … }`: count in the field's element; over its limit (0: none) the rule ends."""

    field: Field
    set: str
    per_second: int = 0
    burst: int = 0


@dataclass(frozen=True, slots=True)
class Log:
    """Send the packet's first bytes to an NFLOG group."""

    group: int
    prefix: str
    bytes: int


Statement = Match | InSet | Dispatch | Load | SetPriority | SetMark | UseTimeout | Counter | Throttle | Log | Verdict


@dataclass(frozen=True, slots=True)
class Rule:
    """Statements from left to right; the first that does not match ends the rule."""

    statements: tuple[Statement, ...]
    comment: str = ""


def rule(*statements: Statement, comment: str = "") -> Rule:
    """Build a rule."""
    return Rule(statements, comment)


@dataclass(frozen=True, slots=True)
class Hook:
    """Where a base chain sits; its policy is always accept, for an empty chain must not blink (see skeleton)."""

    hook: Literal["ingress", "egress", "prerouting", "input", "postrouting"]
    priority: int
    device: str = ""


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; with a hook it is a base chain.

    `fixed`: the name stays while the rules change; otherwise the name stands for the content.
    """

    name: str
    rules: tuple[Rule, ...]
    hook: Hook | None = None
    comment: str = ""
    fixed: bool = False


class Element(NamedTuple):
    """A set element; in a map with its value: a verdict, or an integer of the map's value type."""

    key: Key
    value: Verdict | int | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Set:
    """A set, or a map when `value` says what its elements yield; `counted`: each element counts.

    `fixed`: the name stays while the elements change; otherwise the name stands for the content, or, if it `grows`,
    for what its elements mean: they are added in place, and which of them are there makes no difference to others.
    `size` bounds the elements, 0 does not: the kernel has a faster set for few elements of few bytes.
    `dynamic`: packets fill it, and elements that none has touched for an hour go.
    """

    name: str
    key: tuple[Field, ...]
    elements: Sequence[Element]
    value: Literal["verdict", "classid"] | None = None
    interval: bool = False
    counted: bool = False
    fixed: bool = False
    grows: bool = False
    size: int = 0
    dynamic: bool = False


@dataclass(frozen=True, slots=True)
class Timeout:
    """A `ct timeout` object: idle seconds per state of one protocol."""

    name: str
    l3proto: Literal["ip", "ip6"]
    protocol: Literal["tcp", "udp"]
    policy: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """One table; objects in the order in which they are created."""

    family: Literal["inet", "netdev"]
    name: str
    timeouts: tuple[Timeout, ...]
    sets: Sequence[Set]
    chains: Sequence[Chain]


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All that the enforcer puts into one network namespace; `generation` stamps the flows that it lets pass."""

    namespace: str
    tables: tuple[Table, ...]
    generation: int

    def table(self, family: Literal["inet", "netdev"]) -> Table:
        """Return the table of that family."""
        return next(table for table in self.tables if table.family == family)
