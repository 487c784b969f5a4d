"""The words a policy is made of: names, descriptions, numbers, flags – each with its limits and its error.

Every type at the end is an `Annotated` whose validator takes what the file says (text, number, true/false, nothing)
and returns what the rest of the program works with. Nothing here knows rules, groups or hosts; what packets
have is in `protocols` and `addresses`. Example: `Flag` takes `true` and refuses `"true"`, `yes` and 1.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from enforcer.model.words.wording import forbidden_character, shown, suggestion, wrong

PLAIN_NAME = re.compile("[A-Za-z0-9_.-]{1,64}")
"""Nearly all names."""


@lru_cache(maxsize=65536)
def _once(word: str) -> str:
    """Return the word as it was first seen: one that is written in a thousand rules is kept once."""
    return word


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
    if isinstance(value, str) and PLAIN_NAME.fullmatch(value):
        return _once(value)
    word = unicodedata.normalize("NFC", text(value))
    if not 1 <= len(word) <= 64:
        raise wrong(f"{shown(word)} has {len(word)} characters; a name has 1 to 64")
    for character in word:
        if character not in "_-." and unicodedata.category(character)[0] not in "LM" and not character.isdecimal():
            raise wrong(f"{shown(word)} has the character {character!r}; a name has letters, digits, '_', '-' and '.'")
    return _once(word)


def host_name(value: object) -> str:
    """Accept a name that the command line can tell from an address."""
    word = name(value)
    if "." not in word:
        return word
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


def flavor(value: object) -> str | None:
    """Accept an ECS type such as `s6.large.2`."""
    if value is None:
        return None
    word = text(value)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", word):
        raise wrong(f"{shown(word)} is not an ECS type; write one like s6.large.2")
    return word


NAME_SCHEMA = (
    WithJsonSchema(  # every ASCII character that is no letter, digit, '_', '-' or '.', spelt so that all dialects agree
        {"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"^[^\u0000-,/:-@\[-^`{-\u007f]+$"}
    )
)
Name = Annotated[str, PlainValidator(name), NAME_SCHEMA]
HostName = Annotated[str, PlainValidator(host_name), NAME_SCHEMA]
Reference = Annotated[str | None, PlainValidator(name), NAME_SCHEMA]
RuleId = Annotated[str, PlainValidator(rule_id), WithJsonSchema({"type": ["string", "null"], "maxLength": 64})]
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
