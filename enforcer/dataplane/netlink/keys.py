"""Values by their types: widths and order of bytes for the kernel, and notes for `nft list`, which prints by type.

The kernel compares bytes and knows no types. nft keeps the type of a set's key as a number (six bits for each part) and
in "user data" which order its bytes have. In interval sets of several parts every part has the highest byte first,
for they are compared by size.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import Final, Literal

from enforcer.dataplane.netlink.wire import attribute, nest, number
from enforcer.ruleset.nft import Interval, Key, KeyPart, KeyType, Set

Order = Literal["little", "big"]
_HOST: Final[Order] = sys.byteorder


@dataclass(frozen=True, slots=True)
class Shape:
    """How nft's datatype looks to the kernel: its number in libnftables, bytes, and whether the host's order."""

    number: int
    length: int
    host: bool


SHAPES: Final[Mapping[KeyType, Shape]] = {
    KeyType.IPV4: Shape(7, 4, False),
    KeyType.IPV6: Shape(8, 16, False),
    KeyType.ETHER: Shape(9, 6, False),
    KeyType.PROTOCOL: Shape(12, 1, False),
    KeyType.SERVICE: Shape(13, 2, False),
    KeyType.MARK: Shape(19, 4, True),
    KeyType.IFINDEX: Shape(20, 4, True),
    KeyType.CLASSID: Shape(23, 4, True),
    KeyType.IFNAME: Shape(41, 16, True),
    KeyType.TARGET: Shape(4, 16, False),
}
VERDICT_TYPE, VERDICT_LENGTH = 0xFFFF_FF00, 16
CONCATENATION = 13  # libnftables' EXPR_CONCAT, in notes about the key's origin
TARGET_NOTE: Final = bytes.fromhex(
    "0340" "00040d000000" "0138" "000e" "000409000000" "0106" "000404000000"
    "0126" "000407000000" "011e" "000400000000" "010400000000" "020403000000" "030440000000" "040480000000"
)  # fmt: skip
"""The note for `typeof iif . @th,64,128`, as libnftables 1.0.6 writes it."""


def width(kind: KeyType) -> int:
    """Return the bytes of a part of a key, padded to whole registers."""
    return SHAPES[kind].length + 3 & ~3


def key_length(entry: Set) -> int:
    """Return the bytes of a set's key."""
    if len(entry.key) == 1:
        return SHAPES[entry.key[0].type].length
    return sum(width(field.type) for field in entry.key)


def key_type(entry: Set) -> int:
    """Return the number by which nft knows the key's type."""
    found = 0
    for field in entry.key:
        found = found << 6 | SHAPES[field.type].number
    return found


def fields(entry: Set) -> bytes:
    """Describe the parts of a concatenated interval key, which the kernel looks up part by part."""
    return b"".join(nest(1, number(1, SHAPES[field.type].length)) for field in entry.key)


def notes(entry: Set) -> bytes:
    """Build the user data of a set."""
    several = len(entry.key) > 1
    found = _note(0, 0 if several else 1 if SHAPES[entry.key[0].type].host else 2)
    if entry.value:
        found += _note(1, 1 if entry.value == "classid" else 0)
    if any(field.type is KeyType.TARGET for field in entry.key):
        found += TARGET_NOTE
    elif several:
        found += b"\x03\x08" + _note(0, CONCATENATION) + b"\x01\x00"
    return found + _note(6, 0) if entry.value else found


def _note(kind: int, value: int) -> bytes:
    return bytes((kind, 4)) + value.to_bytes(4, _HOST)


def part(kind: KeyType, value: int | str, indexes: Mapping[str, int], *, ordered: bool) -> bytes:
    """Encode one part of a key; `ordered`: highest byte first whatever the type, as intervals of several parts want.

    Raises KeyError for an interface that does not exist.
    """
    shape = SHAPES[kind]
    if isinstance(value, str):
        if kind is KeyType.IFNAME:
            return value.encode().ljust(shape.length, b"\0")
        if kind is KeyType.ETHER:
            return bytes.fromhex(value.replace(":", ""))
        value = indexes[value]
    return value.to_bytes(shape.length, _HOST if shape.host and not ordered else "big")


def byte_order(entry: Set) -> Order:
    """Return which byte of a key of one part comes first."""
    return _HOST if SHAPES[entry.key[0].type].host else "big"


def keyed(entry: Set, keys: Iterable[Key], indexes: Mapping[str, int], joint: bytes) -> Iterator[Iterable[bytes]]:
    """Encode the keys of a set's elements, part by part: the first, and of interval sets a joint and the last."""
    columns = tuple(zip(*keys, strict=True))
    for found, column in zip(_parts(entry, indexes, last=False), columns, strict=False):
        yield map(found.__getitem__, column)
    if entry.interval:
        yield repeat(joint, len(columns[0]))
        for found, column in zip(_parts(entry, indexes, last=True), columns, strict=False):
            yield map(found.__getitem__, column)


class _Part(dict[KeyPart, bytes]):
    """The bytes of values that one part of a key has; each is found once."""

    def __init__(self, kind: KeyType, length: int, indexes: Mapping[str, int], *, ordered: bool, last: bool) -> None:
        super().__init__()
        self._kind, self._length, self._indexes, self._ordered, self._last = kind, length, indexes, ordered, last

    def __missing__(self, value: KeyPart) -> bytes:
        end = value[self._last] if isinstance(value, Interval) else value
        found = self[value] = part(self._kind, end, self._indexes, ordered=self._ordered).ljust(self._length, b"\0")
        return found


def _parts(entry: Set, indexes: Mapping[str, int], *, last: bool) -> list[_Part]:
    several = len(entry.key) > 1
    ordered = several and entry.interval
    return [
        _Part(field.type, width(field.type) if several else 0, indexes, ordered=ordered, last=last)
        for field in entry.key
    ]


def class_bytes(value: int) -> bytes:
    """Encode a value of nft's type classid."""
    return value.to_bytes(4, _HOST)


def data(kind: int, value: bytes) -> bytes:
    """Build an attribute that is a value of the kernel's."""
    return nest(kind, attribute(1, value))
