"""Make a router forget a flow, so that the next packet of it begins a new one.

Protocols without ports are tracked by addresses alone (S13): an attempt would ride on an older one, or on its own
opposite direction, and show what was allowed then. Raw nfnetlink: one message a flow, no dump of the table.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from enforcer.dataplane.namespaces import entered
from enforcer.model import GRE, IPAddress

_NETLINK_NETFILTER: Final = 12
_CT_DELETE: Final = 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE
_REQUEST_ACK: Final = 0x1 | 0x4
_NESTED: Final = 0x8000
_TUPLE_ORIG, _TUPLE_IP, _TUPLE_PROTO = 1, 1, 2
_PROTO_NUM, _PROTO_SRC, _PROTO_DST = 1, 2, 3
_IP_ATTRIBUTES: Final = {4: (1, 2), 6: (3, 4)}
_AF: Final = {4: socket.AF_INET, 6: socket.AF_INET6}


class Conntrack:
    """Connection tracking of one namespace."""

    def __init__(self, netns: str) -> None:
        with entered(netns):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        self._socket.settimeout(1.0)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def forget(self, protocol: int, source: IPAddress, destination: IPAddress) -> None:
        """Delete the flow from `source` to `destination`, or in reply to it; one that is not there is fine."""
        self._socket.send(_deletion(protocol, source, destination))
        self._socket.recv(4096)  # the acknowledgement; ENOENT where there was no such flow


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _deletion(protocol: int, source: IPAddress, destination: IPAddress) -> bytes:
    from_kind, to_kind = _IP_ATTRIBUTES[source.version]
    addresses = _attribute(from_kind, source.packed) + _attribute(to_kind, destination.packed)
    numbers = _attribute(_PROTO_NUM, bytes([protocol]))
    if protocol == GRE:  # tracked with a key, which is 0 in packets that have none
        numbers += _attribute(_PROTO_SRC, b"\0\0") + _attribute(_PROTO_DST, b"\0\0")
    flow = _attribute(_TUPLE_IP | _NESTED, addresses) + _attribute(_TUPLE_PROTO | _NESTED, numbers)
    body = struct.pack("=BBH", _AF[source.version], 0, 0) + _attribute(_TUPLE_ORIG | _NESTED, flow)
    return struct.pack("=IHHII", 16 + len(body), _CT_DELETE, _REQUEST_ACK, 1, 0) + body
