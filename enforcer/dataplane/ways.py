"""By which interface does a namespace send packets to an address? Its routes and routing rules, asked in bulk.

    ways("lab-vpc-vpc-x", [ip_address("10.0.0.11")])    {IPv4Address('10.0.0.11'): 'v-ecs-a'}

Read only, raw rtnetlink (RTM_GETROUTE, rtnetlink(7)): a hundred questions go out at once, since a general library takes
a millisecond for each, and there may be thousands of peers.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Sequence
from typing import Final

from enforcer.dataplane.namespaces import entered
from enforcer.model import IPAddress

_NEW_ROUTE, _GET_ROUTE, _ERROR = 24, 26, 2
_REQUEST: Final = 1
_DESTINATION, _OUTGOING = 1, 4  # RTA_DST, RTA_OIF
_HEADER: Final = struct.Struct("=IHHII")
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE: Final = struct.Struct("=HH")
_INDEX: Final = struct.Struct("=I")
_AT_ONCE: Final = 100


def ways(netns: str, addresses: Collection[IPAddress]) -> dict[IPAddress, str]:
    """Return the interface for each address that has a way; `lo` for the namespace's own addresses."""
    if not addresses:
        return {}
    wanted, found = list(addresses), dict[int, int]()
    with entered(netns):
        names = dict(socket.if_nameindex())
        asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    with asking:
        asking.settimeout(10)
        for start in range(0, len(wanted), _AT_ONCE):
            found |= _asked(asking, wanted[start : start + _AT_ONCE], start)
    return {wanted[number]: names[index] for number, index in found.items() if index in names}


def _asked(asking: socket.socket, addresses: Sequence[IPAddress], start: int) -> dict[int, int]:
    """Ask for some addresses, numbered from `start`; return the interface index of each number that has a way."""
    asking.send(b"".join(_question(address, start + number) for number, address in enumerate(addresses)))
    found: dict[int, int] = {}
    answers = 0
    while answers < len(addresses):
        data, at = asking.recv(1 << 16), 0
        while at < len(data):
            length, kind, _, sequence, _ = _HEADER.unpack_from(data, at)
            answers += kind in (_NEW_ROUTE, _ERROR)
            if kind == _NEW_ROUTE and (index := _outgoing(data[at + _HEADER.size + _ROUTE.size : at + length])):
                found[sequence] = index
            at += length + 3 & ~3
    return found


def _question(address: IPAddress, sequence: int) -> bytes:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    body = _ROUTE.pack(family, address.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(address.packed), _DESTINATION) + address.packed
    return _HEADER.pack(_HEADER.size + len(body), _GET_ROUTE, _REQUEST, sequence, 0) + body


def _outgoing(attributes: bytes) -> int:
    at = 0
    while at + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, at)
        if kind == _OUTGOING:
            return int(_INDEX.unpack_from(attributes, at + _ATTRIBUTE.size)[0])
        at += length + 3 & ~3
    return 0
