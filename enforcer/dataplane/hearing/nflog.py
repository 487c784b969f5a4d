"""Packets that our rules denied, as the kernel hands their first bytes to an NFLOG group; and what those bytes say.

    log = DenialSocket("router", 5371)
    log.read()      ──▶  [Denied("to", 12, 10.0.0.11, 10.0.0.12, 6, 40000, 22)]      never blocks
    log.lost        how often the kernel found no room for more

One program at a time may listen to a group of a namespace. Must not know: policies, names of interfaces.
"""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from enforcer.dataplane.hearing.listening import NetfilterSocket
from enforcer.dataplane.namespaces import called
from enforcer.dataplane.netlink.wire import attributes, messages
from enforcer.errors import SystemRefused
from enforcer.model import ICMP, ICMPV6, TCP, UDP, IPAddress

_PACKET, _CONFIG = 4 << 8, 4 << 8 | 1  # NFNL_SUBSYS_ULOG
_REQUEST, _ACK, _ERROR = 0x1, 0x4, 2
_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_COMMAND, _MODE, _TIMEOUT, _THRESHOLD = 1, 2, 4, 5  # NFULA_CFG_…
_BIND: Final = 1
_COPY_PACKET: Final = 2
_CENTISECONDS: Final = 10
"""How long the kernel may gather packets before it hands them over."""
_INDEV, _OUTDEV, _PAYLOAD, _PREFIX = 4, 5, 9, 10  # NFULA_…
_ROOM: Final = 1 << 20
_ARP_OF_IPV4: Final = bytes((0, 1, 8, 0, 6, 4))
ARP: Final = -1
_BE16: Final = struct.Struct("!HH")
_EXTENSIONS: Final = frozenset((0, 43, 60, 135))


@dataclass(frozen=True, slots=True)
class Denied:
    """One denied packet; `way` is the prefix of the rule, `index` that of the NIC's interface.

    For ICMP the ports are type and code; None: too short, or a protocol without ports. The protocol of ARP is -1.
    """

    way: str
    index: int
    source: IPAddress
    destination: IPAddress
    protocol: int
    source_port: int | None
    destination_port: int | None


class DenialSocket(NetfilterSocket):
    """Listens to the group of one namespace."""

    def __init__(self, netns: str, group: int) -> None:
        self._group = group
        try:
            super().__init__(netns, _ROOM)
        except OSError as error:
            mend = "another program listens to it; choose another deny_log.group"
            why = mend if error.errno in (errno.EBUSY, errno.EPERM) else error.strerror
            raise SystemRefused(f"{called(netns)}: NFLOG group {group} cannot be read ({why})") from error

    def _begin(self) -> None:
        self._socket.settimeout(5)
        for kind, value in (
            (_COMMAND, bytes((_BIND,))),
            (_MODE, struct.pack("!IBx", 128, _COPY_PACKET)),
            (_TIMEOUT, struct.pack("!I", _CENTISECONDS)),
            (_THRESHOLD, struct.pack("!I", 32)),
        ):
            self._configure(self._group, kind, value)

    def _configure(self, group: int, kind: int, value: bytes) -> None:
        attribute = _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)
        body = struct.pack("!BBH", 0, 0, group) + attribute
        self._socket.send(_HEADER.pack(16 + len(body), _CONFIG, _REQUEST | _ACK, 1, 0) + body)
        while True:  # packets may come before the answer; they are not missed, only not told
            for answer, _, _, content in messages(self._socket.recv(1 << 17)):
                if answer == _ERROR:
                    if number := -struct.unpack_from("=i", content)[0]:
                        raise OSError(number, os.strerror(number))
                    return

    def read(self) -> list[Denied]:
        """Return the packets that are there, a bounded number of them at a time."""
        return [packet for kind, body in self.heard() if kind == _PACKET and (packet := _denied(body)) is not None]


def _denied(body: bytes) -> Denied | None:
    parts = dict(attributes(body[4:]))
    way = parts.get(_PREFIX, b"").rstrip(b"\0").decode(errors="replace")
    device = parts.get(_OUTDEV if way.startswith("to") else _INDEV, b"")
    found = read_headers(parts.get(_PAYLOAD, b""))
    return Denied(way, int.from_bytes(device, "big"), *found) if found else None


def read_headers(data: bytes) -> tuple[IPAddress, IPAddress, int, int | None, int | None] | None:
    """Read source, destination, protocol and ports of a packet, or type and code; None if it is neither IP nor ARP."""
    source: IPAddress
    destination: IPAddress
    if len(data) >= 20 and data[0] >> 4 == 4:
        source, destination = IPv4Address(data[12:16]), IPv4Address(data[16:20])
        protocol, at = data[9], (data[0] & 0xF) * 4
    elif len(data) >= 40 and data[0] >> 4 == 6:
        source, destination = IPv6Address(data[8:24]), IPv6Address(data[24:40])
        protocol, at = data[6], 40
        while protocol in _EXTENSIONS and at + 2 <= len(data):
            protocol, at = data[at], at + 8 + data[at + 1] * 8
    elif len(data) >= 28 and data.startswith(_ARP_OF_IPV4):
        return IPv4Address(data[14:18]), IPv4Address(data[24:28]), ARP, None, None
    else:
        return None
    ports: tuple[int | None, int | None] = (None, None)
    if protocol in (TCP, UDP) and at + 4 <= len(data):
        ports = _BE16.unpack_from(data, at)
    elif protocol in (ICMP, ICMPV6) and at + 2 <= len(data):
        ports = data[at], data[at + 1]
    return source, destination, protocol, *ports
