"""Statements → the kernel's expressions, as libnftables writes them, so that `nft list` reads them back.

Match(Field.L4PROTO, 6)  ──▶  meta load l4proto → register 1;  cmp eq register 1, 6

Reading an address implies a test of the family first, a UDP port one of the protocol; nft leaves these out of its
listings again. Concatenations are read into neighbouring registers of four bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Final

from enforcer.dataplane.netlink.keys import SHAPES, class_bytes, data, width
from enforcer.dataplane.netlink.wire import attribute, long, nest, number, text
from enforcer.ruleset.nft import (
    Counter,
    Dispatch,
    Field,
    InSet,
    Load,
    Match,
    Rule,
    Set,
    SetMark,
    SetPriority,
    Statement,
    Verdict,
)


class Untold(Exception):
    """A statement has no form here; say it as text."""


_PROTOCOL, _PRIORITY, _IIF, _OIF, _IIFTYPE, _NFPROTO, _L4PROTO = 1, 2, 4, 5, 8, 15, 16  # NFT_META_…
_CT_STATE, _CT_DIRECTION, _CT_STATUS, _CT_MARK = 0, 1, 2, 3
_CT_PROTO_DST, _CT_DST_IP, _CT_DST_IP6 = 12, 20, 22
_NEW = 8
_LINK, _NETWORK, _TRANSPORT = 0, 1, 2
_FIRST_WORD = 8  # NFT_REG32_00
_VERDICT_REGISTER, _ONE = 0, 1
_EQ, _NEQ, _GTE = 0, 1, 5
_OPS = {"==": _EQ, "!=": _NEQ, ">=": _GTE}
VERDICTS: Final = {"drop": 0, "accept": 1, "jump": -3, "goto": -4, "return": -5}
_DNAT = 0x20
_IPV4, _IPV6 = b"\x02", b"\x0a"
_FAMILY_WORDS = {"ipv4": _IPV4, "ipv6": _IPV6}
_UDP = b"\x11"


def expression(name: str, *parts: bytes) -> bytes:
    """Build one expression of a rule."""
    return nest(1, text(1, name), nest(2, *parts))


COUNTER: Final = expression("counter", long(1, 0), long(2, 0))


def verdict(kind: int, value: Verdict) -> bytes:
    """Build a value that is a verdict."""
    chain = (text(2, value.chain),) if value.chain else ()
    return nest(kind, nest(2, number(1, VERDICTS[value.kind]), *chain))


def _meta(key: int, register: int = _ONE) -> bytes:
    return expression("meta", number(2, key), number(1, register))


def _payload(base: int, offset: int, length: int, register: int = _ONE) -> bytes:
    return expression("payload", number(1, register), number(2, base), number(3, offset), number(4, length))


def _ct(key: int, register: int = _ONE, *, original: bool = False) -> bytes:
    direction = (attribute(3, b"\0"),) if original else ()
    return expression("ct", number(2, key), number(1, register), *direction)


def _cmp(value: bytes, op: int = _EQ) -> bytes:
    return expression("cmp", number(1, _ONE), number(2, op), data(3, value))


def _bitwise(mask: bytes, xor: bytes) -> bytes:
    width_ = number(3, len(mask))
    return expression("bitwise", number(1, _ONE), number(2, _ONE), width_, data(4, mask), data(5, xor))


def _ordered(register: int = _ONE) -> bytes:
    """Put the highest byte first: from then on, sizes compare."""
    return expression("byteorder", number(1, register), number(2, register), number(3, 1), number(4, 4), number(5, 4))


_READERS: Final[Mapping[Field, Callable[[int], bytes]]] = {
    Field.IIF: lambda r: _meta(_IIF, r),
    Field.OIF: lambda r: _meta(_OIF, r),
    Field.PRIORITY: lambda r: _meta(_PRIORITY, r),
    Field.L4PROTO: lambda r: _meta(_L4PROTO, r),
    Field.IPV4_SOURCE: lambda r: _payload(_NETWORK, 12, 4, r),
    Field.IPV4_DESTINATION: lambda r: _payload(_NETWORK, 16, 4, r),
    Field.IPV6_SOURCE: lambda r: _payload(_NETWORK, 8, 16, r),
    Field.IPV6_DESTINATION: lambda r: _payload(_NETWORK, 24, 16, r),
    Field.SOURCE_PORT: lambda r: _payload(_TRANSPORT, 0, 2, r),
    Field.DESTINATION_PORT: lambda r: _payload(_TRANSPORT, 2, 2, r),
    Field.UDP_SOURCE_PORT: lambda r: _payload(_TRANSPORT, 0, 2, r),
    Field.CT_ORIGINAL_DPORT: lambda r: _ct(_CT_PROTO_DST, r, original=True),
    Field.CT_ORIGINAL_IPV4_DESTINATION: lambda r: _ct(_CT_DST_IP, r, original=True),
    Field.CT_ORIGINAL_IPV6_DESTINATION: lambda r: _ct(_CT_DST_IP6, r, original=True),
}
_IMPLIED: Final[Mapping[Field, tuple[int, bytes]]] = {
    Field.IPV4_SOURCE: (_NFPROTO, _IPV4),
    Field.IPV4_DESTINATION: (_NFPROTO, _IPV4),
    Field.IPV6_SOURCE: (_NFPROTO, _IPV6),
    Field.IPV6_DESTINATION: (_NFPROTO, _IPV6),
    Field.UDP_SOURCE_PORT: (_L4PROTO, _UDP),
}
"""What must hold before a field can be read: a key of `meta` and its value."""


def rule_expressions(rule: Rule, sets: Mapping[str, Set]) -> bytes:
    """Encode a rule; `sets` are those that it may ask. Raises Untold."""
    return b"".join(_statement(statement, sets) for statement in rule.statements)


def _statement(statement: Statement, sets: Mapping[str, Set]) -> bytes:
    match statement:
        case Match():
            return _match(statement)
        case InSet(fields, name, False, None):
            return _read(fields, name, sets) + _lookup(name)
        case Dispatch(fields, name):
            return _read(fields, name, sets) + _lookup(name, number(3, _VERDICT_REGISTER))
        case Load(fields, name):
            return _read(fields, name, sets) + _lookup(name, number(3, _ONE)) + _set_priority()
        case SetPriority(value):
            return expression("immediate", number(1, _ONE), data(2, class_bytes(value))) + _set_priority()
        case SetMark(Field.CT_MARK, keep, bits):
            mask = _bitwise(class_bytes(keep & ~bits), class_bytes(bits))
            return _ct(_CT_MARK) + mask + expression("ct", number(2, _CT_MARK), number(4, _ONE))
        case Counter():
            return COUNTER
        case Verdict():
            return expression("immediate", number(1, _VERDICT_REGISTER), verdict(2, statement))
        case _:
            raise Untold(str(statement))


def _lookup(name: str, *destination: bytes) -> bytes:
    return expression("lookup", text(1, name), number(2, _ONE), *destination)


def _set_priority() -> bytes:
    return expression("meta", number(2, _PRIORITY), number(3, _ONE))


def _read(fields: tuple[Field, ...], name: str, sets: Mapping[str, Set]) -> bytes:
    """Read fields into neighbouring registers, for a set that is asked with them."""
    ordered = len(fields) > 1 and sets[name].interval
    before, found, word = b"", b"", 0
    for field in fields:
        if field not in _READERS:
            raise Untold(field.text)
        if field in _IMPLIED:
            key, value = _IMPLIED[field]
            before += _meta(key) + _cmp(value)
        register = _ONE if word == 0 else _FIRST_WORD + word
        found += _READERS[field](register)
        if ordered and SHAPES[field.type].host:
            found += _ordered(register)
        word += width(field.type) // 4
    return before + found


def _match(statement: Match) -> bytes:
    if statement.mask is not None:
        return _masked(statement)
    match statement:
        case Match(Field.PRIORITY, int(value), ">=", None):
            return _meta(_PRIORITY) + _ordered() + _cmp(value.to_bytes(4, "big"), _GTE)
        case Match(Field.PRIORITY, int(value), op, None):
            return _meta(_PRIORITY) + _cmp(class_bytes(value), _OPS[op])
        case Match(Field.CT_STATE, "new", "!=", None):
            return _ct(_CT_STATE) + _cmp(class_bytes(_NEW), _NEQ)
        case Match(Field.L4PROTO, int(value), op, None):
            return _meta(_L4PROTO) + _cmp(bytes((value,)), _OPS[op])
        case Match(Field.NFPROTO, str(word), "==", None):
            return _meta(_NFPROTO) + _cmp(_FAMILY_WORDS[word])
        case Match(Field.CT_DIRECTION, "reply", "==", None):
            return _ct(_CT_DIRECTION) + _cmp(b"\x01")
        case Match(Field.CT_STATUS, "dnat", "==", None):
            return _ct(_CT_STATUS) + _bitwise(class_bytes(_DNAT), bytes(4)) + _cmp(bytes(4), _NEQ)
        case Match(Field.ETHER_SOURCE, str(mac), "!=", None):
            ethernet = _meta(_IIFTYPE) + _cmp((1).to_bytes(2, sys.byteorder))
            return ethernet + _payload(_LINK, 6, 6) + _cmp(bytes.fromhex(mac.replace(":", "")), _NEQ)
        case _:
            raise Untold(str(statement))


def _masked(statement: Match) -> bytes:
    match statement:
        case Match(Field.PRIORITY, int(value), op, int(mask)):
            return _meta(_PRIORITY) + _bitwise(class_bytes(mask), bytes(4)) + _cmp(class_bytes(value), _OPS[op])
        case Match(Field.TCP_FLAGS, int(value), op, int(mask)):
            return _payload(_TRANSPORT, 13, 1) + _bitwise(bytes((mask,)), bytes(1)) + _cmp(bytes((value,)), _OPS[op])
        case Match(Field.SOURCE_PORT, int(value), op, int(mask)):
            masked = _bitwise(mask.to_bytes(2, "big"), bytes(2))
            return _payload(_TRANSPORT, 0, 2) + masked + _cmp(value.to_bytes(2, "big"), _OPS[op])
        case Match(Field.CT_MARK, int(value), op, int(mask)):
            return _ct(_CT_MARK) + _bitwise(class_bytes(mask), bytes(4)) + _cmp(class_bytes(value), _OPS[op])
        case _:
            raise Untold(str(statement))
