"""End conversations: delete what connection tracking remembers of an address (S14).

This revokes nothing by itself, for the next packet would open the conversation anew, in reverse. It is for addresses
that nobody has any more, or that somebody else has now: the heir's packets are judged as new, and a TCP segment in
mid-stream begins nothing (S13).
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Collection, Iterator

from enforcer.dataplane import conntrack
from enforcer.errors import SystemRefused
from enforcer.model import IPAddress


def end(netns: str, addresses: Collection[IPAddress]) -> int:
    """Forget all flows from, to or by way of the addresses; return how many there were."""
    wanted = {address.packed for address in addresses}
    with conntrack.opened(netns) as opened:
        doomed = [_deletion(flow) for flow in conntrack.dump(opened) if not wanted.isdisjoint(_addresses(flow))]
        for message in doomed:
            opened.send(message)
            _, body = next(conntrack.messages(opened))
            number = -struct.unpack_from("=i", body)[0]
            if number not in (0, errno.ENOENT):  # it may have ended by itself
                raise SystemRefused(f"connection tracking: a flow cannot be deleted ({os.strerror(number)})")
    return len(doomed)


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
    body = flow[:4] + b"".join(parts)
    size = conntrack.HEADER.size + len(body)
    return conntrack.HEADER.pack(size, conntrack.DELETE, conntrack.REQUEST | conntrack.ACK, 1, 0) + body
