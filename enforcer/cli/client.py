"""The command line as a client of the daemon: one request, and its refusals as the errors that they were.

Knows the socket and what an answer looks like, nothing of what is asked. httpx is loaded by the first request only.
Example: `Client(path).ask("DELETE", "/nics/web")`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import click

from enforcer.cli import output
from enforcer.errors import DaemonUnreachable, EnforcerError, PolicyError, Problem, SystemRefused, UsageError
from enforcer.model.words.wording import shown

if TYPE_CHECKING:
    import httpx

SOCKET = "/run/enforcer/enforcer.sock"
PATIENCE = 300.0
"""Seconds to wait for an answer; the daemon answers a change within a minute, when it has read the policy."""

Command = TypeVar("Command", bound=Callable[..., Any])

socket_option = click.option(
    "--socket", default=SOCKET, envvar="ENFORCER_SOCKET", metavar="PATH", help="The daemon's socket.", show_default=True
)


def changing(command: Command) -> Command:
    """Give a command the options that every change has: socket, message, the head that was seen, and JSON."""
    message = click.option("-m", "--message", default="", metavar="MSG", help="Why, for the history.")
    seen = click.option(
        "--if-revision", type=click.IntRange(min=0), metavar="N", help="Only if revision N is still the last one."
    )
    return socket_option(message(seen(output.json_option(command))))


class Client:
    """Asks the daemon behind a socket."""

    def __init__(self, path: str) -> None:
        self._path = path

    def ask(
        self, method: str, path: str, body: object = None, *, content: bytes | None = None, **query: Any
    ) -> dict[str, Any]:
        """Return the answer to a request; raise the error that the daemon had, or DaemonUnreachable."""
        import httpx  # noqa: PLC0415  loading it takes longer than most commands

        given = {key: value for key, value in query.items() if value not in (None, "")}
        transport = httpx.HTTPTransport(uds=self._path)
        try:
            with httpx.Client(transport=transport, base_url="http://enforcer/v1", timeout=PATIENCE) as client:
                answer = client.request(method, path, json=body, content=content, params=given)
        except UnicodeEncodeError as error:
            raise UsageError(f"{shown(error.object)} is not text; write it in UTF-8") from error
        except httpx.ConnectError as error:
            raise _unreachable(self._path, error) from error
        except httpx.TransportError as error:
            what = f"{self._path}: the daemon went away before it answered ({type(error).__name__})"
            raise DaemonUnreachable(f"{what}; `enforcer history` says what became of it") from error
        document = _document(answer)
        if answer.is_error:
            raise _refusal(document)
        return document

    def lines(self, path: str, **query: Any) -> Iterator[str]:
        """Yield the lines of an answer that does not end, as they come; raise as `ask` does."""
        import httpx  # noqa: PLC0415

        transport = httpx.HTTPTransport(uds=self._path)
        given = {key: value for key, value in query.items() if value not in (None, "")}
        try:
            with (
                httpx.Client(transport=transport, base_url="http://enforcer/v1", timeout=PATIENCE) as client,
                client.stream("GET", path, params=given) as answer,
            ):
                if answer.is_error:
                    answer.read()
                    raise _refusal(_document(answer))
                yield from (line for line in answer.iter_lines() if line)
        except httpx.ConnectError as error:
            raise _unreachable(self._path, error) from error
        except httpx.TransportError as error:
            raise DaemonUnreachable(f"{self._path}: the daemon went away ({type(error).__name__})") from error

    def change(self, method: str, path: str, body: object = None, **query: Any) -> dict[str, Any]:
        """Like `ask`; an answer that says that the change is not in force yet is an error, too."""
        done = self.ask(method, path, body, **query)
        if done["outcome"] != "in_force":
            what = f"revision {done['revision']} is not in force yet; it stays proposed"
            raise SystemRefused(f"{what}, and `enforcer history` says what becomes of it")
        return done


def alone(path: str, mend: str) -> None:
    """Raise SystemRefused if a daemon listens there: it would undo what is done behind its back."""
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(path)
        except OSError:
            return
    raise SystemRefused(f"{path}: a daemon runs on this host, and would undo what is done behind its back; {mend}")


def part(name: str) -> str:
    """Return a name as a part of a request's path; raise UsageError where it cannot be one."""
    if not name or "/" in name or name in (".", ".."):
        raise UsageError(f"{shown(name)} is not a name; a name has letters, digits, '_', '-' and '.'")
    try:
        return quote(name, safe="")
    except UnicodeEncodeError as error:
        raise UsageError(f"{shown(name)} is not text; write it in UTF-8") from error


def told(done: dict[str, Any], *, as_json: bool, closed: bool = True) -> None:
    """Print what became of a change: the revision in which it is in force; if wanted, which NICs it leaves closed."""
    if as_json:
        output.emit(done)
        return
    for warning in done["warnings"]:
        output.warn(warning["text"], warning["code"])
    if done["reason"] and closed:
        output.note(f"note: {done['reason']}")
    if done.get("summary"):
        click.echo(done["summary"])
    click.echo(f"{done['said']}; revision {done['revision']} is in force")


def _document(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DaemonUnreachable(f"what answers is no enforcer (HTTP {answer.status_code}: {answer.text[:60]!r})")
    return found


def _unreachable(path: str, error: Exception) -> DaemonUnreachable:
    why = str(error).partition("] ")[2] or str(error)
    mend = "start it with `systemctl start enforcer` or `enforcer daemon`, or say where it listens with --socket"
    if "Permission" in why:
        mend = "be root, or a member of the group `enforcer`"
    return DaemonUnreachable(f"{path}: the daemon cannot be reached ({why}); {mend}")


def _refusal(document: dict[str, Any]) -> EnforcerError:
    """Return the error that an answer tells of, with its exit status."""
    problems = tuple(Problem(each["where"], each["message"], each["line"], each["code"]) for each in document["errors"])
    text = "\n".join(str(problem) for problem in problems)
    error: EnforcerError
    match document["exit_status"]:
        case 1:
            from enforcer.agent.store import Conflict  # noqa: PLC0415  rarely needed

            error = Conflict(text)
        case 2:
            error = UsageError(text)
        case 3:
            error = PolicyError(problems)
        case _:
            error = SystemRefused(text)
    for line in document["notes"]:
        error.add_note(line)
    return error
