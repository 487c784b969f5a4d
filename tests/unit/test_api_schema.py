"""Whatever the OpenAPI document allows is answered as it says: schemathesis asks, within bounds."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving import REGION, Served, served

from enforcer.agent.api import peers

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("api"), patience=5.0) as running:
        running.apply(REGION)
        yield running


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_is_one_that_the_document_knows(daemon: Served, mode: GenerationMode):
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", over_the_socket(daemon))
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:

        @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            assume(len(case.as_curl_command()) < peers.MOST_HEAD)  # longer heads are cut off: test_api_sockets.py
            answer = case.call()
            assert answer.status_code < 500, f"{case.as_curl_command()}: {answer.text}"
            case.validate_response(answer, checks=CHECKS)

        try:
            ask()
        except (schemathesis.errors.InvalidSchema, Unsatisfiable):  # nothing that is wrong can be said here
            assert mode is GenerationMode.NEGATIVE


def over_the_socket(daemon: Served) -> Any:
    """Return an application that asks the daemon as clients do: plain edits never come to the real one."""

    async def asking(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        query = scope["query_string"].decode()
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        with closing(HTTPConnection("x")) as connection:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(daemon.socket))
            url = quote(scope["path"]) + (f"?{query}" if query else "")
            connection.request(scope["method"], url, message.get("body"), headers)
            answer = connection.getresponse()
            told = [(name.lower().encode(), value.encode()) for name, value in answer.getheaders()]
            await send({"type": "http.response.start", "status": answer.status, "headers": told})
            await send({"type": "http.response.body", "body": answer.read()})

    return asking


CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def test_the_document_names_every_way_in(daemon: Served):
    document = daemon.http.get("/v1/openapi.json").json()
    ways = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    changes = {"PUT /v1/policy", "POST /v1/rollback", "POST /v1/confirm", "POST /v1/nics/{nic}"}
    assert changes | {"GET /v1/revisions", "GET /v1/difference"} <= ways
    assert document["info"]["title"] == "enforcer"
