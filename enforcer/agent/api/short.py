"""The short way of an edit whose words are all in order: straight to its endpoint, in the thread of the socket.

    request ──Short──▶ endpoint ──▶ answer
               └── whatever is not plain ──▶ the application, which knows what to say about it

The application (FastAPI) finds routes, resolves dependencies and validates for every request anew, which takes longer
than the change itself. Here the same routes, with the same models of bodies and annotated words, are made ready once.
The short way may only say yes: a request that it does not understand wholly – another path, a word that does not fit, a
peer who may not change anything – goes to the application as it came. Example: `Short(create_app(context), context)`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError

from enforcer.agent.api.app import PREFIX, broken, refused
from enforcer.agent.api.context import Asking, Context
from enforcer.agent.api.documents import Done, Message, Number
from enforcer.agent.api.edits import router
from enforcer.agent.api.peers import Peer
from enforcer.errors import EnforcerError

JSON = b"application/json"
NOT_PLAIN = (ValidationError, ValueError, RecursionError)
WITH_EVERY_CHANGE: Mapping[str, TypeAdapter[Any]] = {
    "message": TypeAdapter(Message),
    "if_revision": TypeAdapter(Number),
}


class _NotPlain(ValueError):
    """The application shall answer."""


@dataclass(frozen=True, slots=True)
class Way:
    """One route of an edit: the parts of its path (None: a word), and what its endpoint takes."""

    path: tuple[str | None, ...]
    words: tuple[tuple[str, TypeAdapter[Any]], ...]
    query: Mapping[str, TypeAdapter[Any]]
    body: tuple[str, type[BaseModel]] | None
    endpoint: Callable[..., Any]

    def leads(self, parts: list[str]) -> bool:
        """Return whether a path of as many parts is one of this route's."""
        return all(wanted is None or wanted == part for wanted, part in zip(self.path, parts, strict=True))

    def arguments(self, parts: list[str], query: Mapping[str, list[str]], body: bytes) -> dict[str, Any]:
        """Return what the endpoint is called with; raise one of NOT_PLAIN if a word does not fit."""
        given = (part for wanted, part in zip(self.path, parts, strict=True) if wanted is None)
        found = {name: word.validate_python(part) for (name, word), part in zip(self.words, given, strict=True)}
        found.update((name, word.validate_python(query[name])) for name, word in self.query.items())
        if self.body is not None:
            name, model = self.body
            found[name] = model.model_validate(json.loads(body))
        elif body:
            raise _NotPlain
        return found


def ways_of(routes: Iterable[object]) -> dict[tuple[str, int], list[Way]]:
    """Return the routes by method and number of parts, in the order in which they are asked."""
    found: dict[tuple[str, int], list[Way]] = {}
    for route in routes:
        if isinstance(route, APIRoute):
            way = _way(route)
            for method in route.methods or ():
                found.setdefault((method, len(way.path)), []).append(way)
    return found


def _way(route: APIRoute) -> Way:
    parts = [*(PREFIX + route.path).split("/")]
    named = [part.strip("{}") if part.startswith("{") else None for part in parts]
    taken = {
        name: each.annotation
        for name, each in inspect.signature(route.endpoint, eval_str=True).parameters.items()
        if name not in ("here", "asked")
    }
    bodies = [(name, kind) for name, kind in taken.items() if inspect.isclass(kind) and issubclass(kind, BaseModel)]
    words = tuple((name, TypeAdapter(taken.pop(name))) for name in named if name is not None)
    query = {name: TypeAdapter(kind) for name, kind in taken.items() if (name, kind) not in bodies}
    path = tuple(part if name is None else None for part, name in zip(parts, named, strict=True))
    return Way(path, words, query, bodies[0] if bodies else None, route.endpoint)


class Short:
    """The application, with a short way for plain edits in front of it."""

    def __init__(self, app: FastAPI, context: Context) -> None:
        self._app, self._context = app, context
        self._ways = ways_of(router.routes)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        way, parts = self._found(scope)
        if way is None:
            await self._app(scope, receive, send)
            return
        message = await receive()
        try:
            arguments = self._plain(way, parts, scope, message)
        except NOT_PLAIN:
            await self._app(scope, _again(message, receive), send)
            return
        try:
            done: Done = await way.endpoint(here=self._context, **arguments)
        except EnforcerError as error:
            await refused(error)(scope, receive, send)
            return
        except Exception as error:
            await broken(error)(scope, receive, send)
            raise  # for the server's log
        body = done.model_dump_json().encode()
        headers = [(b"content-type", JSON), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _found(self, scope: Mapping[str, Any]) -> tuple[Way | None, list[str]]:
        if scope["type"] != "http":
            return None, []
        parts: list[str] = scope["path"].split("/")
        ways = self._ways.get((scope["method"], len(parts)), ())
        return next((way for way in ways if way.leads(parts)), None), parts

    def _plain(self, way: Way, parts: list[str], scope: Mapping[str, Any], message: Mapping[str, Any]) -> Any:
        """Return all that the endpoint is called with; raise one of NOT_PLAIN where there is more to be said."""
        peer = scope.get("peer")
        if not isinstance(peer, Peer) or not self._context.may_change(peer) or message.get("more_body"):
            raise _NotPlain
        if way.body is not None and (b"content-type", JSON) not in scope["headers"]:
            raise _NotPlain
        query: dict[str, list[str]] = {}
        for name, value in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
            query.setdefault(name, []).append(value)
        if query.keys() - WITH_EVERY_CHANGE.keys() != way.query.keys():
            raise _NotPlain
        said: dict[str, Any] = {"message": "", "if_revision": None}
        for name in query.keys() & WITH_EVERY_CHANGE.keys():
            (value,) = query[name]
            said[name] = WITH_EVERY_CHANGE[name].validate_python(value)
        return {**way.arguments(parts, query, message["body"]), "asked": Asking(peer, **said)}


def _again(message: Any, receive: Any) -> Callable[[], Any]:
    """Return a `receive` that gives a message once more, and then what comes."""
    kept = [message]

    async def next_message() -> Any:
        return kept.pop() if kept else await receive()

    return next_message
