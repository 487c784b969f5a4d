"""The address sets that rules speak of (S5, S8, S18), and that an empty one is not "any address" (S19)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from first_match import Answer
from judge import judge, nic_of
from policies import compiled, three_hosts

from enforcer.compiler.program import Span
from enforcer.compiler.terms import Terms, merge, term_name
from enforcer.model import Direction, Policy, parse_policy


def spans(policy: Policy, rule: str, vpcs: tuple[str, ...] = ("vpc-x",)) -> list[str] | None:
    found = next(r for group in policy.security_groups for r in group.rules if r.id == rule)
    name = term_name(found)
    if name is None:
        return None
    term = Terms(policy, vpcs).named(name, found.family)
    return [str(ip_address(s.first)) + ("" if s.first == s.last else f"-{ip_address(s.last)}") for s in term.spans]


def test_spans_that_overlap_touch_or_nest_are_one_span():
    assert merge([Span(5, 9), Span(1, 2), Span(3, 3)]) == (Span(1, 3), Span(5, 9))
    assert merge([Span(0, 9), Span(2, 3), Span(9, 12)]) == (Span(0, 12),)
    assert merge([]) == ()


RULES = """
    address_groups:
      - {name: ag, entries: [10.1.0.0/24, 10.1.1.0-10.1.1.7, 10.9.0.1]}
      - {name: ag-empty}
    security_groups:
      - name: Sg-A
        rules:
          - {id: prefix, direction: ingress, remote_ip_prefix: 10.0.0.0/8}
          - {id: host, direction: ingress, remote_ip_prefix: 10.0.0.9}
          - {id: group, direction: ingress, remote_group: Sg-B}
          - {id: self, direction: ingress, remote_group: Sg-A}
          - {id: six, direction: ingress, ethertype: IPv6, remote_group: Sg-B}
          - {id: listed, direction: ingress, remote_address_group: ag}
          - {id: nobody, direction: ingress, remote_group: Sg-Empty}
          - {id: nothing, direction: ingress, remote_address_group: ag-empty}
          - {id: any, direction: ingress}
          - {id: all, direction: ingress, remote_ip_prefix: 0.0.0.0/0}
      - {name: Sg-Empty, rules: []}
"""


def test_each_remote_is_the_set_of_addresses_that_it_names_s5_s8():
    policy = three_hosts(RULES)
    assert spans(policy, "prefix") == ["10.0.0.0-10.255.255.255"]
    assert spans(policy, "host") == ["10.0.0.9"]
    assert spans(policy, "group") == ["10.0.0.12"]
    assert spans(policy, "self") == ["10.0.0.11"]
    assert spans(policy, "six") == ["2001:db8::12"]
    assert spans(policy, "listed") == ["10.1.0.0-10.1.1.7", "10.9.0.1"]


def test_members_that_are_neighbours_stay_single_addresses_and_entries_do_not():
    policy = three_hosts("""
        address_groups: [{name: ag, entries: [10.9.0.1, 10.9.0.2]}]
        security_groups:
          - name: Sg-A
            rules:
              - {id: group, direction: ingress, remote_group: Sg-B}
              - {id: listed, direction: ingress, remote_address_group: ag}
        ecs:
          - {name: ecs-a, subnet: subnet-a, addresses: [10.0.0.12, 10.0.0.11], security_groups: [Sg-B]}
          - {name: ecs-b, subnet: subnet-a, addresses: [10.0.0.13], security_groups: [Sg-B]}
    """)
    assert spans(policy, "group") == ["10.0.0.11", "10.0.0.12", "10.0.0.13"]
    assert spans(policy, "listed") == ["10.9.0.1-10.9.0.2"]


def test_an_empty_set_is_not_any_address_s19():
    policy = three_hosts(RULES)
    assert spans(policy, "nobody") == []
    assert spans(policy, "nothing") == []
    assert spans(policy, "any") is None
    assert spans(policy, "all") is None


@pytest.mark.parametrize("remote", ["remote_group: Sg-Empty", "remote_address_group: ag-empty"])
def test_a_rule_for_nobody_opens_nothing_and_closes_nothing_s19(remote: str):
    empty = "address_groups: [{name: ag-empty}]\nsecurity_groups:\n  - {name: Sg-Empty, rules: []}\n"
    policy = three_hosts(
        empty
        + f"""  - {{name: Sg-A, rules: [{{id: open, direction: ingress, {remote}}}]}}
  - {{name: Sg-B, rules: [{{id: shut, direction: ingress, action: deny, {remote}}}, {{id: b, direction: ingress}}]}}
"""
    )
    program = compiled(policy)
    peer = ip_address("10.0.0.13")
    assert judge(program, nic_of(program, "ecs-a"), Direction.INGRESS, peer, 6, 22) == Answer(allowed=False)
    assert judge(program, nic_of(program, "ecs-b"), Direction.INGRESS, peer, 6, 22) == Answer(True, "Sg-B/b")


VPCS = """
version: 1
vpcs:
  - {name: vpc-x, subnets: [{name: sx, cidr: 10.0.0.0/24}]}
  - {name: vpc-y, subnets: [{name: sy, cidr: 10.0.1.0/24}]}
  - {name: vpc-z, subnets: [{name: sz, cidr: 10.0.1.0/24}]}
peerings: [{name: p, vpcs: [vpc-x, vpc-y]}]
security_groups: [{name: Sg, rules: [{id: all-of-us, direction: ingress, remote_group: Sg}]}]
ecs:
  - {name: x, subnet: sx, addresses: [10.0.0.1], allowed_addresses: [10.0.0.99], security_groups: [Sg]}
  - {name: y, subnet: sy, addresses: [10.0.1.2], security_groups: [Sg]}
  - {name: z, subnet: sz, addresses: [10.0.1.3], security_groups: [Sg]}
"""


def test_members_count_in_their_own_and_in_peered_vpcs_only_s8_s18():
    policy = parse_policy(VPCS)
    assert spans(policy, "all-of-us", ("vpc-x",)) == ["10.0.0.1", "10.0.1.2"]
    assert spans(policy, "all-of-us", ("vpc-y",)) == ["10.0.0.1", "10.0.1.2"]
    assert spans(policy, "all-of-us", ("vpc-z",)) == ["10.0.1.3"], "an equal range in an unpeered VPC never leaks"


def test_a_virtual_ip_belongs_to_no_group_s6():
    assert "10.0.0.99" not in str(spans(parse_policy(VPCS), "all-of-us"))
