"""The application: the routers put together over one context, and every error as a document with its exit status.

    Conflict 409 → 1    wrong request 400, unknown revision 404 → 2    invalid policy 422 → 3
    may not 403, refused by the kernel 424, the store or the system fails 503 → 4

A bug of ours is 500 and says no more than that; the log has the rest. Example: `create_app(context)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from enforcer import __version__
from enforcer.agent.api import edits, policy, seeing
from enforcer.agent.api.context import Context, NotAllowed, Refused
from enforcer.agent.api.documents import Refusal, Said
from enforcer.agent.store import Conflict, UnknownRevision
from enforcer.errors import AttachmentRefused, EnforcerError, PolicyError, Problem, UsageError
from enforcer.model.words.wording import shown, suggestion, what_is_wrong

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
    app.add_exception_handler(EnforcerError, _ours)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _bug)
    return app


def openapi() -> dict[str, Any]:
    """Return the OpenAPI document, without a daemon."""
    return _bare().openapi()


def _bare() -> FastAPI:
    app = FastAPI(
        title="enforcer",
        version=__version__,
        description="Cloud security groups in force on this host. Every change is a revision.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        openapi_url=f"{PREFIX}/openapi.json",
        responses=REFUSALS,
        dependencies=[Depends(nothing_unknown)],
    )
    for router in (policy.router, edits.router, seeing.router):
        app.include_router(router, prefix=PREFIX)
    return app


async def nothing_unknown(request: Request) -> None:
    """Raise UsageError for a word of the query that the route does not take: a mistyped condition would not hold."""
    known = set(_query_of(request.scope["route"].dependant))
    for word in request.query_params:
        if word not in known:
            mend = suggestion(word, known) or "; leave it out"
            raise UsageError(f"query.{word if word.isidentifier() else shown(word)}: is not known here{mend}")


def _query_of(dependant: Dependant) -> Iterator[str]:
    yield from (each.alias for each in dependant.query_params)
    for each in dependant.dependencies:
        yield from _query_of(each)


async def _ours(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, EnforcerError)
    return refused(error)


def refused(error: EnforcerError) -> JSONResponse:
    """Return an error of ours as the document that a client gets."""
    problems = error.problems if isinstance(error, PolicyError) else (Problem("", str(error)),)
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), 503)
    return _refusal(status, problems, error.exit_status, getattr(error, "__notes__", []))


async def _malformed(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = tuple(_in_our_words(request, each) for each in error.errors())
    return _refusal(422, problems, UsageError.exit_status)


def _in_our_words(request: Request, details: Any) -> Problem:
    loc = tuple(map(str, details["loc"]))
    if details["type"] == "json_invalid":
        return Problem("body", f"is not JSON ({details['ctx']['error']}, at character {loc[-1]})")
    if loc == ("body",) and "json" not in request.headers.get("content-type", "json"):
        return Problem("body", "is not taken as JSON; send it with the header 'content-type: application/json'")
    return Problem(".".join(loc), what_is_wrong(details))


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    path = shown(request.url.path)
    words = {404: f"there is no {path}; `enforcer api-schema` has all paths"}
    words |= {405: f"{path} does not take {request.method}; `enforcer api-schema` says what it takes"}
    said = words.get(error.status_code, str(error.detail))
    answer = _refusal(error.status_code, (Problem("", said),), UsageError.exit_status)
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
