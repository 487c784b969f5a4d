"""Whatever the OpenAPI document allows is answered as it says: schemathesis asks, within bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving import REGION, Served, served

from enforcer.agent.api import create_app
from enforcer.agent.api.limits import Limits
from enforcer.agent.api.peers import Peer, with_peer
from enforcer.agent.api.short import Short

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("api"), patience=5.0) as running:
        running.apply(REGION)
        yield running


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_is_one_that_the_document_knows(daemon: Served, mode: GenerationMode):
    app = with_peer(Limits(Short(create_app(daemon.context), daemon.context)), Peer(0), lambda: None)
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", app)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:

        @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            answer = case.call()
            assert answer.status_code < 500, f"{case.as_curl_command()}: {answer.text}"
            case.validate_response(answer, checks=CHECKS)

        try:
            ask()
        except schemathesis.errors.InvalidSchema:  # nothing that is wrong can be said here
            assert mode is GenerationMode.NEGATIVE


CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def test_the_document_names_every_way_in(daemon: Served):
    document = daemon.http.get("/v1/openapi.json").json()
    ways = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    changes = {"PUT /v1/policy", "POST /v1/rollback", "POST /v1/confirm", "POST /v1/nics/{nic}"}
    assert changes | {"GET /v1/revisions", "GET /v1/difference"} <= ways
    assert document["info"]["title"] == "enforcer"
