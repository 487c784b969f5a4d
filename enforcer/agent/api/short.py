"""The short way of an edit whose words are all in order: from the socket straight to its endpoint, and to the answer.

    request ──PeerProtocol──▶ Short ──▶ head ──settled──▶ answer
                                └── whatever is not plain ──▶ the application, which knows what to say about it

The application (FastAPI) finds routes, resolves dependencies and validates for every request anew, in a task of its
own, which takes longer than the change itself. Here the same routes, with the same models of bodies and annotated
words, are made ready once, and nothing waits: an edit is judged, proposed and, if the loop has nothing else to do, put
in force at once, and answered when somebody says that it is settled. Requests that have come together are judged
together; `coming` says how many still are to be.

The short way may only say yes: a request that it does not understand wholly – another path, a word that does not fit, a
peer who may not change anything – goes to the application as it came. All of it runs in the thread of the socket.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError

from enforcer.agent.api.app import PREFIX, broken, refused
from enforcer.agent.api.context import Asking, Context, Refused, done
from enforcer.agent.api.documents import Done, Message, Number
from enforcer.agent.api.edits import router
from enforcer.agent.api.limits import MOST_EDIT
from enforcer.agent.api.peers import JSON, Request
from enforcer.agent.desired import Desired
from enforcer.agent.head import Planned
from enforcer.agent.store import Author, Outcome, Revision
from enforcer.errors import EnforcerError

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
    """Judges, proposes and answers plain edits."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._ways = ways_of(router.routes)
        self._taken: deque[Request] = deque()

    def may_take(self, scope: Mapping[str, Any]) -> bool:
        """Return whether a request is an edit, by its first line."""
        return self._found(scope)[0] is not None

    def take(self, request: Request) -> None:
        """Answer a request, now or later, or have it answered instead; those that come this moment come along."""
        self._taken.append(request)
        if len(self._taken) == 1:
            asyncio.get_running_loop().call_soon(self._all)

    def _all(self) -> None:
        with self._context.at_once():
            self._judge()

    def _judge(self) -> None:
        while self._taken:
            self._context.coming = len(self._taken)
            try:
                self._one(self._taken[0])
            except Exception as error:
                self._refused(self._taken[0], error)
            self._taken.popleft()
            self._context.coming = len(self._taken)

    def _one(self, request: Request) -> None:
        way, parts = self._found(request.scope)
        try:
            if way is None:
                raise _NotPlain
            arguments = self._plain(way, parts, request)
        except NOT_PLAIN:
            request.instead()
            return
        found = _at_once(way.endpoint(here=self, **arguments))
        if found is None:
            request.instead()
            return
        made, said = found
        if made is None:
            document = Done(revision=self._context.store.head, outcome=Outcome.IN_FORCE, changed=False, said=said)
            request.answer(200, document.model_dump_json().encode())
        else:
            self._wait(request, made, said)

    async def edit(self, asked: Asking, make: Callable[[Desired], Planned]) -> tuple[Revision | None, str] | None:
        """Judge and propose without waiting for anything; None where that cannot be. For endpoints this is `here`."""
        return self._context.head.change_at_once(
            make,
            author=Author(asked.peer.uid),
            message=asked.message,
            if_revision=asked.if_revision,
            allowed=self._context.confirming.free,
        )

    def _wait(self, request: Request, made: Revision, said: str) -> None:
        """Answer when a revision is settled, or with what is the case when patience ends."""
        loop, store = asyncio.get_running_loop(), self._context.store
        late = loop.call_later(self._context.patience, lambda: tell(store.revision(made.number)))
        told = False

        def tell(revision: Revision) -> None:
            nonlocal told
            if not told:
                told = True
                late.cancel()
                try:
                    request.answer(200, done(revision, said).model_dump_json().encode())
                except Refused as error:
                    self._refused(request, error)

        def tell_from_there(revision: Revision) -> None:
            with suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(tell, revision)

        store.when_settled(made.number, tell_from_there)

    def _refused(self, request: Request, error: Exception) -> None:
        known = isinstance(error, EnforcerError)
        if not known:
            logging.getLogger("uvicorn.error").error("Exception in the short way", exc_info=error)
        answer = refused(error) if isinstance(error, EnforcerError) else broken(error)
        request.answer(answer.status_code, bytes(answer.body))

    def _found(self, scope: Mapping[str, Any]) -> tuple[Way | None, list[str]]:
        parts: list[str] = scope["path"].split("/")
        ways = self._ways.get((scope["method"], len(parts)), ())
        return next((way for way in ways if way.leads(parts)), None), parts

    def _plain(self, way: Way, parts: list[str], request: Request) -> dict[str, Any]:
        """Return all that the endpoint is called with; raise one of NOT_PLAIN where there is more to be said."""
        if len(request.body) > MOST_EDIT or not self._context.may_change(request.peer):
            raise _NotPlain
        if way.body is not None and (b"content-type", JSON) not in request.scope["headers"]:
            raise _NotPlain
        query: dict[str, list[str]] = {}
        asked: str = request.scope["query_string"].decode("latin-1")
        for name, value in parse_qsl(asked, keep_blank_values=True) if asked else ():
            query.setdefault(name, []).append(value)
        if query.keys() - WITH_EVERY_CHANGE.keys() != way.query.keys():
            raise _NotPlain
        said: dict[str, Any] = {"message": "", "if_revision": None}
        for name in query.keys() & WITH_EVERY_CHANGE.keys():
            (value,) = query[name]
            said[name] = WITH_EVERY_CHANGE[name].validate_python(value)
        return {**way.arguments(parts, query, request.body), "asked": Asking(request.peer, **said)}


def _at_once(endpoint: Coroutine[Any, Any, Any]) -> tuple[Revision | None, str] | None:
    """Return what an endpoint returns that waits for nothing."""
    try:
        endpoint.send(None)
    except StopIteration as done_:
        found: tuple[Revision | None, str] | None = done_.value
        return found
    endpoint.close()
    raise RuntimeError("an edit's endpoint waits for something")
