"""Which NIC sits behind which interface of which namespace; pure naming, nothing is created."""

from __future__ import annotations

import re

import pytest
from parse_asking import REGION, parsed, region

from enforcer.errors import PolicyError, UsageError
from enforcer.model import Layout, Namespace, host_layout, lab_layout
from enforcer.model.layout import (
    ecs_namespace,
    external_namespace,
    host_interface,
    internet_namespace,
    nic_mac,
    peer_interface,
    slug,
    vpc_namespace,
)

HOSTS = """
ecs:
  - {name: web-1, subnet: subnet-a, addresses: [192.168.0.11]}
  - name: fw
    nics:
      - {name: in, subnet: subnet-a, addresses: [192.168.0.12], mac: "fa:16:3e:00:00:12"}
      - {name: out, subnet: subnet-y, addresses: [10.1.0.12]}
  - {name: 数据库, subnet: subnet-y, addresses: [10.1.0.13]}
  - {name: named, subnet: subnet-a, addresses: [192.168.0.14], interface: tap14, netns: elsewhere}
"""


def attached(namespace: Namespace) -> dict[str, str]:
    return {one.interface: one.ref.label for one in namespace.attachments}


def on_host(hosts: str) -> Layout:
    return host_layout(region(hosts))


def test_the_lab_has_a_namespace_of_ours_for_each_vpc():
    layout = lab_layout(region(HOSTS))
    assert [(one.name, one.vpcs, one.owned) for one in layout.namespaces] == [
        ("lab-vpc-vpc-x", ("vpc-x",), True),
        ("lab-vpc-vpc-y", ("vpc-y",), True),
        ("lab-vpc-vpc-z", ("vpc-z",), True),  # without a NIC: its strangers are dropped all the same
    ]


def test_the_lab_s_interfaces_are_readable_where_they_fit():
    first, second, third = lab_layout(region(HOSTS)).namespaces
    assert attached(first) == {"v-web-1": "web-1", "v-fw-in": "fw:in", "tap14": "named"}
    assert [label for name, label in attached(second).items() if re.fullmatch(r"v-[0-9a-f]{12}", name)] == ["数据库"]
    assert attached(second)["v-fw-out"] == "fw:out"
    assert third.attachments == ()


def test_the_lab_s_uplink_and_peerings_are_no_strangers():
    first, second, third = lab_layout(region(HOSTS)).namespaces
    assert first.infrastructure == second.infrastructure == ("up-inet", "peer-peering-xy")
    assert third.infrastructure == ("up-inet",)


def test_every_nic_of_the_lab_has_a_mac_that_stays():
    layout = lab_layout(region(HOSTS))
    macs = {one.ref.label: one.mac for namespace in layout.namespaces for one in namespace.attachments}
    assert macs["fw:in"] == "fa:16:3e:00:00:12"
    assert all(mac and re.fullmatch(r"fa:16:3e(:[0-9a-f]{2}){3}", mac) for mac in macs.values())
    assert len(set(macs.values())) == len(macs)
    assert lab_layout(region(HOSTS)) == layout
    assert {ref.label: nic_mac(ref) for ref in region(HOSTS).nics()} == macs


def test_two_nics_never_get_one_interface():
    # "a-b" with one NIC and the NIC "b" of "a" would both be v-a-b; up-inet and a name in two namespaces collide too.
    layout = lab_layout(region("""
        ecs:
          - {name: a-b, subnet: subnet-a, addresses: [192.168.0.11]}
          - name: a
            nics:
              - {name: b, subnet: subnet-a, addresses: [192.168.0.12]}
              - {name: c, subnet: subnet-a, addresses: [192.168.0.13], interface: up-inet}
          - {name: x, subnet: subnet-a, addresses: [192.168.0.14], interface: eth0, netns: one}
          - {name: y, subnet: subnet-a, addresses: [192.168.0.15], interface: eth0, netns: two}
    """))  # fmt: skip
    names = [one.interface for one in layout.namespaces[0].attachments]
    assert names[0] == "v-a-b"
    assert len({*names, *layout.namespaces[0].infrastructure}) == 5 + 2
    assert all(len(name) <= 15 for name in names)


@pytest.mark.parametrize("name", ["a", "a" * 13, "a" * 14, "a" * 64, "é", "a.b_c-d"])
def test_interface_names_fit_the_kernel(name: str):
    ref = region(f"ecs: [{{name: {name}, subnet: subnet-a, addresses: [192.168.0.11]}}]").nics()[0]
    interface = host_interface(ref)
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", interface)
    assert (interface == f"v-{name}") == (name.isascii() and len(name) <= 13)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("vpc-x", "vpc-x"),
        ("a" * 40, "a" * 40),
        ("a" * 41, r"x[0-9a-f]{12}"),
        ("网络", r"x[0-9a-f]{12}"),
        ("a.b", r"a\.b"),
    ],
)
def test_names_of_namespaces_are_the_objects_names_where_they_can_be(name: str, part: str):
    assert re.fullmatch(part, slug(name))
    assert vpc_namespace("lab", name) == f"lab-vpc-{slug(name)}"
    assert (ecs_namespace("l1", name), external_namespace("l1", name)) == (
        f"l1-ecs-{slug(name)}",
        f"l1-ext-{slug(name)}",
    )


def test_the_internet_and_long_peerings_have_names_too():
    assert internet_namespace("lab") == "lab-internet"
    assert peer_interface("short") == "peer-short"
    assert re.fullmatch(r"peer-[0-9a-f]{10}", peer_interface("a-long-peering"))


@pytest.mark.parametrize("lab", ["", "Lab", "a-b", "a" * 13, "../x"])
def test_a_lab_has_a_plain_name(lab: str):
    with pytest.raises(UsageError, match="is not a lab's name; write 1 to 12 of a-z and 0-9"):
        lab_layout(region(), lab)


def test_on_a_host_only_nics_with_an_interface_are_there():
    layout = on_host(HOSTS)
    assert [(one.name, one.vpcs, one.owned, attached(one)) for one in layout.namespaces] == [
        ("elsewhere", ("vpc-x",), False, {"tap14": "named"})
    ]
    assert host_layout(parsed("version: 1")) == Layout(())


def test_on_a_host_nics_share_namespaces_and_have_the_mac_of_the_policy_or_none():
    (own, other) = on_host("""
        ecs:
          - {name: a, subnet: subnet-a, addresses: [192.168.0.11], interface: tap1, mac: "fa:16:3e:00:00:01"}
          - {name: z, subnet: subnet-z, addresses: [192.168.0.11], interface: tap1, netns: far}
          - {name: b, subnet: subnet-a, addresses: [192.168.0.12], interface: tap2}
          - {name: y, subnet: subnet-y, addresses: [10.1.0.12], interface: tap3}
    """).namespaces
    assert [(one.interface, one.mac) for one in own.attachments] == [
        ("tap1", "fa:16:3e:00:00:01"),
        ("tap2", None),
        ("tap3", None),
    ]
    # vpc-x and vpc-y are peered and may share; vpc-z has a namespace of its own.
    assert (own.name, own.vpcs, own.infrastructure) == ("", ("vpc-x", "vpc-y"), ())
    assert (other.name, other.vpcs) == ("far", ("vpc-z",))


def test_unpeered_vpcs_never_share_a_namespace_of_a_host_s18():
    hosts = """
        ecs:
          - {{name: a, subnet: subnet-a, addresses: [192.168.0.11], interface: tap1, netns: n1}}
          - {{name: z, subnet: subnet-z, addresses: [192.168.0.12], interface: tap2, netns: {}}}
    """
    assert len(on_host(hosts.format("n2")).namespaces) == 2
    with pytest.raises(PolicyError) as raised:
        on_host(hosts.format("n1"))
    assert str(raised.value) == (
        "ecs[z].netns: namespace 'n1' would join vpc-z and vpc-x (NIC a), not peered; "
        "give each VPC its own namespace or peer them"
    )


def test_peering_is_not_passed_on_when_namespaces_are_shared_s18():
    chain = REGION.replace("192.168.0.0/24}]}\npeerings: [", "172.16.0.0/24}]}\npeerings: [").replace(
        "vpcs: [vpc-x, vpc-y]}", "vpcs: [vpc-x, vpc-y]}, {name: yz, vpcs: [vpc-y, vpc-z]}"
    )
    hosts = """
        ecs:
          - {name: x, subnet: subnet-a, addresses: [192.168.0.11], interface: tap1}
          - {name: y, subnet: subnet-y, addresses: [10.1.0.11], interface: tap2}
          - {name: z, subnet: subnet-z, addresses: [172.16.0.11], interface: tap3}
    """
    with pytest.raises(PolicyError, match="would join vpc-z and vpc-x"):
        host_layout(parsed(chain, hosts))
