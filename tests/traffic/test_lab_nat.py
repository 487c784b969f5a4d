"""Custom routes to the Internet: who leaves by an EIP of its own, who through a NAT instance, and who is filtered.

Everywhere the lab does what the semantics say; the observed and the expected are compared cell by cell.
"""

from __future__ import annotations

import socket

import pytest
from harness import ANSWER, PATIENCE, Stand, standing

from enforcer.dataplane.namespaces import entered
from enforcer.lab.probe import observe
from enforcer.lab.probe.targets import Targets
from enforcer.model import endpoints, parse_traffic
from enforcer.semantics import explain, matrix

pytestmark = pytest.mark.traffic

NAT = """
version: 1
vpcs:
  - name: v
    subnets: [{name: s, cidr: 10.1.0.0/24}, {name: t, cidr: 10.1.1.0/24}]
    routes: [{destination: 0.0.0.0/0, next_hop: nat}]
  - {name: w, subnets: [{name: w, cidr: 10.2.0.0/24}]}
peerings: [{name: vw, vpcs: [v, w]}]
security_groups:
  - {name: open, rules: [{direction: ingress}, {direction: egress}]}
  - {name: hidden, rules: [{direction: ingress}, {direction: egress}]}
  - name: nat
    rules:
      - {direction: ingress, remote_group: hidden, action: deny, priority: 1}
      - {direction: ingress, priority: 2}
      - {direction: egress, remote_ip_prefix: 203.0.113.20/32, action: deny, priority: 1}
      - {direction: egress, priority: 2}
  - name: by-eip  # only who comes from the EIP of nat
    rules: [{direction: ingress, remote_ip_prefix: 198.51.100.13/32}, {direction: egress}]
ecs:
  - {name: a, subnet: s, addresses: [10.1.0.11], security_groups: [open]}
  - {name: b, subnet: s, addresses: [10.1.0.12], security_groups: [open]}
  - {name: c, subnet: t, addresses: [10.1.1.12], security_groups: [hidden]}
  - {name: nat, subnet: s, addresses: [10.1.0.13], security_groups: [nat], source_dest_check: false}
  - {name: far, subnet: w, addresses: [10.2.0.11], security_groups: [open]}
  - {name: public, subnet: w, addresses: [10.2.0.12], security_groups: [by-eip]}
external_hosts: [{name: pc, addresses: [203.0.113.10]}, {name: shut, addresses: [203.0.113.20]}]
eips:
  - {address: 198.51.100.11, ecs: a}
  - {address: 198.51.100.13, ecs: nat}
  - {address: 198.51.100.22, ecs: public}
"""


def wrong_cells(stand: Stand, *traffics: str) -> list[str]:
    """Probe the whole matrix and return the cells that are not as the semantics say."""
    cells = matrix(stand.lab.policy, [parse_traffic(each) for each in traffics])
    return wrong(stand, *((cell.src, cell.dst, str(cell.traffic)) for cell in cells))


def wrong(stand: Stand, *questions: tuple[str, str, str]) -> list[str]:
    """Probe and return which of the questions have another answer than the semantics give."""
    targets, policy = Targets(stand.lab), stand.lab.policy
    asked = [(*endpoints(policy, src, dst), parse_traffic(what)) for src, dst, what in questions]
    expected = [explain(policy, *each) for each in asked]
    found = observe([targets.attempt(*each) for each in asked], ANSWER)
    return [
        f"{' '.join(question)}: expected {each.verdict} ({each.reason}), observed: {seen.detail}"
        for question, each, seen in zip(questions, expected, found, strict=True)
        if seen.reached != each.allowed
    ]


def reached(stand: Stand, *questions: tuple[str, str, str]) -> list[bool]:
    """Probe and say what got through."""
    targets, policy = Targets(stand.lab), stand.lab.policy
    asked = [(*endpoints(policy, src, dst), parse_traffic(what)) for src, dst, what in questions]
    return [seen.reached for seen in observe([targets.attempt(*each) for each in asked], ANSWER)]


def seen_source(stand: Stand, client: str, server: str) -> str:
    """Connect and return whom the server saw."""
    with entered(stand.netns(server)):
        listener = socket.create_server(("0.0.0.0", 4000))
    with entered(stand.netns(client)):
        connection = socket.socket()
    with listener, connection:
        listener.settimeout(PATIENCE)
        connection.settimeout(PATIENCE)
        connection.connect((stand.address(server), 4000))
        accepted, peer = listener.accept()
        accepted.close()
    return str(peer[0])


@pytest.fixture(scope="module")
def stand():
    with standing(NAT) as made:
        yield made


def test_everybody_meets_what_the_semantics_say(stand: Stand) -> None:
    assert wrong_cells(stand, "icmp", "tcp/22", "udp/53") == []


def test_the_nat_instance_filters_what_goes_through_it_and_only_that(stand: Stand) -> None:
    """S8: c is denied on the way in, shut on the way out; a has an EIP of its own and does not pass there."""
    asked = [(src, dst, "tcp/22") for src in ("a", "b", "c") for dst in ("pc", "shut")]
    assert reached(stand, *asked) == [True, True, True, False, False, False]


def test_an_external_host_sees_the_eip_under_which_somebody_leaves(stand: Stand) -> None:
    assert seen_source(stand, "b", "pc") == "198.51.100.13"
    assert seen_source(stand, "nat", "pc") == "198.51.100.13"
    assert seen_source(stand, "a", "pc") == "198.51.100.11"
    assert seen_source(stand, "b", "far") == "10.1.0.12"  # peered: nobody is between


def test_an_eip_elsewhere_is_reached_through_the_nat_instance_and_sees_its_eip(stand: Stand) -> None:
    asked = [(src, "198.51.100.22", what) for src in ("a", "b", "c", "nat", "far") for what in ("tcp/22", "icmp")]
    assert wrong(stand, *asked) == []
    assert reached(stand, *((src, "198.51.100.22", "tcp/22") for src in ("b", "nat", "a"))) == [True, True, False]


def test_an_apply_gives_and_takes_the_detour() -> None:
    without = NAT.replace("routes: [{destination: 0.0.0.0/0, next_hop: nat}]", "")
    with standing(without) as stand:
        assert reached(stand, ("a", "pc", "icmp"), ("b", "pc", "icmp")) == [True, False]
        stand.apply(NAT)
        assert wrong_cells(stand, "tcp/22") == []
        assert reached(stand, ("a", "pc", "icmp"), ("b", "pc", "icmp")) == [True, True]
        stand.apply(without)
        assert wrong_cells(stand, "tcp/22") == []
        assert "table inet lab" not in stand.run("nat", "nft", "list", "tables").stdout


def test_without_an_eip_or_with_its_sources_checked_a_next_hop_is_no_way_out() -> None:
    """S16: what comes back carries the external host's address, which a checked NIC may not send."""
    with standing(NAT.replace("  - {address: 198.51.100.13, ecs: nat}\n", "")) as stand:
        assert wrong_cells(stand, "icmp", "tcp/22") == []
        assert reached(stand, ("a", "pc", "icmp"), ("b", "pc", "icmp")) == [True, False]
        stand.apply(NAT.replace(", source_dest_check: false", ""))
        assert wrong_cells(stand, "icmp", "tcp/22") == []
        assert reached(stand, ("nat", "pc", "icmp"), ("b", "pc", "icmp")) == [True, False]


WAYS = """
version: 1
vpcs:
  - name: x
    subnets: [{name: x1, cidr: 10.1.0.0/24, ipv6_cidr: "2001:db8:a::/64"}, {name: x2, cidr: 10.1.1.0/24}]
    routes:
      - {destination: 0.0.0.0/0, next_hop: "gw:in"}
      - {destination: 203.0.113.128/25, next_hop: other}
      - {destination: 10.2.0.0/24, next_hop: "gw:in"}
      - {destination: "::/0", next_hop: "gw:in"}
  - name: y
    subnets: [{name: y, cidr: 10.2.0.0/24, ipv6_cidr: "2001:db8:b::/64"}]
    routes:
      - {destination: 10.1.0.0/16, next_hop: "gw:out"}
      - {destination: 0.0.0.0/0, next_hop: "gw:out"}
security_groups:
  - name: open
    rules:
      - {direction: ingress}
      - {direction: egress}
      - {direction: ingress, ethertype: IPv6}
      - {direction: egress, ethertype: IPv6}
  - {name: no-six, rules: [{direction: ingress}, {direction: egress}]}
ecs:
  - {name: own, subnet: x1, addresses: [10.1.0.11], security_groups: [open]}
  - {name: inner, subnet: x2, addresses: [10.1.1.11], security_groups: [open]}
  - {name: six, subnet: x1, addresses: [10.1.0.14, "2001:db8:a::14"], security_groups: [open]}
  - {name: other, subnet: x1, addresses: [10.1.0.13], security_groups: [open], source_dest_check: false}
  - name: gw
    nics:
      - {name: out, subnet: y, addresses: [10.2.0.12], security_groups: [no-six], source_dest_check: false}
      - name: in
        subnet: x1
        addresses: [10.1.0.12, "2001:db8:a::12"]
        security_groups: [no-six]
        source_dest_check: false
  - {name: there, subnet: y, addresses: [10.2.0.11], security_groups: [open]}
external_hosts:
  - {name: pc, addresses: [203.0.113.10, "2001:db8:f::1"]}
  - {name: odd, addresses: [203.0.113.200]}
eips:
  - {address: 198.51.100.11, ecs: own}
  - {address: 198.51.100.12, ecs: "gw:in"}
  - {address: 198.51.100.13, ecs: other}
"""


def test_the_most_specific_route_counts_and_a_second_nic_is_a_way_out_as_well() -> None:
    with standing(WAYS) as stand:
        hosts = ("own", "inner", "other", "six", "gw:in", "gw:out", "there")
        asked = [(src, dst, what) for src in hosts for dst in ("pc", "odd") for what in ("icmp", "tcp/22", "udp/53")]
        assert wrong(stand, *asked, *((dst, src, what) for src, dst, what in asked)) == []
        assert seen_source(stand, "inner", "pc") == "198.51.100.12"
        assert seen_source(stand, "inner", "odd") == "198.51.100.13"
        assert seen_source(stand, "own", "odd") == "198.51.100.11"
        # To another VPC the route through gw holds, also with an EIP, and nothing is translated …
        assert seen_source(stand, "own", "there") == "10.1.0.11"
        # … and y's route ends at a NIC without an EIP.
        assert reached(stand, ("there", "pc", "icmp"), ("there", "own", "icmp")) == [False, True]


def test_ipv6_goes_to_external_hosts_past_custom_routes() -> None:
    """The instance on the route lets no IPv6 through, and is not asked."""
    with standing(WAYS) as stand:
        asked = [("six", "pc", "icmpv6"), ("pc", "six", "icmpv6"), ("gw:in", "pc", "icmpv6"), ("pc", "gw:in", "icmpv6")]
        assert wrong(stand, *asked) == []
        assert reached(stand, *asked[:3]) == [True, True, False]
