"""Both ends and the way between them: load balancers (S12), reach (S18), families, and the matrix."""

from __future__ import annotations

import pytest
from semantics_asking import answer, explain, parsed, passes

from enforcer.model import Policy, parse_traffic
from enforcer.semantics import matrix


def balanced(transfer: bool = False, backend_group: str = "Sg-Deny", client_group: str = "default") -> Policy:
    return parsed(f"""
        version: 1
        vpcs:
          - {{name: vpc-x, subnets: [{{name: subnet-a, cidr: 192.168.0.0/24, ipv6_cidr: "2001:db8:1::/64"}}]}}
          - {{name: vpc-far, subnets: [{{name: subnet-far, cidr: 10.9.0.0/24}}]}}
        ecs:
          - {{name: client, subnet: subnet-a, addresses: [192.168.0.5, "2001:db8:1::5"],
             security_groups: [{client_group}]}}
          - {{name: back-1, subnet: subnet-a, addresses: [192.168.0.11, "2001:db8:1::11"],
             security_groups: [Sg-Open]}}
          - {{name: back-2, subnet: subnet-a, addresses: [192.168.0.12, "2001:db8:1::12"],
             security_groups: [{backend_group}]}}
          - {{name: far, subnet: subnet-far, addresses: [10.9.0.1]}}
        load_balancers:
          - name: elb-1
            subnet: subnet-a
            address: 192.168.0.100
            listeners:
              - {{protocol: tcp, port: 80, transfer_client_ip: {str(transfer).lower()},
                 backends: [{{ecs: back-1, port: 8080}}, {{ecs: back-2, port: 8080}}]}}
              - {{protocol: udp, port: 53, backends: []}}
          - name: elb-6
            subnet: subnet-a
            address: "2001:db8:1::100"
            listeners: [{{protocol: tcp, port: 80, backends: [{{ecs: back-1, port: 8080}}]}}]
        security_groups:
          - {{name: Sg-Deny, rules: [{{id: no, direction: ingress, action: deny}}]}}
          - {{name: Sg-Shut, rules: []}}
          - name: Sg-Open
            rules:
              - {{id: lb, direction: ingress, protocol: tcp, multiport: 8080, remote_ip_prefix: 100.125.0.0/16}}
              - {{id: lb6, direction: ingress, ethertype: IPv6, protocol: tcp, multiport: 8080,
                 remote_ip_prefix: "2001:db8:1::100"}}
          - name: Sg-Client-Only
            rules: [{{id: c, direction: ingress, remote_ip_prefix: 192.168.0.0/24}}]
          - name: Sg-To-Backends
            rules: [{{id: t, direction: egress, remote_ip_prefix: 192.168.0.8/29}}]
    """)


def test_transfer_client_ip_passes_whatever_the_backends_say_s12():
    explanation = explain(balanced(transfer=True), "client", "elb-1", "tcp/80")
    assert explanation.allowed
    assert [(one.ecs, one.port, answer(one.side)) for one in explanation.backends] == [
        ("back-1", 8080, "allow (S12)"),
        ("back-2", 8080, "allow (S12)"),
    ]


def test_otherwise_the_balancer_needs_a_rule_like_anyone_s12():
    denied = explain(balanced(backend_group="Sg-Deny"), "client", "elb-1", "tcp/80")
    assert not denied.allowed
    assert [answer(one.side) for one in denied.backends] == ["allow Sg-Open/lb", "deny Sg-Deny/no"]
    # The side that is shown is the one that denies.
    assert answer(denied.ingress) == "deny Sg-Deny/no"
    allowed = explain(balanced(backend_group="Sg-Open"), "client", "elb-1", "tcp/80")
    assert allowed.allowed
    assert answer(allowed.ingress) == "allow Sg-Open/lb"


def test_the_client_s_address_is_not_what_a_backend_sees_s12():
    assert not passes(balanced(backend_group="Sg-Client-Only"), "client", "elb-1", "tcp/80")


def test_directly_the_backend_is_always_filtered_s12():
    policy = balanced(transfer=True)
    assert passes(policy, "client", "elb-1", "tcp/80")
    assert not passes(policy, "client", "back-2", "tcp/8080")
    assert not passes(policy, "client", "back-1", "tcp/8080")


def test_the_client_s_own_side_is_judged_towards_the_balancer_s12():
    policy = balanced(transfer=True, client_group="Sg-To-Backends")
    explanation = explain(policy, "client", "elb-1", "tcp/80")
    assert (explanation.allowed, answer(explanation.egress)) == (False, "deny (S7)")
    assert not passes(balanced(transfer=True, client_group="Sg-Shut"), "client", "elb-1", "tcp/80")


def test_the_balancer_s_address_is_as_good_as_its_name_s12():
    assert passes(balanced(transfer=True), "client", "192.168.0.100", "tcp/80")


def test_an_ipv6_balancer_speaks_from_its_own_address_s12():
    explanation = explain(balanced(), "client", "elb-6", "tcp/80")
    assert (explanation.allowed, explanation.family, answer(explanation.ingress)) == (True, 6, "allow Sg-Open/lb6")


@pytest.mark.parametrize(
    ("balancer", "traffic", "reason"),
    [
        ("elb-1", "tcp/81", "elb-1 does not listen on tcp 81; it listens on tcp 80, udp 53"),
        ("elb-1", "udp/80", "elb-1 does not listen on udp 80; it listens on tcp 80, udp 53"),
        ("elb-1", "icmp", "elb-1 does not listen on icmp 8/0; it listens on tcp 80, udp 53"),
        ("elb-1", "udp/53", "elb-1 has no backend behind udp 53"),
    ],
)
def test_where_a_balancer_does_not_listen_there_is_no_way_s12(balancer: str, traffic: str, reason: str):
    explanation = explain(balanced(transfer=True), "client", balancer, traffic)
    assert (explanation.allowed, explanation.route.exists, explanation.ingress) == (False, False, None)
    assert explanation.reason == reason


def test_a_balancer_in_another_vpc_is_out_of_reach_s12_s18():
    explanation = explain(balanced(transfer=True), "far", "elb-1", "tcp/80")
    assert (explanation.allowed, explanation.route.exists) == (False, False)
    assert explanation.egress is not None


OVERLAPPING = """
    version: 1
    vpcs:
      - {name: vpc-1, subnets: [{name: sub-1, cidr: 10.0.0.0/24}]}
      - {name: vpc-2, subnets: [{name: sub-2, cidr: 10.0.0.0/24}]}
    ecs:
      - {name: a1, subnet: sub-1, addresses: [10.0.0.11], security_groups: [Sg-A]}
      - {name: b1, subnet: sub-1, addresses: [10.0.0.12], security_groups: [Sg-B]}
      - {name: b2, subnet: sub-2, addresses: [10.0.0.13], security_groups: [Sg-B]}
      - {name: c1, subnet: sub-1, addresses: [10.0.0.13], security_groups: [Sg-C]}
    security_groups:
      - {name: Sg-A, rules: [{id: A01, direction: ingress, remote_group: Sg-B}]}
      - {name: Sg-B, rules: [{id: B01, direction: egress}, {id: B02, direction: ingress}]}
      - {name: Sg-C, rules: [{id: C01, direction: egress}]}
"""


def test_overlapping_ranges_in_unpeered_vpcs_never_leak_s18():
    policy = parsed(OVERLAPPING)
    assert passes(policy, "b1", "a1", "tcp/22")
    # c1 has the number that b2, a member of Sg-B, has in another VPC: that makes it no member.
    assert not passes(policy, "c1", "a1", "tcp/22")
    assert not explain(policy, "b2", "a1", "tcp/22").route.exists


BY_EIP = """
    version: 1
    vpcs:
      - {name: vpc-1, subnets: [{name: sub-1, cidr: 10.0.0.0/24}]}
      - {name: vpc-2, subnets: [{name: sub-2, cidr: 10.0.0.0/24}]}
    ecs:
      - {name: one, subnet: sub-1, addresses: [10.0.0.11], security_groups: [Sg-1]}
      - {name: two, subnet: sub-2, addresses: [10.0.0.12], security_groups: [Sg-2]}
    eips: [{address: 198.51.100.1, ecs: one}, {address: 198.51.100.2, ecs: two}]
    security_groups:
      - name: Sg-1
        rules:
          - {id: eip, direction: egress, remote_ip_prefix: 198.51.100.2}
          - {id: private, direction: egress, action: deny, remote_ip_prefix: 10.0.0.12}
      - name: Sg-2
        rules:
          - {id: eip, direction: ingress, remote_ip_prefix: 198.51.100.1}
          - {id: private, direction: ingress, action: deny, remote_ip_prefix: 10.0.0.11}
          - {id: member, direction: ingress, action: deny, remote_group: Sg-1}
"""


def test_over_the_internet_each_side_sees_the_other_s_eip_s8():
    explanation = explain(parsed(BY_EIP), "one", "198.51.100.2", "tcp/22")
    assert (answer(explanation.egress), answer(explanation.ingress)) == ("allow Sg-1/eip", "allow Sg-2/eip")
    assert explanation.allowed
    # By name, the private address is meant, and to that there is no way (S18).
    by_name = explain(parsed(BY_EIP), "one", "two", "tcp/22")
    assert (by_name.allowed, by_name.route.exists) == (False, False)
    assert (answer(by_name.egress), answer(by_name.ingress)) == ("deny Sg-1/private", "deny Sg-2/private")


FORWARDED = """
    version: 1
    vpcs:
      - {name: vpc-1, subnets: [{name: sub-1, cidr: 10.1.0.0/24}],
         routes: [{destination: 0.0.0.0/0, next_hop: nat}, {destination: 10.2.0.0/16, next_hop: "gw:eth0"}]}
      - {name: vpc-2, subnets: [{name: sub-2, cidr: 10.2.0.0/24}],
         routes: [{destination: 10.1.0.0/16, next_hop: "gw:eth1"}]}
    ecs:
      - {name: one, subnet: sub-1, addresses: [10.1.0.11], security_groups: [Sg-Out]}
      - {name: two, subnet: sub-2, addresses: [10.2.0.11], security_groups: [Sg-Two]}
      - name: gw
        nics:
          - {name: eth0, subnet: sub-1, addresses: [10.1.0.2], source_dest_check: %s, security_groups: [Sg-In]}
          - {name: eth1, subnet: sub-2, addresses: [10.2.0.2], source_dest_check: %s, security_groups: [Sg-Out]}
      - {name: nat, subnet: sub-1, addresses: [10.1.0.3], source_dest_check: false, security_groups: [Sg-In, Sg-Out]}
    external_hosts: [{name: my-pc, addresses: [203.0.113.10]}]
    eips: [{address: 198.51.100.1, ecs: nat}]
    security_groups:
      - {name: Sg-In, rules: [{id: in, direction: ingress, remote_group: Sg-Out, protocol: tcp}]}
      - {name: Sg-Out, rules: [{id: out, direction: egress}]}
      - name: Sg-Two
        rules: [{id: net, direction: ingress, remote_ip_prefix: 10.1.0.11}, {id: out, direction: egress}]
"""


def test_an_instance_on_the_way_is_filtered_as_well_s8():
    policy = parsed(FORWARDED % ("false", "false"))
    forwarded = explain(policy, "one", "two", "tcp/22")
    assert [(one.nic, one.direction, answer(one.side)) for one in forwarded.forwarders] == [
        ("gw:eth0", "ingress", "allow Sg-In/in"),
        ("gw:eth1", "egress", "allow Sg-Out/out"),
    ]
    # The far end sees the first sender.
    assert (forwarded.allowed, answer(forwarded.ingress)) == (True, "allow Sg-Two/net")
    # What the instance does not let in, it does not pass on.
    ping = explain(policy, "one", "two", "icmp")
    assert (ping.allowed, answer(ping.egress), answer(ping.ingress)) == (False, "allow Sg-Out/out", "allow Sg-Two/net")
    assert ping.reason == "on the way, ingress of gw:eth0: no rule of Sg-In matches: denied by default (S7)"


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        (("true", "false"), ["deny (S16)", "allow Sg-Out/out"]),
        (("false", "true"), ["allow Sg-In/in", "deny (S16)"]),
    ],
)
def test_a_forwarder_needs_source_dest_check_off_on_both_nics_s16(checks: tuple[str, str], expected: list[str]):
    checked = explain(parsed(FORWARDED % checks), "one", "two", "tcp/22")
    assert [answer(one.side) for one in checked.forwarders] == expected
    assert not checked.allowed


def test_a_nat_instance_is_filtered_on_the_way_to_the_internet_s8():
    policy = parsed(FORWARDED % ("false", "false"))
    web = explain(policy, "one", "my-pc", "tcp/443")
    assert [(one.nic, answer(one.side)) for one in web.forwarders] == [
        ("nat", "allow Sg-In/in"),
        ("nat", "allow Sg-Out/out"),
    ]
    assert web.allowed
    assert not passes(policy, "one", "my-pc", "udp/53")
    # The NAT instance and the gateway themselves, and neighbours in one VPC, need nobody in between …
    assert explain(policy, "nat", "my-pc", "udp/53").forwarders == ()
    assert explain(policy, "gw", "two", "tcp/22").forwarders == ()
    assert explain(policy, "one", "nat", "tcp/22").forwarders == ()
    # … and neither does an ECS with an EIP of its own, or a way over a peering.
    own_eip = FORWARDED.replace("ecs: nat}]", "ecs: nat}, {address: 198.51.100.2, ecs: one}]") % ("false", "false")
    assert explain(parsed(own_eip), "one", "my-pc", "udp/53").forwarders == ()
    peered = parsed(FORWARDED % ("false", "false"), "    peerings: [{name: p, vpcs: [vpc-1, vpc-2]}]")
    assert explain(peered, "one", "two", "icmp").allowed


def test_over_ipv6_hosts_outside_are_reached_directly_beside_a_default_route():
    """Each of several: the forwarder is for what lies behind it, and would deny."""
    policy = parsed("""
        version: 1
        vpcs:
          - name: vpc-1
            subnets: [{name: sub-1, cidr: 10.1.0.0/24, ipv6_cidr: "2001:db8:1::/64"}]
            routes: [{destination: "::/0", next_hop: gw}]
        ecs:
          - {name: one, subnet: sub-1, addresses: ["2001:db8:1::11"], security_groups: [Out]}
          - {name: gw, subnet: sub-1, addresses: ["2001:db8:1::2"], source_dest_check: false, security_groups: [Shut]}
        external_hosts:
          - {name: my-pc, addresses: ["2001:db8:ffff::10"]}
          - {name: other-pc, addresses: ["2001:db8:ffff::20"]}
        security_groups:
          - {name: Out, rules: [{id: out, direction: egress, ethertype: IPv6}]}
          - {name: Shut, rules: []}
    """)
    for host in ("my-pc", "other-pc"):
        asked = explain(policy, "one", host, "tcp/443")
        assert (asked.allowed, asked.forwarders) == (True, ())
    behind = explain(policy, "one", "2001:db8:9::1", "tcp/443")
    assert [one.nic for one in behind.forwarders] == ["gw", "gw"]
    assert not behind.allowed


FAMILIES = """
    version: 1
    vpcs: [{name: vpc-x, subnets: [{name: subnet-a, cidr: 192.168.0.0/24, ipv6_cidr: "2001:db8:1::/64"}]}]
    ecs:
      - {name: dual-1, subnet: subnet-a, addresses: ["2001:db8:1::11", 192.168.0.11], security_groups: [Sg-A]}
      - {name: dual-2, subnet: subnet-a, addresses: [192.168.0.12, "2001:db8:1::12"], security_groups: [Sg-A]}
      - {name: four, subnet: subnet-a, addresses: [192.168.0.13], security_groups: [Sg-A]}
      - {name: six, subnet: subnet-a, addresses: ["2001:db8:1::14"], security_groups: [Sg-A]}
    security_groups:
      - name: Sg-A
        rules:
          - {id: in4, direction: ingress}
          - {id: out4, direction: egress}
          - {id: out6, direction: egress, ethertype: IPv6}
"""


@pytest.mark.parametrize(
    ("src", "dst", "traffic", "family", "allowed"),
    [
        # IPv4 if both have it, else IPv6 – where no rule lets anything in.
        ("dual-1", "dual-2", "tcp/22", 4, True),
        ("dual-1", "six", "tcp/22", 6, False),
        # The protocol may decide, and so does a literal address.
        ("dual-1", "dual-2", "icmp", 4, True),
        ("dual-1", "dual-2", "icmpv6", 6, False),
        ("dual-1", "192.168.0.12", "tcp/22", 4, True),
        ("dual-1", "2001:db8:1::12", "tcp/22", 6, False),
        # No family in common: no way.
        ("four", "six", "tcp/22", 6, False),
        ("six", "dual-2", "icmp", 4, False),
    ],
)
def test_the_family_of_a_conversation_s4(src: str, dst: str, traffic: str, family: int, allowed: bool):
    explanation = explain(parsed(FAMILIES), src, dst, traffic)
    assert (explanation.family, explanation.allowed) == (family, allowed)


def test_without_a_common_family_both_sides_say_what_is_missing():
    explanation = explain(parsed(FAMILIES), "four", "six", "tcp/22")
    assert not explanation.route.exists
    assert answer(explanation.ingress) == "deny four has no IPv6 address: there is no such packet"


def test_an_allowed_conversation_names_both_rules():
    explanation = explain(parsed(FAMILIES), "dual-1", "dual-2", "tcp/22")
    assert explanation.reason == (
        "rule out4 of Sg-A allows all IPv4 to anywhere; rule in4 of Sg-A allows all IPv4 from anywhere"
    )


def test_the_matrix_asks_every_pair_in_file_order():
    policy = parsed(
        FAMILIES,
        "    external_hosts: [{name: my-pc, addresses: [203.0.113.10]}]",
        "    eips: [{address: 198.51.100.10, ecs: dual-2}]",
    )
    cells = matrix(policy, [parse_traffic("tcp/22"), parse_traffic("icmp")])
    hosts = ["dual-1", "dual-2", "four", "six", "my-pc"]
    pairs = [(src, dst) for src in hosts for dst in hosts if src != dst]
    assert [(cell.src, cell.dst) for cell in cells[::2]] == pairs
    assert [(cell.src, cell.dst) for cell in cells[1::2]] == pairs
    assert {cell.traffic for cell in cells[::2]} == {parse_traffic("tcp/22")}
    verdicts = {(cell.src, cell.dst, cell.traffic.protocol): cell.verdict.value for cell in cells}
    assert verdicts["dual-1", "four", 6] == "allow"
    assert verdicts["six", "dual-1", 6] == "deny"
    # From outside, only the host with an EIP can be reached.
    assert verdicts["my-pc", "dual-2", 1] == "allow"
    assert verdicts["my-pc", "four", 1] == "deny"
    # Every cell says what explain says.
    assert all(
        cell.verdict == explain(policy, cell.src, cell.dst, "tcp/22" if cell.traffic.port else "icmp").verdict
        for cell in cells
    )
