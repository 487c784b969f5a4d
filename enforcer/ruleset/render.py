"""Ruleset → nft script. Only typed values become text here, each by its type; nothing else is ever sent to nft.

rule(Match(Field.CT_STATE, "new"), jump("begin_from"))  ──▶  ct state new jump begin_from
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import assert_never

from enforcer.ruleset.nft import (
    Chain,
    Counter,
    Dispatch,
    Element,
    Field,
    InSet,
    Interval,
    KeyPart,
    KeyType,
    Load,
    Log,
    Match,
    Rule,
    Ruleset,
    Set,
    SetMark,
    SetPriority,
    Statement,
    Table,
    Throttle,
    Timeout,
    UseTimeout,
    Verdict,
)

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_WORD = re.compile(r"[A-Za-z0-9_.:,/-]{1,64}")
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_ETHER = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_COMMENT = re.compile(r'[^"\\\n\r\0]*')
COMMENT_BYTES = 120
"""nft takes comments of up to 128 bytes with the terminating zero; we stay below."""

MOST_DYNAMIC, DYNAMIC_SECONDS = 65_535, 3_600
"""Of a set that packets fill: so many elements at most, each for so long after its last packet."""


def render(ruleset: Ruleset) -> str:
    """Return the script that puts exactly this ruleset in place of whatever our tables held, in one transaction."""
    lines: list[str] = []
    for table in ruleset.tables:
        lines += [f"add table {table.family} {table.name}", f"delete table {table.family} {table.name}"]
    for table in ruleset.tables:
        lines += render_table(table)
    return "\n".join(lines) + "\n"


def render_table(table: Table) -> Iterator[str]:
    """Print a table block; objects come before the chains that name them."""
    yield f"table {table.family} {identifier(table.name)} {{"
    for timeout in table.timeouts:
        yield from timeout_block(timeout)
    for entry in table.sets:
        yield from set_block(entry)
    for chain in table.chains:
        yield from chain_block(chain)
    yield "}"


def timeout_block(timeout: Timeout) -> Iterator[str]:
    """Print a `ct timeout` object."""
    policy = ", ".join(f"{identifier(state)} : {int(seconds)}" for state, seconds in timeout.policy)
    yield f"\tct timeout {identifier(timeout.name)} {{"
    yield f"\t\tprotocol {timeout.protocol}"
    yield f"\t\tl3proto {timeout.l3proto}"
    yield f"\t\tpolicy = {{ {policy} }}"
    yield "\t}"


def set_block(entry: Set) -> Iterator[str]:
    """Print a set or map with its elements, one a line."""
    yield f"\t{'map' if entry.value else 'set'} {identifier(entry.name)} {{"
    yield f"\t\t{set_type(entry)}"
    if entry.size:
        yield f"\t\tsize {entry.size}"
    if entry.interval:
        yield "\t\tflags interval"
    if entry.dynamic:
        yield f"\t\tsize {MOST_DYNAMIC}"
        yield "\t\tflags dynamic,timeout"
        yield f"\t\ttimeout {DYNAMIC_SECONDS // 3600}h"
    if entry.counted:
        yield "\t\tcounter"
    if entry.elements:
        yield "\t\telements = {"
        yield ",\n".join(f"\t\t\t{text}" for text in element_texts(entry))
        yield "\t\t}"
    yield "\t}"


def set_type(entry: Set) -> str:
    """Print a set's type; `typeof` where a part has no type of its own."""
    if any(field.type is KeyType.TARGET for field in entry.key):
        return f"typeof {' . '.join(field.text for field in entry.key)}"
    key = " . ".join(field.type.value for field in entry.key)
    return f"type {key} : {entry.value}" if entry.value else f"type {key}"


def element_texts(entry: Set, elements: Iterable[Element] | None = None) -> Iterator[str]:
    """Print elements of a set: `key [counter] [comment] [: value]`."""
    types = tuple(field.type for field in entry.key)
    for element in entry.elements if elements is None else elements:
        text = key_text(types, element.key)
        if entry.counted:
            text += " counter"
        if element.comment:
            text += f' comment "{comment_text(element.comment)}"'
        match element.value:
            case None:
                yield text
            case Verdict():
                yield f"{text} : {verdict_text(element.value)}"
            case int():
                yield f"{text} : {classid(element.value)}"
            case _:
                assert_never(element.value)


def key_text(types: tuple[KeyType, ...], key: tuple[KeyPart, ...]) -> str:
    """Print an element's key, its parts joined by ` . `."""
    return " . ".join(part_text(kind, part) for kind, part in zip(types, key, strict=True))


def part_text(kind: KeyType, part: KeyPart) -> str:
    """Print one part of a key by its type."""
    if isinstance(part, Interval):
        if part.first == part.last:
            return part_text(kind, part.first)
        return f"{part_text(kind, part.first)}-{part_text(kind, part.last)}"
    if isinstance(part, str):
        if kind in (KeyType.IFINDEX, KeyType.IFNAME):
            return f'"{checked(_INTERFACE, part)}"'
        return checked(_ETHER, part)
    match kind:
        case KeyType.IPV4:
            return str(IPv4Address(part))
        case KeyType.IPV6:
            return str(IPv6Address(part))
        case KeyType.CLASSID:
            return classid(part)
        case KeyType.TARGET:
            return f"0x{part:032x}"
        case KeyType.MARK:
            return f"0x{part:08x}"
        case _:
            return str(part)


def classid(value: int) -> str:
    """Print a value of nft's type classid: two 16-bit halves, hexadecimal."""
    return f"{value >> 16:x}:{value & 0xFFFF:x}"


def chain_block(chain: Chain) -> Iterator[str]:
    """Print a chain with its rules."""
    yield f"\tchain {identifier(chain.name)} {{"
    if chain.comment:
        yield f'\t\tcomment "{comment_text(chain.comment)}"'
    if chain.hook:
        device = f' device "{checked(_INTERFACE, chain.hook.device)}"' if chain.hook.device else ""
        yield f"\t\ttype filter hook {chain.hook.hook}{device} priority {chain.hook.priority}; policy accept;"
    for entry in chain.rules:
        yield f"\t\t{rule_text(entry)}"
    yield "\t}"


def rule_text(entry: Rule) -> str:
    """Print one rule."""
    text = " ".join(statement_text(statement) for statement in entry.statements)
    return f'{text} comment "{comment_text(entry.comment)}"' if entry.comment else text


def statement_text(statement: Statement) -> str:
    """Print one statement."""
    match statement:
        case Match(field, value, op, mask):
            shown = checked(_WORD, value) if isinstance(value, str) else value_text(field.type, value)
            masked = "" if mask is None else f" & 0x{mask:08x}"
            operator = "" if op == "==" and mask is None else f"{op} "
            return f"{field.text}{masked} {operator}{shown}"
        case InSet(fields, name, negated, mask):
            masked = "" if mask is None else f" & 0x{mask:08x}"
            return f"{fields_text(fields)}{masked} {'!= ' if negated else ''}@{identifier(name)}"
        case Dispatch(fields, name):
            return f"{fields_text(fields)} vmap @{identifier(name)}"
        case Load(fields, name):
            return f"meta priority set {fields_text(fields)} map @{identifier(name)}"
        case SetPriority(value):
            return f"meta priority set {classid(value)}"
        case SetMark(field, keep, bits):
            return f"{field.text} set {field.text} & 0x{keep:08x} | 0x{bits:08x}"
        case UseTimeout(name):
            return f'ct timeout set "{identifier(name)}"'
        case Counter():
            return "counter"
        case Throttle(field, name, per_second, burst):
            limit = f" limit rate {int(per_second)}/second burst {int(burst)} packets" if per_second else ""
            return f"update @{identifier(name)} {{ {field.text} counter{limit} }}"
        case Log(group, prefix, length):
            return f'log prefix "{checked(_WORD, prefix)}" group {int(group)} snaplen {int(length)}'
        case Verdict():
            return verdict_text(statement)
        case _:
            assert_never(statement)


def value_text(kind: KeyType, value: int) -> str:
    """Print a number that a field is compared with."""
    if kind is KeyType.MARK:
        return f"0x{value:08x}"
    return classid(value) if kind is KeyType.CLASSID else str(value)


def fields_text(fields: tuple[Field, ...]) -> str:
    """Print a concatenation."""
    return " . ".join(field.text for field in fields)


def verdict_text(verdict: Verdict) -> str:
    """Print a verdict."""
    return f"{verdict.kind} {identifier(verdict.chain)}" if verdict.chain else verdict.kind


def comment_text(text: str) -> str:
    """Cut a comment to what nft takes, at a character's border."""
    raw = text.encode()
    if len(raw) > COMMENT_BYTES:
        text = raw[: COMMENT_BYTES - 3].decode(errors="ignore") + "…"
    return checked(_COMMENT, text)


def identifier(name: str) -> str:
    """Return a name of our own making, checked against nft's alphabet."""
    return checked(_IDENTIFIER, name)


def checked(pattern: re.Pattern[str], text: str) -> str:
    """Return the text if it is of the alphabet; anything else is a bug, caught before nft sees it."""
    if not pattern.fullmatch(text):
        raise ValueError(f"{text!r} must not reach nft")
    return text
