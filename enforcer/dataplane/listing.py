"""One number for all that is in our tables: two readings of the same tables give the same, whatever packets counted.

    digest("router") == digest("router")      until somebody changes an object

Read only, over netlink: `nft list` takes many times as long, and hundreds of megabytes where there are many elements.
Left out are what counters have counted, and sets that packets fill. Elements may come in any order, for the kernel
moves them about as a set grows. The number means something to this process alone.

Must not know: what the objects are for.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import Final

from enforcer.dataplane.dumps import (
    COUNTER,
    GET_CHAIN,
    GET_ELEMENTS,
    GET_OBJECT,
    GET_RULE,
    GET_SET,
    NOTHING_COUNTED,
    OF_TABLE,
    Asking,
    dump,
    opened,
)
from enforcer.dataplane.netlink.wire import FAMILIES, attributes, text
from enforcer.ruleset.names import TABLE

_SET_NAME, _SET_FLAGS, _EVAL = 2, 3, 0x20  # NFTA_SET_…, NFT_SET_EVAL
_SET_COUNT: Final = 20  # NFTA_SET_COUNT, Linux 6.16
_LIST_SET, _LIST_ELEMENTS = 2, 3
_CHAIN_USE, _CHAIN_COUNTERS, _OBJECT_USE = 6, 8, 5
_HEADER: Final = 4
"""Bytes of the family's header; the number of the last transaction is among them."""
_WORD: Final = struct.Struct(">I")
_BITS: Final = (1 << 64) - 1

_BYTES, _PACKETS, _PAD = (re.escape(struct.pack("=HH", length, kind)) for length, kind in ((12, 1), (12, 2), (4, 3)))
_COUNTED: Final = re.compile(
    b"(" + COUNTER + b"....)(?:" + _PAD + b")?" + _BYTES + b".{8}(?:" + _PAD + b")?" + _PACKETS + b".{8}", re.DOTALL
)
"""A counter with what it has counted; on some machines the kernel pads the numbers."""
_UNCOUNTED: Final = rb"\1" + NOTHING_COUNTED


def digest(netns: str, between: Callable[[], None] | None = None) -> int:
    """Return the number; tables that are not there are as good as any others. `between` is called now and then."""
    with opened(netns, between) as asking:
        return sum(hash(each) for family in FAMILIES for each in _told(asking, family)) & _BITS


def _told(asking: Asking, family: str) -> Iterator[bytes]:
    """Yield what tells an object or an element apart; of each its whole content, and a rule's handle and place."""
    ours = text(OF_TABLE, TABLE)
    for kind, changing in ((GET_CHAIN, (_CHAIN_USE, _CHAIN_COUNTERS)), (GET_OBJECT, (_OBJECT_USE,))):
        for body in dump(asking, kind, family, ours):
            if ours in body:  # the kernel tells of all tables' chains
                yield _without(body, changing)
    for body in dump(asking, GET_RULE, family, ours):
        yield _COUNTED.sub(_UNCOUNTED, body[_HEADER:])
    for body in dump(asking, GET_SET, family, ours):
        yield _without(body, (_SET_COUNT,))
        parts = dict(attributes(body[_HEADER:]))
        (flags,) = _WORD.unpack(parts.get(_SET_FLAGS, bytes(4)))
        if not flags & _EVAL:
            yield from _elements(asking, family, ours + text(_LIST_SET, parts[_SET_NAME].rstrip(b"\0").decode()))


def _elements(asking: Asking, family: str, whose: bytes) -> Iterator[bytes]:
    for body in dump(asking, GET_ELEMENTS, family, whose):
        listed = next((value for kind, value in attributes(body[_HEADER:]) if kind == _LIST_ELEMENTS), b"")
        counted = listed.count(COUNTER) != listed.count(NOTHING_COUNTED)
        for _, raw in attributes(listed):
            yield whose + (_COUNTED.sub(_UNCOUNTED, raw) if counted else raw)


def _without(body: bytes, changing: tuple[int, ...]) -> bytes:
    """Leave attributes out that say how others use an object."""
    return b"".join(bytes((kind & 0xFF,)) + value for kind, value in attributes(body[_HEADER:]) if kind not in changing)
