"""Sockets inside hosts, served from one asyncio loop outside: raw ports, UDP and TCP echoes.

A port tells its owner what it receives and sends what it is given; which packet belongs to which attempt is not its
business. Answers leave from the very address that was asked, be it a virtual IP or a second NIC's.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from enforcer.dataplane.namespaces import entered
from enforcer.lab.probe.packets import ipv4_payload
from enforcer.model import Family, IPAddress

_IP_PKTINFO: Final = 8
_IPV6_RECVPKTINFO: Final = 49
_AF: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_ANY: Final = {4: "0.0.0.0", 6: "::"}
_BURST: Final = 64
"""How many packets one port takes before the others have their turn."""
_BUFFER: Final = 1 << 20

Received = Callable[[bytes, IPAddress, IPAddress, int], None]
"""What was received: data, the peer's address, the own address that it was sent to, the peer's port."""


class DatagramPort:
    """A raw or UDP socket that knows to which of the host's addresses each packet was sent."""

    def __init__(self, netns: str, family: Family, protocol: int, port: int | None, received: Received) -> None:
        """Open a UDP socket on `port`, or a raw one for `protocol`; OSError if the port is in use."""
        self._family, self._raw, self._received = family, port is None, received
        with entered(netns):
            kind = socket.SOCK_RAW if port is None else socket.SOCK_DGRAM
            self._socket = socket.socket(_AF[family], kind | socket.SOCK_NONBLOCK, protocol if port is None else 0)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            if family == 6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
                if port is not None:
                    self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            else:
                self._socket.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            if port is not None:
                self._socket.bind((_ANY[family], port))
        except OSError:
            self._socket.close()
            raise
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)

    def close(self) -> None:
        """Close the socket."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def send(self, data: bytes, source: IPAddress, destination: IPAddress, port: int = 0) -> None:
        """Send from one of the host's own addresses; OSError if the host's kernel refuses."""
        if isinstance(source, IPv4Address):
            control = (socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("=I4s4s", 0, source.packed, b"\0" * 4))
        else:
            control = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("=16sI", source.packed, 0))
        self._socket.sendmsg([data], [control], 0, (str(destination), port))

    def _read(self) -> None:
        for _ in range(_BURST):
            try:
                data, control, _, peer = self._socket.recvmsg(65536, 256)
            except OSError:  # nothing more, or an ICMP error that belongs to an earlier packet
                return
            if (own := _own_address(control)) is None:
                continue
            if self._raw and self._family == 4:
                data = ipv4_payload(data)
            with suppress(OSError):  # an answer that this kernel refuses to send is an answer that does not come
                self._received(data, ip_address(peer[0].partition("%")[0]), own, peer[1])


def _own_address(control: list[tuple[int, int, bytes]]) -> IPAddress | None:
    for level, kind, data in control:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            return IPv4Address(data[8:12])
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            return IPv6Address(data[:16])
    return None


class TcpEcho:
    """A listener that answers each connection's first bytes by what `answer` makes of them."""

    def __init__(self, netns: str, family: Family, port: int, answer: Callable[[bytes], bytes]) -> None:
        """Listen on all of the host's addresses; OSError if the port is in use."""
        self._answer = answer
        self._connections: set[asyncio.Task[None]] = set()
        with entered(netns):
            self._socket = socket.socket(_AF[family], socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == 6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._socket.bind((_ANY[family], port))
            self._socket.listen(4096)
        except OSError:
            self._socket.close()
            raise
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._accept)

    def close(self) -> None:
        """Stop listening and drop what is open."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for connection in self._connections:
            connection.cancel()

    def _accept(self) -> None:
        for _ in range(_BURST):
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._echo(connection))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _echo(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if data := await self._loop.sock_recv(connection, 4096):
                await self._loop.sock_sendall(connection, self._answer(data))
                await self._loop.sock_recv(connection, 1)  # the client closes first
