"""The whole policy, its revisions, and the way back.

PUT  /policy        apply a policy file            GET /policy?revision=N    the policy as of a revision
POST /plan          what a policy file would change
GET  /revisions     history                        GET /revisions/N          one revision
GET  /difference    between two revisions
POST /rollback      back to a revision, as a new one
POST /confirm       keep what waits to be confirmed
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from enforcer.agent.api.context import Changes, Context, Here, Who
from enforcer.agent.api.documents import (
    Back,
    Changed,
    Difference,
    Done,
    History,
    Number,
    Said,
    Seconds,
    WholePolicy,
    Written,
)
from enforcer.agent.desired import Desired
from enforcer.agent.edits import Edit
from enforcer.agent.resources import difference, document_of, resources_of
from enforcer.agent.store import Outcome
from enforcer.errors import UsageError
from enforcer.model import Lines, Policy, advice, host_layout, parse_with_data, unsilenced
from enforcer.semantics import not_in_effect

router = APIRouter(tags=["policy"])
POLICY_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "a policy file, YAML or JSON, at most 64 MiB",
        "content": {"application/yaml": {"schema": {"type": "string"}}},
    }
}
MOST_WITH_LINES = 4 * 1024 * 1024
"""Bytes of a policy file whose warnings have their lines: a larger one is a program's, and finding them takes long."""
MANY = 500
"""After a change of more resources than this, the memory is another one."""


def read(text: bytes) -> tuple[Policy, dict[str, str], Callable[[], Lines]]:
    """Return a policy file's meaning on this host, its resources, and what tells its lines.

    Raise PolicyError with all that is wrong.
    """
    policy, data, lines = parse_with_data(text)
    host_layout(policy)
    return policy, resources_of(data), lines


@router.put("/policy", openapi_extra=POLICY_FILE)
async def apply(
    request: Request, here: Here, asked: Changes, confirm: Seconds | None = None, require: bool = False
) -> Done:
    """Put a policy file in force, in place of all that is there.

    With `confirm`, it goes back by itself unless it is confirmed in time. With `require`, it is refused if an interface
    does not exist.
    """
    policy, resources, warnings, summary = await here.one_at_a_time(_read, here, await request.body(), require)
    changed = 0

    def make(now: Desired) -> Edit:
        nonlocal changed
        changes, _ = now.becoming(resources, policy)
        changed = len(changes)
        many = f"{len(changes)} resource{'' if len(changes) == 1 else 's'}"
        return Edit(changes, f"policy applied, {many} changed" if changes else "nothing to change")

    done = await here.change(
        asked, make, notes=lambda base: () if confirm is None else (here.confirming.note(confirm, base),)
    )
    if confirm is not None and done.changed:
        here.confirming.begin(done.revision)
        done.confirm_within = confirm
    if changed > MANY:
        await run_in_threadpool(here.grown)
    done.warnings, done.summary = warnings, summary if done.changed else ""
    return done


def _read(here: Context, text: bytes, require: bool) -> tuple[Policy, dict[str, str], list[Said], str]:
    policy, resources, lines = read(text)
    if require:
        here.require(policy)
    warned = unsilenced(policy, (*not_in_effect(policy), *advice(policy)))
    if warned and len(text) <= MOST_WITH_LINES:
        warned = lines().on(warned)
    warnings = [Said.of(each) for each in warned]
    head, now = here.head.renewed()
    summary = here.summary(now.policy if head else None, policy) if here.summary is not None else ""
    return policy, resources, warnings, summary


@router.post("/plan", openapi_extra=POLICY_FILE)
async def plan(request: Request, here: Here, _: Changes) -> dict[str, Any]:
    """Say what a policy file would change, and change nothing; for those who may change it: it costs as much."""
    return await here.one_at_a_time(_plan, here, await request.body())


def _plan(here: Context, text: bytes) -> dict[str, Any]:
    policy, *_ = read(text)
    if here.plan is None:
        raise UsageError("this daemon has no plan")
    head, now = here.head.now()
    return here.plan(now.policy if head else None, policy)


@router.get("/policy")
def show(here: Here, _: Who, revision: Number | None = None) -> WholePolicy:
    """Return the policy as of a revision, by default the head."""
    number = here.store.head if revision is None else revision
    return WholePolicy(revision=number, policy=document_of(here.head.at(number)))


@router.get("/revisions")
def history(
    here: Here, _: Who, most: Annotated[int, Query(ge=1, le=1000)] = 50, before: Number | None = None
) -> History:
    """Return revisions, newest first, refused ones included."""
    waiting = here.confirming.waiting()
    found = here.store.history(most=most, before=before)
    return History(
        head=here.store.head,
        waiting=waiting.revision if waiting else None,
        left=waiting.left if waiting else None,
        revisions=[Written.of(each) for each in found],
    )


@router.get("/revisions/{revision}")
def one(here: Here, _: Who, revision: Number) -> Written:
    """Return one revision, with all its keys."""
    return Written.of(here.store.revision(revision), most=1_000_000)


@router.get("/difference")
def between(here: Here, _: Who, old: Number, new: Number) -> Difference:
    """Return the resources that differ between two revisions."""
    before, after = here.head.at(old), here.head.at(new)
    changes = [
        Changed(key=each.key, old=_plain(before.get(each.key)), new=_plain(each.value))
        for each in difference(before, after)
    ]
    return Difference(old=old, new=new, changes=changes)


def _plain(value: str | None) -> Any:
    return None if value is None else json.loads(value)


@router.post("/rollback")
async def rollback(here: Here, asked: Changes, back: Back) -> Done:
    """Put what was in force as of a revision in force again, as a new revision."""
    wanted = await run_in_threadpool(here.head.at, back.revision)
    said = f"back to revision {back.revision}"
    done = await here.change(asked, lambda now: Edit(difference(now.resources, wanted), said), back_to=back.revision)
    if done.outcome is Outcome.IN_FORCE:
        here.confirming.went_back(back.revision)
    return done


@router.post("/confirm")
def confirm(here: Here, _: Changes) -> Done:
    """Keep the revision that waits to be confirmed."""
    number = here.confirming.confirm()
    return Done(revision=number, outcome=Outcome.IN_FORCE, changed=False, said=f"revision {number} stays")
