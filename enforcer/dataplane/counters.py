"""What our tables have counted: packets per object and comment, where a comment names the rule or the reason.

    read("router")  ──▶  Reading(world, {Origin("verdict_port_694b99ae13", 17, "Sg-A/A01", 0x1fd0): 12, …})

Read only, by hand over netlink: `nft list` reads a set of a hundred thousand elements in seconds. An object is known
by its name *and* its handle, which the kernel never gives twice: a map that was replaced by one of the same name is
another origin. Elements come and go in a map, so their keys are part of an origin as well.
What counted nothing, or has no comment, is left out. `world` names this life of this namespace: handles of another
one mean other objects.

Must not know: groups, rules, what a comment means.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from enforcer.dataplane.dumps import (
    COUNTER,
    GET_ELEMENTS,
    GET_RULE,
    GET_SET,
    NOTHING_COUNTED,
    OF_TABLE,
    Asking,
    dump,
    opened,
)
from enforcer.dataplane.namespaces import entered
from enforcer.dataplane.netlink.wire import FAMILIES, attributes, messages, text
from enforcer.errors import SystemRefused
from enforcer.ruleset.names import TABLE

_ROUTE, _GET_LINK, _IFNAME, _STATISTICS = 0, 18, 3, 23  # NETLINK_ROUTE, RTM_GETLINK, IFLA_…
_TWO: Final = struct.Struct("=QQ")
_GET_CONNTRACK_STATS: Final = 1 << 8 | 5
_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
_HEADER: Final = struct.Struct("=IHHII")
_U64: Final = struct.Struct(">Q")

# Attribute numbers of linux/netfilter/nf_tables.h
_RULE_CHAIN, _RULE_HANDLE, _RULE_EXPRESSIONS, _RULE_USERDATA = 2, 3, 4, 7
_SET_NAME, _SET_HANDLE = 2, 16
_LIST_SET, _LIST_ELEMENTS = 2, 3
_ELEM_KEY, _ELEM_USERDATA, _ELEM_EXPRESSION, _ELEM_EXPRESSIONS = 1, 6, 7, 11
_EXPRESSION_NAME, _EXPRESSION_DATA = 1, 2
_COUNTER_PACKETS = 2
_KEY_VALUE: Final = 1
_COMMENT = 0  # NFTNL_UDATA_…_COMMENT


class Origin(NamedTuple):
    """What counted: a chain or map, its handle (of a rule: the rule's), and the comment of the rule or element.

    `part` is the key of an element; of a rule it is 0.
    """

    object: str
    handle: int
    label: str
    part: int = 0


class Last(NamedTuple):
    """What an element had counted when it was deleted; what it is, as in `Origin`."""

    object: str
    label: str
    part: int
    packets: int


@dataclass(frozen=True, slots=True)
class Reading:
    """Packets by origin, in one life of one namespace."""

    world: str
    counts: dict[Origin, int]


def read(netns: str, only: Collection[str] | None = None, between: Callable[[], None] | None = None) -> Reading:
    """Read the counters of all our rules and maps, or only of the named chains and maps; none of ours: nothing.

    `between` is called now and then meanwhile. An object that is deleted meanwhile is left out, or read in part.
    """
    counts: dict[Origin, int] = {}
    with opened(netns, between) as asking:
        for family in FAMILIES:
            for origin, packets in _counted(asking, family, only):
                counts[origin] = counts.get(origin, 0) + packets
    return Reading(world(netns), counts)


def by_key(netns: str, family: str, name: str) -> dict[bytes, int]:
    """Read the counters of one set's elements, by their keys as the kernel has them; no such set: nothing."""
    with opened(netns) as asking:
        return {key: packets for key, _, packets in _elements(asking, family, name)}


def last(told: Collection[bytes]) -> tuple[Last, ...]:
    """Read what deleted elements had counted from what the kernel told when they went."""
    found = []
    for body in told:
        parts = dict(attributes(body[4:]))
        name = _text(parts[_LIST_SET])
        for key, label, packets in _counting(parts.get(_LIST_ELEMENTS, b"")):
            found.append(Last(name, label, int.from_bytes(key, "big"), packets))
    return tuple(found)


def has_counted(told: bytes) -> bool:
    """Say whether some element that the kernel tells of has counted anything; so much faster than to look at each."""
    return told.count(NOTHING_COUNTED) != told.count(COUNTER)


def interfaces(netns: str) -> dict[str, tuple[int, int]]:
    """Return the packets that came in by each interface of a namespace, and those that went out."""
    found: dict[str, tuple[int, int]] = {}
    with entered(netns), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _ROUTE) as asking:
        asking.settimeout(10)
        asking.send(_HEADER.pack(32, _GET_LINK, _REQUEST | _DUMP, 1, 0) + bytes(16))
        while True:
            for kind, _, _, body in messages(asking.recv(1 << 18)):
                if kind in (_DONE, _ERROR):
                    return found
                parts = dict(attributes(body[16:]))
                if _STATISTICS in parts:
                    found[_text(parts[_IFNAME])] = _TWO.unpack_from(parts[_STATISTICS])


def used_conntrack(netns: str) -> tuple[int, int]:
    """Return how many connections a namespace tracks, and how many it can."""
    with opened(netns) as asking:
        asking.send(_HEADER.pack(20, _GET_CONNTRACK_STATS, _REQUEST, 1, 0) + bytes(4))
        for kind, _, _, body in messages(asking.recv(1 << 16)):
            if kind != _ERROR:
                parts = dict(attributes(body[4:]))
                return int.from_bytes(parts.get(1, b""), "big"), int.from_bytes(parts.get(2, b""), "big")
    raise SystemRefused("connection tracking does not tell how many connections there are")


def world(netns: str) -> str:
    """Name this life of a namespace: the boot of this machine, and the kernel's number of the namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    with entered(netns):
        return f"{boot}/{os.stat('/proc/thread-self/ns/net').st_ino}"


def _counted(asking: Asking, family: str, only: Collection[str] | None) -> Iterator[tuple[Origin, int]]:
    table = text(OF_TABLE, TABLE)
    chains = [b""] if only is None else [text(_RULE_CHAIN, name) for name in only]
    for body in (body for chain in chains for body in dump(asking, GET_RULE, family, table + chain)):
        rule = dict(attributes(body[4:]))
        if packets := _rule_packets(rule.get(_RULE_EXPRESSIONS, b"")):
            handle, label = int.from_bytes(rule[_RULE_HANDLE], "big"), _comment(rule.get(_RULE_USERDATA))
            yield Origin(_text(rule[_RULE_CHAIN]), handle, label), packets
    for body in dump(asking, GET_SET, family, table):
        entry = dict(attributes(body[4:]))
        name, handle = _text(entry[_SET_NAME]), int.from_bytes(entry.get(_SET_HANDLE, b""), "big")
        if only is None or name in only:
            found = _elements(asking, family, name)
            yield from (
                (Origin(name, handle, label, int.from_bytes(key, "big")), packets)
                for key, label, packets in found
                if label
            )


def _elements(asking: Asking, family: str, name: str) -> Iterator[tuple[bytes, str, int]]:
    """Yield key, comment and packets of the elements that counted something."""
    for body in dump(asking, GET_ELEMENTS, family, text(OF_TABLE, TABLE) + text(_LIST_SET, name)):
        if not has_counted(body):
            continue  # most of them
        yield from _counting(next((value for kind, value in attributes(body[4:]) if kind == _LIST_ELEMENTS), b""))


def _counting(listed: bytes) -> Iterator[tuple[bytes, str, int]]:
    for _, raw in attributes(listed):
        if COUNTER not in raw or NOTHING_COUNTED in raw:
            continue
        element = dict(attributes(raw))
        if packets := _element_packets(element):
            key = dict(attributes(element.get(_ELEM_KEY, b""))).get(_KEY_VALUE, b"")
            yield key, _comment(element.get(_ELEM_USERDATA)), packets


def _element_packets(element: dict[int, bytes]) -> int:
    if (one := element.get(_ELEM_EXPRESSION)) is not None:
        return _packets(one)
    return _rule_packets(element.get(_ELEM_EXPRESSIONS, b""))


def _rule_packets(expressions: bytes) -> int:
    """Return what the first counter among expressions has counted."""
    if COUNTER not in expressions:
        return 0
    return next((packets for _, one in attributes(expressions) if (packets := _packets(one))), 0)


def _packets(expression: bytes) -> int:
    parts = dict(attributes(expression))
    if parts.get(_EXPRESSION_NAME) != COUNTER:
        return 0
    return int(_U64.unpack(dict(attributes(parts[_EXPRESSION_DATA]))[_COUNTER_PACKETS])[0])


def _comment(userdata: bytes | None) -> str:
    """Find the comment in nft's own notes about a rule or an element: kind, length, value, one after the other."""
    at, data = 0, userdata or b""
    while at + 2 <= len(data):
        kind, length = data[at], data[at + 1]
        if kind == _COMMENT:
            return _text(data[at + 2 : at + 2 + length])
        at += 2 + length
    return ""


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
