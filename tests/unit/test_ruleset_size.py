"""A fixed number of lookups per new flow, whatever the size of the policy (design, claim 1).

The longest way through the chains is added up rule by rule, with every dispatch going where it is longest: no packet
can meet more. Kernel objects grow with distinct rule lists, never with ECSs.
"""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from longest_way import Cost, longest_way
from packets import Packet
from policies import compiled, three_hosts
from tracer import Tracer

from enforcer.compiler.program import NamespaceProgram
from enforcer.model import parse_policy
from enforcer.ruleset import lower
from enforcer.ruleset.nft import Field

HOOKS = (("netdev", "ingress"), ("inet", "prerouting"), ("inet", "input"), ("inet", "postrouting"))

MOST = {
    "ingress": Cost(rules=20, lookups=11),
    "prerouting": Cost(rules=40, lookups=18),
    "input": Cost(rules=12, lookups=3),
    "postrouting": Cost(rules=46, lookups=18),
}
"""What the longest way may cost at each hook. Who raises these numbers pays with the speed of every new flow.

The longest ways end in a drop, where up to 8 rules and 6 lookups count and tell: no packet that passes meets them."""


def policy_of(rules: int = 1, nics: int = 2, lists: int = 1, members: int = 0) -> NamespaceProgram:
    """Compile a policy of that size: prefixes, groups, address groups, port lists, allow and deny."""
    ag = [{"name": f"ag-{n}", "entries": [f"172.{16 + n}.0.0-172.{16 + n}.200.9"]} for n in range(4)]
    groups = [{"name": f"Sg-{n}", "rules": [rule(n * rules + i) for i in range(rules)]} for n in range(lists)]
    hosts = [
        {"name": f"ecs-{n}", "subnet": "s", "addresses": [address(n)], "security_groups": [f"Sg-{n % lists}"]}
        for n in range(nics)
    ]
    # Members of other VPCs: no NIC here, but each an address of a group.
    far = [
        {"name": f"far-{n}", "subnet": "far", "addresses": [f"10.200.{n // 250}.{n % 250 + 2}"], "security_groups": [g]}
        for n in range(members)
        for g in ("Sg-0",)
    ]
    document: dict[str, Any] = {
        "version": 1,
        "limits": {"costly_rules": 1_000_000},
        "vpcs": [
            {"name": "vpc", "subnets": [{"name": "s", "cidr": "10.0.0.0/16"}]},
            {"name": "vpc-far", "subnets": [{"name": "far", "cidr": "10.200.0.0/16"}]},
        ],
        "peerings": [{"name": "p", "vpcs": ["vpc", "vpc-far"]}],
        "address_groups": ag,
        "security_groups": groups,
        "ecs": [*hosts, *far],
    }
    return compiled(parse_policy(json.dumps(document)))


def address(n: int) -> str:
    return f"10.0.{n // 250}.{n % 250 + 2}"


def rule(n: int) -> dict[str, Any]:
    remote = ({"remote_group": "Sg-0"}, {"remote_ip_prefix": f"10.{n % 250}.0.0/16"}, {"remote_address_group": "ag-1"})
    return {
        "direction": "ingress" if n % 2 == 0 else "egress",
        "action": "deny" if n % 5 == 4 else "allow",
        "priority": n % 100 + 1,
        "protocol": "tcp" if n % 3 else "udp",
        "multiport": f"{n % 60000 + 1},{n % 60000 + 3}" if n % 7 == 0 else str(n % 60000 + 1),
        **(remote[n % 4] if n % 4 < 3 else {}),
    }


def costs(program: NamespaceProgram) -> dict[str, Cost]:
    ruleset = lower(program)
    return {hook: longest_way(ruleset, family, hook) for family, hook in HOOKS}


@pytest.mark.parametrize("rules", [1, 10, 100, 600])
def test_the_longest_way_has_a_bound_that_knows_no_rules(rules: int):
    for hook, cost in costs(policy_of(rules=rules)).items():
        assert cost.rules <= MOST[hook].rules, hook
        assert cost.lookups <= MOST[hook].lookups, hook


def test_a_new_flow_from_one_nic_to_another_meets_a_fixed_number_of_rules():
    met = set()
    for rules in (10, 600):
        program = policy_of(rules=rules)
        sender, receiver = program.nics
        source, destination = (nic.addresses[0].network_address for nic in (sender, receiver))
        packet = Packet(
            source, destination, 6, sender.interface, receiver.interface, dport=60500, mac=sender.mac or "", flags=2
        )
        trace = Tracer(lower(program)).forward(packet)
        assert trace.by == "no rule matches", "the packet is asked about to the end"
        met.add((trace.rules, trace.lookups))
    assert len(met) == 1
    assert met <= {(rules, lookups) for rules in range(32) for lookups in range(9)}


def test_ten_rules_cost_what_six_hundred_cost():
    assert costs(policy_of(rules=10)) == costs(policy_of(rules=100)) == costs(policy_of(rules=600))


def test_two_nics_cost_what_two_hundred_cost():
    assert costs(policy_of(rules=12, nics=2)) == costs(policy_of(rules=12, nics=200))


def test_two_rule_lists_cost_what_forty_cost():
    two, forty = policy_of(rules=12, nics=40, lists=2), policy_of(rules=12, nics=40, lists=40)
    assert costs(two) == costs(forty)


def test_six_thousand_members_cost_what_none_cost():
    assert costs(policy_of(rules=12)) == costs(policy_of(rules=12, members=6000))


@pytest.mark.parametrize("mac", [None, "fa:16:3e:00:00:0a"])
def test_a_packet_from_its_nics_first_address_is_known_without_a_lookup_however_many_others_there_are(mac: str | None):
    met = set()
    for more in ("", ", 10.0.0.12, '2001:db8::12', 10.0.0.13, '2001:db8::13'"):
        addresses = f"[10.0.0.11, '2001:db8::11'{more}]"
        hosts = f"ecs: [{{name: ecs-a, subnet: subnet-a, addresses: {addresses}, security_groups: [Sg-A]}}]"
        program = compiled(three_hosts(hosts))
        (nic,) = program.nics
        ruleset = lower(replace(program, nics=(replace(nic, mac=mac),)))
        for source, destination in (("10.0.0.11", "10.0.0.99"), ("2001:db8::11", "2001:db8::99")):
            packet = Packet(ip_address(source), ip_address(destination), 6, nic.interface, mac=mac or "")
            trace = Tracer(ruleset).ingress(packet)
            met.add((trace.accepted, trace.rules, trace.lookups))
    assert met == {(True, 1, 0), (True, 2, 0)}, "one rule for each family"


def test_what_all_addresses_are_denied_costs_a_class_that_may_do_all_else_no_interval():
    program = compiled(
        three_hosts("""
            security_groups:
              - name: Sg-A
                rules:
                  - {id: no-ssh, direction: ingress, protocol: tcp, multiport: 22, action: deny}
                  - {id: tcp, direction: ingress, protocol: tcp, remote_group: Sg-B, priority: 2}
        """)
    )
    found = [entry for entry in lower(program).table("inet").sets if Field.DESTINATION_PORT in entry.key]
    assert [entry.interval for entry in found] == [False]


def objects(program: NamespaceProgram) -> tuple[int, int]:
    """Count the sets and maps, and the chains without those that are one per NIC by design (netdev)."""
    tables = lower(program).tables
    return sum(len(t.sets) for t in tables), sum(not c.hook for t in tables for c in t.chains)


def test_objects_grow_with_distinct_rule_lists_and_not_with_nics():
    assert objects(policy_of(rules=12, nics=2, lists=2)) == objects(policy_of(rules=12, nics=200, lists=2))


def test_objects_grow_with_neither_rules_nor_members():
    assert objects(policy_of(rules=12)) == objects(policy_of(rules=600))
    assert objects(policy_of(rules=12)) == objects(policy_of(rules=12, members=6000))


def test_a_rule_list_has_at_most_a_handful_of_objects():
    one, eleven = objects(policy_of(rules=12, nics=22, lists=1)), objects(policy_of(rules=12, nics=22, lists=11))
    # Two directions: a map of local classes, of regions, and one for packets without ports; two chains each. A profile
    # has five chains.
    assert (eleven[0] - one[0]) / 10 <= 6
    assert (eleven[1] - one[1]) / 10 <= 9


def test_a_new_member_is_one_element_in_one_set():
    before, after = (lower(policy_of(rules=12, members=n)).table("inet") for n in (5000, 5001))
    grown = [
        (one.name.split("_")[0], len(other.elements) - len(one.elements))
        for one, other in zip(before.sets, after.sets, strict=True)
        if len(one.elements) != len(other.elements)
    ]
    assert grown == [("host4", 1)]
