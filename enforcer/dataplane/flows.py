"""End conversations: delete what connection tracking remembers of an address (S14).

This revokes nothing by itself, for the next packet would open the conversation anew, in reverse. It is for addresses
that nobody has any more, or that somebody else has now: the heir's packets are judged as new, and a TCP segment in
mid-stream begins nothing (S13).

One dump, parsed by hand: a namespace may hold hundreds of thousands of flows, and all but the addresses are skipped.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterator
from typing import Final

from enforcer.dataplane.namespaces import entered
from enforcer.errors import SystemRefused
from enforcer.model import IPAddress

_NETLINK_NETFILTER: Final = 12
_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_…
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_KIND: Final = 0x3FFF  # without the flags "nested" and "network byte order"
_ORIGINAL, _REPLY, _ID, _ZONE = 1, 2, 12, 18  # CTA_…
_TUPLE_IP: Final = 1


def end(netns: str, addresses: Collection[IPAddress]) -> int:
    """Forget all flows from, to or by way of the addresses; return how many there were."""
    wanted = {address.packed for address in addresses}
    with entered(netns), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as conntrack:
        doomed = [_deletion(flow) for flow in _flows(conntrack) if not wanted.isdisjoint(_addresses(flow))]
        for message in doomed:
            conntrack.send(message)
            _, body = next(_messages(conntrack))
            number = -struct.unpack_from("=i", body)[0]
            if number not in (0, errno.ENOENT):  # it may have ended by itself
                raise SystemRefused(f"connection tracking: a flow cannot be deleted ({os.strerror(number)})")
    return len(doomed)


def _flows(conntrack: socket.socket) -> Iterator[bytes]:
    """Yield every flow: the family's header and the attributes."""
    conntrack.send(_HEADER.pack(20, _GET, _REQUEST | _DUMP, 1, 0) + bytes(4))
    while True:
        for kind, body in _messages(conntrack):
            if kind == _DONE:
                return
            if kind == _ERROR:
                raise SystemRefused(f"connection tracking: {os.strerror(-struct.unpack_from('=i', body)[0])}")
            yield body


def _messages(conntrack: socket.socket) -> Iterator[tuple[int, bytes]]:
    data, at = conntrack.recv(1 << 17), 0
    while at < len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        yield kind, data[at + _HEADER.size : at + length]
        at += length + 3 & ~3


def _attributes(data: bytes, at: int = 0) -> Iterator[tuple[int, int, int]]:
    """Yield kind, start of the attribute and end of its value."""
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        yield kind & _KIND, at, at + length
        at += length + 3 & ~3


def _addresses(flow: bytes) -> Iterator[bytes]:
    """Yield the addresses of both directions, as they are on the wire before and after any translation."""
    for kind, begin, stop in _attributes(flow, 4):
        if kind in (_ORIGINAL, _REPLY):
            both = flow[begin + _ATTRIBUTE.size : stop]
            for part, first, last in _attributes(both):
                if part == _TUPLE_IP:
                    pair = both[first + _ATTRIBUTE.size : last]
                    yield from (pair[start + _ATTRIBUTE.size : after] for _, start, after in _attributes(pair))


def _deletion(flow: bytes) -> bytes:
    """Name exactly this flow: its original direction, its zone and its identity."""
    named = (_ORIGINAL, _ID, _ZONE)
    parts = [flow[begin : stop + 3 & ~3] for kind, begin, stop in _attributes(flow, 4) if kind in named]
    body = flow[:4] + b"".join(parts)
    return _HEADER.pack(_HEADER.size + len(body), _DELETE, _REQUEST | _ACK, 1, 0) + body
