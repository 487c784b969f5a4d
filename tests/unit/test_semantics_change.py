"""What no rule is asked about, and what a change does: S13 (beginnings), S14, S15, S16."""

from __future__ import annotations

import pytest
from semantics_asking import TWO_HOSTS, both, egress, ingress, packet, parsed, side, two_hosts

from enforcer.model import Policy
from enforcer.semantics import evaluate, rejudge

OPEN = """
    security_groups:
      - {name: Sg-A, template: all-ports-open}
      - {name: Sg-B, template: all-ports-open}
"""
SHUT = """
    security_groups: [{name: Sg-A, rules: []}, {name: Sg-B, rules: []}]
"""


@pytest.mark.parametrize("direction", ["ingress", "egress"])
@pytest.mark.parametrize(
    ("peer", "traffic", "verdict"),
    [
        # Echo, timestamp, information and address mask requests begin something.
        ("10.0.0.1", "icmp/8/0", "allow"),
        ("10.0.0.1", "icmp/13/0", "allow"),
        ("10.0.0.1", "icmp/15/0", "allow"),
        ("10.0.0.1", "icmp/17/0", "allow"),
        # Answers and errors that belong to nothing are invalid, whatever the rules allow.
        ("10.0.0.1", "icmp/0/0", "deny"),
        ("10.0.0.1", "icmp/3/4", "deny"),
        ("10.0.0.1", "icmp/5/0", "deny"),
        ("10.0.0.1", "icmp/11/0", "deny"),
        ("2001:db8::1", "icmpv6/128/0", "allow"),
        ("2001:db8::1", "icmpv6/139/0", "allow"),
        ("2001:db8::1", "icmpv6/129/0", "deny"),
        ("2001:db8::1", "icmpv6/1/0", "deny"),
        ("2001:db8::1", "icmpv6/137/0", "deny"),
    ],
)
def test_only_requests_begin_an_icmp_conversation_s13(direction: str, peer: str, traffic: str, verdict: str):
    got = side(two_hosts(OPEN), "ecs-a", direction, peer, traffic)
    assert got.verdict == verdict
    assert ("begins no conversation" in got.reason) == (verdict == "deny")


def test_metadata_needs_a_rule_like_any_address_s15():
    assert egress(two_hosts(SHUT), "ecs-a", "169.254.169.254", "tcp/80") == "deny (S7)"
    assert egress(two_hosts(OPEN), "ecs-a", "169.254.169.254", "tcp/80").startswith("allow Sg-A/")


def test_neighbour_discovery_passes_unasked_s15():
    policy = two_hosts(SHUT)
    # Solicitations and advertisements of neighbours, both ways; from its unspecified or link-local address too.
    for kind in ("icmpv6/135/0", "icmpv6/136/0"):
        assert egress(policy, "ecs-a", "ff02::1:ff00:12", kind, source="fe80::11") == "allow (S15)"
        assert ingress(policy, "ecs-a", "fe80::1", kind, destination="ff02::1") == "allow (S15)"
    # With another host's address it is no discovery but spoofing.
    assert egress(policy, "ecs-a", "ff02::1:ff00:12", "icmpv6/136/0", source="2407:c080:802:469::12") == "deny (S16)"
    # Router solicitations out, router advertisements in …
    assert egress(policy, "ecs-a", "ff02::2", "icmpv6/133/0") == "allow (S15)"
    assert ingress(policy, "ecs-a", "fe80::1", "icmpv6/134/0") == "allow (S15)"


def test_an_instance_is_no_router_s15():
    # … and not the reverse, even where the rules let everything through.
    assert egress(two_hosts(OPEN), "ecs-a", "ff02::1", "icmpv6/134/0") == "deny (S15)"
    assert ingress(two_hosts(OPEN), "ecs-a", "fe80::5", "icmpv6/133/0") == "deny (S13)"


def test_dhcp_as_a_client_passes_unasked_s15():
    policy = two_hosts(SHUT)
    assert egress(policy, "ecs-a", "255.255.255.255", "udp/67", source="0.0.0.0") == "allow (S15)"
    assert egress(policy, "ecs-a", "192.168.0.1", "udp/67") == "allow (S15)"
    assert egress(policy, "ecs-a", "ff02::1:2", "udp/547", source="fe80::11") == "allow (S15)"
    # Not with somebody else's address …
    assert egress(policy, "ecs-a", "255.255.255.255", "udp/67", source="192.168.0.12") == "deny (S16)"
    # … not to any other server, not to another port, not over TCP, and nobody else's request comes in.
    assert egress(policy, "ecs-a", "192.168.0.12", "udp/67") == "deny (S7)"
    assert egress(policy, "ecs-a", "255.255.255.255", "udp/68") == "deny (S7)"
    assert egress(policy, "ecs-a", "192.168.0.1", "tcp/67") == "deny (S7)"
    assert ingress(policy, "ecs-a", "192.168.0.12", "udp/67") == "deny (S7)"


@pytest.mark.parametrize(("cidr", "gateway"), [("192.168.0.10/31", None), ("192.168.0.8/29", "192.168.0.9")])
def test_a_subnet_of_two_addresses_has_no_gateway_to_ask_s15(cidr: str, gateway: str | None):
    policy = parsed(TWO_HOSTS.replace("192.168.0.0/24", cidr).replace("192.168.0.12", "192.168.0.10"), SHUT)
    for asked in ("192.168.0.9", "192.168.0.10", "192.168.0.11"):
        assert egress(policy, "ecs-a", asked, "udp/67") == ("allow (S15)" if asked == gateway else "deny (S7)")


SPOOFING = """
    version: 1
    vpcs: [{name: vpc-x, subnets: [{name: subnet-a, cidr: 192.168.0.0/24}]}]
    ecs:
      - {name: honest, subnet: subnet-a, addresses: [192.168.0.11], allowed_addresses: [192.168.0.21, 10.8.0.0/24],
         security_groups: [Sg-A]}
      - {name: nat, subnet: subnet-a, addresses: [192.168.0.12], source_dest_check: false, security_groups: [Sg-A]}
      - {name: free, subnet: subnet-a, addresses: [192.168.0.13], port_security: false, security_groups: [Sg-B]}
      - {name: bound, subnet: subnet-a, addresses: [192.168.0.14], security_groups: [Sg-B]}
    security_groups: [{name: Sg-A, rules: [{id: A01, direction: egress}]}, {name: Sg-B, rules: []}]
"""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        # Its private address, a virtual IP, an allowed network: yes. A neighbour's, or anything else: no.
        ("192.168.0.11", "allow Sg-A/A01"),
        ("192.168.0.21", "allow Sg-A/A01"),
        ("10.8.0.7", "allow Sg-A/A01"),
        ("192.168.0.12", "deny (S16)"),
        ("10.8.1.0", "deny (S16)"),
        ("0.0.0.0", "deny (S16)"),
    ],
)
def test_an_instance_sends_from_its_own_addresses_only_s16(source: str, expected: str):
    assert egress(parsed(SPOOFING), "honest", "192.168.0.14", "tcp/22", source=source) == expected


def test_an_instance_receives_on_its_own_addresses_only_s6_s16():
    policy = parsed(SPOOFING.replace("direction: egress", "direction: ingress"))
    for own in ("192.168.0.11", "192.168.0.21", "10.8.0.7"):
        assert ingress(policy, "honest", "192.168.0.14", "tcp/22", destination=own) == "allow Sg-A/A01"
    assert ingress(policy, "honest", "192.168.0.14", "tcp/22", destination="203.0.113.10") == "deny (S16)"
    # A forwarder takes in what is for others.
    assert ingress(policy, "nat", "192.168.0.14", "tcp/22", destination="203.0.113.10") == "allow Sg-A/A01"


def test_without_source_dest_check_it_may_forward_and_is_still_filtered_s16():
    policy = parsed(SPOOFING)
    assert egress(policy, "nat", "203.0.113.10", "tcp/22", source="10.99.0.1") == "allow Sg-A/A01"
    assert ingress(policy, "nat", "203.0.113.10", "tcp/22") == "deny (S7)"


def test_without_port_security_nothing_is_filtered_s16():
    policy = parsed(SPOOFING)
    assert egress(policy, "free", "192.168.0.14", "tcp/22", source="1.2.3.4") == "allow (S16)"
    assert ingress(policy, "free", "192.168.0.14", "tcp/22") == "allow (S16)"
    # That is the NIC's own business: the other end still filters.
    assert ingress(policy, "bound", "192.168.0.13", "tcp/22") == "deny (S7)"


def test_a_packet_is_judged_at_both_of_its_ends():
    policy = parsed(SPOOFING)
    to_free = packet("192.168.0.11", "192.168.0.13", "tcp/22", "honest", "free")
    assert both(evaluate(policy, to_free)) == "allow: egress allow Sg-A/A01, ingress allow (S16)"
    to_bound = packet("192.168.0.11", "192.168.0.14", "tcp/22", "honest", "bound")
    assert both(evaluate(policy, to_bound)) == "deny: egress allow Sg-A/A01, ingress deny (S7)"
    spoofed = packet("192.168.0.14", "192.168.0.13", "tcp/22", "honest", "free")
    assert both(evaluate(policy, spoofed)) == "deny: egress deny (S16), ingress allow (S16)"
    # Behind a forwarder, what is for others passes; at any other NIC it is not for that NIC.
    opened = parsed(SPOOFING.replace("direction: egress", "direction: ingress"))
    stray = packet("203.0.113.10", "10.77.0.1", "tcp/22", receiver="honest")
    assert both(evaluate(opened, stray)) == "deny: egress not asked, ingress deny (S16)"
    through = packet("203.0.113.10", "10.77.0.1", "tcp/22", receiver="nat")
    assert both(evaluate(opened, through)) == "allow: egress not asked, ingress allow Sg-A/A01"
    from_outside = packet("203.0.113.10", "192.168.0.14", "tcp/22", receiver="bound")
    assert both(evaluate(policy, from_outside)) == "deny: egress not asked, ingress deny (S7)"


# ecs-b opened SSH to ecs-a while both groups were open.
SSH = packet("192.168.0.12", "192.168.0.11", "tcp/22", "ecs-b", "ecs-a")


def changed(ingress_of_a: str, egress_of_b: str, *more: str) -> Policy:
    return two_hosts(
        f"""
        security_groups:
          - {{name: Sg-A, rules: [{ingress_of_a}]}}
          - {{name: Sg-B, rules: [{egress_of_b}]}}
          - {{name: Sg-C}}
        """,
        *more,
    )


IN = "{id: A01, direction: ingress, protocol: tcp, multiport: 22, remote_group: Sg-B}"
OUT = "{id: B01, direction: egress}"


def test_still_allowed_goes_on_s14():
    assert both(rejudge(changed(IN, OUT), SSH)) == "allow: egress not asked, ingress allow Sg-A/A01"


def test_an_inbound_change_ends_what_others_opened_s14():
    assert both(rejudge(changed("", OUT), SSH)) == "deny: egress not asked, ingress deny (S7)"


def test_a_membership_change_is_an_inbound_change_s14():
    assert both(rejudge(changed(IN.replace("Sg-B", "Sg-C"), OUT), SSH)) == "deny: egress not asked, ingress deny (S7)"


def test_an_outbound_change_leaves_what_the_instance_opened_s14():
    policy = changed(IN, "")
    assert both(rejudge(policy, SSH)) == "allow: egress not asked, ingress allow Sg-A/A01"
    # A new connection of the same kind does not pass.
    assert both(evaluate(policy, SSH)) == "deny: egress deny (S7), ingress allow Sg-A/A01"


def test_revoke_both_ends_what_the_instance_opened_as_well_s14():
    assert both(rejudge(changed(IN, "", "revoke: both"), SSH)) == "deny: egress deny (S7), ingress allow Sg-A/A01"
    assert rejudge(changed(IN, OUT, "revoke: both"), SSH).verdict == "allow"


def test_connections_of_lost_addresses_end_s14():
    policy = changed(IN, OUT)
    # ecs-a had .13 before, and ecs-b .14; ecs-c is detached.
    moved_server = packet("192.168.0.12", "192.168.0.13", "tcp/22", "ecs-b", "ecs-a")
    assert both(rejudge(policy, moved_server)) == "deny: egress not asked, ingress deny (S14)"
    moved_client = packet("192.168.0.14", "192.168.0.11", "tcp/22", "ecs-b", "ecs-a")
    assert both(rejudge(policy, moved_client)) == "deny: egress deny (S14), ingress not asked"
    gone = packet("192.168.0.12", "192.168.0.15", "tcp/22", "ecs-b", "ecs-c")
    assert both(rejudge(policy, gone)) == "deny: egress not asked, ingress deny (S14)"
