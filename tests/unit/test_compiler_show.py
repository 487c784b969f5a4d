"""The printed form of a Program: one text for one Program, complete enough to read a verdict from it."""

from __future__ import annotations

from policies import compiled, three_hosts

from enforcer.compiler import Program, show
from enforcer.model import Layout, Policy


def lines(policy: Policy) -> list[str]:
    return show(Program((compiled(policy),), Layout(()))).splitlines()


def test_a_namespace_begins_with_what_is_about_all_of_it():
    policy = three_hosts("""
        revoke: both
        load_balancers:
          - name: elb
            subnet: subnet-a
            address: 10.0.0.100
            listeners: [{protocol: tcp, port: 80, transfer_client_ip: true}, {protocol: udp, port: 53}]
    """)
    assert lines(policy)[:4] == [
        "namespace lab-vpc-vpc-x (owned)",
        "  declared up-inet",
        "  revoke both",
        "  not judged: forwarded by 10.0.0.100 tcp 80",
    ]


def test_a_nic_shows_where_it_is_what_it_may_send_and_who_judges_it():
    policy = three_hosts("""
        ecs:
          - name: ecs-a
            subnet: subnet-a
            addresses: [10.0.0.11]
            mac: "fa:16:3e:00:00:11"
            allowed_addresses: [10.0.0.21, 172.16.0.0/12]
            source_dest_check: false
            security_groups: [Sg-A]
    """)
    at = next(n for n, line in enumerate(lines(policy)) if line.startswith("  nic "))
    assert lines(policy)[at] == (
        "  nic ecs-a on v-ecs-a fa:16:3e:00:00:11 10.0.0.11 10.0.0.21 172.16.0.0/12 (any source)"
    )
    assert [line.split()[0] for line in lines(policy)[at + 1 : at + 3]] == ["IPv4", "IPv6"], "a forwarder speaks both"


def test_classes_addresses_and_regions_can_be_read_to_a_verdict():
    policy = three_hosts("""
        security_groups:
          - name: Sg-A
            rules:
              - {id: ssh, direction: ingress, protocol: tcp, multiport: "22,80-90", remote_group: Sg-B}
              - {id: ping, direction: ingress, protocol: icmp, icmp_type: 8, icmp_code: 0, action: deny}
    """)
    found = lines(policy)
    number = next(line.split()[1] for line in found if line.endswith("  group Sg-B"))
    assert f"    10.0.0.12 → {number}" in found
    assert "    0.0.0.0–255.255.255.255 → 80000000" in found
    local = next(line.split()[-1] for line in found if line.startswith(f"    class {number} →"))
    assert f"    {local}: tcp 22 → allow Sg-A/ssh" in found
    assert f"    {local}: tcp 80–90 → allow Sg-A/ssh" in found
    assert "    rest: icmp type 8 code 0 → deny Sg-A/ping" in found


def test_several_types_of_icmp_are_a_range_of_types_and_codes():
    policy = three_hosts("""
        security_groups:
          - name: Sg-A
            rules:
              - {id: ping, direction: ingress, protocol: icmp, icmp_type: 8}
              - {id: next, direction: ingress, protocol: icmp, icmp_type: 9, icmp_code: 3}
    """)
    found = lines(policy)
    assert "    rest: icmp types 8.0–8.255 → allow Sg-A/ping" in found
    assert "    rest: icmp type 9 code 3 → allow Sg-A/next" in found


def test_a_list_without_a_rule_says_so():
    assert "    rest: nothing" in lines(three_hosts())
