"""Which rules are in effect: the quota (S9), ECS types (S10), and the source document's Tables 3 and 4."""

from __future__ import annotations

import pytest
from semantics_asking import ingress, parsed, passed_over, side, two_hosts

from enforcer.errors import Problem
from enforcer.model import Direction, Policy
from enforcer.semantics import effective, not_in_effect
from enforcer.semantics.effect import costly

TABLE_3 = """
    address_groups: [{name: ipGroup-A, entries: [10.1.0.0/16]}]
    security_groups:
      - name: Sg-A
        rules:
          - {id: A01, direction: ingress, remote_group: Sg-A}
          - {id: A02, direction: ingress, protocol: tcp, multiport: "22,25,27", remote_group: Sg-B}
          - {id: A03, direction: ingress, protocol: tcp, multiport: 80-82, remote_address_group: ipGroup-A}
          - {id: A04, direction: ingress, protocol: tcp, multiport: "22-24,25", remote_ip_prefix: 192.168.0.0/16}
          - {id: A05, direction: ingress, protocol: tcp, multiport: 80-82, remote_ip_prefix: 192.168.0.0/16}
          - {id: A06, direction: ingress}
      - {name: Sg-B}
"""


def lapsed(policy: Policy, nic: str, direction: str = "ingress") -> set[str]:
    """Return the ids of the rules that a NIC's groups list for a direction and that are not in effect."""
    ref = policy.nic_ref(nic)
    listed = {rule.id for name in ref.nic.security_groups for rule in policy.group(name).rules}
    in_effect = {one.rule.id for family in (4, 6) for one in effective(policy, ref, Direction(direction), family)}
    others = {
        rule.id for name in ref.nic.security_groups for rule in policy.group(name).rules if rule.direction != direction
    }
    return listed - in_effect - others


def test_table_3_counts_each_costly_rule_once_s9():
    rules = two_hosts(TABLE_3).group("Sg-A").rules
    # The four of the table take a place each, A02 for two reasons takes one; A05 and A06 take none.
    assert {rule.id: costly(rule) for rule in rules} == {
        "A01": True,
        "A02": True,
        "A03": True,
        "A04": True,
        "A05": False,
        "A06": False,
    }


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(4, set()), (3, {"A04"}), (2, {"A03", "A04"}), (0, {"A01", "A02", "A03", "A04"})],
)
def test_table_3_under_smaller_quotas_s9(limit: int, expected: set[str]):
    assert lapsed(two_hosts(f"limits: {{costly_rules: {limit}}}", TABLE_3), "ecs-a") == expected


def many(count: int, *, direction: str = "ingress", ethertype: str = "IPv4", first: int = 1, extra: str = "") -> str:
    return "\n".join(
        f"          - {{id: {direction}{ethertype}{n}, direction: {direction}, ethertype: {ethertype}, protocol: tcp,"
        f' multiport: "{n},{n + 1000}"{extra}}}'
        for n in range(first, first + count)
    )


def group_of(*rules: str) -> str:
    return "\n".join(["    security_groups:", "      - {name: Sg-B}", "      - name: Sg-A", "        rules:", *rules])


def test_the_121st_costly_rule_is_not_in_effect_s9():
    policy = two_hosts(group_of(many(121)))
    assert ingress(policy, "ecs-a", "10.0.0.1", "tcp/120") == "allow Sg-A/ingressIPv4120"
    verdict = side(policy, "ecs-a", "ingress", "10.0.0.1", "tcp/121")
    assert verdict.reason == (
        "no rule in effect of Sg-A matches: denied by default (S7); rule ingressIPv4121 of Sg-A allows "
        "tcp 121,1121 from anywhere but is not in effect: quota"
    )
    assert passed_over(verdict) == ["Sg-A/ingressIPv4121: not in effect: quota"]
    assert not_in_effect(policy) == (
        Problem(
            "security_groups[Sg-A].rules[ingressIPv4121]",
            "not in effect: quota; the group has more than 120 ingress IPv4 rules with a group, an address group or "
            "inconsecutive ports; the first 120 of them apply",
            code="quota",
        ),
    )


def test_configured_order_counts_not_priority_s9():
    # The 121st in the file is beyond the quota although it has the best priority.
    first = '          - {id: last, direction: ingress, priority: 1, protocol: tcp, multiport: "7,9"}'
    rules = many(120, extra=", priority: 50")
    assert lapsed(two_hosts(group_of(rules, first)), "ecs-a") == {"last"}
    assert lapsed(two_hosts(group_of(first, rules)), "ecs-a") == {"ingressIPv4120"}


def test_direction_and_ethertype_are_counted_apart_s9():
    policy = two_hosts(
        group_of(
            many(120),
            many(120, direction="egress"),
            many(120, ethertype="IPv6"),
            many(120, direction="egress", ethertype="IPv6"),
        )
    )
    assert not_in_effect(policy) == ()


@pytest.mark.parametrize("direction", ["ingress", "egress"])
@pytest.mark.parametrize("ethertype", ["IPv4", "IPv6"])
def test_every_direction_and_ethertype_has_its_quota_s9(direction: str, ethertype: str):
    policy = two_hosts(group_of(many(121, direction=direction, ethertype=ethertype)))
    assert lapsed(policy, "ecs-a", direction) == {f"{direction}{ethertype}121"}


def test_groups_are_counted_apart_s9():
    policy = parsed(
        """
        version: 1
        vpcs: [{name: vpc-x, subnets: [{name: subnet-a, cidr: 192.168.0.0/24}]}]
        limits: {costly_rules: 1}
        ecs: [{name: ecs-a, subnet: subnet-a, addresses: [192.168.0.11], security_groups: [Sg-A, Sg-B]}]
        security_groups:
          - {name: Sg-A, rules: [{id: A01, direction: ingress, remote_group: Sg-A}]}
          - {name: Sg-B, rules: [{id: B01, direction: ingress, remote_group: Sg-A}]}
        """
    )
    assert not_in_effect(policy) == ()
    assert lapsed(policy, "ecs-a") == set()


def test_plain_rules_beyond_the_quota_are_untouched_s9():
    plain = '          - {id: plain, direction: ingress, protocol: tcp, multiport: "5000"}'
    policy = two_hosts(group_of(many(125), plain))
    assert ingress(policy, "ecs-a", "10.0.0.1", "tcp/5000") == "allow Sg-A/plain"


def test_disabled_rules_take_no_place_in_the_quota_s4_s9():
    off = many(1, first=500, extra=", enabled: false")
    assert not_in_effect(two_hosts(group_of(off, many(120)))) == ()
    assert len(not_in_effect(two_hosts(group_of(off, many(121))))) == 1


def of_type(flavor: str, groups: str) -> Policy:
    return parsed(
        f"""
        version: 1
        vpcs: [{{name: vpc-x, subnets: [{{name: subnet-a, cidr: 192.168.0.0/24}}]}}]
        ecs:
          - {{name: ecs-a, type: {flavor}, subnet: subnet-a, addresses: [192.168.0.11], security_groups: [Sg-A]}}
          - {{name: ecs-s6, type: s6.large.2, subnet: subnet-a, addresses: [192.168.0.12], security_groups: [Sg-A]}}
        """,
        groups,
    )


TABLE_4 = """
    address_groups: [{name: ipGroup-A, entries: [10.1.0.0/16]}]
    security_groups:
      - name: Sg-A
        rules:
          - {id: own, direction: ingress, remote_group: Sg-A}
          - {id: group, direction: ingress, protocol: tcp, multiport: "80", remote_address_group: ipGroup-A}
          - {id: ports, direction: ingress, protocol: tcp, multiport: "22,24"}
          - {id: B, direction: ingress, protocol: tcp, multiport: "9096"}
          - {id: out, direction: egress}
"""


@pytest.mark.parametrize("flavor", ["S1", "C1", "C2", "M1", "H1", "D1", "G1", "G2", "E1", "E2", "ET2"])
def test_table_4_old_x86_types_s10(flavor: str):
    policy = of_type(f"{flavor.lower()}.xlarge.4", TABLE_4)
    assert lapsed(policy, "ecs-a") == {"group", "ports"}
    # The other ECS of the same group is not concerned, and neither are the later rules of this one.
    assert lapsed(policy, "ecs-s6") == set()
    assert ingress(policy, "ecs-a", "10.1.0.1", "tcp/80") == "deny (S7)"
    assert ingress(policy, "ecs-s6", "10.1.0.1", "tcp/80") == "allow Sg-A/group"
    assert ingress(policy, "ecs-a", "10.1.0.1", "tcp/22") == "deny (S7)"
    assert ingress(policy, "ecs-s6", "10.1.0.1", "tcp/22") == "allow Sg-A/ports"
    assert ingress(policy, "ecs-a", "10.1.0.1", "tcp/9096") == "allow Sg-A/B"
    assert passed_over(side(policy, "ecs-a", "ingress", "10.1.0.1", "tcp/22")) == [
        f"Sg-A/ports: not in effect: ECS type {flavor}"
    ]


def test_table_4_kai1_drops_inconsecutive_ports_and_all_that_follows_s10():
    policy = of_type("kai1.large.2", TABLE_4)
    # Rule "ports" (22,24) and rule "B" (9096) do not take effect, and neither does the egress rule after them.
    assert lapsed(policy, "ecs-a") == {"ports", "B"}
    assert lapsed(policy, "ecs-a", "egress") == {"out"}
    assert ingress(policy, "ecs-a", "10.1.0.1", "tcp/9096") == "deny (S7)"
    # A Kai1 does know address groups.
    assert ingress(policy, "ecs-a", "10.1.0.1", "tcp/80") == "allow Sg-A/group"
    assert passed_over(side(policy, "ecs-a", "ingress", "10.1.0.1", "tcp/9096")) == [
        "Sg-A/B: not in effect: ECS type Kai1"
    ]


def test_kai1_counts_in_configured_order_within_one_group_s10():
    policy = parsed("""
        version: 1
        vpcs: [{name: vpc-x, subnets: [{name: subnet-a, cidr: 192.168.0.0/24}]}]
        ecs:
          - {name: ecs-a, type: Kai1.large, subnet: subnet-a, addresses: [192.168.0.11], security_groups: [Sg-A, Sg-B]}
        security_groups:
          - name: Sg-A
            rules:
              - {id: off, direction: ingress, protocol: tcp, multiport: "1,3", enabled: false}
              - {id: before, direction: ingress, priority: 90, protocol: tcp, multiport: "9096"}
              - {id: adjacent, direction: ingress, priority: 100, protocol: tcp, multiport: "22-24,25"}
              - {id: after, direction: ingress, priority: 1, protocol: tcp, multiport: "9097"}
              - {id: after6, direction: ingress, ethertype: IPv6}
          - name: Sg-B
            rules: [{id: other, direction: ingress, protocol: tcp, multiport: "9098"}]
    """)
    # A disabled rule stops nothing; priority does not count; adjacent port groups are still several (S4).
    assert lapsed(policy, "ecs-a") == {"off", "adjacent", "after", "after6"}
    assert ingress(policy, "ecs-a", "10.1.0.1", "tcp/9096") == "allow Sg-A/before"
    # Rules of another group are untouched.
    assert ingress(policy, "ecs-a", "10.1.0.1", "tcp/9098") == "allow Sg-B/other"


@pytest.mark.parametrize("flavor", ["s10.large", "c3.large", "kai10.large", "et1.large", "s6.large.2", "m1s.large"])
def test_other_types_apply_everything_s10(flavor: str):
    policy = of_type(flavor, TABLE_4)
    assert lapsed(policy, "ecs-a") == set()
    assert not_in_effect(policy) == ()


def test_ecs_type_warnings_name_each_rule_for_each_ecs_s10():
    assert not_in_effect(of_type("s1.medium", TABLE_4)) == (
        Problem("ecs[ecs-a]", "rule group of Sg-A is not in effect: ECS type S1", code="ecs-type"),
        Problem("ecs[ecs-a]", "rule ports of Sg-A is not in effect: ECS type S1", code="ecs-type"),
    )


def test_a_rule_that_a_type_drops_still_takes_its_place_in_the_quota_s9_s10():
    # [chosen] The quota is a property of the group: "ports" is the third costly rule for every ECS of it.
    policy = of_type("s1.medium", "    limits: {costly_rules: 2}\n" + TABLE_4)
    assert lapsed(policy, "ecs-s6") == {"ports"}
    assert passed_over(side(policy, "ecs-a", "ingress", "10.1.0.1", "tcp/22")) == ["Sg-A/ports: not in effect: quota"]
    assert [problem.message.split(";")[0] for problem in not_in_effect(policy)] == [
        "not in effect: quota",
        "rule group of Sg-A is not in effect: ECS type S1",
    ]


def test_a_kai1_is_stopped_by_a_rule_beyond_the_quota_too_s9_s10():
    # [chosen] The rule is configured, whether or not the quota lets it in.
    policy = of_type("kai1.large", "    limits: {costly_rules: 0}\n" + TABLE_4)
    assert lapsed(policy, "ecs-s6") == {"own", "group", "ports"}
    assert lapsed(policy, "ecs-a") == {"own", "group", "ports", "B"}


def test_a_nic_without_port_security_has_no_rules_to_warn_about_s10_s16():
    policy = parsed(
        """
        version: 1
        vpcs: [{name: vpc-x, subnets: [{name: subnet-a, cidr: 192.168.0.0/24}]}]
        ecs:
          - {name: ecs-a, type: s1.medium, subnet: subnet-a, addresses: [192.168.0.11], security_groups: [Sg-A],
             port_security: false}
        """,
        TABLE_4,
    )
    assert not_in_effect(policy) == ()
