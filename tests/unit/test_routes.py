"""Whether there is a way at all, and which addresses the two ends see (S18, S8); groups are not asked."""

from __future__ import annotations

import pytest
from parse_asking import parsed

from enforcer.errors import UsageError
from enforcer.model import Family, Policy, endpoint, endpoints, path

WORLD = """
version: 1
vpcs:
  - name: vpc-x
    subnets: [{name: sub-x, cidr: 10.0.0.0/24, ipv6_cidr: "2001:db8:a::/64"}]
    routes:
      - {destination: 0.0.0.0/0, next_hop: "nat:eth0"}
      - {destination: 10.9.0.0/24, next_hop: "fw:in"}
      - {destination: 10.8.0.0/24, next_hop: "fw:in"}
  - {name: vpc-y, subnets: [{name: sub-y, cidr: 10.1.0.0/24, ipv6_cidr: "2001:db8:b::/64"}]}
  - {name: vpc-z, subnets: [{name: sub-z, cidr: 10.0.0.0/24, ipv6_cidr: "2001:db8:c::/64"}]}
  - {name: vpc-w, subnets: [{name: sub-w, cidr: 10.9.0.0/24, ipv6_cidr: "2001:db8:c::/60"}]}
peerings: [{name: xy, vpcs: [vpc-x, vpc-y]}]
ecs:
  - {name: a, subnet: sub-x, addresses: [10.0.0.11, "2001:db8:a::11"], allowed_addresses: [10.0.0.21]}
  - {name: b, subnet: sub-x, addresses: [10.0.0.12, 10.0.0.13], allowed_addresses: [10.0.0.21, 10.0.0.64/28]}
  - {name: nat, subnet: sub-x, addresses: [10.0.0.14], allowed_addresses: [0.0.0.0/0], source_dest_check: false}
  - name: fw
    nics:
      - {name: in, subnet: sub-x, addresses: [10.0.0.15]}
      - {name: out, subnet: sub-w, addresses: [10.9.0.15]}
  - {name: y, subnet: sub-y, addresses: [10.1.0.11, "2001:db8:b::11"]}
  - {name: z, subnet: sub-z, addresses: [10.0.0.11, "2001:db8:c::11"]}
  - {name: w, subnet: sub-w, addresses: [10.9.0.11]}
external_hosts:
  - {name: my-pc, addresses: [203.0.113.10, "2001:db8:ffff::10"]}
  - {name: other-pc, addresses: [203.0.113.20]}
  - {name: odd, addresses: [10.1.0.200]}
eips:
  - {address: 198.51.100.1, ecs: a}
  - {address: 198.51.100.2, ecs: b}
  - {address: 198.51.100.3, ecs: "nat:eth0"}
  - {address: 198.51.100.4, ecs: z}
load_balancers:
  - {name: elb, subnet: sub-x, address: 10.0.0.100}
"""


@pytest.fixture(scope="module")
def world() -> Policy:
    return parsed(WORLD)


def way(policy: Policy, src: str, dst: str, family: Family = 4) -> str:
    """Return `source → destination: reason`, or `no: reason`."""
    found = path(policy, *endpoints(policy, src, dst), family)
    return f"{found.source} → {found.destination}: {found.reason}" if found.exists else f"no: {found.reason}"


@pytest.mark.parametrize(
    ("src", "dst", "expected"),
    [
        # One VPC, peered VPCs, and VPCs apart.
        ("a", "b", "10.0.0.11 → 10.0.0.12: both ends are in vpc-x"),
        ("a", "y", "10.0.0.11 → 10.1.0.11: vpc-x and vpc-y are peered"),
        ("y", "a", "10.1.0.11 → 10.0.0.11: vpc-y and vpc-x are peered"),
        ("y", "z", "no: vpc-y and vpc-z are not peered"),
        ("z", "a", "no: vpc-z and vpc-x are not peered"),
        ("a", "z", "no: vpc-x and vpc-z are not peered"),
        # A NIC by its own name, and a second address.
        ("a", "fw:in", "10.0.0.11 → 10.0.0.15: both ends are in vpc-x"),
        ("a", "10.0.0.13", "10.0.0.11 → 10.0.0.13: both ends are in vpc-x"),
        # A custom route through an instance with a NIC in both VPCs; there is none back.
        ("a", "w", "10.0.0.11 → 10.9.0.11: a route of vpc-x leads through fw:in to vpc-w"),
        ("w", "a", "no: vpc-w and vpc-x are not peered"),
        # Outwards and inwards with an EIP.
        ("a", "my-pc", "198.51.100.1 → 203.0.113.10: over the Internet with the EIP 198.51.100.1"),
        ("my-pc", "a", "203.0.113.10 → 198.51.100.1: over the Internet with the EIP 198.51.100.1"),
        ("y", "my-pc", "no: y has no EIP"),
        ("my-pc", "y", "no: y has no EIP"),
        ("10.0.0.13", "my-pc", "198.51.100.3 → 203.0.113.10: over the Internet with the EIP 198.51.100.3"),
        # Without an own EIP, the VPC's default route leads out through the NAT instance; nothing leads in.
        ("fw:in", "my-pc", "198.51.100.3 → 203.0.113.10: over the Internet with the EIP 198.51.100.3"),
        ("my-pc", "fw:in", "no: fw:in has no EIP"),
        # By the EIP itself: over the Internet, wherever the two ends are.
        ("my-pc", "198.51.100.1", "203.0.113.10 → 198.51.100.1: over the Internet with the EIP 198.51.100.1"),
        (
            "a",
            "198.51.100.2",
            "198.51.100.1 → 198.51.100.2: over the Internet with the EIP 198.51.100.1 and 198.51.100.2",
        ),
        (
            "z",
            "198.51.100.1",
            "198.51.100.4 → 198.51.100.1: over the Internet with the EIP 198.51.100.4 and 198.51.100.1",
        ),
        ("y", "198.51.100.1", "no: y has no EIP"),
        (
            "198.51.100.2",
            "a",
            "198.51.100.2 → 198.51.100.1: over the Internet with the EIP 198.51.100.2 and 198.51.100.1",
        ),
        ("198.51.100.2", "y", "no: y has no EIP"),
        # A virtual IP is carried as it is (S8), and has no EIP.
        ("10.0.0.21", "b", "10.0.0.21 → 10.0.0.12: both ends are in vpc-x"),
        ("b", "10.0.0.21", "10.0.0.12 → 10.0.0.21: both ends are in vpc-x"),
        ("my-pc", "10.0.0.21", "no: 10.0.0.21 has no EIP"),
        # Load balancers are inside.
        ("a", "elb", "10.0.0.11 → 10.0.0.100: both ends are in vpc-x"),
        ("y", "10.0.0.100", "10.1.0.11 → 10.0.0.100: vpc-y and vpc-x are peered"),
        ("z", "elb", "no: vpc-z and vpc-x are not peered"),
        ("my-pc", "elb", "no: elb has no EIP"),
        # Nobody's addresses: nothing is known against them.
        ("a", "10.0.0.99", "10.0.0.11 → 10.0.0.99: nobody in the policy has 10.0.0.99"),
        ("y", "8.8.8.8", "10.1.0.11 → 8.8.8.8: nobody in the policy has 8.8.8.8"),
        ("8.8.8.8", "y", "8.8.8.8 → 10.1.0.11: nobody in the policy has 8.8.8.8"),
        ("8.8.8.8", "9.9.9.9", "8.8.8.8 → 9.9.9.9: nobody in the policy has 8.8.8.8"),
        # Outside.
        ("my-pc", "other-pc", "203.0.113.10 → 203.0.113.20: both ends are on the Internet"),
        ("a", "odd", "no: 10.1.0.200 lies in sub-y, so packets to it stay in the VPC"),
        ("odd", "y", "no: 10.1.0.200 lies in sub-y, so packets to it stay in the VPC"),
    ],
)
def test_ways_of_ipv4_s18(world: Policy, src: str, dst: str, expected: str):
    assert way(world, src, dst) == expected


@pytest.mark.parametrize(
    ("src", "dst", "expected"),
    [
        ("a", "y", "2001:db8:a::11 → 2001:db8:b::11: vpc-x and vpc-y are peered"),
        ("a", "b", "no: b has no IPv6 address"),
        ("a", "my-pc", "2001:db8:a::11 → 2001:db8:ffff::10: IPv6 is routed without NAT"),
        ("my-pc", "y", "2001:db8:ffff::10 → 2001:db8:b::11: IPv6 is routed without NAT"),
        ("a", "other-pc", "no: other-pc has no IPv6 address"),
        ("y", "z", "no: vpc-y and vpc-z are not peered"),
        # Two VPCs with one range: the Internet knows each network once.
        ("my-pc", "z", "no: 2001:db8:c::/64 overlaps 2001:db8:c::/60 of vpc-w, so the Internet has no route"),
        ("z", "my-pc", "no: 2001:db8:c::/64 overlaps 2001:db8:c::/60 of vpc-w, so the Internet has no route"),
    ],
)
def test_ways_of_ipv6_s18(world: Policy, src: str, dst: str, expected: str):
    assert way(world, src, dst, 6) == expected


def test_an_address_is_read_from_where_the_other_end_stands_s18(world: Policy):
    # 10.0.0.11 is a in vpc-x and z in vpc-z.
    _, from_b = endpoints(world, "b", "10.0.0.11")
    _, from_z = endpoints(world, "10.0.0.12", "10.0.0.11")
    _, from_peer = endpoints(world, "y", "10.0.0.11")
    assert [end.nic.label for end in (from_b, from_z, from_peer) if end.nic] == ["a", "a", "a"]
    source, _ = endpoints(world, "10.0.0.11", "z")
    assert source.nic
    assert source.nic.label == "z"


def test_an_address_of_a_foreign_vpc_means_whoever_has_it_there_and_there_is_no_way(world: Policy):
    assert way(world, "y", "10.9.0.11") == "no: vpc-y and vpc-w are not peered"


def test_an_address_of_one_s_own_subnet_is_never_somebody_elsewhere_s18(world: Policy):
    # From vpc-z, 10.0.0.12 is a free address of its own subnet, not b in vpc-x.
    _, target = endpoints(world, "z", "10.0.0.12")
    assert target.nic is None


def test_an_address_without_anything_to_read_it_from_may_mean_too_much(world: Policy):
    with pytest.raises(UsageError, match=r"'10\.0\.0\.11' is an address of a in vpc-x and z in vpc-z; write the name"):
        endpoint(world, "10.0.0.11")
    source, target = endpoints(world, "10.0.0.11", "10.0.0.12")
    assert (source.nic and source.nic.label, target.nic and target.nic.label) == ("a", "b")


def test_a_virtual_ip_is_that_of_the_first_nic_that_lists_it(world: Policy):
    single, in_range = endpoint(world, "10.0.0.21"), endpoint(world, "10.0.0.70")
    assert (single.nic and single.nic.label, in_range.nic and in_range.nic.label) == ("a", "b")
    assert [str(address) for address in single.addresses] == ["10.0.0.21"]


def test_a_forwarder_that_may_send_anything_does_not_own_the_world(world: Policy):
    assert endpoint(world, "8.8.8.8").nic is None
    assert endpoint(world, "10.0.0.99").nic is None


def test_an_end_is_named_as_it_was_asked_for(world: Policy):
    assert [endpoint(world, text).label for text in ("a", "fw:out", "my-pc", "elb", "203.0.113.10")] == [
        "a", "fw:out", "my-pc", "elb", "203.0.113.10",
    ]  # fmt: skip
    by_address = endpoint(world, "203.0.113.10").external
    assert by_address
    assert by_address.name == "my-pc"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("my-cp", "'my-cp' is not in the policy; did you mean 'my-pc'?"),
        ("fw:ni", "'fw:ni' is not in the policy; did you mean 'fw:in'?"),
        (
            "nobody-knows",
            "'nobody-knows' is not in the policy; "
            "write an ECS, ecs:nic, an external host, a load balancer or an IP address",
        ),
        (
            "2001:db8:a::11%eth0",
            "'2001:db8:a::11%eth0' is not in the policy; "
            "write an ECS, ecs:nic, an external host, a load balancer or an IP address",
        ),
    ],
)
def test_what_means_nothing_says_what_would(world: Policy, text: str, error: str):
    with pytest.raises(UsageError) as raised:
        endpoint(world, text)
    assert str(raised.value) == error


def test_names_are_found_in_either_spelling_of_a_letter():
    policy = parsed(
        "version: 1",
        "vpcs: [{name: v, subnets: [{name: s, cidr: 10.0.0.0/24}]}]",
        "ecs: [{name: B\u00e4r, subnet: s, addresses: [10.0.0.1]}]",
    )
    found = endpoint(policy, "Ba\u0308r").nic
    assert found
    assert found.ecs.name == "B\u00e4r"


def test_ipv6_goes_to_external_hosts_past_custom_routes():
    policy = parsed(
        WORLD.replace(
            "{destination: 10.8.0.0/24, next_hop",
            '{destination: "::/0", next_hop: a}\n      - {destination: 10.8.0.0/24, next_hop',
        )
    )
    assert way(policy, "a", "my-pc", 6).endswith("IPv6 is routed without NAT, past the custom route through a")
    assert way(policy, "my-pc", "a", 6).endswith("IPv6 is routed without NAT")
