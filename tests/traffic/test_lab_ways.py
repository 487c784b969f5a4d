"""Without any rules in force, packets get wherever there is a way, and nowhere else (S18)."""

from __future__ import annotations

import pytest
from harness import PATIENCE

from enforcer.lab.probe import Observation

pytestmark = pytest.mark.traffic

ONE_VPC = """
version: 1
vpcs:
  - name: vpc-x
    subnets:
      - {name: one, cidr: 10.0.0.0/24, ipv6_cidr: "2001:db8:a::/64"}
      - {name: two, cidr: 10.0.1.0/24}
ecs:
  - {name: ecs-a, subnet: one, addresses: [10.0.0.11, "2001:db8:a::11"]}
  - {name: ecs-b, subnet: one, addresses: [10.0.0.12, "2001:db8:a::12"]}
  - {name: ecs-c, subnet: two, addresses: [10.0.1.1]}
"""


def test_hosts_of_one_subnet_and_of_two_reach_each_other_by_every_protocol(labs):
    lab = labs.up(ONE_VPC)
    protocols = ("tcp/22", "udp/53", "icmp", "icmp/13", "icmp/17", "gre", "132", "253", "4", "50")
    asked = [(src, dst, each) for src, dst in (("ecs-a", "ecs-b"), ("ecs-a", "ecs-c")) for each in protocols]
    assert lab.blocked(*asked) == set()
    assert lab.blocked(("ecs-a", "10.0.0.99", "tcp/22"), ("ecs-a", "10.0.0.99", "icmp")) == {
        ("ecs-a", "10.0.0.99", "tcp/22"),
        ("ecs-a", "10.0.0.99", "icmp"),
    }


def test_ipv6_works_by_every_protocol_too(labs):
    lab = labs.up(ONE_VPC)
    there, nobody = "2001:db8:a::12", "2001:db8:a::99"
    protocols = ("tcp/22", "udp/53", "icmpv6", "icmpv6/139", "gre", "132", "253")
    assert lab.blocked(*(("ecs-a", there, each) for each in protocols)) == set()
    unanswered = {("ecs-a", nobody, each) for each in ("tcp/22", "icmpv6")}
    assert lab.blocked(*unanswered) == unanswered


def test_the_first_ping_is_not_delayed(labs):
    lab = labs.up(ONE_VPC)
    said = lab.run("ecs-a", "ping", "-c1", "-W1", "10.0.0.12") + lab.run("ecs-b", "ping", "-c1", "-W1", "10.0.0.11")
    times = [float(word.removeprefix("time=")) for word in said.split() if word.startswith("time=")]
    assert len(times) == 2
    assert max(times) < 100  # proxy ARP would wait up to 800 ms


def test_an_instance_on_the_first_address_of_its_subnet_has_its_gateway_elsewhere(labs):
    lab = labs.up(ONE_VPC)  # ecs-c is 10.0.1.1
    assert lab.probe("ecs-c", "ecs-a", "icmp").reached
    assert "via 10.0.1.254" in lab.run("ecs-c", "ip", "route", "show", "default")
    assert "via 10.0.0.1 " in lab.run("ecs-a", "ip", "route", "show", "default")


PEERED = """
version: 1
vpcs:
  - {name: vpc-x, subnets: [{name: x, cidr: 10.0.0.0/24, ipv6_cidr: "2001:db8:a::/64"}]}
  - {name: vpc-y, subnets: [{name: y, cidr: 10.1.0.0/24, ipv6_cidr: "2001:db8:b::/64"}]}
  - {name: vpc-z, subnets: [{name: z, cidr: 10.2.0.0/24, ipv6_cidr: "2001:db8:c::/64"}]}
peerings: [{name: x-y, vpcs: [vpc-x, vpc-y]}, {name: a-peering-with-a-long-name, vpcs: [vpc-y, vpc-z]}]
ecs:
  - {name: ecs-x, subnet: x, addresses: [10.0.0.11, "2001:db8:a::11"]}
  - {name: ecs-y, subnet: y, addresses: [10.1.0.11, "2001:db8:b::11"]}
  - {name: ecs-z, subnet: z, addresses: [10.2.0.11, "2001:db8:c::11"]}
"""


def test_peered_vpcs_reach_each_other_and_peering_is_not_transitive(labs):
    lab = labs.up(PEERED)
    assert lab.blocked(
        ("ecs-x", "ecs-y", "tcp/22"),
        ("ecs-y", "ecs-x", "icmp"),
        ("ecs-z", "ecs-y", "gre"),
        ("ecs-y", "ecs-z", "icmpv6"),
        ("ecs-x", "ecs-z", "tcp/22"),
        ("ecs-x", "ecs-z", "icmpv6"),
    ) == {("ecs-x", "ecs-z", "tcp/22"), ("ecs-x", "ecs-z", "icmpv6")}


OVERLAPPING = """
version: 1
vpcs:
  - {name: vpc-x, subnets: [{name: x, cidr: 10.0.0.0/24, ipv6_cidr: "2001:db8:a::/64"}]}
  - {name: vpc-y, subnets: [{name: y, cidr: 10.0.0.0/24, ipv6_cidr: "2001:db8:a::/64"}]}
ecs:
  - {name: x-1, subnet: x, addresses: [10.0.0.11, "2001:db8:a::11"]}
  - {name: x-2, subnet: x, addresses: [10.0.0.12, "2001:db8:a::12"]}
  - {name: y-1, subnet: y, addresses: [10.0.0.11, "2001:db8:a::11"]}
  - {name: y-3, subnet: y, addresses: [10.0.0.13, "2001:db8:a::13"]}
external_hosts: [{name: my-pc, addresses: ["2001:db8:f::1"]}]
"""


def test_overlapping_ranges_of_unpeered_vpcs_never_leak(labs):
    lab = labs.up(OVERLAPPING)
    assert (
        lab.blocked(
            ("x-1", "x-2", "tcp/22"), ("y-1", "y-3", "tcp/22"), ("x-1", "x-2", "icmpv6"), ("y-1", "y-3", "icmpv6")
        )
        == set()
    )
    unanswered = {("x-1", "10.0.0.13", "tcp/22"), ("y-1", "10.0.0.12", "icmp"), ("x-1", "2001:db8:a::13", "icmpv6")}
    unanswered |= {("my-pc", "x-1", "icmpv6"), ("x-1", "my-pc", "icmpv6")}  # the Internet cannot know which is meant
    assert lab.blocked(*unanswered) == unanswered


INTERNET = """
version: 1
vpcs:
  - {name: vpc-x, subnets: [{name: x, cidr: 10.0.0.0/24, ipv6_cidr: "2001:db8:a::/64"}]}
  - {name: vpc-y, subnets: [{name: y, cidr: 10.1.0.0/24}]}
ecs:
  - {name: ecs-a, subnet: x, addresses: [10.0.0.11, "2001:db8:a::11"]}
  - {name: ecs-b, subnet: x, addresses: [10.0.0.12]}
  - {name: ecs-c, subnet: x, addresses: [10.0.0.13]}
  - {name: ecs-y, subnet: y, addresses: [10.1.0.11]}
external_hosts:
  - {name: my-pc, addresses: [203.0.113.10, "2001:db8:f::1"]}
  - {name: other-pc, addresses: [203.0.113.20]}
eips:
  - {address: 198.51.100.10, ecs: ecs-a}
  - {address: 198.51.100.12, ecs: ecs-b}
  - {address: 198.51.100.20, ecs: ecs-y}
"""


def test_the_internet_and_an_instance_with_an_eip_reach_each_other_both_ways(labs):
    lab = labs.up(INTERNET)
    protocols = ("tcp/22", "udp/53", "icmp", "gre", "253")
    there = [("my-pc", "ecs-a", each) for each in protocols] + [("ecs-a", "my-pc", each) for each in protocols]
    assert lab.blocked(*there, ("my-pc", "other-pc", "icmp"), ("ecs-a", "my-pc", "icmpv6")) == set()
    without = {("my-pc", "ecs-c", "tcp/22"), ("ecs-c", "my-pc", "tcp/22"), ("ecs-c", "198.51.100.10", "icmp")}
    assert lab.blocked(*without) == without


def test_one_instance_reaches_the_eip_of_another_in_its_own_vpc_and_elsewhere(labs):
    lab = labs.up(INTERNET)
    protocols = ("tcp/22", "udp/53", "icmp", "gre")
    asked = [("ecs-a", eip, each) for eip in ("198.51.100.12", "198.51.100.20") for each in protocols]
    assert lab.blocked(*asked) == set()
    assert not lab.probe("ecs-a", "ecs-y", "icmp").reached  # by its private address there is no way


def test_behind_an_eip_the_receiver_sees_the_senders_eip(labs):
    lab = labs.up(INTERNET)
    assert seen_source(lab, "ecs-b", "ecs-a", "198.51.100.12") == "198.51.100.10"
    assert seen_source(lab, "ecs-b", "ecs-a", "10.0.0.12") == "10.0.0.11"


def seen_source(lab, server: str, client: str, address: str, port: int = 4000, to: int = 4000) -> str:
    """Connect from client to address and return whom the server saw."""
    import socket

    from enforcer.dataplane.namespaces import entered

    with entered(lab.lab.netns(server)):
        listener = socket.create_server(("0.0.0.0", to))
    with entered(lab.lab.netns(client)):
        connection = socket.socket()
    with listener, connection:
        listener.settimeout(PATIENCE)
        connection.settimeout(PATIENCE)
        connection.connect((address, port))
        accepted, peer = listener.accept()
        accepted.close()
        return peer[0]


BALANCED = """
version: 1
vpcs: [{name: vpc-x, subnets: [{name: x, cidr: 10.0.0.0/24, ipv6_cidr: "2001:db8:a::/64"}]}]
ecs:
  - {name: client, subnet: x, addresses: [10.0.0.11, "2001:db8:a::11"]}
  - {name: one, subnet: x, addresses: [10.0.0.12, "2001:db8:a::12"]}
  - {name: two, subnet: x, addresses: [10.0.0.13, "2001:db8:a::13"]}
load_balancers:
  - name: elb
    subnet: x
    address: 10.0.0.100
    listeners:
      - {protocol: tcp, port: 80, transfer_client_ip: true, backends: [{ecs: one, port: 8080}]}
      - {protocol: tcp, port: 81, backends: [{ecs: one, port: 8081}]}
      - {protocol: udp, port: 53, backends: [{ecs: one, port: 53}, {ecs: two, port: 5353}]}
  - name: elb6
    subnet: x
    address: "2001:db8:a::100"
    listeners:
      - {protocol: tcp, port: 80, transfer_client_ip: true, backends: [{ecs: one, port: 80}, {ecs: two, port: 80}]}
      - {protocol: udp, port: 53, backends: [{ecs: one, port: 53}, {ecs: two, port: 5353}]}
"""


def test_a_balancer_passes_connections_to_its_backends_and_nothing_else(labs):
    lab = labs.up(BALANCED)
    assert lab.blocked(("client", "elb", "tcp/80"), ("client", "elb", "tcp/81"), ("client", "elb", "udp/53")) == set()
    assert lab.blocked(("client", "elb6", "tcp/80"), ("client", "elb6", "udp/53")) == set()
    assert lab.blocked(("one", "elb", "tcp/80"), ("one", "elb6", "tcp/80"), ("two", "elb", "udp/53")) == set()
    unanswered = {("client", "elb", "tcp/82"), ("client", "elb", "udp/54"), ("client", "elb6", "tcp/81")}
    unanswered |= {("client", "elb", "icmp"), ("client", "elb6", "icmpv6"), ("client", "elb", "gre")}
    assert lab.blocked(*unanswered) == unanswered


def test_a_backend_sees_the_client_or_the_balancer_as_the_listener_says(labs):
    """S12: `transfer_client_ip` keeps the client's address, otherwise the balancer's own stands there."""
    lab = labs.up(BALANCED)
    assert seen_source(lab, "one", "client", "10.0.0.100", port=80, to=8080) == "10.0.0.11"
    assert seen_source(lab, "one", "client", "10.0.0.100", port=81, to=8081) == "100.125.0.1"


def test_connections_are_spread_over_the_backends(labs):
    lab = labs.up(BALANCED)
    observed = lab.probe_all(*[("client", "elb", "udp/53")] * 8)
    assert all(each.reached for each in observed)
    counters = [lab.run(host, "cat", "/proc/net/snmp").splitlines()[-3].split()[1] for host in ("one", "two")]
    assert all(int(counter) >= 3 for counter in counters), counters


def test_a_program_that_has_the_port_counts_when_it_accepts(labs):
    import socket

    from enforcer.dataplane.namespaces import entered

    lab = labs.up(ONE_VPC)
    with entered(lab.lab.netns("ecs-b")):
        program = socket.create_server(("0.0.0.0", 8080))
    with program:
        seen = lab.probe("ecs-a", "ecs-b", "tcp/8080")
    assert seen.reached
    assert "program" in seen.detail


def test_a_probe_says_which_half_failed(labs):
    lab = labs.up(ONE_VPC)
    router = dict(lab.lab.dataplanes())["vpc-x"]
    rules = "table ip test { chain f { type filter hook forward priority 0; ip saddr 10.0.0.12 drop; }; }"
    from enforcer.dataplane.namespaces import entered

    with entered(router):
        import subprocess

        subprocess.run(["nft", rules], check=True)
    assert lab.probe("ecs-a", "ecs-c", "udp/53").reached
    seen = lab.probe_all(("ecs-a", "ecs-b", "udp/53"), ("ecs-a", "ecs-b", "icmp"), ("ecs-a", "ecs-b", "gre"))
    assert seen == (Observation(False, "the request arrived, its answer did not"),) * 3
    assert lab.probe("ecs-b", "ecs-a", "udp/53") == Observation(False, "no answer; the request did not arrive")
