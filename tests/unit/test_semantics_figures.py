"""The source document's Figures 1–4: what its text says, asked of the oracle (S8, S18)."""

from __future__ import annotations

from semantics_asking import answer, explain, parsed, passes

FIGURE_1 = """
    version: 1
    vpcs: [{name: VPC-A, subnets: [{name: Subnet-A, cidr: 10.0.0.0/24}]}]
    ecs: [{name: ECS-A, subnet: Subnet-A, addresses: [10.0.0.11], security_groups: [Sg-A]}]
    external_hosts: [{name: my-pc, addresses: [203.0.113.10]}]
    eips: [{address: 198.51.100.10, ecs: ECS-A}]
    security_groups:
      - name: Sg-A
        rules:
          - {id: A01, direction: ingress, protocol: icmp, remote_ip_prefix: 0.0.0.0/0}
          - {id: A02, direction: egress}
"""


def test_figure_1_ping_but_no_ssh_from_your_pc():
    policy = parsed(FIGURE_1)
    ping = explain(policy, "my-pc", "ECS-A", "icmp")
    assert (ping.allowed, ping.egress, answer(ping.ingress)) == (True, None, "allow Sg-A/A01")
    ssh = explain(policy, "my-pc", "ECS-A", "tcp/22")
    assert (ssh.allowed, ssh.route.exists, answer(ssh.ingress)) == (False, True, "deny (S7)")
    # The same by the EIP's own address.
    assert passes(policy, "my-pc", "198.51.100.10", "icmp")
    assert not passes(policy, "my-pc", "198.51.100.10", "tcp/22")


def test_figure_1_the_internet_by_the_eip():
    policy = parsed(FIGURE_1)
    web = explain(policy, "ECS-A", "my-pc", "tcp/443")
    assert (web.allowed, answer(web.egress), web.ingress) == (True, "allow Sg-A/A02", None)
    # The host outside sees the EIP.
    assert str(web.route.source) == "198.51.100.10"


def test_figure_1_without_an_eip_there_is_no_way_and_the_groups_still_speak():
    policy = parsed(FIGURE_1.replace("eips:", "eips: []\n    #"))
    web = explain(policy, "ECS-A", "my-pc", "tcp/443")
    assert (web.allowed, web.route.exists, answer(web.egress)) == (False, False, "allow Sg-A/A02")
    assert web.reason == web.route.reason
    ping = explain(policy, "my-pc", "ECS-A", "icmp")
    assert (ping.allowed, ping.route.exists, answer(ping.ingress)) == (False, False, "allow Sg-A/A01")


SAME_GROUP_TWO_VPCS = """
    version: 1
    vpcs:
      - {name: VPC-A, subnets: [{name: Subnet-A, cidr: 10.0.0.0/24}]}
      - {name: VPC-B, subnets: [{name: Subnet-B, cidr: 10.1.0.0/24}]}
    ecs:
      - {name: ECS-A, subnet: Subnet-A, addresses: [10.0.0.11]}
      - {name: ECS-B, subnet: Subnet-B, addresses: [10.1.0.11]}
"""


def test_figure_1_one_group_in_two_vpcs_needs_a_peering_s18():
    apart = explain(parsed(SAME_GROUP_TWO_VPCS), "ECS-A", "ECS-B", "tcp/22")
    assert (apart.allowed, apart.route.exists) == (False, False)
    together = parsed(SAME_GROUP_TWO_VPCS, "    peerings: [{name: peering-AB, vpcs: [VPC-A, VPC-B]}]")
    assert passes(together, "ECS-A", "ECS-B", "tcp/22")


FIGURE_2 = """
    version: 1
    vpcs:
      - name: VPC-X
        subnets: [{name: Subnet-A, cidr: 192.168.0.0/24}, {name: Subnet-B, cidr: 192.168.1.0/24}]
      - {name: VPC-Y, subnets: [{name: Subnet-Y, cidr: 172.16.0.0/24}, {name: Subnet-Z, cidr: 172.16.1.0/24}]}
    peerings: [{name: peering-XY, vpcs: [VPC-X, VPC-Y]}]
    ecs:
      - {name: ECS-A01, subnet: Subnet-A, addresses: [192.168.0.11], security_groups: [Sg-A]}
      - {name: ECS-A02, subnet: Subnet-A, addresses: [192.168.0.12], security_groups: [Sg-A]}
      - {name: ECS-B01, subnet: Subnet-B, addresses: [192.168.1.11], security_groups: [Sg-B]}
      - {name: ECS-B02, subnet: Subnet-B, addresses: [192.168.1.12], security_groups: [Sg-B]}
      - {name: admin, subnet: Subnet-Y, addresses: [172.16.0.5]}
      - {name: stranger, subnet: Subnet-Z, addresses: [172.16.1.5]}
    security_groups:
      - name: Sg-A
        rules:
          - {id: A01, direction: ingress, protocol: tcp, multiport: 22, remote_ip_prefix: 172.16.0.0/24}
          - {id: A02, direction: ingress, remote_group: Sg-A}
          - {id: A03, direction: egress}
      - name: Sg-B
        rules:
          - {id: B01, direction: ingress, protocol: tcp, multiport: 22, remote_group: Sg-A}
          - {id: B02, direction: ingress, remote_group: Sg-B}
          - {id: B03, direction: egress}
"""


def decided(policy, src: str, dst: str, traffic: str) -> tuple[str, str]:
    explanation = explain(policy, src, dst, traffic)
    return answer(explanation.egress), answer(explanation.ingress)


def test_figure_2_rule_a01_lets_172_16_0_0_log_in():
    policy = parsed(FIGURE_2)
    assert decided(policy, "admin", "ECS-A01", "tcp/22")[1] == "allow Sg-A/A01"
    # SSH only, from that network only, and to Sg-A only.
    assert decided(policy, "admin", "ECS-A01", "tcp/23")[1] == "deny (S7)"
    assert decided(policy, "stranger", "ECS-A01", "tcp/22")[1] == "deny (S7)"
    assert decided(policy, "admin", "ECS-B01", "tcp/22")[1] == "deny (S7)"


def test_figure_2_rules_a02_and_b02_let_each_subnet_speak_with_itself():
    policy = parsed(FIGURE_2)
    for traffic in ("tcp/3306", "udp/53", "icmp", "gre"):
        assert decided(policy, "ECS-A01", "ECS-A02", traffic) == ("allow Sg-A/A03", "allow Sg-A/A02")
        assert decided(policy, "ECS-B02", "ECS-B01", traffic) == ("allow Sg-B/B03", "allow Sg-B/B02")


def test_figure_2_rule_b01_lets_subnet_a_log_in_to_subnet_b_and_not_the_reverse():
    policy = parsed(FIGURE_2)
    assert decided(policy, "ECS-A01", "ECS-B01", "tcp/22") == ("allow Sg-A/A03", "allow Sg-B/B01")
    assert decided(policy, "ECS-A01", "ECS-B01", "tcp/3306") == ("allow Sg-A/A03", "deny (S7)")
    assert decided(policy, "ECS-B01", "ECS-A01", "tcp/22") == ("allow Sg-B/B03", "deny (S7)")


FIGURE_3 = """
    version: 1
    vpcs:
      - name: VPC-X
        subnets: [{name: Subnet-A, cidr: 192.168.0.0/24}, {name: Subnet-B, cidr: 192.168.1.0/24}]
    ecs:
      - {name: ECS-A01, subnet: Subnet-A, addresses: [192.168.0.11], allowed_addresses: [192.168.0.21],
         security_groups: [Sg-A]}
      - {name: ECS-A02, subnet: Subnet-A, addresses: [192.168.0.12], allowed_addresses: [192.168.0.21],
         security_groups: [Sg-A]}
      - {name: ECS-B01, subnet: Subnet-B, addresses: [192.168.1.11], security_groups: [Sg-B]}
    security_groups:
      - name: Sg-A
        rules: [{id: A01, direction: ingress, remote_group: Sg-B}, {id: A02, direction: egress}]
      - name: Sg-B
        rules:
          - {id: B01, direction: ingress, remote_ip_prefix: 192.168.0.21/32}
          - {id: B02, direction: ingress, remote_group: Sg-A}
          - {id: B03, direction: egress}
"""


def test_figure_3_a_virtual_ip_is_no_member_of_the_group():
    policy = parsed(FIGURE_3)
    # By their private addresses, ECSs in Sg-A come in by B02 …
    assert decided(policy, "ECS-A01", "ECS-B01", "tcp/80") == ("allow Sg-A/A02", "allow Sg-B/B02")
    # … by the virtual IP only because of B01.
    assert decided(policy, "192.168.0.21", "ECS-B01", "tcp/80")[1] == "allow Sg-B/B01"
    without = parsed("\n".join(line for line in FIGURE_3.splitlines() if "B01, direction" not in line))
    assert decided(without, "192.168.0.21", "ECS-B01", "tcp/80")[1] == "deny (S7)"
    assert decided(without, "ECS-A01", "ECS-B01", "tcp/80")[1] == "allow Sg-B/B02"


def test_figure_3_the_subnet_s_network_as_source_does_it_too():
    policy = parsed(FIGURE_3.replace("192.168.0.21/32", "192.168.0.0/24"))
    assert decided(policy, "192.168.0.21", "ECS-B01", "tcp/80")[1] == "allow Sg-B/B01"


def test_figure_3_sg_b_reaches_the_virtual_ip_by_a01():
    policy = parsed(FIGURE_3)
    assert decided(policy, "ECS-B01", "192.168.0.21", "tcp/80") == ("allow Sg-B/B03", "allow Sg-A/A01")


FIGURE_4 = """
    version: 1
    vpcs:
      - {name: VPC-A, subnets: [{name: Subnet-A01, cidr: 10.0.0.0/24}]}
      - {name: VPC-B, subnets: [{name: Subnet-B01, cidr: 10.1.0.0/24}]}
    ecs:
      - {name: ECS-A01, subnet: Subnet-A01, addresses: [10.0.0.11], security_groups: [Sg-A]}
      - {name: ECS-B01, subnet: Subnet-B01, addresses: [10.1.0.11], security_groups: [Sg-B]}
    security_groups:
      - name: Sg-A
        rules: [{id: A01, direction: ingress, remote_group: Sg-B}, {id: A02, direction: egress}]
      - name: Sg-B
        rules: [{id: B01, direction: ingress, remote_group: Sg-A}, {id: B02, direction: egress}]
"""
PEERING_AB = "    peerings: [{name: peering-AB, vpcs: [VPC-A, VPC-B]}]"


def test_figure_4_two_groups_across_a_peering():
    policy = parsed(FIGURE_4, PEERING_AB)
    assert decided(policy, "ECS-A01", "ECS-B01", "tcp/22") == ("allow Sg-A/A02", "allow Sg-B/B01")
    assert decided(policy, "ECS-B01", "ECS-A01", "icmp") == ("allow Sg-B/B02", "allow Sg-A/A01")
    assert passes(policy, "ECS-A01", "ECS-B01", "tcp/22")


def test_figure_4_without_the_rules_the_peering_is_not_enough():
    policy = parsed(
        "\n".join(
            line.replace("A01, direction: ingress", "A01, direction: ingress, enabled: false")
            for line in FIGURE_4.splitlines()
        ),
        PEERING_AB,
    )
    assert decided(policy, "ECS-B01", "ECS-A01", "icmp") == ("allow Sg-B/B02", "deny (S7)")
    assert not passes(policy, "ECS-B01", "ECS-A01", "icmp")
    assert passes(policy, "ECS-A01", "ECS-B01", "icmp")


def test_figure_4_without_the_peering_the_rules_are_not_enough_s18():
    policy = parsed(FIGURE_4)
    explanation = explain(policy, "ECS-A01", "ECS-B01", "tcp/22")
    assert (explanation.allowed, explanation.route.exists) == (False, False)
    # Without a way, Sg-A's members have no address in VPC-B that a group rule could mean.
    assert answer(explanation.ingress) == "deny (S7)"
