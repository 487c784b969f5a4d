"""The words a policy is made of: names, numbers, protocols, ports – each with its limits and its error.

Every type at the end is an `Annotated` whose validator takes what the file says (text, number, true/false, nothing)
and returns what the rest of the program works with. Nothing here knows rules, groups or hosts;
addresses are in `addresses`. Example: `Ports` turns `"22,25-27"` into `(PortRange(22, 22), PortRange(25, 27))`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Literal, NamedTuple

from pydantic import PlainValidator, WithJsonSchema

from enforcer.model.wording import forbidden_character, shown, suggestion, wrong

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


def text(value: object) -> str:
    """Accept text without control characters."""
    if not isinstance(value, str):
        if value is None:
            raise wrong("null stands where text is expected; write a text, or leave the key out")
        if isinstance(value, list | dict):
            raise wrong(f"{shown(value)} stands where text is expected; write a text")
        raise wrong(f"{shown(value)} is not text; write it in quotes")
    if (character := forbidden_character(value)) is not None:
        raise wrong(f"{shown(value)} has the control character U+{ord(character):04X}; write one line of plain text")
    return value


def name(value: object) -> str:
    """Accept a name of S1; composed and decomposed spellings of a letter are one name (Unicode NFC)."""
    word = unicodedata.normalize("NFC", text(value))
    if not 1 <= len(word) <= 64:
        raise wrong(f"{shown(word)} has {len(word)} characters; a name has 1 to 64")
    for character in word:
        if character not in "_-." and unicodedata.category(character)[0] not in "LM" and not character.isdecimal():
            raise wrong(f"{shown(word)} has the character {character!r}; a name has letters, digits, '_', '-' and '.'")
    return word


def host_name(value: object) -> str:
    """Accept a name that the command line can tell from an address."""
    word = name(value)
    try:
        ip_address(word)
    except ValueError:
        return word
    raise wrong(f"{shown(word)} reads as an address; choose a name that is none, or SRC and DST would be ambiguous")


def nic_name(value: object) -> str:
    """Accept `ecs` (its first NIC) or `ecs:nic`."""
    ecs, colon, nic = text(value).partition(":")
    return f"{name(ecs)}:{name(nic)}" if colon else name(ecs)


def rule_id(value: object) -> str:
    """Accept a rule's id, or nothing: the group then generates it."""
    return "" if value is None else name(value)


def description(value: object) -> str:
    """Accept a description of S1: at most 255 characters, no angle brackets."""
    words = "" if value is None else text(value)
    if len(words) > 255:
        raise wrong(f"{shown(words)} is too long; a description has at most 255 characters")
    if "<" in words or ">" in words:
        raise wrong(f"{shown(words)} has '<' or '>'; a description has neither")
    return words


def flag(value: object) -> bool:
    """Accept true or false, nothing that merely looks like it."""
    if not isinstance(value, bool):
        raise wrong(f"{shown(value)} is neither true nor false; write true or false, without quotes")
    return value


def whole(first: int, last: int) -> Callable[[object], int]:
    """Return the validator of a whole number from `first` to `last`."""

    def validator(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong(f"{shown(value)} is not a whole number; write one from {first} to {last}, without quotes")
        if not first <= value <= last:
            raise wrong(f"{shown(value)} is out of range; write a whole number from {first} to {last}")
        return value

    return validator


def one_of(*words: str, elsewhere: dict[str, str] | None = None) -> Callable[[object], str]:
    """Return the validator of a fixed vocabulary; `elsewhere` translates what others call the same thing."""

    def validator(value: object) -> str:
        word = text(value)
        if word in words:
            return word
        if (here := (elsewhere or {}).get(word.casefold())) is not None:
            raise wrong(f"{shown(word)} is not known; write {here!r}")
        choice = suggestion(word, words) or "; write " + " or ".join(repr(choice) for choice in words)
        raise wrong(f"{shown(word)} is not known{choice}")

    return validator


def direction(value: object) -> Direction:
    """Accept ingress or egress."""
    elsewhere = {"inbound": "ingress", "in": "ingress", "outbound": "egress", "out": "egress"}
    return Direction(one_of("ingress", "egress", elsewhere=elsewhere)(value))


def action(value: object) -> Action:
    """Accept allow or deny."""
    elsewhere = {"accept": "allow", "permit": "allow", "drop": "deny", "reject": "deny", "block": "deny"}
    return Action(one_of("allow", "deny", elsewhere=elsewhere)(value))


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
    groups = text(value).split(",")
    if len(groups) > 20:
        raise wrong(f"{shown(value)} has {len(groups)} port groups; write at most 20, or split the rule")
    found = tuple(port_range(group.strip(" ")) for group in groups)
    for index, ports_of_group in enumerate(found):
        if ports_of_group in found[:index]:
            raise wrong(f"{shown(value)} repeats {str(ports_of_group)!r}; write each port group once")
    return () if found == (PortRange(1, 65535),) else found


def flavor(value: object) -> str | None:
    """Accept an ECS type such as `s6.large.2`."""
    if value is None:
        return None
    word = text(value)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", word):
        raise wrong(f"{shown(word)} is not an ECS type; write one like s6.large.2")
    return word


Name = Annotated[
    str,
    PlainValidator(name),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"^[\p{L}\p{M}\p{Nd}_.-]+$"}),
]
Reference = Annotated[str | None, PlainValidator(name), WithJsonSchema({"type": "string"})]
RuleId = Annotated[str, PlainValidator(rule_id), WithJsonSchema({"type": ["string", "null"], "maxLength": 64})]
HostName = Annotated[
    str,
    PlainValidator(host_name),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"^[\p{L}\p{M}\p{Nd}_.-]+$"}),
]
NicName = Annotated[
    str,
    PlainValidator(nic_name),
    WithJsonSchema({"type": "string", "description": "an ECS (its first NIC) or ecs:nic"}),
]
Description = Annotated[
    str,
    PlainValidator(description),
    WithJsonSchema({"type": ["string", "null"], "maxLength": 255, "pattern": "^[^<>]*$"}),
]
Flag = Annotated[bool, PlainValidator(flag), WithJsonSchema({"type": "boolean"})]
Flavor = Annotated[
    str | None,
    PlainValidator(flavor),
    WithJsonSchema({"type": ["string", "null"], "description": "the ECS type (flavor), such as s6.large.2"}),
]


def number(first: int, last: int) -> tuple[PlainValidator, WithJsonSchema]:
    """Return what `Annotated[int, *number(1, 100)]` needs: a whole number in a range."""
    return PlainValidator(whole(first, last)), WithJsonSchema({"type": "integer", "minimum": first, "maximum": last})


Priority = Annotated[int, *number(1, 100)]
Port = Annotated[int, *number(1, 65535)]
Octet = Annotated[int | None, *number(0, 255)]

DirectionWord = Annotated[
    Direction, PlainValidator(direction), WithJsonSchema({"type": "string", "enum": ["ingress", "egress"]})
]
ActionWord = Annotated[Action, PlainValidator(action), WithJsonSchema({"type": "string", "enum": ["allow", "deny"]})]
Ethertype = Annotated[
    Family,
    PlainValidator(ethertype),
    WithJsonSchema({"type": "string", "enum": ["IPv4", "IPv6"], "description": "in any case"}),
]
IpVersion = Annotated[Family, PlainValidator(ip_version), WithJsonSchema({"type": "integer", "enum": [4, 6]})]
Protocol = Annotated[
    int | None,
    PlainValidator(protocol),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": ["all", *PROTOCOLS]},
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
                {"type": "string", "pattern": "^$|^ *[0-9]{1,5}(-[0-9]{1,5})?( *, *[0-9]{1,5}(-[0-9]{1,5})?){0,19} *$"},
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {"type": "null"},
            ]
        }
    ),
]
