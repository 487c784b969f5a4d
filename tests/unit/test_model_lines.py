"""Where a rule, a group or a NIC stands in its file: what explanations and warnings point at."""

from __future__ import annotations

from textwrap import dedent

import pytest

from enforcer.errors import PolicyError
from enforcer.model import Lines, parse_policy, parse_with_lines

TEXT = dedent(
    """\
    # a comment
    version: 1
    security_groups:
      - name: Sg-A
        rules:
          - {id: A01, direction: ingress}
          - direction: egress
            id: A02

          - direction: ingress
      - name: web
        description: the web
        template: general-purpose-web-server
        rules: [{id: B01, direction: ingress},
                {id: B02, direction: egress}]
      - {name: new}
    """
)


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("security_groups[Sg-A].rules[A02]", 7),
        ("security_groups[Sg-A].rules[A02].remote_group", 7),
        ("security_groups[web].template", 13),
        ("security_groups[web]", 11),
        ("security_groups[web].rules[nobody's]", 0),
        ("security_groups[nobody's]", 0),
        ("ecs[web]", 0),
        ("limits", 0),
    ],
)
def test_a_problem_stands_on_the_line_of_its_rule_or_group(where: str, line: int):
    assert parse_with_lines(TEXT)[1].of_place(where) == line


@pytest.mark.parametrize(
    ("group", "rule", "line"),
    [
        ("Sg-A", "A01", 6),
        ("Sg-A", "A02", 7),
        ("Sg-A", "rule-3", 10),
        ("web", "B01", 14),
        ("web", "B02", 15),
        ("web", "template-1", 13),
        ("new", "template-1", 16),
        ("default", "template-1", 0),
        ("Sg-A", "B01", 0),
    ],
)
def test_a_rule_stands_where_it_is_written_and_a_templates_where_the_template_is_named(
    group: str, rule: str, line: int
):
    assert parse_with_lines(TEXT)[1].of_rule(group, rule) == line


def test_groups_have_lines_too_and_the_undefined_default_has_none():
    lines = parse_with_lines(TEXT)[1]
    assert [lines.of_group(name) for name in ("Sg-A", "web", "new", "default", "nobody")] == [4, 11, 16, 0, 0]
    assert Lines().of_rule("Sg-A", "A01") == 0


INSTANCES = dedent(
    """\
    version: 1
    vpcs: [{name: vpc-x, subnets: [{name: subnet-a, cidr: 10.0.0.0/24}]}]
    address_groups:
      - {name: first, entries: [192.0.2.1]}
      - name: second.one
        entries: []
    ecs:
      - name: flat.one
        subnet: subnet-a
        addresses: [10.0.0.1]
        security_groups:
          - default
      - name: one
        nics:
          - name: eth0
            subnet: subnet-a
            addresses: [10.0.0.2]
            mac: "fa:16:3e:00:00:02"
      - name: two
        nics:
          - {name: a, subnet: subnet-a, addresses: [10.0.0.3]}
          - {name: b, subnet: subnet-a, addresses: [10.0.0.4],
             security_groups: [default]}
    """
)


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("address_groups[first]", 4),
        ("address_groups[second.one].entries", 5),
        ("address_groups[nobody's]", 0),
        ("ecs[flat.one]", 8),
        ("ecs[flat.one].mac", 8),
        ("ecs[flat.one].security_groups", 11),
        ("ecs[one]", 13),
        ("ecs[one].security_groups", 15),
        ("ecs[one].mac", 18),
        ("ecs[two]", 19),
        ("ecs[two].nics[a].mac", 21),
        ("ecs[two].nics[b]", 22),
        ("ecs[two].nics[b].security_groups", 23),
        ("ecs[two].nics[nobody's]", 19),
        ("ecs[nobody's].nics[a]", 0),
    ],
)
def test_a_problem_stands_on_the_line_of_its_address_group_ecs_or_nic(where: str, line: int):
    assert parse_with_lines(INSTANCES)[1].of_place(where) == line
    assert Lines().of_place(where) == 0


def test_json_and_aliases_have_lines():
    json = '{"version": 1, "security_groups": [\n{"name": "a", "rules": [\n{"id": "x", "direction": "egress"}]}]}'
    assert parse_with_lines(json.encode())[1].of_rule("a", "x") == 3
    alias = (
        "version: 1\nsecurity_groups:\n- {name: a, rules: &r [\n  {id: x, direction: egress}]}\n- {name: b, rules: *r}"
    )
    assert parse_with_lines(alias)[1].of_rule("b", "x") == 4


def test_the_policy_is_the_same_with_and_without_lines():
    assert parse_with_lines(TEXT)[0] == parse_policy(TEXT)
    with pytest.raises(PolicyError, match="the file is empty"):
        parse_with_lines("", source="there")
