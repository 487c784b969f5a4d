"""Warnings about valid policies have stable codes (S11, S16)."""

from __future__ import annotations

import json

from parse_asking import parsed, region

from enforcer.model import advice


def test_more_than_five_groups_on_a_nic_s11():
    groups = "security_groups: [{name: a}, {name: b}, {name: c}, {name: d}, {name: e}]"
    host = "ecs: [{{name: one, subnet: subnet-a, addresses: [192.168.0.11], security_groups: [{}]}}]"
    assert advice(region(groups, host.format("a, b, c, d, e"))) == ()
    (warning,) = advice(region(groups, host.format("a, b, c, d, e, default")))
    assert (warning.code, str(warning)) == (
        "S11-groups",
        "ecs[one].security_groups: 6 groups on one NIC slow its traffic down; associate at most 5",
    )


def test_more_than_six_thousand_instances_in_a_group_s11():
    def with_instances(count: int) -> str:
        hosts = [
            {"name": f"e{n}", "subnet": "s", "addresses": [f"10.0.{n // 250}.{n % 250 + 1}"]} for n in range(count)
        ]
        # A second NIC is no second instance.
        hosts[0] = {"name": "e0", "nics": [
            {"name": "a", "subnet": "s", "addresses": ["10.0.100.1"]},
            {"name": "b", "subnet": "s", "addresses": ["10.0.100.2"]},
        ]}  # fmt: skip
        vpcs = [{"name": "v", "subnets": [{"name": "s", "cidr": "10.0.0.0/16"}]}]
        return json.dumps({"version": 1, "vpcs": vpcs, "ecs": hosts})

    assert advice(parsed(with_instances(6_000))) == ()
    (warning,) = advice(parsed(with_instances(6_001)))
    assert (warning.code, warning.where) == ("S11-instances", "security_groups[default]")
    assert warning.message.startswith("6001 instances slow the group down")


def test_a_host_nic_without_a_mac_cannot_be_checked_fully_s16():
    host = "ecs: [{{name: one, nics: [{{name: eth7, subnet: subnet-a, addresses: [192.168.0.11]{}}}]}}]"
    (warning,) = advice(region(host.format(", interface: veth0")))
    assert (warning.code, warning.where) == ("no-mac", "ecs[one].nics[eth7].mac")
    assert "the source MAC on veth0 cannot be checked" in warning.message
    assert advice(region(host.format(', interface: veth0, mac: "fa:16:3e:00:00:01"'))) == ()
    assert advice(region(host.format(""))) == ()
    # Nothing is checked where port security is off.
    assert advice(region(host.format(", interface: veth0, port_security: false"))) == ()
