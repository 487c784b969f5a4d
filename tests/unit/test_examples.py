"""Every example is sound, and the semantics give what its expectations say, by the rules that they name."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner
from examples_catalogue import EXAMPLES, NAMES, Expectation, expectations_of, policy_of, text_of
from judge import judge, nic_of

from enforcer.cli import main
from enforcer.compiler import compile_policy, verify
from enforcer.model import (
    Direction,
    IPAddress,
    NicRef,
    Policy,
    Traffic,
    advice,
    endpoint,
    host_layout,
    lab_layout,
    parse_policy,
    parse_traffic,
)
from enforcer.ruleset import lower, render
from enforcer.semantics import Explanation, SideVerdict, explain, not_in_effect

FULL_QUOTA = 120

ALL_EXPECTATIONS = [
    pytest.param(name, expected, id=f"{name}: {expected.question}")
    for name in NAMES
    for expected in expectations_of(name)
]


def decided_by(side: SideVerdict | None) -> str | None:
    """Return the deciding rule as expectations write it."""
    return None if side is None or side.rule is None else f"{side.group}/{side.rule.id}"


def test_the_readme_lists_every_example_once_and_nothing_else() -> None:
    listed = re.findall(r"\(([\w-]+)\.yaml\)", (EXAMPLES / "README.md").read_text())
    assert sorted(listed) == list(NAMES)


def test_every_example_has_expectations_and_nothing_else_has() -> None:
    assert {path.stem for path in (EXAMPLES / "expectations").iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
class TestExample:
    def test_begins_with_its_intent(self, name: str) -> None:
        intent = text_of(name).partition("version:")[0].strip().splitlines()
        assert len(intent) >= 4
        assert all(line.startswith("#") for line in intent)

    def test_compiles_to_a_sound_program_that_can_be_rendered(self, name: str) -> None:
        policy = policy_of(name)
        for layout in (lab_layout(policy, "lab"), host_layout(policy)):
            program = compile_policy(policy, layout)
            assert list(verify(program)) == []
            for namespace in program.namespaces:
                assert "table inet enforcer" in render(lower(namespace, 1))

    def test_is_small_enough_to_read(self, name: str) -> None:
        assert len(policy_of(name).ecs) + len(policy_of(name).external_hosts) <= 10
        assert len(text_of(name).splitlines()) <= 80

    def test_expects_something_to_pass_and_something_not_to(self, name: str) -> None:
        verdicts = [expected.verdict for expected in expectations_of(name)]
        assert {"allow", "deny"} == set(verdicts)

    def test_shows_each_deny_beside_an_allow_over_the_same_hosts(self, name: str) -> None:
        """A host that is never reached, or never reaches anybody, could as well be off."""
        allowed = [expected for expected in expectations_of(name) if expected.verdict == "allow"]
        alive = {host for expected in allowed for host in (expected.src, expected.dst)}
        for expected in expectations_of(name):
            if expected.verdict == "deny" and expected.route:
                assert expected.src in alive or expected.dst in alive, expected.question

    def test_asks_each_question_once_and_says_why(self, name: str) -> None:
        questions = [expected.question for expected in expectations_of(name)]
        assert len(set(questions)) == len(questions)
        assert all(expected.why for expected in expectations_of(name))

    def test_every_rule_named_in_an_expectation_exists(self, name: str) -> None:
        policy = policy_of(name)
        for expected in expectations_of(name):
            for named in filter(None, (expected.egress, expected.ingress)):
                group, _, rule = named.partition("/")
                assert rule in {each.id for each in policy.group(group).rules}

    def test_is_listed_in_the_readme_with_a_command_that_works(self, name: str) -> None:
        rows = [line for line in (EXAMPLES / "README.md").read_text().splitlines() if f"({name}.yaml)" in line]
        assert len(rows) == 1
        command = rows[0].split("`")[1].removeprefix("enforcer ").split()
        at = next(place for place, word in enumerate(command) if word == f"examples/{name}.yaml")
        command[at] = str(EXAMPLES / f"{name}.yaml")
        done = CliRunner().invoke(main, command)
        assert done.exit_code in (0, 1), done.output


def explained(policy: Policy, expected: Expectation) -> Explanation:
    src, dst = endpoint(policy, expected.src), endpoint(policy, expected.dst)
    return explain(policy, src, dst, parse_traffic(expected.proto))


@pytest.mark.parametrize(("name", "expected"), ALL_EXPECTATIONS)
def test_the_semantics_say_what_the_example_expects(name: str, expected: Expectation) -> None:
    answer = explained(policy_of(name), expected)
    found = (answer.verdict.value, answer.route.exists, decided_by(answer.egress), decided_by(answer.ingress))
    assert found == (expected.verdict, expected.route, expected.egress, expected.ingress), answer.reason


def test_figure_4_with_and_without_peering_differ_in_the_peering_alone() -> None:
    with_peering, without = policy_of("figure-4"), policy_of("figure-4-without-peering")
    assert without.peerings == ()
    assert with_peering.model_copy(update={"peerings": ()}) == without


def test_figure_4_has_a_verdict_without_peering_for_each_way_across() -> None:
    across = {expected.question for expected in expectations_of("figure-4")}
    assert across == {expected.question for expected in expectations_of("figure-4-without-peering")}


def test_the_examples_about_rules_not_in_effect_are_warned_of_and_no_others() -> None:
    warned = {name: [problem.where for problem in not_in_effect(policy_of(name))] for name in NAMES}
    assert {name for name, places in warned.items() if places} == {"table-3-quota", "table-4-ecs-types"}
    assert warned["table-3-quota"] == [
        "security_groups[Sg-A].rules[A04]",
        *(f"security_groups[Sg-Ports].rules[P{number}]" for number in (4, 5, 6)),
    ]
    assert sorted(set(warned["table-4-ecs-types"])) == ["ecs[arm-mended]", "ecs[arm]", "ecs[old]"]


def test_the_host_example_names_every_mac_address_of_its_interfaces() -> None:
    assert advice(policy_of("hosts")) == ()
    assert [space.name for space in host_layout(policy_of("hosts")).namespaces] == ["", "sandboxes"]


@pytest.mark.parametrize(("name", "expected"), ALL_EXPECTATIONS)
def test_the_compiled_program_decides_by_the_same_rules(name: str, expected: Expectation) -> None:
    """Ask the program at each end that is an ECS and has a way, about the addresses that are really in the packet."""
    policy, traffic = policy_of(name), parse_traffic(expected.proto)
    src, dst = endpoint(policy, expected.src), endpoint(policy, expected.dst)
    route = explained(policy, expected).route
    if src.nic is not None and route.destination is not None:
        assert compiled(policy, src.nic, Direction.EGRESS, route.destination, traffic) == expected.egress
    if dst.nic is not None and route.source is not None:
        assert compiled(policy, dst.nic, Direction.INGRESS, route.source, traffic) == expected.ingress


def compiled(policy: Policy, ref: NicRef, direction: Direction, peer: IPAddress, traffic: Traffic) -> str | None:
    """Return the deciding rule of the compiled program as expectations write it."""
    program = compile_policy(policy, lab_layout(policy, "lab"))
    at = next(place for place, space in enumerate(program.layout.namespaces) if ref.vpc.name in space.vpcs)
    space = program.namespaces[at]
    subkey = traffic.port or (traffic.icmp_type or 0) << 8 | (traffic.icmp_code or 0)
    answer = judge(space, nic_of(space, ref.label), direction, peer, traffic.protocol, subkey)
    return None if answer.rule == "no rule" else answer.rule


# The real limit of S9, which table-3-quota.yaml lowers to be readable.

CROWDED = """
version: 1
vpcs: [{name: vpc-a, subnets: [{name: subnet-a, cidr: 192.168.0.0/24}]}]
ecs:
  - {name: client, subnet: subnet-a, addresses: [192.168.0.10]}
  - {name: server, subnet: subnet-a, addresses: [192.168.0.11], security_groups: [Sg-A]}
security_groups:
  - name: Sg-A
    rules:
"""


@pytest.mark.parametrize("costly", [FULL_QUOTA, FULL_QUOTA + 1, FULL_QUOTA + 30])
def test_120_costly_rules_take_effect_and_the_excess_does_not_s9(costly: int) -> None:
    numbers = range(1, costly + 1)
    rules = [f'{{id: R{n}, direction: ingress, protocol: tcp, multiport: "{n},{20000 + n}"}}' for n in numbers]
    rules.append("{id: LAST, direction: ingress, protocol: gre}")
    policy = parse_policy(CROWDED + "".join(f"      - {rule}\n" for rule in rules))
    client, server = endpoint(policy, "client"), endpoint(policy, "server")

    beyond = [f"security_groups[Sg-A].rules[R{n}]" for n in numbers if n > FULL_QUOTA]
    assert [problem.where for problem in not_in_effect(policy)] == beyond
    for n in numbers:
        traffic = Traffic(6, 20000 + n)
        decides = f"Sg-A/R{n}" if n <= FULL_QUOTA else None
        assert decided_by(explain(policy, client, server, traffic).ingress) == decides
        assert client.nic is not None
        assert server.nic is not None
        peer = client.nic.nic.addresses[0]
        if n in (1, FULL_QUOTA, FULL_QUOTA + 1, costly):
            assert compiled(policy, server.nic, Direction.INGRESS, peer, traffic) == decides
    assert decided_by(explain(policy, client, server, Traffic(47)).ingress) == "Sg-A/LAST"
