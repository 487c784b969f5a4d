"""What the routers work with, and what all changes have in common: who asks, may he, and what became of it.

    changing(context, peer, …) ──▶ Done: judged and proposed by `head`, then waited for until it is settled

Example: `context.change(asked, lambda now: delete_group(now.resources, group))`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Query, Request
from starlette.concurrency import run_in_threadpool

from enforcer.agent.api.documents import Done, Message, Number
from enforcer.agent.api.peers import Peer
from enforcer.agent.confirming import Confirming
from enforcer.agent.desired import Desired
from enforcer.agent.head import Head, Planned
from enforcer.agent.seeing.parts import Seeing
from enforcer.agent.store import Author, Change, Outcome, Revision, Store
from enforcer.errors import EnforcerError, SystemRefused
from enforcer.model import Policy

PATIENCE = 60.0
"""Seconds to wait until a revision is settled before the client is told that it is not, yet."""


Result = TypeVar("Result")


class NotAllowed(EnforcerError):
    """The peer may look, but not change anything."""

    exit_status = 4


class Refused(SystemRefused):
    """The kernel, or the system, refused a revision: what was in force still is."""


@dataclass(slots=True)
class Context:
    """The daemon's parts as far as requests need them; tests put in what they have.

    `writers` are the groups whose users may change things; None: whoever reaches the socket. `require` raises
    AttachmentRefused if an interface of a policy does not exist. `plan` answers what a policy would change, `summary`
    does so in one line. `grown` is called after a change of so much that the memory is another one. `coming` edits
    are about to be proposed: those whose requests have been read. What is proposed in a block of `at_once` may be put
    in force by the same thread, behind it.
    """

    store: Store
    head: Head
    confirming: Confirming
    require: Callable[[Policy], None] = lambda _: None
    plan: Callable[[Policy | None, Policy], dict[str, Any]] | None = None
    summary: Callable[[Policy | None, Policy], str] | None = None
    writers: frozenset[int] | None = None
    seeing: Seeing | None = None
    grown: Callable[[], None] = lambda: None
    at_once: Callable[[], AbstractContextManager[None]] = nullcontext
    patience: float = PATIENCE
    coming: int = 0
    _long: CapacityLimiter | None = None

    async def one_at_a_time(self, work: Callable[..., Result], *words: Any) -> Result:
        """Do what takes long in a thread, one such thing at a time: the enforcing loop needs a processor, too.

        Those who wait keep no thread, so that short requests go on meanwhile.
        """
        if self._long is None:
            self._long = CapacityLimiter(1)
        return await to_thread.run_sync(work, *words, limiter=self._long)

    def may_change(self, peer: Peer) -> bool:
        """Return whether a peer may change things: root always."""
        return peer.uid == 0 or self.writers is None or bool(self.writers & peer.groups)

    async def change(
        self,
        asked: Asking,
        make: Callable[[Desired], Planned],
        *,
        notes: Callable[[int], Collection[Change]] = lambda _: (),
        back_to: int | None = None,
    ) -> Done:
        """Judge, propose and wait; raise Refused if the loop refuses it."""
        made, said = await run_in_threadpool(
            self.head.change,
            make,
            author=Author(asked.peer.uid),
            message=asked.message,
            if_revision=asked.if_revision,
            notes=notes,
            allowed=lambda: self.confirming.free(to=back_to),
        )
        if made is None:
            return Done(revision=self.store.head, outcome=Outcome.IN_FORCE, changed=False, said=said)
        return done(await self._settled(made), said)

    async def edit(self, asked: Asking, make: Callable[[Desired], Planned]) -> Done:
        """Like `change`: what is said of an edit for which there is no short way (`short`)."""
        return await self.change(asked, make)

    async def _settled(self, made: Revision) -> Revision:
        """Wait until a revision is settled, without keeping a thread; when patience ends, return it as it is."""
        loop = asyncio.get_running_loop()
        settled: asyncio.Future[Revision] = loop.create_future()

        def tell(revision: Revision) -> None:
            if not settled.done():
                settled.set_result(revision)

        def tell_from_there(revision: Revision) -> None:
            with suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(tell, revision)

        self.store.when_settled(made.number, tell_from_there)
        try:
            async with asyncio.timeout(self.patience):
                return await settled
        except TimeoutError:
            return self.store.revision(made.number)


def done(settled: Revision, said: str) -> Done:
    """Return what is said of a revision when waiting for it has ended; raise Refused if it was refused."""
    if settled.outcome is Outcome.REFUSED:
        raise Refused(f"revision {settled.number} was refused, nothing has changed: {settled.reason}")
    outcome, reason = settled.outcome, settled.reason
    return Done(revision=settled.number, outcome=outcome, reason=reason, changed=True, said=said)


@dataclass(frozen=True, slots=True)
class Asking:
    """What comes with every change: who asks, why, and which head he has seen."""

    peer: Peer
    message: str
    if_revision: int | None


async def context_of(request: Request) -> Context:
    """Return the context of the application."""
    found = request.app.state.context
    assert isinstance(found, Context)
    return found


async def peer_of(request: Request) -> Peer:
    """Return who asks; whoever the server does not know is nobody."""
    found = request.scope.get("peer")
    if not isinstance(found, Peer):
        raise NotAllowed("nobody knows who asks; use the daemon's socket")
    return found


Here = Annotated[Context, Depends(context_of)]
Who = Annotated[Peer, Depends(peer_of)]


async def asking(
    here: Here, who: Who, message: Annotated[Message, Query()] = "", if_revision: Number | None = None
) -> Asking:
    """Return what comes with a change; raise NotAllowed if the peer may only look."""
    if not here.may_change(who):
        raise NotAllowed("you may look, but change nothing; ask root, or become a member of the group `enforcer`")
    return Asking(who, message, if_revision)


Changes = Annotated[Asking, Depends(asking)]
