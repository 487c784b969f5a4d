"""A rule list as a side policy: classes that make a difference, the rest, and numbers that stay."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from judge import class_of, nic_of
from policies import compiled, three_hosts

from enforcer.compiler.effective import EffectiveRule
from enforcer.compiler.program import REST, NamespaceProgram, SidePolicy
from enforcer.compiler.show import show_region
from enforcer.compiler.sides import RuleList, part
from enforcer.model import Direction, Policy, Rule, SecurityGroup


def side(policy: Policy, nic: str = "ecs-a", direction: str = "ingress") -> tuple[NamespaceProgram, SidePolicy]:
    program = compiled(policy)
    sides = program.sides_of(nic_of(program, nic))[0]
    return program, program.policy(sides.ingress if direction == "ingress" else sides.egress)


def classes(policy: Policy, nic: str = "ecs-a", direction: str = "ingress") -> list[list[str]]:
    """The rest first, then what holds for the classes that differ, in the order of their text."""
    _, found = side(policy, nic, direction)
    shown = [[show_region(region) for region in entry.regions] for entry in found.classes]
    assert found.classes[0].number == REST
    return [shown[0], *sorted(shown[1:])]


def local(policy: Policy, peer: str) -> int:
    program, found = side(policy)
    return dict(found.locals).get(class_of(program.addresses[0], int(ip_address(peer))), REST)


def rules(*texts: str) -> Policy:
    return three_hosts("security_groups:\n- {name: Sg-A, rules: [" + ", ".join(f"{{{text}}}" for text in texts) + "]}")


def test_rules_for_any_address_are_the_rest_and_need_no_class():
    assert classes(rules("id: a, direction: ingress, protocol: tcp, multiport: 22")) == [["tcp 22 → allow Sg-A/a"]]
    # 0.0.0.0/0 is every address and nothing else.
    zero = "id: a, direction: ingress, protocol: tcp, multiport: 22, remote_ip_prefix: 0.0.0.0/0"
    assert classes(rules(zero)) == [["tcp 22 → allow Sg-A/a"]]


def test_an_address_that_a_rule_names_is_judged_by_its_rules_and_those_for_any_address():
    policy = rules(
        "id: peer, direction: ingress, protocol: tcp, multiport: 22, remote_group: Sg-B",
        "id: any, direction: ingress, protocol: tcp, multiport: 80",
    )
    assert classes(policy) == [
        ["tcp 80 → allow Sg-A/any"],
        ["tcp 22 → allow Sg-A/peer"],
    ], "what the rules for any address decide is not said again"
    assert local(policy, "10.0.0.12") != REST
    assert local(policy, "10.0.0.13") == REST


def test_addresses_that_are_judged_alike_share_a_local_class():
    policy = rules(
        "id: one, direction: ingress, protocol: tcp, remote_ip_prefix: 10.1.0.0/16",
        "id: other, direction: ingress, protocol: tcp, remote_ip_prefix: 10.2.0.0/16, action: deny",
        "id: late, direction: ingress, protocol: tcp, remote_ip_prefix: 10.1.2.0/24, priority: 9",
    )
    assert local(policy, "10.1.2.3") == local(policy, "10.1.0.1"), "the late rule decides nothing there"
    assert local(policy, "10.1.0.1") != local(policy, "10.2.0.1")


def test_an_address_whose_rules_change_nothing_is_the_rest():
    policy = rules(
        "id: any, direction: ingress",
        "id: useless, direction: ingress, remote_group: Sg-B, action: deny, priority: 2",
    )
    assert classes(policy) == [["0–255 → allow Sg-A/any"]]
    assert local(policy, "10.0.0.12") == REST


def test_rules_after_one_that_decides_everything_are_not_even_terms():
    policy = rules(
        "id: any, direction: ingress, action: deny",
        "id: late, direction: ingress, remote_ip_prefix: 10.1.0.0/16, priority: 2",
    )
    program, _ = side(policy)
    assert all("10.1.0.0/16" not in entry.terms for entry in program.addresses[0].classes)


def test_a_rule_for_all_protocols_from_some_addresses_decides_nothing_for_others():
    policy = rules(
        "id: some, direction: ingress, remote_ip_prefix: 10.1.0.0/16",
        "id: late, direction: ingress, protocol: tcp, priority: 2",
    )
    assert classes(policy) == [["tcp → allow Sg-A/late"], ["0–255 → allow Sg-A/some"]]


GROUP = "security_groups: [{name: Sg-A, rules: [{id: a, direction: ingress, remote_group: Sg-A}]}]"


def test_a_new_member_changes_one_host_and_no_policy():
    before = compiled(three_hosts(GROUP))
    more = """
        ecs:
          - {name: ecs-a, subnet: subnet-a, addresses: [10.0.0.11], security_groups: [Sg-A]}
          - {name: ecs-n, subnet: subnet-a, addresses: [10.0.0.99], security_groups: [Sg-A]}
    """
    after = compiled(three_hosts(GROUP, more))
    keys = {sides.ingress for sides in before.sides_of(nic_of(before, "ecs-a")) if sides.family == 4}
    assert keys <= {policy.key for policy in after.policies}
    assert set(after.addresses[0].hosts) - set(before.addresses[0].hosts) == {
        (int(ip_address("10.0.0.99")), dict(before.addresses[0].hosts)[int(ip_address("10.0.0.11"))])
    }


def test_another_groups_rule_changes_no_policy_but_its_own():
    one = compiled(three_hosts(GROUP))
    two = compiled(three_hosts(GROUP[:-1] + ", {name: Sg-B, rules: [{id: b, direction: egress}]}]"))
    kept = {policy.key for policy in one.policies} & {policy.key for policy in two.policies}
    changed = {policy.key for policy in one.policies} - kept
    assert {policy.groups for policy in one.policies if policy.key in changed} == {("Sg-B",)}


def test_nics_with_the_same_groups_and_type_share_their_policies():
    same = """
        ecs:
          - {name: ecs-a, subnet: subnet-a, addresses: [10.0.0.11], security_groups: [Sg-A, Sg-B]}
          - {name: ecs-b, subnet: subnet-a, addresses: [10.0.0.12], security_groups: [Sg-A, Sg-B], type: s6.x}
          - {name: ecs-c, subnet: subnet-a, addresses: [10.0.0.13], security_groups: [Sg-B, Sg-A]}
    """
    program = compiled(three_hosts(GROUP, same))
    a, b, c = program.nics
    assert a.profiles == b.profiles, "the rule lists are equal, whatever the ECS types are called"
    assert a.profiles != c.profiles, "the order of groups is part of a rule list (S7)"


def effective(name: str, **fields: Any) -> EffectiveRule:
    return EffectiveRule("Sg", Rule.model_validate({"id": name, "direction": "ingress", **fields}))


NET = effective("net", protocol="tcp", multiport="22-85", remote_ip_prefix="10.1.0.0/16")
LATE = effective("late", protocol="udp")


def after_denying(ports: str, before: RuleList | None = None) -> RuleList:
    """Return a list that denies some ports to any address, before NET is asked."""
    listed = (effective("deny", protocol="tcp", multiport=ports, action="deny"), NET, LATE)
    group = SecurityGroup.model_validate({"name": "Sg"})
    return RuleList(Direction.INGRESS, 4, (part(group, listed),), before)


@pytest.mark.parametrize(
    ("before", "after", "stays"),
    [
        ("9000", "9001", True),
        ("21", "86", True),
        ("9000", "80", False),
        ("10", "22", False),
        ("9000", "85", False),
        ("1-100", "1-84", False),
    ],
)
def test_what_a_rule_decides_is_found_anew_where_a_rule_for_any_address_paints_otherwise(
    before: str, after: str, *, stays: bool
):
    old = after_denying(before)
    was = old.regions_of(["10.1.0.0/16"])
    found = after_denying(after, old).regions_of(["10.1.0.0/16"])
    assert found == after_denying(after).regions_of(["10.1.0.0/16"])
    assert (found is was) is stays
