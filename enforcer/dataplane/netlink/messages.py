"""Changes of objects → messages of one transaction, each remembered by what it is about.

encode([AddElements("inet", hosts, (Element((0x0A00000B,), 0x80000001),))], …)  ──▶  NFT_MSG_NEWSETELEM …

The kernel bounds an attribute to 64 KB: many elements are several messages. Must not know: policies, sockets.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Final, assert_never

from enforcer.dataplane.netlink.expressions import COUNTER, rule_expressions, verdict
from enforcer.dataplane.netlink.keys import (
    VERDICT_LENGTH,
    VERDICT_TYPE,
    byte_order,
    class_bytes,
    data,
    fields,
    key_length,
    key_type,
    keyed,
    notes,
)
from enforcer.dataplane.netlink.wire import (
    APPEND,
    CREATE,
    ECHO,
    FAMILIES,
    NESTED,
    SUBSYSTEM,
    attribute,
    long,
    message,
    nest,
    number,
    text,
)
from enforcer.ruleset.changes import (
    AddChain,
    AddElements,
    AddSet,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    EmptyChain,
    EmptySet,
    Operation,
    Refill,
    WakeTable,
)
from enforcer.ruleset.names import MARKS, TABLE
from enforcer.ruleset.nft import Chain, Element, Interval, Set, Verdict
from enforcer.ruleset.render import DYNAMIC_SECONDS, MOST_DYNAMIC, comment_text

_NEW_TABLE, _NEW_CHAIN, _DELETE_CHAIN, _NEW_RULE, _DELETE_RULE, _NEW_SET, _DELETE_SET = 0, 3, 5, 6, 8, 9, 11
_NEW_ELEMENT, _DELETE_ELEMENT = 12, 14
_INTERVAL, _MAP, _CONCATENATED = 0x4, 0x8, 0x80
_FILLED_BY_PACKETS = 0x10 | 0x20  # with a timeout
_END = 0x1
_OPEN_END: Final = bytes((1, 4)) + class_bytes(1)
_HOOKS = {"ingress": 0, "egress": 1, "prerouting": 0, "input": 1, "postrouting": 4}
_ELEMENT_KEY: Final = struct.Struct("=HHHH")
_NESTED_HEAD: Final = struct.Struct("=HH")
_MOST_BYTES: Final = 60_000
TABLE_NAME: Final = text(1, TABLE)


@dataclass(frozen=True, slots=True)
class Message:
    """A message without its number, and what it is about, for the words of a refusal."""

    kind: int
    flags: int
    family: int
    body: bytes
    about: str

    def numbered(self, sequence: int, flags: int = 0) -> bytes:
        """Return the bytes."""
        return message(SUBSYSTEM << 8 | self.kind, self.flags | flags, self.family, self.body, sequence)


def encode(operations: Sequence[Operation], sets: Mapping[str, Set], indexes: Mapping[str, int]) -> Iterator[Message]:
    """Encode the operations of one transaction, one after the other.

    `sets` are those that rules may ask, `indexes` the interfaces. New chains come first, for rules and elements name
    them. Raises Untold for a statement that has no form here.
    """
    yield from (new_chain(one.family, one.chain) for one in operations if isinstance(one, AddChain))
    for at, one in enumerate(operations, 1):
        yield from _operation(one, at, sets, indexes)


def new_table(family: str) -> Message:
    """Encode a table that may be there; it is awake afterwards."""
    return Message(_NEW_TABLE, CREATE, FAMILIES[family], TABLE_NAME + number(2, 0), "table")


def new_chain(family: str, chain: Chain) -> Message:
    """Encode a chain without its rules."""
    return Message(_NEW_CHAIN, CREATE, FAMILIES[family], _chain(chain), f"chain {chain.name}")


def new_set(family: str, entry: Set, number_: int, indexes: Mapping[str, int]) -> Iterator[Message]:
    """Encode a set with its elements; `number_` tells it from others of the transaction."""
    yield Message(_NEW_SET, CREATE, FAMILIES[family], _set(entry, number_), f"set {entry.name}")
    yield from _elements(_NEW_ELEMENT, CREATE, FAMILIES[family], entry, entry.elements, indexes)


def _operation(
    operation: Operation, number_: int, sets: Mapping[str, Set], indexes: Mapping[str, int]
) -> Iterator[Message]:
    family = FAMILIES[operation.family]
    match operation:
        case WakeTable():
            yield new_table(operation.family)
        case AddSet(_, entry):
            yield from new_set(operation.family, entry, number_, indexes)
        case AddElements(_, entry, elements):
            yield from _elements(_NEW_ELEMENT, CREATE, family, entry, elements, indexes)
        case DeleteElements(_, entry, elements):
            told = ECHO if entry.counted else 0  # what they have counted
            yield from _elements(_DELETE_ELEMENT, told, family, entry, elements, indexes)
        case AddChain(_, chain):
            yield from rules(operation.family, chain, sets)
        case Refill(_, chain) if chain.name in MARKS:
            yield from marking(operation.family, chain)
        case Refill(_, chain):
            yield from _refilled(operation.family, chain, sets)
        case EmptyChain(_, name):
            yield Message(_DELETE_RULE, 0, family, TABLE_NAME + text(2, name), f"chain {name}")
        case DeleteChain(_, name):
            yield Message(_DELETE_CHAIN, 0, family, TABLE_NAME + text(3, name), f"chain {name}")
        case EmptySet(_, name):
            yield Message(_DELETE_ELEMENT, 0, family, TABLE_NAME + text(2, name), f"set {name}")
        case DeleteSet(_, name):
            yield Message(_DELETE_SET, 0, family, TABLE_NAME + text(2, name), f"set {name}")
        case _:
            assert_never(operation)


@lru_cache(64)
def marking(family: str, chain: Chain) -> tuple[Message, ...]:
    """Encode other rules of a chain that marks flows, which asks no set; it may be made beforehand."""
    return tuple(_refilled(family, chain, {}))


def _refilled(family: str, chain: Chain, sets: Mapping[str, Set]) -> Iterator[Message]:
    yield Message(_DELETE_RULE, 0, FAMILIES[family], TABLE_NAME + text(2, chain.name), f"chain {chain.name}")
    yield from rules(family, chain, sets)


def _set(entry: Set, number_: int) -> bytes:
    several = len(entry.key) > 1
    flags = (
        _FILLED_BY_PACKETS * entry.dynamic
        | _INTERVAL * entry.interval
        | _MAP * bool(entry.value)
        | _CONCATENATED * (entry.interval and several)
    )
    parts = [
        TABLE_NAME,
        text(2, entry.name),
        number(3, flags),
        number(4, key_type(entry)),
        number(5, key_length(entry)),
    ]
    if entry.value == "verdict":
        parts += [number(6, VERDICT_TYPE), number(7, VERDICT_LENGTH)]
    elif entry.value:
        parts += [number(6, 23), number(7, 4)]
    size = MOST_DYNAMIC if entry.dynamic else entry.size
    description = number(1, size) if size else b""
    description += nest(2, fields(entry)) if entry.interval and several else b""
    if description:
        parts.append(nest(9, description))
    parts += [number(10, number_), *((long(11, DYNAMIC_SECONDS * 1000),) if entry.dynamic else ())]
    parts.append(attribute(13, notes(entry)))
    if entry.counted:
        parts.append(nest(17, COUNTER[4:]))
    return b"".join(parts)


def _elements(
    kind: int, flags: int, family: int, entry: Set, elements: Sequence[Element], indexes: Mapping[str, int]
) -> Iterator[Message]:
    """Split elements into messages that the kernel takes."""
    head = TABLE_NAME + text(2, entry.name)
    about = f"elements of {entry.name}"
    ranged = entry.interval and len(entry.key) == 1
    parts: list[bytes] = []
    size = 0
    for part in _ranges(entry, elements) if ranged else _keyed(kind, entry, elements, indexes):
        if size + len(part) > _MOST_BYTES:
            yield Message(kind, flags, family, head + nest(3, *parts), about)
            parts, size = [], 0
        parts.append(part)
        size += len(part)
    if parts:
        yield Message(kind, flags, family, head + nest(3, *parts), about)


def _keyed(kind: int, entry: Set, elements: Sequence[Element], indexes: Mapping[str, int]) -> Iterator[bytes]:
    """Yield elements of hash sets, and of interval sets of several parts.

    Elements with the same value and comment differ in nothing but the key, so what is around it is made once.
    """
    if not (elements := tuple(elements)):
        return
    size = key_length(entry)
    head = _ELEMENT_KEY.pack(8 + size, 1 | NESTED, 4 + size, 1)
    padding = bytes(-size & 3)
    joint = padding + _ELEMENT_KEY.pack(8 + size, 10 | NESTED, 4 + size, 1) if entry.interval else b""
    length = len(head) + size + len(padding) + (len(joint) + size if joint else 0)
    adds = kind == _NEW_ELEMENT
    told: dict[tuple[Verdict | int | None, str], tuple[bytes, bytes]] = {}
    abouts = [(value, comment) if adds else (None, "") for _, value, comment in elements]
    for about in set(abouts):
        rest = _about(*about)
        told[about] = _NESTED_HEAD.pack(4 + length + len(rest), 1 | NESTED) + head, padding + rest
    around = [told[about] for about in abouts]
    keys = keyed(entry, (key for key, *_ in elements), indexes, joint)
    yield from map(
        b"".join, zip((before for before, _ in around), *keys, (behind for _, behind in around), strict=True)
    )


def _about(value: Verdict | int | None, comment: str) -> bytes:
    """Build what an element has beside its key."""
    found = b"" if value is None else _value(value)
    return found + attribute(6, _comment(comment)) if comment else found


def _ranges(entry: Set, elements: Sequence[Element]) -> Iterator[bytes]:
    """Yield the intervals of a set of one part as the kernel has them: where they begin, and where they have ended."""
    spans = [
        (part if isinstance(part, Interval) else Interval(int(part), int(part)), value)
        for (part, *_), value, _ in elements
    ]
    spans.sort(key=itemgetter(0))
    size, order = key_length(entry), byte_order(entry)
    most, padding = (1 << 8 * size) - 1, bytes(-size & 3)
    head = _ELEMENT_KEY.pack(8 + size, 1 | NESTED, 4 + size, 1)
    around: dict[Verdict | int | None, tuple[bytes, bytes]] = {}

    def _within(rest: bytes) -> tuple[bytes, bytes]:
        length = 4 + len(head) + size + len(padding) + len(rest)
        return _NESTED_HEAD.pack(length, 1 | NESTED) + head, padding + rest

    before_end, behind_end = _within(number(3, _END))
    if spans and spans[0][0].first > 0:
        yield before_end + bytes(size) + behind_end
    for (first, last), value in spans:
        if value not in around:
            around[value] = _within(b"" if value is None else _value(value))
        before, behind = around[value]
        if last == most:
            before, behind = _within(behind[len(padding) :] + attribute(6, _OPEN_END))
        yield before + first.to_bytes(size, order) + behind
        if last != most:
            yield before_end + (last + 1).to_bytes(size, order) + behind_end


@lru_cache(1024)
def _value(value: Verdict | int) -> bytes:
    return verdict(2, value) if isinstance(value, Verdict) else data(2, class_bytes(value))


def _comment(comment: str) -> bytes:
    """Build nft's note of a comment: kind 0, length, text with a zero."""
    raw = comment_text(comment).encode() + b"\0"
    return bytes((0, len(raw))) + raw


def _chain(chain: Chain) -> bytes:
    parts = [TABLE_NAME, text(3, chain.name)]
    if chain.hook:
        device = (text(3, chain.hook.device),) if chain.hook.device else ()
        hook = nest(4, number(1, _HOOKS[chain.hook.hook]), number(2, chain.hook.priority), *device)
        parts += [hook, number(5, 1), text(7, "filter")]
    if chain.comment:
        parts.append(attribute(12, _comment(chain.comment)))
    return b"".join(parts)


def rules(family: str, chain: Chain, sets: Mapping[str, Set]) -> Iterator[Message]:
    """Encode the rules of a chain that is there."""
    head, about = TABLE_NAME + text(2, chain.name), f"chain {chain.name}"
    for rule in chain.rules:
        comment = attribute(7, _comment(rule.comment)) if rule.comment else b""
        body = head + nest(4, rule_expressions(rule, sets, family)) + comment
        yield Message(_NEW_RULE, CREATE | APPEND, FAMILIES[family], body, about)
