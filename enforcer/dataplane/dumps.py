"""Dumps of nftables' objects over netlink, message by message, and what a counter looks like in them.

    with opened("router") as asking:
        for body in dump(asking, GET_RULE, "inet", text(OF_TABLE, TABLE)): …

Whoever reads much beside other threads says what to do `between` two messages: there is one interpreter.

Read only. A dump that a change interrupts may be incomplete; whoever needs to know reads nftables' number before and
after (`notices.generation`).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final

from enforcer.dataplane.namespaces import entered
from enforcer.dataplane.netlink.wire import FAMILIES, SUBSYSTEM, message, messages
from enforcer.errors import SystemRefused

_NETFILTER: Final = 12
_NFT: Final = SUBSYSTEM << 8
GET_CHAIN, GET_RULE, GET_SET, GET_ELEMENTS, GET_OBJECT = (_NFT | each for each in (4, 7, 10, 13, 19))  # NFT_MSG_GET…
_DUMP: Final = 0x300
_ERROR, _DONE = 2, 3
_ENOENT: Final = 2
OF_TABLE: Final = 1  # NFTA_RULE_TABLE, NFTA_SET_TABLE …: the same for all of them

COUNTER: Final = b"counter\0"
"""The name of the expression."""

_LONG: Final = struct.Struct("=HH8x")
NOTHING_COUNTED: Final = _LONG.pack(12, 1) + _LONG.pack(12, 2)
"""Bytes and packets of a counter that has met no packet (NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS)."""


class Asking(socket.socket):
    """A socket that asks; `between` two messages that it yields something else may be done."""

    between: Callable[[], None] | None = None


def opened(netns: str, between: Callable[[], None] | None = None) -> Asking:
    """Open a socket in a namespace."""
    with entered(netns):
        made = Asking(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
    made.settimeout(10)
    made.between = between
    return made


def dump(asking: Asking, kind: int, family: str, body: bytes) -> Iterator[bytes]:
    """Ask for all objects of a kind; yield the messages' bodies. No such table or set: nothing."""
    asking.send(message(kind, _DUMP, FAMILIES[family], body, sequence=1))
    found: list[bytes] = []
    while True:
        if asking.between is not None:
            asking.between()
        for answer, _, _, content in messages(asking.recv(1 << 18)):
            if answer == _DONE:
                return _yielded(found, asking.between)
            if answer == _ERROR:
                number = -struct.unpack_from("=i", content)[0]
                if number == _ENOENT:
                    return iter(())
                raise SystemRefused(f"nftables' objects cannot be read ({os.strerror(number)})")
            found.append(content)


def _yielded(found: list[bytes], between: Callable[[], None] | None) -> Iterator[bytes]:
    for body in found:
        if between is not None:
            between()
        yield body
