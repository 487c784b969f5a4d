"""What an answer says, word for word: people read it, and search for it (S4, S14, S15, S16, S19)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from semantics_asking import explain, parsed, side, two_hosts

from enforcer.model import Traffic
from enforcer.semantics import Packet, lint, rejudge
from enforcer.semantics.words import traffic_words

OPEN = "security_groups: [{name: Sg-A, template: all-ports-open}, {name: Sg-B}]"


@pytest.mark.parametrize(
    ("traffic", "words"),
    [
        (Traffic(6, port=22), "tcp 22"),
        (Traffic(6), "tcp"),
        (Traffic(1, icmp_type=8, icmp_code=0), "icmp 8/0"),
        (Traffic(1, icmp_type=8), "icmp 8"),
        (Traffic(47), "gre"),
        (Traffic(50), "protocol 50"),
    ],
)
def test_traffic_in_words_s4(traffic: Traffic, words: str):
    assert traffic_words(traffic) == words


@pytest.mark.parametrize(("direction", "begins"), [("egress", "spoofed source: "), ("ingress", "not for this NIC: ")])
def test_an_address_that_is_not_the_nic_s_is_named_s16(direction: str, begins: str):
    denied = side(two_hosts(OPEN), "ecs-a", direction, "192.168.0.12", "tcp/22", own="192.168.0.99")
    assert denied.reason == f"{begins}192.168.0.99 is neither a private nor an allowed address of ecs-a (S16)"
    assert side(two_hosts(OPEN), "ecs-a", direction, "192.168.0.12", "tcp/22", own="192.168.0.11").allowed


def test_what_passes_unasked_says_so_s15():
    asked = side(
        two_hosts("security_groups: [{name: Sg-A, rules: []}, {name: Sg-B}]"),
        "ecs-a",
        "egress",
        "192.168.0.1",
        "udp/67",
    )
    assert (asked.allowed, asked.reason) == (True, "DHCP from the instance as a client passes unasked (S15)")


def test_a_nic_that_is_not_filtered_and_one_that_plays_the_router_are_named_s15_s16():
    advertises = side(two_hosts(OPEN), "ecs-a", "egress", "ff02::1", "icmpv6/134/0")
    assert advertises.reason == "an instance cannot send router advertisements (S15)"
    policy = parsed(TWO_SUBNETS.replace("security_groups: [shut]}]", "security_groups: [shut], port_security: false}]"))
    asked = side(policy, "ecs-a", "ingress", "10.0.1.12", "tcp/22")
    assert asked.reason == "port_security is off on ecs-a: nothing is filtered there (S16)"


def test_the_side_that_is_met_first_is_the_reason_of_a_denial():
    policy = two_hosts("security_groups: [{name: Sg-A, rules: []}, {name: Sg-B, rules: []}]")
    reason = explain(policy, "ecs-a", "ecs-b", "tcp/22").reason
    assert reason == "no rule of Sg-A matches: denied by default (S7)"


def test_a_group_that_nobody_is_in_is_named_at_the_rule_s19():
    rule = "{id: A01, direction: ingress, remote_group: Nobody}"
    policy = two_hosts(f"security_groups: [{{name: Sg-A, rules: [{rule}]}}, {{name: Sg-B}}, {{name: Nobody}}]")
    assert [each.message for each in lint(policy)] == [
        "matches nothing (S19): no NIC is in group Nobody; associate one, or leave the rule out"
    ]


def test_a_nic_that_is_gone_is_named_s14():
    ends = ip_address("192.168.0.12"), ip_address("192.168.0.11")
    stays = rejudge(two_hosts(OPEN), Packet(*ends, Traffic(6, port=22), "ecs-b", "ecs-a"))
    assert stays.verdict == "allow"
    gone = rejudge(two_hosts(OPEN), Packet(*ends, Traffic(6, port=22), "ecs-z", "ecs-a"))
    assert gone.egress is not None
    assert gone.egress.reason == "ecs-z is detached: its conversations end (S14)"


def test_an_address_group_without_an_entry_is_named_s19():
    rule = "{id: A01, direction: ingress, remote_address_group: nobody}"
    policy = two_hosts(f"security_groups: [{{name: Sg-A, rules: [{rule}]}}, {{name: Sg-B}}]",
                       "address_groups: [{name: nobody, entries: []}]")  # fmt: skip
    assert [each.message for each in lint(policy)] == [
        "matches nothing (S19): address group nobody has no entry; write one"
    ]


def test_a_protocol_without_a_name_is_said_by_its_number_s4():
    rule = "{id: A01, direction: egress, protocol: 50, action: deny}"
    policy = two_hosts(f"security_groups: [{{name: Sg-A, rules: [{rule}]}}, {{name: Sg-B}}]")
    assert "denies protocol 50 to" in side(policy, "ecs-a", "egress", "192.168.0.12", "50").reason


def test_everything_that_is_open_to_the_world_is_counted():
    policy = two_hosts("security_groups: [{name: Sg-A, rules: [{id: A01, direction: ingress}]}, {name: Sg-B}]")
    (problem,) = lint(policy)
    named = "tcp 22 (SSH), tcp 23 (Telnet), tcp 135 (Windows RPC) and 11 more management ports"
    assert problem.message == f"opens {named} to the world; allow it from the addresses that need it"


@pytest.mark.parametrize(("last", "warned"), [("127.255.255.254", False), ("127.255.255.255", True)])
def test_half_of_all_addresses_are_the_world(last: str, warned: bool):
    rule = "{id: A01, direction: ingress, protocol: tcp, multiport: 22, remote_address_group: half}"
    policy = two_hosts(f"security_groups: [{{name: Sg-A, rules: [{rule}]}}, {{name: Sg-B}}]",
                       f"address_groups: [{{name: half, entries: [0.0.0.0-{last}]}}]")  # fmt: skip
    assert [problem.code for problem in lint(policy)] == ["world-open-management"] * warned


TWO_SUBNETS = """
    version: 1
    vpcs: [{name: vpc-x, subnets: [{name: one, cidr: 10.0.0.0/24}, {name: two, cidr: 10.0.1.0/24}]}]
    security_groups: [{name: shut, rules: []}]
    ecs: [{name: ecs-a, subnet: two, addresses: [10.0.1.11], security_groups: [shut]}]
"""


def test_dhcp_is_asked_of_the_own_subnet_s_gateway_s15():
    assert side(parsed(TWO_SUBNETS), "ecs-a", "egress", "10.0.1.1", "udp/67").allowed
    assert not side(parsed(TWO_SUBNETS), "ecs-a", "egress", "10.0.0.1", "udp/67").allowed
