"""What can be seen: status, hits, live traces, and the metrics; nothing here changes anything.

GET /status     revision, NICs, warnings, conntrack use, repairs, errors, what waits to be confirmed
GET /hits       hits per rule; `unused`: rules without any
GET /trace      new flows as they are judged, a JSON object a line, until the client leaves
GET /metrics    the page of Prometheus
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool

from enforcer.agent.api.context import Here
from enforcer.agent.seeing.parts import Seeing
from enforcer.agent.seeing.tracing import Following
from enforcer.errors import UsageError

EVERY = 0.1
"""Seconds between two looks for new lines."""
SIGN_OF_LIFE = 5.0
"""Seconds after which an empty line is sent: a client that has gone is noticed then."""

Name = Annotated[str, Query(max_length=130)]
router = APIRouter(tags=["seeing"])


async def seeing_of(here: Here) -> Seeing:
    """Return what the daemon sees; raise UsageError if it does not look."""
    if here.seeing is None:
        raise UsageError("this daemon sees nothing")
    return here.seeing


Sees = Annotated[Seeing, Depends(seeing_of)]


@router.get("/status")
async def status(here: Here, seeing: Sees) -> dict[str, Any]:
    """Return what is the case, and whether all is as wanted (`well`); `waiting`: what is to be confirmed."""
    found = await run_in_threadpool(seeing.status)
    waiting = await run_in_threadpool(here.confirming.waiting)
    return {**found, "waiting": None if waiting is None else asdict(waiting)}


@router.get("/hits")
async def hits(seeing: Sees, unused: bool = False) -> dict[str, Any]:
    """Return hits per rule since when: flows that it let pass, packets that it denied."""
    return await run_in_threadpool(lambda: seeing.hits(unused=unused))


@router.get("/metrics", response_class=Response)
async def metrics(seeing: Sees) -> Response:
    """Return the metrics as Prometheus reads them."""
    return Response(await run_in_threadpool(seeing.metrics), media_type=CONTENT_TYPE_LATEST)


@router.get("/trace", response_class=StreamingResponse)
async def trace(seeing: Sees, nic: Name = "", protocol: Name = "") -> StreamingResponse:
    """Return new flows as they are judged, one JSON object a line; `left_out` counts lines that were lost."""
    stack = AsyncExitStack()
    following = stack.enter_context(seeing.follow(nic, protocol))
    return StreamingResponse(_lines(following, stack), media_type="application/x-ndjson")


async def _lines(following: Following, stack: AsyncExitStack) -> AsyncIterator[str]:
    async with stack:
        yield "\n"
        silent = 0.0
        while True:
            lines, left_out = following.take()
            rows: list[dict[str, Any]] = [asdict(each) for each in lines]
            rows += [{"left_out": left_out}] if left_out else []
            silent = 0.0 if rows else silent + EVERY
            if rows or silent >= SIGN_OF_LIFE:
                silent = 0.0
                yield "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows) or "\n"
            await asyncio.sleep(EVERY)
