"""What a rule says of a packet besides its addresses: direction, action, IP version, protocol and ports (S4).

Like `scalars`: each validator takes what the file says and returns what the program works with.
Example: `Ports` turns `"22,25-27"` into `(PortRange(22, 22), PortRange(25, 27))`.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple

from pydantic import PlainValidator, WithJsonSchema

from enforcer.model.words.scalars import one_of, text
from enforcer.model.words.wording import shown, suggestion, wrong

Family = Literal[4, 6]

ICMP, TCP, UDP, GRE, ICMPV6 = 1, 6, 17, 47, 58
PROTOCOLS = {"tcp": TCP, "udp": UDP, "icmp": ICMP, "icmpv6": ICMPV6, "gre": GRE}
PROTOCOL_NAMES = {number: word for word, number in PROTOCOLS.items()}


class Direction(StrEnum):
    """The way a packet goes, always from the instance's view (S4)."""

    INGRESS = "ingress"
    EGRESS = "egress"


class Action(StrEnum):
    """What a rule does with what it matches."""

    ALLOW = "allow"
    DENY = "deny"


class PortRange(NamedTuple):
    """Destination ports, both ends included."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


_DIRECTION = one_of(
    "ingress",
    "egress",
    elsewhere={"inbound": "ingress", "in": "ingress", "outbound": "egress", "out": "egress"},
)
_ACTION = one_of(
    "allow",
    "deny",
    elsewhere={"accept": "allow", "permit": "allow", "drop": "deny", "reject": "deny", "block": "deny"},
)


def direction(value: object) -> Direction:
    """Accept ingress or egress."""
    return Direction(_DIRECTION(value))


def action(value: object) -> Action:
    """Accept allow or deny."""
    return Action(_ACTION(value))


def ethertype(value: object) -> Family:
    """Accept IPv4 or IPv6 in any case."""
    match text(value).casefold() if isinstance(value, str) else value:
        case "ipv4":
            return 4
        case "ipv6":
            return 6
    raise wrong(f"{shown(value)} is not known; write IPv4 or IPv6")


def ip_version(value: object) -> Family:
    """Accept 4 or 6."""
    if value in (4, 6) and isinstance(value, int):
        return 4 if value == 4 else 6
    raise wrong(f"{shown(value)} is not an IP version; write 4 or 6, without quotes")


def protocol(value: object) -> int | None:
    """Accept a protocol's name in any case, its number, or all (also null), which is None."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        if 0 <= value <= 255:
            return value
        raise wrong(f"{shown(value)} is not a protocol number; write 0 to 255")
    word = text(value).casefold()
    if word == "all":
        return None
    if word in PROTOCOLS:
        return PROTOCOLS[word]
    if re.fullmatch(r"[0-9]{1,3}", word) and int(word) <= 255:
        return int(word)
    mend = suggestion(word, ("all", *PROTOCOLS)) or "; write all, tcp, udp, icmp, icmpv6, gre or a number from 0 to 255"
    raise wrong(f"{shown(value)} is not a protocol{mend}")


def port_range(word: str) -> PortRange:
    """Accept one port group of S4: `22` or `22-30`."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})(?:-([1-9][0-9]{0,4}))?", word)
    if not found:
        raise wrong(f"{shown(word)} is not a port; write ports from 1 to 65535 like '22', '22-30' or '22,80-90'")
    first, last = int(found[1]), int(found[2] or found[1])
    if max(first, last) > 65535:
        raise wrong(f"{shown(word)} is out of range; ports are 1 to 65535")
    if first > last:
        raise wrong(f"{shown(word)} is backwards; write '{last}-{first}'")
    return PortRange(first, last)


def ports(value: object) -> tuple[PortRange, ...]:
    """Accept a `multiport` of S4; () is every port, the order is kept as written."""
    if isinstance(value, list):
        raise wrong("a list stands where text is expected; write the ports as one text like '22,25-27'")
    if value is None or value == "":
        return ()
    if isinstance(value, int) and not isinstance(value, bool):
        return (port_range(str(value) if abs(value) < 10**9 else shown(value)),)
    return _ports(text(value))


@lru_cache(maxsize=32768)  # what many rules list is read, and kept, once
def _ports(value: str) -> tuple[PortRange, ...]:
    groups = value.split(",")
    if len(groups) > 20:
        raise wrong(f"{shown(value)} has {len(groups)} port groups; write at most 20, or split the rule")
    found = tuple(port_range(group.strip(" ")) for group in groups)
    for index, ports_of_group in enumerate(found):
        if ports_of_group in found[:index]:
            raise wrong(f"{shown(value)} repeats {str(ports_of_group)!r}; write each port group once")
    return () if found == (PortRange(1, 65535),) else found


DirectionWord = Annotated[
    Direction, PlainValidator(direction), WithJsonSchema({"type": "string", "enum": ["ingress", "egress"]})
]
ActionWord = Annotated[Action, PlainValidator(action), WithJsonSchema({"type": "string", "enum": ["allow", "deny"]})]
Ethertype = Annotated[
    Family,
    PlainValidator(ethertype),
    # The enumeration is what editors offer, the pattern what is valid besides.
    WithJsonSchema({"anyOf": [{"enum": ["IPv4", "IPv6"]}, {"type": "string", "pattern": "^[Ii][Pp][Vv][46]$"}]}),
]
IpVersion = Annotated[Family, PlainValidator(ip_version), WithJsonSchema({"type": "integer", "enum": [4, 6]})]
ANY_CASE = "^([0-9]{1,3}|[Aa][Ll][Ll]|[Tt][Cc][Pp]|[Uu][Dd][Pp]|[Gg][Rr][Ee]|[Ii][Cc][Mm][Pp]([Vv]6)?)$"
Protocol = Annotated[
    int | None,
    PlainValidator(protocol),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["all", *PROTOCOLS]},
                {"type": "string", "pattern": ANY_CASE},
                {"type": "integer", "minimum": 0, "maximum": 255},
                {"type": "null"},
            ]
        }
    ),
]
Ports = Annotated[
    tuple[PortRange, ...],
    PlainValidator(ports),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "^$|^ *[0-9]{1,5}(-[0-9]{1,5})? *(, *[0-9]{1,5}(-[0-9]{1,5})? *){0,19}$"},
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {"type": "null"},
            ]
        }
    ),
]
