"""End conversations: delete what connection tracking remembers of an address (S14).

This revokes nothing by itself, for the next packet would open the conversation anew, in reverse. It is for addresses
that nobody has any more, or that somebody else has now: the heir's packets are judged as new, and a TCP segment in
mid-stream begins nothing (S13).

To read all of connection tracking takes 10 ms even if it is empty, for the kernel locks each of 262,144 buckets. Where
it deletes by address (`CTA_FILTER` of a flush) it passes over empty ones, in 0.3 ms: that is asked of it for a few IPv4
addresses. Its table is one for all namespaces, and with many conversations in others a question takes some
milliseconds: then all is read at once. Kernels that do not know that refuse the request, for it names no whole
conversation, and are read. So is IPv6: Linux 6.18 takes its filter for the contrary. Where nothing is tracked nothing
is asked: a packet on its way counts as tracked.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Collection, Iterator
from typing import Final

from enforcer.dataplane import conntrack
from enforcer.dataplane.netlink.wire import attribute, nest
from enforcer.errors import SystemRefused
from enforcer.model import IPAddress

_FILTER: Final = 25  # CTA_FILTER
_FEW: Final = 8
_LONG: Final = 0.0015
"""Four questions that take longer than that are as long as reading."""


def end(netns: str, addresses: Collection[IPAddress]) -> None:
    """Forget all flows from, to or by way of the addresses."""
    with conntrack.opened(netns) as opened:
        end_by(opened, addresses)


def end_by(opened: socket.socket, addresses: Collection[IPAddress]) -> None:
    """Do so by a conntrack socket that stays open.

    To close it would wait until the kernel has destroyed what the last transaction of nftables deleted: some 10 ms.
    """
    if not addresses or not conntrack.tracked(opened):
        return
    left = set(addresses)
    for each in [each for each in addresses if each.version == 4] if len(addresses) <= _FEW else ():
        if not _deleted(opened, each):
            break
        left.remove(each)
    if not left:
        return
    wanted = {address.packed for address in left}
    doomed = [_deletion(flow) for flow in conntrack.dump(opened) if not wanted.isdisjoint(_addresses(flow))]
    for message in doomed:
        if (number := _answer(opened, message)) not in (0, errno.ENOENT):  # it may have ended by itself
            raise SystemRefused(f"connection tracking: a flow cannot be deleted ({os.strerror(number)})")


def _deleted(opened: socket.socket, address: IPAddress) -> bool:
    """Have the kernel delete all flows of an IPv4 address; False: it cannot, or not at once: read them."""
    questions = list(_flushes(address))
    for asked, message in enumerate(questions, 1):
        begun = time.monotonic()
        if _answer(opened, message) != 0:
            return False
        if asked < len(questions) and time.monotonic() - begun > _LONG:
            return False
    return True


def _flushes(address: IPAddress) -> Iterator[bytes]:
    """Name all flows of an address: as source or destination, before or after any translation."""
    for side in (conntrack.ORIGINAL, conntrack.REPLY):
        for which in (0, 1):
            flags = struct.pack("=I", 1 << which)
            both = (flags, bytes(4)) if side == conntrack.ORIGINAL else (bytes(4), flags)
            wanted = nest(_FILTER, *(attribute(kind, value) for kind, value in enumerate(both, 1)))
            named = nest(side, nest(conntrack.TUPLE_IP, attribute(1 + which, address.packed)))
            # Of version 1: only then the family counts.
            yield _message(bytes((socket.AF_INET, 1, 0, 0)) + named + wanted)


def _answer(opened: socket.socket, message: bytes) -> int:
    """Send a request and return the number of the kernel's error; 0: it is done."""
    opened.send(message)
    _, body = next(conntrack.messages(opened))
    return int(-struct.unpack_from("=i", body)[0])


def _addresses(flow: bytes) -> Iterator[bytes]:
    """Yield the addresses of both directions, as they are on the wire before and after any translation."""
    size = conntrack.ATTRIBUTE.size
    for kind, begin, stop in conntrack.attributes(flow, 4):
        if kind in (conntrack.ORIGINAL, conntrack.REPLY):
            both = flow[begin + size : stop]
            for part, first, last in conntrack.attributes(both):
                if part == conntrack.TUPLE_IP:
                    pair = both[first + size : last]
                    yield from (pair[start + size : after] for _, start, after in conntrack.attributes(pair))


def _deletion(flow: bytes) -> bytes:
    """Name exactly this flow: its original direction, its zone and its identity."""
    named = (conntrack.ORIGINAL, conntrack.ID, conntrack.ZONE)
    parts = [flow[begin : stop + 3 & ~3] for kind, begin, stop in conntrack.attributes(flow, 4) if kind in named]
    return _message(flow[:4] + b"".join(parts))


def _message(body: bytes) -> bytes:
    size = conntrack.HEADER.size + len(body)
    return conntrack.HEADER.pack(size, conntrack.DELETE, conntrack.REQUEST | conntrack.ACK, 1, 0) + body
