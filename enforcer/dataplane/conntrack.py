"""What connection tracking remembers of a namespace: every conversation, with both its tuples and its mark.

    for tracked in conversations("lab-vpc-vpc-x"): …

Read only. One dump, parsed by hand: a namespace may hold hundreds of thousands of conversations, and a general parser
of netlink takes a hundred times as long (`tests/kernel/test_conntrack.py` compares the two). Attribute numbers are
those of `linux/netfilter/nfnetlink_conntrack.h`, where the original tuple is the first packet as it came, and the reply
tuple the answer as it comes: both lie before any translation, so the first packet *after* it is the reply reversed.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from enforcer.dataplane.namespaces import entered
from enforcer.errors import SystemRefused
from enforcer.model import IPAddress

NETLINK_NETFILTER: Final = 12
GET, DELETE, _COUNT = 1 << 8 | 1, 1 << 8 | 2, 1 << 8 | 5  # NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_…
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
HEADER: Final = struct.Struct("=IHHII")
ATTRIBUTE: Final = struct.Struct("=HH")
_KIND: Final = 0x3FFF  # without the flags "nested" and "network byte order"
ORIGINAL, REPLY, _STATUS, _PROTOINFO, _MARK, ID, ZONE, _MASK = 1, 2, 3, 4, 8, 12, 18, 21  # CTA_…
TUPLE_IP: Final = 1
_TUPLE_PROTO: Final = 2
_ENTRIES: Final = 1  # CTA_STATS_GLOBAL_ENTRIES
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_ICMP_ID, _ICMP_TYPE, _ICMP_CODE = (4, 7), (5, 8), (6, 9)
_BE16, _BE32 = struct.Struct("!H"), struct.Struct("!I")
_SEEN_REPLY, _ANY_NAT_OF_DESTINATION = 1 << 1, 1 << 5  # IPS_SEEN_REPLY, IPS_DST_NAT


class Ends(NamedTuple):
    """One direction's tuple as that direction's packets come in; for ICMP the ports are 0 and its numbers beside."""

    source: IPAddress
    destination: IPAddress
    source_port: int
    destination_port: int


class Tracked(NamedTuple):
    """One conversation. `icmp` is type, code and identifier of the first packet; `tcp_state` the kernel's number."""

    protocol: int
    original: Ends
    reply: Ends
    icmp: tuple[int, int, int] | None
    mark: int
    status: int
    tcp_state: int
    zone: int
    identity: int

    @property
    def answered(self) -> bool:
        """Whether packets were seen in both directions."""
        return bool(self.status & _SEEN_REPLY)

    @property
    def redirected(self) -> bool:
        """Whether the destination was translated: `ct status dnat`."""
        return bool(self.status & _ANY_NAT_OF_DESTINATION)


def conversations(netns: str) -> Iterator[Tracked]:
    """Yield every conversation that a namespace tracks, in no order; one that begins meanwhile may be missing."""
    with opened(netns) as conntrack:
        yield from map(parse, dump(conntrack))


def marks(netns: str, mask: int) -> set[int]:
    """Return the marks of all conversations, within a mask; those without any of its bits are left out."""
    found: set[int] = set()
    with opened(netns) as conntrack:
        for flow in dump(conntrack):
            for kind, begin, _ in attributes(flow, 4):
                if kind == _MARK:
                    found.add(int.from_bytes(flow[begin + ATTRIBUTE.size : begin + 8], "big") & mask)
                    break
    return found - {0}


def opened(netns: str) -> socket.socket:
    """Open a conntrack socket of the namespace; it may be used from anywhere."""
    with entered(netns):
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    made.settimeout(10)
    return made


def tracked(conntrack: socket.socket) -> int:
    """Return how many conversations a namespace tracks, those that have just begun included."""
    conntrack.send(HEADER.pack(20, _COUNT, REQUEST, 1, 0) + bytes(4))
    kind, body = next(messages(conntrack))
    if kind == _ERROR:
        raise SystemRefused(f"connection tracking: {os.strerror(-struct.unpack_from('=i', body)[0])}")
    return _unsigned(_values(body, 4).get(_ENTRIES))


def marked(mark: int, mask: int) -> bytes:
    """Build what limits a dump to conversations with a mark, within a mask."""
    return b"".join(ATTRIBUTE.pack(8, kind) + _BE32.pack(value) for kind, value in ((_MARK, mark), (_MASK, mask)))


def dump(conntrack: socket.socket, limit: bytes = b"") -> Iterator[bytes]:
    """Yield every conversation, or those within a limit: the family's header and the attributes."""
    conntrack.send(HEADER.pack(20 + len(limit), GET, REQUEST | DUMP, 1, 0) + bytes(4) + limit)
    while True:
        for kind, body in messages(conntrack):
            if kind == _DONE:
                return
            if kind == _ERROR:
                raise SystemRefused(f"connection tracking: {os.strerror(-struct.unpack_from('=i', body)[0])}")
            yield body


def messages(conntrack: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Receive one datagram and yield its messages: type and body."""
    data, at = conntrack.recv(1 << 17), 0
    while at < len(data):
        length, kind, *_ = HEADER.unpack_from(data, at)
        yield kind, data[at + HEADER.size : at + length]
        at += length + 3 & ~3


def attributes(data: bytes, at: int = 0) -> Iterator[tuple[int, int, int]]:
    """Yield kind, start of the attribute and end of its value."""
    while at + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, at)
        yield kind & _KIND, at, at + length
        at += length + 3 & ~3


def parse(body: bytes) -> Tracked:
    """Parse one conversation of a dump."""
    parts = _values(body, 4)
    protocol, original, icmp = _tuple(parts[ORIGINAL])
    reply = _tuple(parts[REPLY])[1]
    info: dict[int, bytes] = {}
    if protocol == socket.IPPROTO_TCP and _PROTOINFO in parts:
        info = _values(_values(parts[_PROTOINFO]).get(1, b""))
    return Tracked(
        protocol,
        original,
        reply,
        icmp,
        _unsigned(parts.get(_MARK)),
        _unsigned(parts.get(_STATUS)),
        info[1][0] if 1 in info else 0,
        _BE16.unpack(parts[ZONE])[0] if ZONE in parts else 0,
        _unsigned(parts.get(ID)),
    )


def _values(data: bytes, at: int = 0) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    unpack, last = ATTRIBUTE.unpack_from, len(data) - 4
    while at <= last:
        length, kind = unpack(data, at)
        found[kind & _KIND] = data[at + 4 : at + length]
        at += length + 3 & ~3
    return found


def _tuple(data: bytes) -> tuple[int, Ends, tuple[int, int, int] | None]:
    parts = _values(data)
    addresses, numbers = _values(parts[TUPLE_IP]), _values(parts[_TUPLE_PROTO])
    source, destination = addresses.values()  # the kernel writes the source first
    protocol = numbers[_NUMBER][0]
    icmp = None
    ports = (0, 0)
    if _SOURCE_PORT in numbers:
        ports = (_BE16.unpack(numbers[_SOURCE_PORT])[0], _BE16.unpack(numbers[_DESTINATION_PORT])[0])
    for which in (0, 1):
        if _ICMP_TYPE[which] in numbers:
            identifier = _BE16.unpack(numbers[_ICMP_ID[which]])[0]
            icmp = (numbers[_ICMP_TYPE[which]][0], numbers[_ICMP_CODE[which]][0], identifier)
    return protocol, Ends(_address(source), _address(destination), *ports), icmp


def _unsigned(value: bytes | None) -> int:
    return _BE32.unpack(value)[0] if value is not None else 0


_known: dict[bytes, IPAddress] = {}
_MOST_KNOWN: Final = 100_000


def _address(packed: bytes) -> IPAddress:
    """Return an address; the same object for the same address, for most of them occur many times."""
    found = _known.get(packed)
    if found is None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        found = _known[packed] = IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
    return found
