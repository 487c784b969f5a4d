"""The application: the routers put together over one context, and every error as a document with its exit status.

    Conflict 409 → 1    wrong request 400, unknown revision 404 → 2    invalid policy 422 → 3
    may not 403, refused by the kernel 424, the store or the system fails 503 → 4

A bug of ours is 500 and says no more than that; the log has the rest. Example: `create_app(context)`.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from enforcer import __version__
from enforcer.agent.api import edits, policy
from enforcer.agent.api.context import Context, NotAllowed, Refused
from enforcer.agent.api.documents import Refusal, Said
from enforcer.agent.store import Conflict, UnknownRevision
from enforcer.errors import AttachmentRefused, EnforcerError, PolicyError, Problem, UsageError

PREFIX = "/v1"

STATUSES: tuple[tuple[type[EnforcerError], int], ...] = (
    (Conflict, 409),
    (UnknownRevision, 404),
    (UsageError, 400),
    (PolicyError, 422),
    (NotAllowed, 403),
    (Refused, 424),
    (AttachmentRefused, 424),
)
"""The status of each error, the first that fits; everything else is 503: it is not the client's fault."""

REFUSALS: dict[int | str, dict[str, object]] = {
    status: {"model": Refusal, "description": text}
    for status, text in (
        (400, "the request makes no sense"),
        (403, "the peer may look, but not change anything"),
        (404, "there is no such revision, or no such place"),
        (408, "the request came too slowly"),
        (409, "somebody else was first, or a revision waits to be confirmed"),
        (413, "the request is too large"),
        (422, "the policy would be invalid, or the request is malformed"),
        (424, "the kernel refused it; nothing has changed"),
        (503, "the store or the system fails; nothing has changed"),
    )
}


def create_app(context: Context) -> FastAPI:
    """Return the application over a context."""
    app = _bare()
    app.state.context = context
    for router in (policy.router, edits.router, *context.routers):
        app.include_router(router, prefix=PREFIX)
    app.add_exception_handler(EnforcerError, _ours)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _bug)
    return app


def openapi() -> dict[str, Any]:
    """Return the OpenAPI document of the daemon's own routers, without a daemon."""
    app = _bare()
    for router in (policy.router, edits.router):
        app.include_router(router, prefix=PREFIX)
    return app.openapi()


def _bare() -> FastAPI:
    return FastAPI(
        title="enforcer",
        version=__version__,
        description="Cloud security groups in force on this host. Every change is a revision.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        openapi_url=f"{PREFIX}/openapi.json",
        responses=REFUSALS,
    )


async def _ours(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, EnforcerError)
    return refused(error)


def refused(error: EnforcerError) -> JSONResponse:
    """Return an error of ours as the document that a client gets."""
    problems = error.problems if isinstance(error, PolicyError) else (Problem("", str(error)),)
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), 503)
    return _refusal(status, problems, error.exit_status, getattr(error, "__notes__", []))


async def _malformed(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = tuple(Problem(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors())
    return _refusal(422, problems, UsageError.exit_status)


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    answer = _refusal(error.status_code, (Problem("", str(error.detail)),), UsageError.exit_status)
    answer.headers.update(error.headers or {})
    return answer


async def _bug(_: Request, error: Exception) -> JSONResponse:
    return broken(error)


def broken(error: Exception) -> JSONResponse:
    """Return a bug of ours as the document that a client gets."""
    what = f"this is a bug of the enforcer ({type(error).__name__}); its log says more"
    return _refusal(500, (Problem("", what),), EnforcerError.exit_status)


def _refusal(
    status: int, problems: tuple[Problem, ...], exit_status: int, notes: list[str] | None = None
) -> JSONResponse:
    said = [Said.of(problem) for problem in problems]
    document = Refusal(errors=said, notes=notes or [], exit_status=exit_status)
    return JSONResponse(document.model_dump(), status)
