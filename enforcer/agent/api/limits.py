"""Bounds of a request: how large, how slow, and how much of all of them at once; so that no client harms another.

    body      64 MiB for a policy, 256 KiB for everything else; all bodies at once at most 256 MiB
    slowness  each part of a body within 10 s, and each part of an answer taken within 30 s

An ASGI middleware: it refuses with an error document, or cuts the connection where nothing can be said any more. That a
request's head comes in time, and how many connections there are, is seen to in `peers`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

MIB = 1024 * 1024
MOST_POLICY = 64 * MIB
MOST_EDIT = MIB // 4
MOST_TOGETHER = 256 * MIB
LARGE = ("/v1/policy", "/v1/plan")
"""The paths whose body is a policy file."""


class TooMuch(Exception):
    """A request asks for more than there is for it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Limits:
    """The application inside, with its requests bounded; `part_within` and `taken_within` are seconds."""

    def __init__(self, app: Any, part_within: float = 10.0, taken_within: float = 30.0) -> None:
        self._app, self._part_within, self._taken_within = app, part_within, taken_within
        self._held = 0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = MOST_POLICY if scope["path"] in LARGE else MOST_EDIT
        bounded = _Sending(send, scope.get("abort", lambda: None), self._taken_within)
        try:
            body = await self._body(scope, receive, most)
        except TooMuch as refusal:
            await bounded.refuse(refusal.status, str(refusal))
            return
        try:
            await self._app(scope, _given(body, receive), bounded)
        finally:
            self._held -= len(body)

    async def _body(self, scope: dict[str, Any], receive: Any, most: int) -> bytes:
        """Read the whole body, counting it among all that are held."""
        length = next((value for key, value in scope["headers"] if key == b"content-length"), b"")
        if length.isdigit() and int(length) > most:
            raise TooMuch(413, _too_large(most))
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                async with asyncio.timeout(self._part_within):
                    message = await receive()
                if message["type"] != "http.request":
                    raise TooMuch(400, "the client went away")
                part = message.get("body", b"")
                if size + len(part) > most:
                    raise TooMuch(413, _too_large(most))
                if self._held + len(part) > MOST_TOGETHER:
                    raise TooMuch(503, "too many large requests at once; try again")
                parts.append(part)
                size += len(part)
                self._held += len(part)
                if not message.get("more_body"):
                    return b"".join(parts)
        except TimeoutError:
            self._held -= size
            raise TooMuch(408, f"no part of the request came for {self._part_within:.0f} s; send it faster") from None
        except TooMuch:
            self._held -= size
            raise


def _too_large(most: int) -> str:
    limit = f"{most // MIB} MiB" if most >= MIB else f"{most // 1024} KiB"
    return f"the request is larger than {limit}, the most that is taken here"


def _given(body: bytes, receive: Any) -> Callable[[], Any]:
    """Return a `receive` that gives the body at once, and then what the connection says."""
    given = False

    async def next_message() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return next_message


class _Sending:
    """Sends parts of an answer; cuts off who does not take them; what comes after goes nowhere."""

    def __init__(self, send: Any, abort: Callable[[], None], within: float) -> None:
        self._send, self._abort, self._within = send, abort, within

    async def __call__(self, message: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(self._within):
                await self._send(message)
        except TimeoutError:
            self._abort()

    async def refuse(self, status: int, message: str) -> None:
        problem = {"where": "", "message": message, "line": 0, "code": "", "text": message}
        body = json.dumps({"valid": False, "errors": [problem], "notes": [], "exit_status": 2}).encode()
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self({"type": "http.response.body", "body": body})
