"""Every example comes up in the lab, enforced, and real packets meet what its expectations say.

One lab for each example. Its expectations are probed one by one, so that a failure names the sentence that is wrong;
then everybody tries to reach everybody over all protocols of the example, and each cell must be what the semantics say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from examples_catalogue import NAMES, Expectation, expectations_of, policy_of, text_of, traffics_of
from harness import ANSWER, Stand, standing

from enforcer.compiler import compile_policy
from enforcer.dataplane import clear, replace_all
from enforcer.lab import lifecycle
from enforcer.lab.probe import Observation, observe
from enforcer.lab.probe.targets import Targets
from enforcer.model import Traffic, endpoint, host_layout, parse_policy, parse_traffic
from enforcer.semantics import matrix

pytestmark = pytest.mark.traffic


@pytest.fixture(scope="module", params=NAMES)
def example(request: pytest.FixtureRequest) -> Iterator[tuple[str, Stand]]:
    with standing(text_of(request.param)) as stand:
        yield request.param, stand


def probed(stand: Stand, *questions: tuple[str, str, Traffic]) -> tuple[Observation, ...]:
    """Make one attempt for each question (who, whom, what), side by side."""
    targets, policy = Targets(stand.lab), stand.lab.policy
    attempts = [targets.attempt(endpoint(policy, src), endpoint(policy, dst), what) for src, dst, what in questions]
    return observe(attempts, ANSWER)


def surprises(stand: Stand, expectations: tuple[Expectation, ...]) -> list[str]:
    """Probe the expectations and return those that did not come true."""
    found = probed(stand, *((each.src, each.dst, parse_traffic(each.proto)) for each in expectations))
    return [
        f"{each.question}: expected {each.verdict} ({each.why}), observed: {seen.detail}"
        for each, seen in zip(expectations, found, strict=True)
        if seen.reached != (each.verdict == "allow")
    ]


def test_packets_meet_what_is_expected_of_them(example: tuple[str, Stand]) -> None:
    name, stand = example
    assert surprises(stand, expectations_of(name)) == []


def test_every_cell_of_the_matrix_is_as_the_semantics_say(example: tuple[str, Stand]) -> None:
    name, stand = example
    cells = matrix(stand.lab.policy, traffics_of(name))
    found = probed(stand, *((cell.src, cell.dst, cell.traffic) for cell in cells))
    wrong = [
        f"{cell.src} → {cell.dst} {cell.traffic}: expected {cell.verdict}, observed: {seen.detail}"
        for cell, seen in zip(cells, found, strict=True)
        if seen.reached != cell.explanation.allowed
    ]
    assert wrong == []
    assert {seen.reached for seen in found} == {True, False}


def test_it_is_the_rules_alone_that_block(example: tuple[str, Stand]) -> None:
    """Without rules in force everything with a way gets through, also what the example expects to be denied."""
    name, stand = example
    routed = [each for each in expectations_of(name) if each.route]
    questions = [(each.src, each.dst, parse_traffic(each.proto)) for each in routed]
    for _, netns in stand.lab.dataplanes():
        assert clear(netns)
    try:
        found = probed(stand, *questions)
    finally:
        stand.enforce(text_of(name))
    assert [each.question for each, seen in zip(routed, found, strict=True) if not seen.reached] == []


VIRTUAL_IP = "192.168.0.21"


def test_figure_3_goes_on_after_the_virtual_ip_failed_over() -> None:
    with standing(text_of("figure-3")) as stand:
        for holder, other in (("ecs-a01", "ecs-a02"), ("ecs-a02", "ecs-a01"), ("ecs-a01", "ecs-a02")):
            lifecycle.move_virtual_ip(stand.lab.name, ip_address(VIRTUAL_IP), holder)
            assert VIRTUAL_IP in addresses(stand, holder)
            assert VIRTUAL_IP not in addresses(stand, other)
            assert surprises(stand, expectations_of("figure-3")) == [], f"while {holder} is active"


def addresses(stand: Stand, host: str) -> str:
    return stand.run(host, "ip", "-4", "-o", "address").stdout


def test_figure_4_opens_and_closes_with_the_peering() -> None:
    """Both figures have the same hosts, so that one lab can go from one to the other and back."""
    with standing(text_of("figure-4-without-peering")) as stand:
        assert surprises(stand, expectations_of("figure-4-without-peering")) == []
        for name in ("figure-4", "figure-4-without-peering", "figure-4"):
            stand.apply(text_of(name))
            assert stand.lab.policy == policy_of(name)
            assert surprises(stand, expectations_of(name)) == [], name


def test_the_host_example_holds_on_interfaces_that_others_made() -> None:
    """As `enforcer apply` has it: only NICs with an interface are enforced, what is foreign (batch) passes."""
    with standing(text_of("hosts")) as stand:
        (_, router), *_ = stand.lab.dataplanes()
        own = re.sub(r"\n +netns: .*", "", text_of("hosts"))
        policy = parse_policy(re.sub(r"(\n +)(interface: .*)", rf"\1\2\1netns: {router}", own))
        assert clear(router)
        committed = replace_all(compile_policy(policy, host_layout(policy)), require=True)
        assert [each.netns for each in committed] == [router]
        assert surprises(stand, expectations_of("hosts")) == []
