"""Virtual IPs move between instances, and custom routes lead through one."""

from __future__ import annotations

import pytest

from enforcer.errors import UsageError
from enforcer.lab import lifecycle
from enforcer.model import IPAddress

pytestmark = pytest.mark.traffic

VIRTUAL = """
version: 1
vpcs: [{name: vpc-x, subnets: [{name: x, cidr: 10.0.0.0/24, ipv6_cidr: "2001:db8:a::/64"}]}]
ecs:
  - {name: client, subnet: x, addresses: [10.0.0.11, "2001:db8:a::11"]}
  - {name: one, subnet: x, addresses: [10.0.0.12, "2001:db8:a::12"], allowed_addresses: VIPS}
  - {name: two, subnet: x, addresses: [10.0.0.13, "2001:db8:a::13"], allowed_addresses: VIPS}
""".replace("VIPS", '[10.0.0.21, "2001:db8:a::21"]')


def holder(lab, address: str = "10.0.0.21") -> set[str]:
    return {host for host in ("one", "two") if f" {address}/" in lab.run(host, "ip", "address")}


def address(text: str) -> IPAddress:
    from ipaddress import ip_address

    return ip_address(text)


def test_the_first_instance_that_lists_a_virtual_ip_holds_it_until_it_moves(labs):
    lab = labs.up(VIRTUAL)
    assert holder(lab) == {"one"}
    assert lab.blocked(("client", "10.0.0.21", "tcp/80"), ("client", "2001:db8:a::21", "icmpv6")) == set()
    lifecycle.move_virtual_ip(lab.name, address("10.0.0.21"), "two")
    assert holder(lab) == {"two"}
    assert holder(lab, "2001:db8:a::21") == {"one"}
    protocols = ("tcp/80", "udp/53", "icmp", "gre", "253")
    assert lab.blocked(*(("client", "10.0.0.21", each) for each in protocols)) == set()


def test_the_holder_can_send_from_the_virtual_ip(labs):
    lab = labs.up(VIRTUAL)
    lifecycle.move_virtual_ip(lab.name, address("10.0.0.21"), "two")
    protocols = ("tcp/80", "udp/53", "icmp", "gre", "253")
    assert lab.blocked(*(("10.0.0.21", "client", each) for each in protocols)) == set()


def test_a_virtual_ip_moved_by_hand_inside_the_instances_is_followed(labs):
    lab = labs.up(VIRTUAL)
    lab.run("one", "ip", "address", "del", "10.0.0.21/32", "dev", "eth0")
    assert not lab.probe("client", "10.0.0.21", "icmp").reached
    assert not lab.probe("10.0.0.21", "client", "icmp").reached
    lab.run("two", "ip", "address", "add", "10.0.0.21/32", "dev", "eth0")
    assert lab.probe("client", "10.0.0.21", "icmp").reached
    assert "dev v-two" in router(lab, "route", "show", "10.0.0.21")


def router(lab, *words: str) -> str:
    import subprocess

    netns = dict(lab.lab.dataplanes())["vpc-x"]
    return subprocess.run(["ip", "-n", netns, *words], capture_output=True, text=True, check=True).stdout


def test_a_virtual_ip_moves_only_to_a_nic_that_may_hold_it(labs):
    lab = labs.up(VIRTUAL)
    with pytest.raises(UsageError, match="moved between one, two"):
        lifecycle.move_virtual_ip(lab.name, address("10.0.0.21"), "client")
    with pytest.raises(UsageError, match="no NIC lists it"):
        lifecycle.move_virtual_ip(lab.name, address("10.0.0.22"), "one")
    assert lab.probe("client", "10.0.0.21", "icmp").reached


def test_an_apply_leaves_a_virtual_ip_where_it_moved_and_saves_it_from_a_holder_that_goes(labs):
    lab = labs.up(VIRTUAL)
    lifecycle.move_virtual_ip(lab.name, address("10.0.0.21"), "two")
    lab.apply(VIRTUAL.replace("client,", "customer,"))
    assert holder(lab) == {"two"}
    without = "\n".join(line for line in VIRTUAL.splitlines() if "name: two" not in line)
    lab.apply(without)
    assert lab.probe("client", "10.0.0.21", "icmp").reached
    assert " 10.0.0.21/" in lab.run("one", "ip", "address")


FORWARDING = """
version: 1
vpcs:
  - name: vpc-x
    subnets: [{name: x, cidr: 10.0.0.0/24, ipv6_cidr: "2001:db8:a::/64"}]
    routes:
      - {destination: 172.20.0.0/16, next_hop: forwarder}
      - {destination: 10.9.0.0/24, next_hop: "forwarder:eth0"}
      - {destination: "2001:db8:9::/64", next_hop: forwarder}
  - name: vpc-y
    subnets: [{name: y, cidr: 10.9.0.0/24, ipv6_cidr: "2001:db8:9::/64"}]
    routes:
      - {destination: 10.0.0.0/24, next_hop: "forwarder:eth1"}
      - {destination: "2001:db8:a::/64", next_hop: "forwarder:eth1"}
ecs:
  - {name: client, subnet: x, addresses: [10.0.0.11, "2001:db8:a::11"]}
  - name: forwarder
    nics:
      - {name: eth0, subnet: x, addresses: [10.0.0.12, "2001:db8:a::12"], source_dest_check: false}
      - {name: eth1, subnet: y, addresses: [10.9.0.12, "2001:db8:9::12"], source_dest_check: false}
  - {name: server, subnet: y, addresses: [10.9.0.11, "2001:db8:9::11"]}
"""


def test_a_custom_route_leads_through_an_instance_with_a_nic_in_both_vpcs(labs):
    lab = labs.up(FORWARDING)
    asked = [("client", "server", each) for each in ("tcp/22", "udp/53", "icmp", "gre", "icmpv6")]
    assert lab.blocked(*asked, ("server", "client", "tcp/22")) == set()
    lab.run("forwarder", "sysctl", "-qw", "net.ipv4.ip_forward=0")
    assert lab.blocked(("client", "server", "tcp/22"), ("client", "forwarder", "tcp/22")) == {
        ("client", "server", "tcp/22")
    }


def test_a_network_behind_an_instance_is_reached_by_its_route(labs):
    lab = labs.up(FORWARDING)
    assert not lab.probe("client", "172.20.0.1", "tcp/22").reached
    lab.run("forwarder", "ip", "address", "add", "172.20.0.1/32", "dev", "lo")
    assert lab.blocked(("client", "172.20.0.1", "tcp/22"), ("client", "172.20.0.1", "icmp")) == set()


def test_a_second_nic_answers_through_itself(labs):
    lab = labs.up(FORWARDING)
    for src, dst in (("server", "forwarder:eth1"), ("client", "forwarder:eth0"), ("forwarder:eth1", "server")):
        assert lab.blocked(*((src, dst, each) for each in ("tcp/22", "udp/53", "icmp", "icmpv6", "gre"))) == set()
