"""Which rule decides: groups and their rules (S1–S5), order (S7), what is compared (S8), empty sets (S19)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from semantics_asking import egress, ingress, parsed, passed_over, side, two_hosts

from enforcer.model import Action, Direction, Policy, parse_traffic
from enforcer.semantics import Oracle, effective, evaluate_side


def test_a_new_group_allows_itself_in_and_everything_out_s1():
    policy = two_hosts("""
        security_groups: [{name: Sg-A}, {name: Sg-B}]
    """)
    # From another group: no.
    assert ingress(policy, "ecs-a", "192.168.0.12", "tcp/22") == "deny (S7)"
    # From itself, in both families: yes.
    assert ingress(policy, "ecs-a", "192.168.0.11", "tcp/22").startswith("allow Sg-A/")
    assert ingress(policy, "ecs-a", "2407:c080:802:469::11", "udp/53").startswith("allow Sg-A/")
    # Out to anywhere, in both families.
    assert egress(policy, "ecs-a", "203.0.113.10", "tcp/443").startswith("allow Sg-A/")
    assert egress(policy, "ecs-a", "2001:db8::1", "gre").startswith("allow Sg-A/")
    assert {one.rule.priority for one in effective(policy, policy.nic_ref("ecs-a"), Direction.EGRESS, 4)} == {100}


def test_a_group_with_no_rule_denies_everything_s1():
    policy = two_hosts("""
        security_groups: [{name: Sg-A, rules: []}, {name: Sg-B, rules: []}]
    """)
    assert ingress(policy, "ecs-a", "192.168.0.11", "tcp/22") == "deny (S7)"
    assert egress(policy, "ecs-a", "192.168.0.12", "tcp/22") == "deny (S7)"


def test_a_nic_that_names_no_group_is_in_default_s2():
    policy = two_hosts("""
        security_groups: [{name: Sg-A}, {name: Sg-B}]
    """)
    ecs = policy.find_ecs("ecs-a")
    nic = ecs.nics[0].model_copy(update={"security_groups": ("default",)})
    policy = policy.model_copy(update={"ecs": (ecs.model_copy(update={"nics": (nic,)}), policy.find_ecs("ecs-b"))})
    assert ingress(policy, "ecs-a", "192.168.0.11", "tcp/22").startswith("allow default/")
    assert ingress(policy, "ecs-a", "192.168.0.12", "tcp/22") == "deny (S7)"


def test_templates_s3():
    policy = two_hosts("""
        security_groups:
          - {name: Sg-A, template: general-purpose-web-server}
          - {name: Sg-B, template: all-ports-open}
    """)
    # A web server: SSH, RDP, HTTP(S) and ping from anywhere over IPv4.
    for traffic in ("tcp/22", "tcp/3389", "tcp/80", "tcp/443", "icmp"):
        assert ingress(policy, "ecs-a", "203.0.113.10", traffic).startswith("allow Sg-A/"), traffic
    # Nothing else, and no IPv6 from strangers; everything from its own group.
    assert ingress(policy, "ecs-a", "203.0.113.10", "tcp/8080") == "deny (S7)"
    assert ingress(policy, "ecs-a", "2001:db8::1", "tcp/22") == "deny (S7)"
    assert ingress(policy, "ecs-a", "192.168.0.11", "tcp/8080").startswith("allow Sg-A/")
    # All ports open: everything from anywhere, both families; out as well.
    assert ingress(policy, "ecs-b", "203.0.113.10", "tcp/8080").startswith("allow Sg-B/")
    assert ingress(policy, "ecs-b", "2001:db8::1", "udp/9").startswith("allow Sg-B/")
    assert egress(policy, "ecs-b", "2001:db8::1", "udp/9").startswith("allow Sg-B/")


def test_a_template_s_rules_come_before_listed_ones_s3():
    policy = two_hosts("""
        security_groups:
          - name: Sg-A
            template: general-purpose-web-server
            rules: [{id: A01, direction: ingress, protocol: tcp, multiport: "22"}]
          - {name: Sg-B}
    """)
    verdict = side(policy, "ecs-a", "ingress", "203.0.113.10", "tcp/22")
    assert verdict.rule is not None
    assert verdict.rule.id.startswith("template-")
    assert passed_over(verdict) == [f"Sg-A/A01: configured after {verdict.rule.id}, which says the same"]


PORTS = """
    security_groups:
      - name: Sg-A
        rules:
          - {id: some, direction: ingress, protocol: tcp, multiport: "22,80-82"}
          - {id: every, direction: ingress, protocol: udp, multiport: "1-65535"}
          - {id: ping, direction: ingress, protocol: icmp, icmp_type: 8, icmp_code: 0}
          - {id: timestamp, direction: ingress, protocol: icmp, icmp_type: 13}
          - {id: gre, direction: ingress, protocol: gre}
          - {id: esp, direction: ingress, protocol: 50}
          - {id: ping6, direction: ingress, ethertype: IPv6, protocol: icmpv6, icmp_type: 128}
      - {name: Sg-B}
"""


@pytest.mark.parametrize(
    ("peer", "traffic", "expected"),
    [
        # Destination ports: single, and both ends of a range.
        ("10.0.0.1", "tcp/22", "allow Sg-A/some"),
        ("10.0.0.1", "tcp/80", "allow Sg-A/some"),
        ("10.0.0.1", "tcp/82", "allow Sg-A/some"),
        ("10.0.0.1", "tcp/83", "deny (S7)"),
        ("10.0.0.1", "tcp/79", "deny (S7)"),
        ("10.0.0.1", "tcp/21", "deny (S7)"),
        # 1-65535 is every port.
        ("10.0.0.1", "udp/1", "allow Sg-A/every"),
        ("10.0.0.1", "udp/65535", "allow Sg-A/every"),
        # ICMP by type and code; a type alone takes every code.
        ("10.0.0.1", "icmp", "allow Sg-A/ping"),
        ("10.0.0.1", "icmp/8/1", "deny (S7)"),
        ("10.0.0.1", "icmp/13/0", "allow Sg-A/timestamp"),
        ("10.0.0.1", "icmp/13/9", "allow Sg-A/timestamp"),
        ("10.0.0.1", "icmp/17/0", "deny (S7)"),
        # Other protocols by number.
        ("10.0.0.1", "gre", "allow Sg-A/gre"),
        ("10.0.0.1", "50", "allow Sg-A/esp"),
        ("10.0.0.1", "51", "deny (S7)"),
        # The ethertype of a rule is the only one that it speaks about.
        ("2001:db8::1", "tcp/22", "deny (S7)"),
        ("2001:db8::1", "icmpv6", "allow Sg-A/ping6"),
    ],
)
def test_protocols_and_ports_s4(peer: str, traffic: str, expected: str):
    assert ingress(two_hosts(PORTS), "ecs-a", peer, traffic) == expected


def test_a_rule_without_a_remote_means_any_address_of_its_ethertype_s4():
    policy = two_hosts("""
        security_groups: [{name: Sg-A, rules: [{id: A01, direction: egress, ethertype: IPv6}]}, {name: Sg-B}]
    """)
    assert egress(policy, "ecs-a", "2001:db8::1", "tcp/1") == "allow Sg-A/A01"
    assert egress(policy, "ecs-a", "10.0.0.1", "tcp/1") == "deny (S7)"


def test_prefixes_and_bare_addresses_s4():
    policy = two_hosts("""
        security_groups:
          - name: Sg-A
            rules:
              - {id: net, direction: ingress, remote_ip_prefix: 172.16.0.0/24}
              - {id: one, direction: ingress, remote_ip_prefix: 10.0.0.1}
              - {id: one6, direction: ingress, ethertype: IPv6, remote_ip_prefix: "2001:db8::1"}
          - {name: Sg-B}
    """)
    assert ingress(policy, "ecs-a", "172.16.0.0", "tcp/1") == "allow Sg-A/net"
    assert ingress(policy, "ecs-a", "172.16.0.255", "tcp/1") == "allow Sg-A/net"
    assert ingress(policy, "ecs-a", "172.16.1.0", "tcp/1") == "deny (S7)"
    assert ingress(policy, "ecs-a", "10.0.0.1", "tcp/1") == "allow Sg-A/one"
    assert ingress(policy, "ecs-a", "10.0.0.2", "tcp/1") == "deny (S7)"
    assert ingress(policy, "ecs-a", "2001:db8::1", "tcp/1") == "allow Sg-A/one6"
    assert ingress(policy, "ecs-a", "2001:db8::2", "tcp/1") == "deny (S7)"


def test_a_disabled_rule_is_as_if_absent_s4():
    policy = two_hosts("""
        security_groups:
          - name: Sg-A
            rules:
              - {id: off, direction: ingress, action: deny, enabled: false}
              - {id: on, direction: ingress, priority: 50}
          - {name: Sg-B}
    """)
    verdict = side(policy, "ecs-a", "ingress", "10.0.0.1", "tcp/22")
    assert (verdict.verdict, verdict.group, verdict.rule) == (Action.ALLOW, "Sg-A", policy.group("Sg-A").rules[1])
    assert passed_over(verdict) == ["Sg-A/off: disabled"]
    assert verdict.runner_up is None


def test_address_groups_hold_addresses_cidrs_and_ranges_s5():
    policy = two_hosts("""
        address_groups:
          - {name: ipGroup-A, entries: [10.1.0.0/16, 10.2.0.5, 192.168.3.20-192.168.3.100]}
          - {name: ipGroup-6, ip_version: 6, entries: ["2001:db8::/64"]}
        security_groups:
          - name: Sg-A
            rules:
              - {id: A01, direction: ingress, remote_address_group: ipGroup-A}
              - {id: A02, direction: ingress, ethertype: IPv6, remote_address_group: ipGroup-6}
          - {name: Sg-B}
    """)
    inside = ("10.1.0.0", "10.1.255.255", "10.2.0.5", "192.168.3.20", "192.168.3.60", "192.168.3.100")
    outside = ("10.0.255.255", "10.2.0.0", "10.2.0.4", "10.2.0.6", "192.168.3.19", "192.168.3.101")
    assert {ingress(policy, "ecs-a", address, "tcp/1") for address in inside} == {"allow Sg-A/A01"}
    assert {ingress(policy, "ecs-a", address, "tcp/1") for address in outside} == {"deny (S7)"}
    assert ingress(policy, "ecs-a", "2001:db8::ffff", "tcp/1") == "allow Sg-A/A02"
    assert ingress(policy, "ecs-a", "2001:db8:0:1::", "tcp/1") == "deny (S7)"


IN_TWO_GROUPS = """
    version: 1
    vpcs: [{name: vpc-x, subnets: [{name: subnet-a, cidr: 192.168.0.0/24}]}]
    ecs: [{name: ecs-a, subnet: subnet-a, addresses: [192.168.0.11], security_groups: [%s]}]
    security_groups:
      - name: Sg-A
        rules:
          - {id: late, direction: ingress, priority: 100, protocol: tcp, multiport: "22"}
          - {id: web, direction: ingress, priority: 2, protocol: tcp, multiport: "80"}
          - {id: noweb, direction: ingress, priority: 2, action: deny, protocol: tcp, multiport: "80"}
          - {id: web-again, direction: ingress, priority: 2, protocol: tcp, multiport: "80"}
      - name: Sg-B
        rules:
          - {id: nothing, direction: ingress, priority: 1, action: deny}
          - {id: dns, direction: ingress, priority: 2, protocol: udp, multiport: "53"}
"""


def in_two_groups(groups: str) -> Policy:
    return parsed(IN_TWO_GROUPS % groups)


def test_the_order_of_groups_comes_before_priority_s7():
    # Priority 100 of the first group is looked at before priority 1 of the second …
    assert ingress(in_two_groups("Sg-A, Sg-B"), "ecs-a", "10.0.0.1", "tcp/22") == "allow Sg-A/late"
    # … and with the groups the other way round, the deny comes first.
    assert ingress(in_two_groups("Sg-B, Sg-A"), "ecs-a", "10.0.0.1", "tcp/22") == "deny Sg-B/nothing"


def test_no_match_falls_through_to_the_next_group_s7():
    assert ingress(in_two_groups("Sg-A, Sg-B"), "ecs-a", "10.0.0.1", "tcp/443") == "deny Sg-B/nothing"
    assert ingress(in_two_groups("Sg-A"), "ecs-a", "10.0.0.1", "tcp/443") == "deny (S7)"


def test_priority_then_deny_before_allow_s7():
    # Within Sg-B, priority 1 is before 2.
    assert ingress(in_two_groups("Sg-B"), "ecs-a", "10.0.0.1", "udp/53") == "deny Sg-B/nothing"
    # At equal priority, deny is before an allow that was configured earlier.
    assert ingress(in_two_groups("Sg-A"), "ecs-a", "10.0.0.1", "tcp/80") == "deny Sg-A/noweb"


def test_rules_in_effect_are_listed_in_the_order_of_s7():
    policy = in_two_groups("Sg-B, Sg-A")
    listed = effective(policy, policy.nic_ref("ecs-a"), Direction.INGRESS, 4)
    assert [(one.position, one.group, one.rule.id) for one in listed] == [
        (0, "Sg-B", "nothing"),
        (0, "Sg-B", "dns"),
        (1, "Sg-A", "noweb"),
        (1, "Sg-A", "web"),
        (1, "Sg-A", "web-again"),
        (1, "Sg-A", "late"),
    ]
    assert effective(policy, policy.nic_ref("ecs-a"), Direction.EGRESS, 4) == ()
    assert effective(policy, policy.nic_ref("ecs-a"), Direction.INGRESS, 6) == ()


def test_every_direction_denies_by_default_s7():
    policy = in_two_groups("Sg-A")
    assert egress(policy, "ecs-a", "10.0.0.1", "tcp/22") == "deny (S7)"
    verdict = side(policy, "ecs-a", "egress", "10.0.0.1", "tcp/22")
    assert verdict.reason == "no rule of Sg-A matches: denied by default (S7)"
    assert (verdict.group, verdict.rule, verdict.runner_up, verdict.passed_over) == (None, None, None, ())


def test_a_verdict_says_why_other_rules_did_not_decide_s7():
    verdict = side(in_two_groups("Sg-A, Sg-B"), "ecs-a", "ingress", "10.0.0.1", "tcp/80")
    assert verdict.reason == "rule noweb of Sg-A denies tcp 80 from anywhere"
    assert passed_over(verdict) == [
        "Sg-A/web: deny is asked before allow at priority 2",
        "Sg-A/web-again: deny is asked before allow at priority 2",
        "Sg-B/nothing: later group: Sg-B is asked after Sg-A",
    ]
    # Without the deny, the allow that was configured first would be named.
    assert verdict.runner_up is not None
    assert (verdict.runner_up.group, verdict.runner_up.rule.id) == ("Sg-A", "web")


def test_a_verdict_names_the_lower_priority_s7():
    policy = in_two_groups("Sg-B")
    verdict = side(policy, "ecs-a", "ingress", "10.0.0.1", "udp/53")
    assert passed_over(verdict) == ["Sg-B/dns: lower priority: 2 is asked after 1"]


def test_reasons_read_like_a_colleague():
    policy = two_hosts("""
        address_groups: [{name: ipGroup-A, entries: [10.1.0.0/16]}]
        security_groups:
          - name: Sg-A
            rules:
              - {id: A01, direction: ingress, protocol: tcp, multiport: "22", remote_ip_prefix: 172.16.0.0/24}
              - {id: A02, direction: ingress, remote_group: Sg-B}
              - {id: A03, direction: ingress, action: deny, protocol: udp, multiport: "22,25-27",
                 remote_address_group: ipGroup-A}
              - {id: A04, direction: egress, protocol: icmp, icmp_type: 8, remote_ip_prefix: 10.0.0.1}
          - {name: Sg-B}
    """)
    reason = side(policy, "ecs-a", "ingress", "172.16.0.1", "tcp/22").reason
    assert reason == "rule A01 of Sg-A allows tcp 22 from 172.16.0.0/24"
    reason = side(policy, "ecs-a", "ingress", "192.168.0.12", "gre").reason
    assert reason == "rule A02 of Sg-A allows all IPv4 from group Sg-B"
    reason = side(policy, "ecs-a", "ingress", "10.1.2.3", "udp/26").reason
    assert reason == "rule A03 of Sg-A denies udp 22,25-27 from address group ipGroup-A"
    reason = side(policy, "ecs-a", "egress", "10.0.0.1", "icmp").reason
    assert reason == "rule A04 of Sg-A allows icmp 8 to 10.0.0.1"


GROUPS_AS_REMOTE = """
    version: 1
    vpcs:
      - {name: vpc-x, subnets: [{name: subnet-a, cidr: 192.168.0.0/24}]}
      - {name: vpc-y, subnets: [{name: subnet-b, cidr: 10.0.0.0/24}]}
      - {name: vpc-z, subnets: [{name: subnet-c, cidr: 10.0.0.0/23}]}
    peerings: [{name: xy, vpcs: [vpc-x, vpc-y]}]
    ecs:
      - {name: ecs-a, subnet: subnet-a, addresses: [192.168.0.11], security_groups: [Sg-A]}
      - {name: ecs-b1, subnet: subnet-a, addresses: [192.168.0.12], allowed_addresses: [192.168.0.21],
         security_groups: [default, Sg-B]}
      - {name: ecs-b2, subnet: subnet-b, addresses: [10.0.0.12], security_groups: [Sg-B]}
      - {name: ecs-b3, subnet: subnet-c, addresses: [10.0.0.13], security_groups: [Sg-B]}
      - {name: ecs-z, subnet: subnet-c, addresses: [10.0.1.14], security_groups: [Sg-A]}
      - name: ecs-two
        nics:
          - {name: eth0, subnet: subnet-a, addresses: [192.168.0.14], security_groups: [Sg-A]}
          - {name: eth1, subnet: subnet-a, addresses: [192.168.0.15], security_groups: [Sg-B]}
    eips: [{address: 198.51.100.10, ecs: ecs-b1}]
    security_groups:
      - {name: Sg-A, rules: [{id: A01, direction: ingress, remote_group: Sg-B}]}
      - {name: Sg-B, rules: [{id: B01, direction: ingress, remote_group: Sg-B}]}
"""


@pytest.mark.parametrize(
    ("nic", "peer", "expected"),
    [
        # A private address of a member, whichever of its groups it is; also across a peering.
        ("ecs-a", "192.168.0.12", "allow Sg-A/A01"),
        ("ecs-a", "10.0.0.12", "allow Sg-A/A01"),
        # Membership is per NIC: ecs-two is in Sg-B with eth1 only (S6).
        ("ecs-a", "192.168.0.15", "allow Sg-A/A01"),
        ("ecs-a", "192.168.0.14", "deny (S7)"),
        # A virtual IP and an EIP are no private addresses (S6, S8).
        ("ecs-a", "192.168.0.21", "deny (S7)"),
        ("ecs-a", "198.51.100.10", "deny (S7)"),
        # vpc-z is not peered with vpc-x: its members' numbers mean nothing there, and the reverse (S18).
        ("ecs-a", "10.0.0.13", "deny (S7)"),
        ("ecs-z", "10.0.0.13", "allow Sg-A/A01"),
        ("ecs-z", "10.0.0.12", "deny (S7)"),
        ("ecs-z", "192.168.0.12", "deny (S7)"),
        # The group may be the rule's own.
        ("ecs-b1", "10.0.0.12", "allow Sg-B/B01"),
        ("ecs-b1", "192.168.0.11", "deny (S7)"),
    ],
)
def test_remote_groups_match_private_addresses_of_members_s8(nic: str, peer: str, expected: str):
    assert ingress(parsed(GROUPS_AS_REMOTE), nic, peer, "tcp/22") == expected


def test_the_peer_is_the_destination_for_egress_s8():
    policy = two_hosts("""
        security_groups:
          - {name: Sg-A, rules: [{id: A01, direction: egress, remote_group: Sg-B}]}
          - {name: Sg-B, rules: []}
    """)
    assert egress(policy, "ecs-a", "192.168.0.12", "tcp/22") == "allow Sg-A/A01"
    assert egress(policy, "ecs-a", "192.168.0.11", "tcp/22") == "deny (S7)"


def test_an_empty_group_matches_nothing_s19():
    policy = two_hosts("""
        address_groups: [{name: ipGroup-0, entries: []}]
        security_groups:
          - name: Sg-A
            rules:
              - {id: A01, direction: ingress, remote_group: Sg-C}
              - {id: A02, direction: ingress, remote_address_group: ipGroup-0}
              - {id: A03, direction: ingress, ethertype: IPv6, remote_group: Sg-C}
          - {name: Sg-B}
          - {name: Sg-C}
    """)
    assert ingress(policy, "ecs-a", "192.168.0.12", "tcp/22") == "deny (S7)"
    assert ingress(policy, "ecs-a", "2407:c080:802:469::12", "tcp/22") == "deny (S7)"


def test_a_reason_names_the_rule_that_would_have_helped():
    policy = two_hosts("""
        security_groups:
          - {name: Sg-A, rules: [{id: A01, direction: ingress, protocol: tcp, multiport: "22", enabled: false}]}
          - {name: Sg-B}
    """)
    verdict = side(policy, "ecs-a", "ingress", "10.0.0.1", "tcp/22")
    assert verdict.reason == (
        "no rule in effect of Sg-A matches: denied by default (S7); "
        "rule A01 of Sg-A allows tcp 22 from anywhere but is disabled"
    )
    assert passed_over(verdict) == ["Sg-A/A01: disabled"]


def test_an_oracle_gives_the_same_answers_as_the_policy():
    policy = parsed(GROUPS_AS_REMOTE)
    oracle = Oracle(policy)
    for ref in policy.nics():
        for peer in ("192.168.0.12", "10.0.0.12", "10.0.0.13", "192.168.0.21"):
            asked = (ref, Direction.INGRESS, ip_address(peer), parse_traffic("tcp/22"))
            assert evaluate_side(oracle, *asked) == evaluate_side(policy, *asked)
