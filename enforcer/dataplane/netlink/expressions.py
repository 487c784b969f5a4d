"""Statements → the kernel's expressions, as libnftables writes them, so that `nft list` reads them back.

Match(Field.L4PROTO, 6)  ──▶  meta load l4proto → register 1;  cmp eq register 1, 6

Reading an address implies a test of the family first, a UDP port one of the protocol, once in a rule; nft leaves these
out of its listings again. Concatenations are read into neighbouring registers of four bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from enforcer.dataplane.netlink.comparing import Untold, compared, equals, masked, ordered, value_bytes
from enforcer.dataplane.netlink.keys import SHAPES, class_bytes, data, width
from enforcer.dataplane.netlink.reading import (
    CT_MARK,
    FAMILIES,
    META_L4PROTO,
    META_MARK,
    META_PRIORITY,
    ONE,
    PLACES,
    Condition,
    conditions,
    expression,
    meta,
    payload,
    read,
    tracked,
)
from enforcer.dataplane.netlink.wire import attribute, long, nest, number, text
from enforcer.ruleset.nft import (
    Counter,
    Dispatch,
    Field,
    InSet,
    Load,
    Log,
    Match,
    Rule,
    Set,
    SetMark,
    SetPriority,
    Statement,
    Throttle,
    UseTimeout,
    Verdict,
)

_FIRST_WORD = 8  # NFT_REG32_00
_VERDICT_REGISTER = 0
VERDICTS: Final = {"drop": 0, "accept": 1, "jump": -3, "goto": -4, "return": -5}
_NETWORKS: Final = {"ipv4": "ip", "ipv6": "ip6", "ip": "ip", "ip6": "ip6"}
_TOGETHER: Final = {Field.ETHER_SOURCE: Field.ETHER_TYPE, Field.UDP_SOURCE_PORT: Field.UDP_DESTINATION_PORT}
"""Fields that are compared at once where one follows the other: half the work for the packet."""

_OWN: Final = {
    Field.ETHER_SOURCE: "fe:dc:ba:98:76:54",
    Field.IPV4_SOURCE: "240.219.186.152",
    Field.IPV6_SOURCE: "fedc:ba98:7654:3210:123:4567:89ab:cdef",
}
"""What rules of all NICs compare with values of each NIC's own, and a value that nothing else in a rule looks like."""

_BLANKS: Final = {field: {op: Match(field, value, op) for op in ("==", "!=", ">=")} for field, value in _OWN.items()}
_TIMEOUT_OBJECT: Final = 7
_UPDATE, _SEVERAL = 1, 2  # NFT_DYNSET_OP_UPDATE, NFT_DYNSET_F_EXPR

COUNTER: Final = expression("counter", long(1, 0), long(2, 0))


def verdict(kind: int, value: Verdict) -> bytes:
    """Build a value that is a verdict."""
    chain = (text(2, value.chain),) if value.chain else ()
    return nest(kind, nest(2, number(1, VERDICTS[value.kind]), *chain))


def rule_expressions(rule: Rule, sets: Mapping[str, Set], family: str) -> bytes:
    """Encode a rule of a table of that family; `sets` are those that it may ask. Raises Untold.

    Thousands of NICs have rules that differ in nothing but their own addresses: what is around these is encoded once.
    """
    own: list[Match] = []
    blank: list[Statement] = []
    for each in rule.statements:
        place = _BLANKS.get(each.field) if isinstance(each, Match) and each.mask is None else None
        if isinstance(each, Match) and place is not None and "/" not in str(each.value):
            own.append(each)
            blank.append(place[each.op])
        else:
            blank.append(each)
    around = _around(tuple(blank), family) if own else ()
    if not around:
        return _Rule(sets, family).encoded(rule.statements)
    return around[0] + b"".join([value_bytes(each) + behind for each, behind in zip(own, around[1:], strict=True)])


@lru_cache(64)
def _around(blank: tuple[Statement, ...], family: str) -> tuple[bytes, ...]:
    """Encode a rule once for all NICs; return what stands before, between and behind their own values.

    Nothing is returned for a rule that asks sets.
    """
    if any(isinstance(each, InSet | Dispatch | Load) for each in blank):
        return ()
    found, behind = [], _Rule({}, family).encoded(blank)
    for each in blank:
        if isinstance(each, Match) and each.value in _OWN.values():
            before, behind = behind.split(value_bytes(each), 1)
            found.append(before)
    return (*found, behind)


class _Rule:
    """One rule while it is written: what its statements so far have made sure of."""

    def __init__(self, sets: Mapping[str, Set], family: str) -> None:
        self._sets, self._family = sets, family
        self._sure: set[Condition] = set()

    def encoded(self, statements: tuple[Statement, ...]) -> bytes:
        """Return the expressions of all statements, in their order."""
        parts, at = [], 0
        while at < len(statements):
            here = statements[at]
            after = statements[at + 1] if at + 1 < len(statements) else None
            if isinstance(here, Match) and isinstance(after, Match) and _joined(here, after):
                parts.append(self._match_both(here, after))
                at += 2
            else:
                parts.append(self._statement(here))
                at += 1
        return b"".join(parts)

    def _statement(self, statement: Statement) -> bytes:
        match statement:
            case Match():
                return self._match(statement)
            case InSet(fields, name, negated, mask):
                inverted = (number(5, 1),) if negated else ()
                kept = b"" if mask is None else masked(class_bytes(mask), bytes(4))
                return self._read(fields, name) + kept + _lookup(name, *inverted)
            case Dispatch(fields, name):
                return self._read(fields, name) + _lookup(name, number(3, _VERDICT_REGISTER))
            case Load(fields, name):
                return self._read(fields, name) + _lookup(name, number(3, ONE)) + _set_meta(META_PRIORITY)
            case _:
                return _plain(statement)

    def _ask(self, field: Field) -> bytes:
        """Make sure of what must hold before a field can be read, unless it does already."""
        found = b""
        try:
            needed = conditions(field, self._family)
        except KeyError as error:
            raise Untold(f"{field.text} in a table of the family {self._family}") from error
        for condition in needed:
            if condition not in self._sure:
                self._sure.add(condition)
                found += _made_sure(condition)
        return found

    def _read(self, fields: tuple[Field, ...], name: str) -> bytes:
        """Read fields into neighbouring registers, for a set that is asked with them."""
        by_size = len(fields) > 1 and self._sets[name].interval
        before, found, word = b"", b"", 0
        for field in fields:
            before += self._ask(field)
            register = ONE if word == 0 else _FIRST_WORD + word
            found += read(field, register)
            if by_size and SHAPES[field.type].host:
                found += ordered(register)
            word += width(field.type) // 4
        return before + found

    def _match(self, statement: Match) -> bytes:
        field = statement.field
        before = self._ask(field) if field is not Field.TCP_FLAGS else b""
        found = before + read(field) + compared(statement)
        if statement.op == "==" and statement.mask is None:
            self._learn(statement)
        return found

    def _match_both(self, one: Match, other: Match) -> bytes:
        """Compare two neighbouring fields at once."""
        base, offset, length = PLACES[one.field]
        before = self._ask(one.field)
        self._learn(other)
        place = (base, offset, length + PLACES[other.field][2])
        return before + payload(place) + equals(value_bytes(one) + value_bytes(other))

    def _learn(self, statement: Match) -> None:
        """Note what a comparison makes sure of."""
        match statement:
            case Match(Field.NFPROTO | Field.PROTOCOL | Field.ETHER_TYPE, str(word)):
                self._sure.add(FAMILIES[self._family][_NETWORKS[word]])
            case Match(Field.L4PROTO, int(value)):
                self._sure.add((META_L4PROTO, bytes((value,))))


def _joined(here: Match, after: Match) -> bool:
    plain = all(each.op == "==" and each.mask is None for each in (here, after))
    return plain and _TOGETHER.get(here.field) is after.field


@lru_cache(64)
def _made_sure(condition: Condition) -> bytes:
    key, value = condition
    return meta(key) + equals(value)


@lru_cache(1024)
def _plain(statement: Statement) -> bytes:
    """Encode a statement that reads nothing but what it says itself; the chains of all NICs say the same."""
    match statement:
        case SetPriority(value):
            return expression("immediate", number(1, ONE), data(2, class_bytes(value))) + _set_meta(META_PRIORITY)
        case SetMark(Field.CT_MARK, keep, bits):
            mask = masked(class_bytes(keep & ~bits), class_bytes(bits))
            return tracked(CT_MARK) + mask + expression("ct", number(2, CT_MARK), number(4, ONE))
        case SetMark(Field.MARK, keep, bits):
            return meta(META_MARK) + masked(class_bytes(keep & ~bits), class_bytes(bits)) + _set_meta(META_MARK)
        case Counter():
            return COUNTER
        case Throttle():
            return _throttle(statement)
        case Log(group, prefix, length):
            name = text(2, prefix)
            return expression("log", attribute(1, group.to_bytes(2, "big")), name, number(3, length))
        case UseTimeout(name):
            return expression("objref", number(1, _TIMEOUT_OBJECT), text(2, name))
        case Verdict():
            return expression("immediate", number(1, _VERDICT_REGISTER), verdict(2, statement))
        case _:
            raise Untold(str(statement))


def _throttle(statement: Throttle) -> bytes:
    each = [COUNTER]
    if statement.per_second:
        rate = long(1, statement.per_second), long(2, 1)
        each.append(expression("limit", *rate, number(3, statement.burst), number(4, 0), number(5, 0)))
    flags, inner = ((number(9, _SEVERAL),), nest(10, *each)) if len(each) > 1 else ((), nest(7, COUNTER[4:]))
    key = (text(1, statement.set), number(3, _UPDATE), number(4, ONE))
    return read(statement.field) + expression("dynset", *key, inner, *flags)


def _lookup(name: str, *rest: bytes) -> bytes:
    return expression("lookup", text(1, name), number(2, ONE), *rest)


def _set_meta(key: int) -> bytes:
    return expression("meta", number(2, key), number(3, ONE))
