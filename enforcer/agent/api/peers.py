"""Who is at the other end of the socket: the kernel says so (SO_PEERCRED), so nobody can pretend.

uvicorn's protocol, with four things added: the peer goes into the scope of each request, a peer has only so many
connections at once, a request's head is bounded, and who does not send one within a time is cut off – uvicorn waits for
ever for one that sends a byte now and then. Example: `request.scope["peer"].uid`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

SO_PEERGROUPS = 59
MOST_GROUPS = 256
"""As many as Python asks for; of a user with more, the first group counts alone."""

MOST_CONNECTIONS = 256
MOST_OF_ONE = 64
"""Connections at once: of all, and of one user other than root."""

MOST_HEAD = 64 * 1024
"""Bytes of a request's line and headers; who sends more is cut off."""

HEADERS_WITHIN = 10.0
"""Seconds for which a connection may be open, or idle after an answer, without a whole request's head."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A process: the user and groups that it runs as, and its id."""

    uid: int
    pid: int = 0
    groups: frozenset[int] = frozenset()


@dataclass(slots=True)
class Crowd:
    """The connections that are open, by user."""

    of: Counter[int] = field(default_factory=Counter)

    def admits(self, uid: int) -> bool:
        """Return whether one more connection of a user is fine."""
        return self.of.total() < MOST_CONNECTIONS and (uid == 0 or self.of[uid] < MOST_OF_ONE)


class PeerProtocol(HttpToolsProtocol):
    """HTTP/1.1 on one connection, knowing whose it is."""

    crowd: ClassVar[Crowd] = Crowd()
    headers_within: ClassVar[float] = HEADERS_WITHIN

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._heads, self._head, self._in_body = 0, 0, False
        self._peer = peer_of(transport.get_extra_info("socket"))
        self._deadline: asyncio.TimerHandle | None = None
        self._counted = self.crowd.admits(self._peer.uid)
        if not self._counted:
            transport.abort()
            return
        self.crowd.of[self._peer.uid] += 1
        self.app = with_peer(self.app, self._peer, transport.abort)
        self._expect_a_request()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._counted:
            self.crowd.of[self._peer.uid] -= 1
            self._counted = False
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        heads, in_body = self._heads, self._in_body
        super().data_received(data)
        self._head = 0 if in_body or heads != self._heads else self._head + len(data)
        if self._head > MOST_HEAD:
            self.transport.abort()
        if self.cycle is not None and not self.cycle.response_complete:
            self._expect_nothing()

    def on_headers_complete(self) -> None:
        self._heads, self._in_body = self._heads + 1, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._expect_a_request()
        super().on_response_complete()
        if self.cycle is not None and not self.cycle.response_complete:
            self._expect_nothing()

    def _expect_a_request(self) -> None:
        self._expect_nothing()
        self._deadline = self.loop.call_later(self.headers_within, self.transport.abort)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def peer_of(connection: socket.socket) -> Peer:
    """Return who has the other end of a UNIX socket."""
    pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        more = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 4 * MOST_GROUPS)
    except OSError:
        more = b""
    return Peer(uid, pid, frozenset((gid, *struct.unpack(f"{len(more) // 4}I", more))))


def with_peer(app: Any, peer: Peer, abort: Callable[[], None]) -> Any:
    """Return the application, told of each request who asks, and how to cut him off."""

    async def told(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await app({**scope, "peer": peer, "abort": abort}, receive, send)

    return told
