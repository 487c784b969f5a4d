"""The columns of a matrix: one for each region that some rule names, none that cannot differ from another."""

from __future__ import annotations

import pytest
from answers_asking import policy
from hypothesis import given, settings
from policies import random_policies

from enforcer.answers import region_of, regions
from enforcer.answers.regions import first_free, named_ranges
from enforcer.model import Policy, PortRange, Traffic, endpoint, parse_traffic
from enforcer.semantics import Oracle, explain


def words(rules: str, addresses: str = "[10.0.0.11]") -> list[str]:
    return [region.word for region in regions(of(rules, addresses))]


def of(rules: str, addresses: str = "[10.0.0.11]") -> Policy:
    return policy(
        f"""
security_groups:
  - {{name: used, rules: [{rules}]}}
  - {{name: unused, rules: [{{direction: ingress, protocol: tcp, multiport: 9999}}]}}
ecs: [{{name: a, subnet: subnet-a, addresses: {addresses}, security_groups: [used]}}]
"""
    )


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("", ["icmp"]),
        ("{direction: egress}", ["icmp", "tcp/1", "udp/1"]),
        ("{direction: egress, protocol: tcp}", ["icmp", "tcp/1"]),
        ("{direction: ingress, protocol: tcp, multiport: 22}", ["icmp", "tcp/22"]),
        ("{direction: ingress, protocol: tcp, multiport: 22, enabled: false}", ["icmp"]),
        ('{direction: ingress, protocol: tcp, multiport: "22-24,25"}', ["icmp", "tcp/22"]),
        ('{direction: ingress, protocol: tcp, multiport: "20-30,25-40"}', ["icmp", "tcp/20"]),
        (
            "{direction: ingress, protocol: tcp, multiport: 20-30},"
            "{direction: ingress, action: deny, protocol: tcp, multiport: 25}",
            ["icmp", "tcp/20", "tcp/25", "tcp/26"],
        ),
        (
            "{direction: ingress, protocol: udp, multiport: 1-10}, {direction: ingress, protocol: udp}",
            ["icmp", "udp/1", "udp/11"],
        ),
        ("{direction: ingress, protocol: gre}, {direction: ingress, protocol: 50}", ["icmp", "gre", "50"]),
        ("{direction: ingress, protocol: icmp, icmp_type: 13}", ["icmp", "icmp/13/0"]),
        ("{direction: ingress, protocol: icmp, icmp_type: 3}", ["icmp"]),
        ("{direction: ingress, protocol: icmp, icmp_type: 8, icmp_code: 0}", ["icmp/8/0", "icmp/8/1"]),
    ],
)
def test_which_regions_rules_name(rules: str, expected: list[str]):
    assert words(rules) == expected


def test_ping_is_asked_in_the_families_that_hosts_have():
    assert words("", '["2001:db8::11"]') == ["icmpv6"]
    assert words("", '[10.0.0.11, "2001:db8::11"]') == ["icmp", "icmpv6"]


def test_regions_are_said_in_words():
    found = regions(of('{direction: ingress, protocol: tcp, multiport: "22,8000-8010"}, {direction: egress}'))
    assert [one.text for one in found] == [
        "icmp (ping)", "tcp 22 (ssh)", "tcp 8000-8010", "tcp, other port", "udp, any port",
    ]  # fmt: skip
    assert region_of(parse_traffic("tcp/22"), "tcp/22").text == "tcp/22 (ssh)"
    assert region_of(parse_traffic("ssh"), "ssh").text == "ssh"


def test_every_word_is_what_the_command_line_takes():
    found = regions(of('{direction: ingress, protocol: tcp, multiport: "22-30"}, {direction: ingress, protocol: 50}'))
    assert [parse_traffic(one.word) for one in found] == [one.traffic for one in found]


def test_two_policies_are_told_apart_by_the_regions_of_both():
    one, other = (of(f"{{direction: ingress, protocol: tcp, multiport: {ports}}}") for ports in ("20-30", "25-40"))
    assert [region.word for region in regions(one, other)] == ["icmp", "tcp/20", "tcp/25", "tcp/31"]


def test_the_free_port_is_the_first_that_no_range_has():
    assert first_free([]) == 1
    assert first_free([PortRange(1, 5), PortRange(6, 9), PortRange(12, 20)]) == 10
    assert first_free([PortRange(1, 65535)]) is None
    assert list(named_ranges(((PortRange(5, 65535),), (PortRange(65535, 65535),)))) == [(5, 65534), (65535, 65535)]


@settings(max_examples=40)
@given(random_policies())
def test_every_port_has_the_verdict_of_its_region(found: Policy):
    tcp = sorted(one.traffic.port for one in regions(found) if one.traffic.protocol == 6 and one.traffic.port)
    named = [*named_ranges(tuple(r.ports for g in found.security_groups for r in g.rules if r.protocol == 6))]
    ends = [endpoint(found, name) for name in ("ecs-a", "ecs-b", "ecs-e")]
    oracle = Oracle(found)
    free = first_free(named)
    for port in (1, 2, 21, 22, 23, 24, 25, 79, 80, 81, 1000, 65535):
        region = next((r for r in named if r.first <= port <= r.last), None)
        stands_for = region.first if region else free
        if stands_for not in tcp or stands_for is None:
            continue
        for src in ends:
            for dst in ends:
                verdicts = {explain(oracle, src, dst, Traffic(6, p)).verdict for p in (port, stands_for)}
                assert len(verdicts) == 1, (port, stands_for)
