"""What a field that has been read is compared with: words and numbers of nft as the bytes that the kernel compares.

    Match(Field.CT_STATE, "established")  ──▶  & 0x2;  != 0

Must not know: how a field is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_network
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

from enforcer.dataplane.netlink.keys import class_bytes, data
from enforcer.dataplane.netlink.reading import ONE, PLACES, expression
from enforcer.dataplane.netlink.wire import number
from enforcer.ruleset.nft import Field, Match


class Untold(Exception):
    """A statement has no form here; say it as text."""


_EQ, _NEQ, _LTE, _GTE = 0, 1, 3, 5
_OPS: Final = {"==": _EQ, "!=": _NEQ, ">=": _GTE}
_STATES: Final = {"invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 64}
_ETHER_TYPES: Final = {"ip": b"\x08\x00", "ip6": b"\x86\xdd"}
_WORDS: Final[Mapping[Field, Mapping[str, bytes]]] = {
    Field.ETHER_TYPE: _ETHER_TYPES,
    Field.PROTOCOL: _ETHER_TYPES,
    Field.NFPROTO: {"ipv4": b"\x02", "ipv6": b"\x0a"},
    Field.ARP_OPERATION: {"request": b"\x00\x01"},
    Field.CT_DIRECTION: {"original": b"\x00", "reply": b"\x01"},
    Field.FIB_SOURCE_TYPE: {"local": class_bytes(2)},
    Field.FIB_DESTINATION_TYPE: {"local": class_bytes(2), "broadcast": class_bytes(3), "multicast": class_bytes(5)},
}
_ADDRESSES: Final = (Field.IPV4_SOURCE, Field.IPV4_DESTINATION, Field.IPV6_SOURCE, Field.IPV6_DESTINATION)
_HOST_ORDER: Final = (Field.PRIORITY, Field.MARK, Field.CT_MARK, Field.IIF, Field.OIF)
_DNAT: Final = 0x20


def equals(value: bytes, op: int = _EQ) -> bytes:
    """Compare the register with a value; the rule ends unless that holds."""
    return _before_value(len(value), op) + value + bytes(-len(value) & 3)


@lru_cache(64)
def _before_value(length: int, op: int) -> bytes:
    """Return all of a comparison but its value, which comes last: most rules differ in nothing else."""
    made = expression("cmp", number(1, ONE), number(2, op), data(3, bytes(length)))
    return made[: len(made) - (length + 3 & ~3)]


def masked(mask: bytes, xor: bytes) -> bytes:
    """Keep some bits of the register, and turn some over."""
    width_ = number(3, len(mask))
    return expression("bitwise", number(1, ONE), number(2, ONE), width_, data(4, mask), data(5, xor))


def ordered(register: int = ONE) -> bytes:
    """Put the highest byte first: from then on, sizes compare."""
    return expression("byteorder", number(1, register), number(2, register), number(3, 1), number(4, 4), number(5, 4))


def compared(statement: Match) -> bytes:
    """Compare what has been read."""
    match statement:
        case Match(Field.TCP_FLAGS, _, _, None):
            raise Untold(str(statement))  # nft has a short form for it
        case Match(Field.CT_STATE, str(words), "==", None):
            return _any_of(sum(_STATES[word] for word in words.split(",")))
        case Match(Field.CT_STATE, str(word), "!=", None):
            return equals(class_bytes(_STATES[word]), _NEQ)
        case Match(Field.CT_STATUS, "dnat", "==", None):
            return _any_of(_DNAT)
        case Match(Field.PRIORITY, int(value), ">=", None):
            return ordered() + equals(value.to_bytes(4, "big"), _GTE)
        case Match(field, str(text_), "==", None) if field in _ADDRESSES and "/" in text_:
            network = ip_network(text_)
            return masked(network.netmask.packed, bytes(len(network.netmask.packed))) + equals(
                network.network_address.packed
            )
        case Match(Field.ICMPV6_TYPE, str(text_), "==", None):
            low, high = (bytes((int(end),)) for end in text_.split("-"))
            return equals(low, _GTE) + equals(high, _LTE)
        case Match(mask=None):
            return equals(value_bytes(statement), _OPS[statement.op])
        case Match(field, int(value), op, int(mask)):
            return masked(_number(field, mask), bytes(_length(field))) + equals(_number(field, value), _OPS[op])
        case _:
            raise Untold(str(statement))


def _any_of(bits: int) -> bytes:
    return masked(class_bytes(bits), bytes(4)) + equals(bytes(4), _NEQ)


def value_bytes(statement: Match) -> bytes:
    """Encode what a field is compared with."""
    field, value = statement.field, statement.value
    if isinstance(value, int):
        return _number(field, value)
    if field is Field.ETHER_SOURCE:
        return bytes.fromhex(value.replace(":", ""))
    if field in _ADDRESSES and "/" not in value:
        return inet_pton(AF_INET6 if ":" in value else AF_INET, value)
    if field in _ADDRESSES or field is Field.ARP_SENDER_IP:
        return ip_network(value).network_address.packed
    try:
        return _WORDS[field][value]
    except KeyError as error:
        raise Untold(str(statement)) from error


def _number(field: Field, value: int) -> bytes:
    return class_bytes(value) if field in _HOST_ORDER else value.to_bytes(_length(field), "big")


def _length(field: Field) -> int:
    if field in _HOST_ORDER:
        return 4
    return 1 if field is Field.L4PROTO else PLACES[field][2]
