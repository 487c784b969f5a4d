"""Security groups come out expanded: templates first, then the listed rules, each with an id (S1–S4)."""

from __future__ import annotations

import pytest
from parse_asking import errors, parsed

from enforcer.model import Rule, SecurityGroup

FROM_ITSELF_AND_OUT = [
    "allow ingress IPv4 all from group Sg-A (priority 1)",
    "allow ingress IPv6 all from group Sg-A (priority 1)",
    "allow egress IPv4 all to anywhere (priority 1)",
    "allow egress IPv6 all to anywhere (priority 1)",
]
AS_NEW = [line.replace("priority 1", "priority 100") for line in FROM_ITSELF_AND_OUT]


def group(fields: str) -> SecurityGroup:
    return parsed(f"version: 1\nsecurity_groups: [{{name: Sg-A, {fields}}}]").group("Sg-A")


def rule(fields: str) -> Rule:
    return group(f"rules: [{{{fields}}}]").rules[0]


def texts(found: SecurityGroup) -> list[str]:
    return [one.text() for one in found.rules]


def test_a_group_that_says_nothing_has_the_four_rules_of_every_new_group_s1():
    assert texts(group("")) == AS_NEW
    assert texts(group("template: default")) == AS_NEW


def test_an_empty_list_of_rules_is_no_rule_at_all_s1():
    assert group("rules: []").rules == ()


def test_listed_rules_replace_the_four_s1():
    assert texts(group("rules: [{direction: egress}]")) == ["allow egress IPv4 all to anywhere (priority 1)"]


def test_the_web_server_template_s3():
    assert texts(group("template: general-purpose-web-server")) == [
        "allow ingress IPv4 tcp 22 from 0.0.0.0/0 (priority 1)",
        "allow ingress IPv4 tcp 3389 from 0.0.0.0/0 (priority 1)",
        "allow ingress IPv4 tcp 80 from 0.0.0.0/0 (priority 1)",
        "allow ingress IPv4 tcp 443 from 0.0.0.0/0 (priority 1)",
        "allow ingress IPv4 icmp from 0.0.0.0/0 (priority 1)",
        *FROM_ITSELF_AND_OUT,
    ]


def test_the_open_template_s3():
    assert texts(group("template: all-ports-open")) == [
        "allow ingress IPv4 all from 0.0.0.0/0 (priority 1)",
        "allow ingress IPv6 all from ::/0 (priority 1)",
        *FROM_ITSELF_AND_OUT,
    ]


def test_the_fast_add_template_s3():
    assert texts(group("template: fast-add, fast_add: [tcp/22, tcp/80-90, icmp, udp/53, gre]")) == [
        "allow ingress IPv4 tcp 22 from 0.0.0.0/0 (priority 1)",
        "allow ingress IPv4 tcp 80-90 from 0.0.0.0/0 (priority 1)",
        "allow ingress IPv4 icmp from 0.0.0.0/0 (priority 1)",
        "allow ingress IPv4 udp 53 from 0.0.0.0/0 (priority 1)",
        "allow ingress IPv4 gre from 0.0.0.0/0 (priority 1)",
        *FROM_ITSELF_AND_OUT,
    ]


def test_template_rules_come_first_then_the_listed_ones_s3():
    found = group("template: default, rules: [{direction: ingress, protocol: icmp}, {id: mine, direction: egress}]")
    assert [one.id for one in found.rules] == [
        "template-1", "template-2", "template-3", "template-4", "rule-1", "mine",
    ]  # fmt: skip
    assert [(place, one.id) for place, one in found.listed()] == [(0, "rule-1"), (1, "mine")]


def test_generated_ids_tell_the_position_and_may_not_be_taken_s4():
    found = group("rules: [{direction: egress}, {id: x, direction: egress}, {direction: egress}]")
    assert [one.id for one in found.rules] == ["rule-1", "x", "rule-3"]
    taken = "security_groups: [{name: a, rules: [{id: rule-2, direction: egress}, {direction: egress}]}]"
    assert errors("version: 1", taken) == [
        "line 2: security_groups[a].rules[rule-2].id: 'rule-2' is the generated id of a rule without one; "
        "choose another, or write that rule's id"
    ]


def test_an_id_that_looks_generated_is_good_where_it_collides_with_none():
    assert group("rules: [{id: rule-2, direction: egress}]").rules[0].id == "rule-2"


def test_the_default_group_may_be_defined_s2():
    policy = parsed("version: 1\nsecurity_groups: [{name: default, rules: []}, {name: Sg-A}]")
    assert [found.name for found in policy.security_groups] == ["default", "Sg-A"]
    assert policy.group("default").rules == ()


def test_the_default_group_comes_last_where_it_is_not_defined_s2():
    policy = parsed("version: 1\nsecurity_groups: [{name: Sg-A}]")
    assert [found.name for found in policy.security_groups] == ["Sg-A", "default"]
    assert [one.remote_group for one in policy.group("default").rules] == ["default", "default", None, None]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            "direction: ingress, protocol: tcp, multiport: '22,25-27', remote_group: Sg-A",
            "allow ingress IPv4 tcp 22,25-27 from group Sg-A (priority 1)",
        ),
        (
            "direction: egress, action: deny, priority: 7, protocol: 89, remote_ip_prefix: 10.0.0.0/8",
            "deny egress IPv4 protocol 89 to 10.0.0.0/8 (priority 7)",
        ),
        (
            "direction: ingress, protocol: icmpv6, ethertype: IPV6, icmp_type: 128, icmp_code: 0",
            "allow ingress IPv6 icmpv6 type 128 code 0 from anywhere (priority 1)",
        ),
        (
            "direction: ingress, protocol: icmp, icmp_type: 3, enabled: false",
            "allow ingress IPv4 icmp type 3 from anywhere (priority 1), disabled",
        ),
    ],
)
def test_a_rule_reads_as_one_line(fields: str, text: str):
    assert rule(fields).text() == text


def test_a_rule_with_an_address_group_reads_as_one_line_and_is_costly_s9():
    policy = parsed("""
        version: 1
        address_groups: [{name: ag}]
        security_groups: [{name: Sg-A, rules: [{direction: egress, action: deny, remote_address_group: ag}]}]
    """)
    (found,) = policy.group("Sg-A").rules
    assert found.text() == "deny egress IPv4 all to address group ag (priority 1)"
    assert found.costly


@pytest.mark.parametrize(
    ("fields", "inconsecutive", "costly"),
    [
        ("protocol: tcp, multiport: 22-30", False, False),
        ("protocol: tcp, multiport: '22-24,25'", True, True),
        ("protocol: tcp, multiport: '22,25', remote_group: Sg-A", True, True),
        ("remote_group: Sg-A", False, True),
        ("remote_group: Sg-A, enabled: false", False, True),
        ("remote_ip_prefix: 10.0.0.0/8", False, False),
    ],
)
def test_what_counts_towards_the_quota_s9(fields: str, inconsecutive: bool, costly: bool):
    found = rule(f"direction: ingress, {fields}")
    assert (found.inconsecutive, found.costly) == (inconsecutive, costly)


def test_a_rule_with_several_mistakes_tells_all_of_them():
    fields = (
        "direction: ingress, ethertype: IPv6, protocol: icmp, multiport: 22, icmp_code: 1, remote_ip_prefix: 1.2.3.4"
    )
    assert [one.split(": ")[1].rpartition(".")[2] for one in errors(
        "version: 1", f"security_groups: [{{name: Sg-A, rules: [{{{fields}}}]}}]"
    )] == ["protocol", "multiport", "icmp_code", "remote_ip_prefix"]  # fmt: skip
