"""Bytes of netlink: attributes (a length, a kind, a value, padded to four) and nftables messages made of them.

attribute(1, b"lo\\0")  ──▶  07 00 01 00 6c 6f 00 00
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_FAMILY: Final = struct.Struct(">BBH")
NESTED: Final = 0x8000
_KIND: Final = 0x3FFF
FAMILIES: Final = {"inet": 1, "netdev": 5}
SUBSYSTEM: Final = 10
REQUEST, ACK, ECHO, CREATE, APPEND, DUMP = 0x1, 0x4, 0x8, 0x400, 0x800, 0x300
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


def attribute(kind: int, value: bytes) -> bytes:
    """Build one attribute."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + _PADDING[len(value) & 3]


def nest(kind: int, *parts: bytes) -> bytes:
    """Build an attribute that holds others."""
    return attribute(kind | NESTED, b"".join(parts))


def text(kind: int, value: str) -> bytes:
    """Build an attribute that is a name."""
    return attribute(kind, value.encode() + b"\0")


@lru_cache(4096)
def number(kind: int, value: int) -> bytes:
    """Build an attribute that is a number of 32 bits; the kernel wants the highest byte first."""
    return struct.pack("=HH", 8, kind) + struct.pack(">I", value & 0xFFFF_FFFF)


def long(kind: int, value: int) -> bytes:
    """Build an attribute that is a number of 64 bits."""
    return struct.pack("=HH", 12, kind) + struct.pack(">Q", value)


def message(kind: int, flags: int, family: int, body: bytes, sequence: int = 0, resource: int = 0) -> bytes:
    """Build a message: netlink's header, the family's header, and attributes."""
    return HEADER.pack(20 + len(body), kind, flags | REQUEST, sequence, 0) + _FAMILY.pack(family, 0, resource) + body


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Split what one read returned into kind, flags, sequence and body."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, at)
        yield kind, flags, sequence, data[at + HEADER.size : at + length]
        at += max(length, HEADER.size) + 3 & ~3


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and value of attributes."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        yield kind & _KIND, data[at + _ATTRIBUTE.size : at + length]
        at += max(length, _ATTRIBUTE.size) + 3 & ~3
