"""Who is at the other end of the socket: the kernel says so (SO_PEERCRED), so nobody can pretend.

uvicorn's protocol, with five things added: the peer goes into the scope of each request, a peer has only so many
connections at once, a request's head is bounded, who does not send one within a time is cut off – uvicorn waits for
ever for one that sends a byte now and then – and a plain edit is taken before a task is made for it (`Taker`).
Example: `request.scope["peer"].uid`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

SO_PEERGROUPS = 59
MOST_GROUPS = 256
"""As many as Python asks for; of a user with more, the first group counts alone."""

MOST_CONNECTIONS = 256
MOST_OF_ONE = 64
"""Connections at once: of all, and of one user other than root."""

MOST_HEAD = 64 * 1024
"""Bytes of a request's line and headers; who sends more is cut off."""

JSON = b"application/json"
REST_WITHIN = 0.05
"""Seconds for which a request whose head is there is kept from the application, until all of it is there."""

HEADERS_WITHIN = 10.0
"""Seconds for which a connection may be open, or idle after an answer, without a whole request's head."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A process: the user and groups that it runs as, and its id."""

    uid: int
    pid: int = 0
    groups: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request: who `answer`s it with a status and a document, and what to do `instead` of taking it."""

    scope: Mapping[str, Any]
    body: bytes
    peer: Peer
    answer: Callable[[int, bytes], None]
    instead: Callable[[], None]


class Taker(Protocol):
    """Who may take a whole request before the application is asked (`short.Short`)."""

    def may_take(self, scope: Mapping[str, Any]) -> bool:
        """Return whether it is worth while to wait for the rest of a request."""

    def take(self, request: Request) -> None:
        """Answer a request, now or later, or have it answered instead."""


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

    def __init__(self, *words: Any, taker: Taker, **named: Any) -> None:
        super().__init__(*words, **named)
        self._taker = taker
        self._begun: tuple[RequestResponseCycle, Any] | None = None
        self._answered: RequestResponseCycle | None = None

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
        self.app = with_peer(self.app, self._peer, self.cut_off)
        self._expect_a_request()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._counted:
            self.crowd.of[self._peer.uid] -= 1
            self._counted = False
        self._begun = None
        self._send_no_more()
        self._expect_nothing()
        super().connection_lost(exc)

    def cut_off(self) -> None:
        """Close the connection at once; what is still sent to it goes nowhere."""
        self._send_no_more()
        self.transport.abort()

    def _send_no_more(self) -> None:
        """Let go of the request that is being answered: uvicorn knows but the last of those in a pipeline."""
        if self._answered is not None:
            self._answered.disconnected = True

    def data_received(self, data: bytes) -> None:
        heads, in_body = self._heads, self._in_body
        super().data_received(data)
        self._head = 0 if in_body or heads != self._heads else self._head + len(data)
        self._go_on()
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
        self._go_on()
        if self.cycle is not None and not self.cycle.response_complete:
            self._expect_nothing()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Keep what uvicorn would give to the application now, until it is seen whether somebody else takes it."""
        self._begun = cycle, app

    def _go_on(self) -> None:
        """Let a request be taken if all of it is there, or soon will be; else the application gets it."""
        if self._begun is None:
            return
        (cycle, app), scope = self._begun, self._begun[0].scope
        plain = not (self.flow.write_paused or cycle.waiting_for_100_continue) and self._taker.may_take(scope)
        if plain and cycle.more_body:
            self.loop.call_later(REST_WITHIN, self._no_more, cycle)
            return
        self._begun, self._answered = None, cycle
        instead = partial(super()._start_asgi_task, cycle, app)
        if plain:
            answer = partial(self._answer, cycle)
            self._taker.take(Request(scope, bytes(cycle.body), self._peer, answer, instead))
        else:
            instead()

    def _no_more(self, cycle: RequestResponseCycle) -> None:
        """Let the application wait for the rest of a request: it knows for how long."""
        if self._begun is not None and self._begun[0] is cycle:
            _, app = self._begun
            self._begun, self._answered = None, cycle
            super()._start_asgi_task(cycle, app)

    def _answer(self, cycle: RequestResponseCycle, status: int, document: bytes) -> None:
        """Answer a request that was taken, in one piece, and go on as uvicorn does after an answer."""
        if cycle.disconnected:
            return
        headers = [*cycle.default_headers, (b"content-type", JSON), (b"content-length", b"%d" % len(document))]
        if not cycle.keep_alive:
            headers.append((b"connection", b"close"))
        lines = b"".join(b"%b: %b\r\n" % each for each in headers)
        cycle.response_started = cycle.response_complete = True
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[status], lines, document))
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

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
