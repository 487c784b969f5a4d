"""The short way of a plain edit answers as the application does, and leaves to it whatever is not plain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import REGION, served

from enforcer.agent import edits
from enforcer.agent.api import create_app, peers, server
from enforcer.agent.api.context import Context
from enforcer.agent.api.edits import router
from enforcer.agent.api.limits import Limits
from enforcer.agent.api.peers import Peer, with_peer
from enforcer.agent.api.short import ways_of

ENTRIES = "/v1/address_groups/office/entries"
PLAIN = (
    ("PUT", "/v1/nics/a/security_groups", {"security_groups": ["db", "web"]}),
    ("PUT", "/v1/nics/a/security_groups?message=why%20not", {"security_groups": ["db"]}),
    ("PUT", "/v1/nics/a/security_groups", {"security_groups": ["db"]}),
    ("POST", ENTRIES, {"entries": ["10.9.9.9", "10.9.9.10"]}),
    ("DELETE", f"{ENTRIES}?entry=10.9.9.9&entry=10.9.9.10", None),
    ("POST", "/v1/security_groups/web/rules/A/disable", None),
    ("POST", "/v1/security_groups/web/rules/A/enable?if_revision=6", None),
    ("POST", "/v1/security_groups/web/rules", {"rule": {"direction": "ingress"}, "before": "B"}),
    ("POST", "/v1/security_groups/web/rules/A/move", {}),
    ("POST", "/v1/security_groups", {"name": "new", "rules": []}),
    ("DELETE", "/v1/security_groups/new", None),
    ("POST", "/v1/nics/c", {"nic": {"subnet": "s", "addresses": ["10.0.0.3"]}}),
    ("DELETE", "/v1/nics/c", None),
)
REFUSED = (
    ("PUT", "/v1/nics/a/security_groups", {"security_groups": ["no-such"]}),
    ("PUT", "/v1/nics/a/security_groups?if_revision=77", {"security_groups": ["web"]}),
    ("POST", "/v1/nics/d", {"nic": {"subnet": "s", "addresses": ["10.0.0.2"]}}),
    ("DELETE", "/v1/security_groups/default", None),
)
NOT_PLAIN = (
    ("PUT", "/v1/nics/a/security_groups", {"security_groups": "web"}),
    ("PUT", "/v1/nics/a/security_groups", {"security_groups": ["web"], "more": 1}),
    ("PUT", "/v1/nics/a/security_groups?other=1", {"security_groups": ["db"]}),
    ("PUT", f"/v1/nics/{'x' * 400}/security_groups", {"security_groups": []}),
    ("PUT", "/v1/nics/a/security_groups?if_revision=x", {"security_groups": ["web"]}),
    ("PUT", "/v1/nics/a/security_groups?message=one&message=two", {"security_groups": ["db"]}),
    ("DELETE", ENTRIES, None),
    ("POST", "/v1/security_groups/web/rules/A/destroy", None),
    ("PATCH", "/v1/nics/a", None),
    ("GET", "/v1/nics", None),
    ("POST", ENTRIES, b"{"),
    ("POST", ENTRIES, b"[" * 100_000),
)


class Watched:
    """The application, and whether it was asked."""

    def __init__(self, app: Any) -> None:
        self.app, self.asked = app, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        await self.app(scope, receive, send)


class Twins:
    """Two daemons with the same policy: one is asked over its socket, one through its application alone."""

    def __init__(self, stack: ExitStack, directory: Path, peer: Peer, patch: pytest.MonkeyPatch) -> None:
        self.behind: Watched

        def watched(context: Context) -> Watched:
            self.behind = Watched(create_app(context))
            return self.behind

        patch.setattr(server, "create_app", watched)
        patch.setattr(peers, "peer_of", lambda _: peer)
        for name in ("application", "short"):
            (directory / name).mkdir()
            daemon = stack.enter_context(served(directory / name))
            daemon.apply(REGION)
            if name == "application":
                app = with_peer(Limits(self.behind.app), peer, lambda: None)
                transport: Any = httpx.ASGITransport(app, raise_app_exceptions=False)
                self.whole = httpx.AsyncClient(transport=transport, base_url="http://x")
        transport = httpx.AsyncHTTPTransport(uds=str(daemon.socket))
        self.short = httpx.AsyncClient(transport=transport, base_url="http://x")
        self.behind.asked = 0

    async def ask(self, method: str, path: str, body: object) -> httpx.Response:
        """Ask both, and return the answer when it is the same one."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {} if body is None else {"content-type": "application/json"}
        short, whole = [
            await each.request(method, path, content=content, headers=headers) for each in (self.short, self.whole)
        ]
        assert (short.status_code, short.json()) == (whole.status_code, whole.json())
        assert short.headers["content-type"] == whole.headers["content-type"]
        return short


@pytest.fixture
def twins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Twins]:
    with ExitStack() as stack:
        yield Twins(stack, tmp_path, Peer(0), monkeypatch)


@pytest.mark.anyio
async def test_plain_edits_are_answered_without_the_application_and_as_it_would(twins: Twins):
    for revision, asked in enumerate(PLAIN[:2], start=2):
        assert (await twins.ask(*asked)).json()["revision"] == revision
    assert not (await twins.ask(*PLAIN[2])).json()["changed"]
    for asked in PLAIN[3:]:
        assert (await twins.ask(*asked)).status_code == 200
    assert twins.behind.asked == 0


@pytest.mark.anyio
@pytest.mark.parametrize("asked", REFUSED, ids=str)
async def test_what_is_wrong_with_an_edit_is_said_in_the_same_words(twins: Twins, asked: Any):
    assert (await twins.ask(*asked)).status_code in (409, 422)


@pytest.mark.anyio
@pytest.mark.parametrize("asked", NOT_PLAIN, ids=lambda asked: f"{asked[0]} {asked[1]} {asked[2]!r}"[:80])
async def test_what_is_not_plain_goes_to_the_application_as_it_came(twins: Twins, asked: Any):
    await twins.ask(*asked)
    assert twins.behind.asked == 1


@pytest.mark.anyio
async def test_a_bug_is_told_in_the_same_words(twins: Twins, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(edits, "set_groups", lambda *_: 1 / 0)
    answer = await twins.ask(*PLAIN[0])
    assert (answer.status_code, twins.behind.asked) == (500, 0)
    assert "this is a bug of the enforcer (ZeroDivisionError)" in answer.text


@pytest.mark.anyio
async def test_who_may_only_look_changes_nothing_by_the_short_way_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with ExitStack() as stack:
        twins = Twins(stack, tmp_path, Peer(4711), monkeypatch)
        assert (await twins.ask(*PLAIN[0])).status_code == 200, "whoever reaches the socket, if nothing else is said"
        twins.behind.app.state.context.writers = frozenset((1,))
        short = await twins.short.put("/v1/nics/a/security_groups", json={"security_groups": ["web"]})
        assert short.status_code == 403
        assert twins.behind.asked == 1


def test_every_edit_has_a_short_way():
    ways = ways_of(router.routes)
    assert sum(map(len, ways.values())) == len(router.routes) == 13
