"""Whole policies: all errors at once and in order, names across objects, and the limits that need more than one value.

What each single wrong value gives is in docs/policy.md, held by test_parse_docs.
"""

from __future__ import annotations

import json
import time

import pytest
from parse_asking import REGION, errors, parsed, problems, region

from enforcer.errors import PolicyError
from enforcer.model import AddressRange, PortRange, parse_policy


def test_the_smallest_policy_is_its_version():
    policy = parsed("version: 1")
    assert (policy.vpcs, policy.ecs, policy.revoke, policy.limits.costly_rules) == ((), (), "inbound", 120)
    assert (policy.marks.packet_bit, policy.marks.connection_mask) == (0x1000, 0xFFFFFF00)


def test_all_errors_come_at_once_with_lines_and_in_file_order():
    assert errors("""\
        version: 1
        vpcs:
          - {name: vpc-x, subnets: [{name: subnet-a, cidr: 192.168.0.0/24}]}
        security_groups:
          - name: Sg-B
          - name: Sg-A
            rules:
              - id: A01
                direction: ingress
                remote_group: Sg-Q
              - {direction: egress, priority: 0}
        ecs:
          - name: ecs-a
            subnet: subnet-b
            addresses:
              - 192.168.0.11
              - 192.168.0.300
          - {name: ecs-b, subnet: subnet-z, addresses: [10.0.0.1], colour: blue}
        tags: {}
    """) == [
        "line 11: security_groups[Sg-A].rules[1].priority: 0 is out of range; write a whole number from 1 to 100",
        "line 17: ecs[ecs-a].addresses[1]: '192.168.0.300' is not an IP address; "
        "write one like 192.168.0.11 or 2001:db8::11",
        "line 18: ecs[ecs-b].colour: is not a known key here; leave it out",
        "line 19: tags: is not a known key here; leave it out",
    ]  # fmt: skip


def test_sound_items_are_checked_against_each_other_where_others_are_broken():
    assert errors(REGION, "security_groups: [{name: Sg-A, rules: [{direction: ingress, remote_group: Sg-Q}]}, {}]") == [
        "line 9: security_groups[Sg-A].rules[0].remote_group: 'Sg-Q' is not defined; did you mean 'Sg-A'?",
        "line 9: security_groups[1].name: is missing; give it a name",
    ]


def test_the_issues_own_example_reads_as_promised():
    text = "security_groups: [{name: Sg-A, rules: [{id: A01, direction: ingress, remote_group: Sg-Q}]}, {name: Sg-B}]"
    (problem,) = problems("version: 1", text)
    assert (problem.where, problem.line) == ("security_groups[Sg-A].rules[A01].remote_group", 2)
    assert problem.message in (
        "'Sg-Q' is not defined; did you mean 'Sg-B'?",
        "'Sg-Q' is not defined; did you mean 'Sg-A'?",
    )


def test_a_name_that_only_a_broken_item_has_counts_as_defined():
    assert errors("""\
        version: 1
        vpcs: [{name: vpc-x, subnets: [{name: subnet-a, cidr: 192.168.0.0}], wrong: 1}]
        security_groups: [{name: Sg-A, rules: {}}]
        ecs: [{name: ecs-a, subnet: subnet-a, addresses: [192.168.0.11], security_groups: [Sg-A], mac: x}]
        eips: [{address: 198.51.100.1, ecs: ecs-a}, {address: 198.51.100.2, ecs: "ecs-a:eth0"}]
    """) == [
        "line 2: vpcs[vpc-x].wrong: is not a known key here; leave it out",
        "line 3: security_groups[Sg-A].rules: a mapping stands where a list is expected; write a list like [a, b]",
        "line 4: ecs[ecs-a].mac: 'x' is not a MAC address; write one like 'fa:16:3e:00:00:12'",
    ]  # fmt: skip


def test_both_forms_of_an_ecs_say_places_as_they_are_written_s6():
    both = "ecs: [{name: flat, subnet: s}, {name: full, nics: [{name: eth3, subnet: s, mac: 1}]}]"
    assert {problem.where for problem in problems("version: 1", both)} == {
        "ecs[flat].addresses",
        "ecs[full].nics[eth3].addresses",
        "ecs[full].nics[eth3].mac",
    }


def test_many_unknown_names_are_all_reported_but_only_the_first_with_a_guess():
    names = ", ".join(f"Sg-{n:03}x" for n in range(60))
    said = errors("version: 1", "vpcs: [{name: v, subnets: [{name: s, cidr: 10.0.0.0/8}]}]",
                  "security_groups: [{name: Sg-000}]",
                  f"ecs: [{{name: e, subnet: s, addresses: [10.0.0.1], security_groups: [{names}]}}]")  # fmt: skip
    assert len(said) == 60
    assert "did you mean 'Sg-000'?" in said[0]
    assert said[59].endswith("'Sg-059x' is not defined; define it under security_groups")


def test_default_may_be_named_without_being_defined_s2():
    policy = region("security_groups: [{name: Sg-A, rules: [{direction: ingress, remote_group: default}]}]")
    assert policy.group("Sg-A").rules[0].remote_group == "default"


def test_two_spellings_of_one_letter_are_one_name_s1():
    composed, decomposed = "Gr\u00f6\u00dfe", "Gro\u0308\u00dfe"
    rules = f"rules: [{{direction: ingress, remote_group: {decomposed}}}]"
    assert region(f"security_groups: [{{name: {composed}, {rules}}}]").group(composed).rules[0].remote_group == composed
    assert "already the name of another security group" in errors(
        "version: 1", f"security_groups: [{{name: {composed}}}, {{name: {decomposed}}}]"
    )[0]  # fmt: skip


@pytest.mark.parametrize("name", ["a", "x" * 64, "名前-1", "नमस्ते", "Ω.ω_9", "-", "…".replace("…", "..")])
def test_names_of_any_script_are_good_s1(name: str):
    assert region(f'security_groups: [{{name: "{name}"}}]').security_groups[0].name == name


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a/b", "a:b", "a\u202eb", "a\u200bb", "½", "a\n", "😀"])
def test_names_with_anything_else_are_not_s1(name: str):
    (problem,) = problems(json.dumps({"version": 1, "security_groups": [{"name": name}]}))
    assert problem.where == "security_groups[0].name" or problem.where == f"security_groups[{name}].name"


def test_hosts_of_all_kinds_share_their_names_since_the_command_line_does():
    assert errors(REGION, """
        ecs: [{name: one, subnet: subnet-a, addresses: [192.168.0.11]}]
        external_hosts: [{name: one, addresses: [203.0.113.10]}]
        load_balancers: [{name: one, subnet: subnet-a, address: 192.168.0.100}]
    """) == [
        "line 11: external_hosts[one].name: 'one' is already the name of an ECS; choose another name",
        "line 12: load_balancers[one].name: 'one' is already the name of an ECS; choose another name",
    ]  # fmt: skip


def test_a_group_and_an_ecs_may_share_a_name():
    policy = region("security_groups: [{name: web}]", "ecs: [{name: web, subnet: subnet-a, addresses: [192.168.0.9]}]")
    assert policy.group("web").name == policy.find_ecs("web").name


def test_ranges_of_vpcs_that_are_not_peered_may_overlap_s18():
    policy = region("""
        ecs:
          - {name: x, subnet: subnet-a, addresses: [192.168.0.11], mac: "fa:16:3e:00:00:01"}
          - {name: z, subnet: subnet-z, addresses: [192.168.0.11], mac: "fa:16:3e:00:00:01"}
    """)
    assert policy.nic_ref("x").nic.addresses == policy.nic_ref("z").nic.addresses


def test_peered_vpcs_may_not_overlap_s18():
    assert errors(REGION.replace("[vpc-x, vpc-y]", "[vpc-x, vpc-z]")) == [
        "line 7: peerings[peering-xy].vpcs: vpc-x and vpc-z cannot be peered, 192.168.0.0/24 of subnet-a overlaps "
        "192.168.0.0/24 of subnet-z; renumber one of them"
    ]


def test_interfaces_are_unique_in_a_namespace_and_free_across_namespaces():
    hosts = """
        ecs:
          - {{name: x, subnet: subnet-a, addresses: [192.168.0.11], interface: veth0, netns: one}}
          - {{name: y, subnet: subnet-a, addresses: [192.168.0.12], interface: veth0, netns: {}}}
    """
    assert region(hosts.format("two")).nic_ref("y").nic.netns == "two"
    assert "'veth0' is already the interface of x:eth0" in errors(REGION, hosts.format("one"))[0]


def test_a_backend_in_a_peered_vpc_is_reachable_and_one_apart_is_not_s12():
    text = """
        ecs: [{{name: back, subnet: {}, addresses: [{}]}}]
        load_balancers:
          - name: elb
            subnet: subnet-a
            address: 192.168.0.100
            listeners: [{{protocol: tcp, port: 80, backends: [{{ecs: back, port: 80}}]}}]
    """
    assert region(text.format("subnet-y", "10.1.0.9")).load_balancers[0].listeners[0].backends[0].ecs == "back"
    assert "'back' is in vpc-z, which is not peered with the balancer's vpc-x" in errors(
        REGION, text.format("subnet-z", "192.168.0.9")
    )[0]  # fmt: skip


def test_an_eip_needs_an_ipv4_address():
    text = 'ecs: [{name: six, subnet: subnet-a, addresses: ["2001:db8:a::1"]}]\neips: [{address: 1.2.3.4, ecs: six}]'
    assert "'six' has no IPv4 address; an EIP needs a NIC with one" in errors(REGION, text)[0]


def test_networks_and_broadcast_addresses_are_no_hosts_but_a_subnet_of_two_has_two():
    text = (
        "vpcs: [{{name: v, subnets: [{{name: s, cidr: 10.0.0.0/{}}}]}}]\necs: [{{name: e, subnet: s, addresses: [{}]}}]"
    )
    assert "is the network address of s" in errors("version: 1", text.format(30, "10.0.0.0"))[0]
    assert "is the broadcast address of s" in errors("version: 1", text.format(30, "10.0.0.3"))[0]
    assert parsed("version: 1", text.format(31, "10.0.0.0, 10.0.0.1")).nics()[0].nic.addresses[1].packed[3] == 1


def test_values_come_out_as_the_program_needs_them():
    policy = region("""
        address_groups: [{name: ag, entries: [10.0.0.0/30, 10.1.1.1, 10.2.0.1-10.2.0.9]}]
        security_groups:
          - name: Sg-A
            rules:
              - {direction: ingress, protocol: Tcp, multiport: "22, 80-90", remote_ip_prefix: 10.1.2.3}
              - {direction: ingress, protocol: "47"}
              - {direction: ingress, protocol: 6, multiport: 443}
              - {direction: ingress, protocol: null, multiport: "", ethertype: ipv6}
              - {direction: ingress, protocol: udp, multiport: 1-65535}
        ecs: [{name: e, subnet: subnet-a, addresses: [192.168.0.9], mac: FA-16-3E-00-00-AB, security_groups: []}]
    """)
    first, second, third, fourth, fifth = policy.group("Sg-A").rules
    assert (first.protocol, first.ports, str(first.remote_ip_prefix)) == (6, ((22, 22), (80, 90)), "10.1.2.3/32")
    assert isinstance(first.ports[0], PortRange)
    assert (second.protocol, third.protocol, third.ports) == (47, 6, ((443, 443),))
    assert (fourth.protocol, fourth.ports, fourth.family, fifth.ports) == (None, (), 6, ())
    ranges = policy.address_group("ag").ranges
    assert [str(one) for one in ranges] == ["10.0.0.0-10.0.0.3", "10.1.1.1", "10.2.0.1-10.2.0.9"]
    assert all(isinstance(one, AddressRange) for one in ranges)
    assert policy.nic_ref("e").nic.mac == "fa:16:3e:00:00:ab"
    assert policy.nic_ref("e").nic.security_groups == ("default",)


def test_ipv6_and_mapped_addresses_come_out_canonical():
    policy = region('external_hosts: [{name: h, addresses: ["2001:DB8:0::1", "::ffff:10.0.0.1"]}]')
    assert str(policy.external_hosts[0].addresses[0]) == "2001:db8::1"
    assert policy.external_hosts[0].addresses[1].version == 6


@pytest.mark.parametrize(("count", "extra", "good"), [(20, "", True), (21, "", False), (21, "max_capacity: 21,", True)])
def test_an_address_group_has_twenty_entries_unless_its_capacity_is_raised_s5(count: int, extra: str, good: bool):
    entries = ", ".join(f"10.0.0.{n}" for n in range(count))
    text = f"version: 1\naddress_groups: [{{name: ag, {extra} entries: [{entries}]}}]"
    if good:
        assert len(parse_policy(text).address_group("ag").ranges) == count
    else:
        assert "21 entries are more than the 20 allowed" in errors(text)[0]


def test_overlapping_entries_are_fine_and_an_empty_group_too_s5():
    groups = region("address_groups: [{name: a, entries: [10.0.0.0/8, 10.0.0.1]}, {name: b, entries: []}, {name: c}]")
    assert [len(group.ranges) for group in groups.address_groups] == [2, 0, 0]


@pytest.mark.parametrize(("length", "good"), [(255, True), (256, False)])
def test_a_description_has_255_characters_s1(length: int, good: bool):
    text = f"version: 1\nsecurity_groups: [{{name: a, description: {'ü' * length}}}]"
    if good:
        assert len(parse_policy(text).group("a").description) == length
    else:
        assert "is too long; a description has at most 255 characters" in errors(text)[0]


def test_source_names_the_file_where_all_of_it_is_wrong():
    with pytest.raises(PolicyError, match=r"figure-1\.yaml: the file is empty"):
        parse_policy("", source="figure-1.yaml")


def test_two_thousand_nics_and_six_thousand_addresses_parse_in_seconds():
    vpcs = [{"name": f"v{n}", "subnets": [{"name": f"s{n}", "cidr": f"10.{n}.0.0/16"}]} for n in range(10)]
    rules = [
        {"direction": "ingress", "protocol": "tcp", "multiport": f"{n + 1},{n + 1000}", "remote_group": f"g{n % 50}"}
        for n in range(50)
    ]
    hosts = [
        {
            "name": f"e{n}",
            "subnet": f"s{n % 10}",
            "addresses": [f"10.{n % 10}.{n // 10}.{last}" for last in (10, 11, 12)],
            "security_groups": [f"g{n % 50}", f"g{(n + 1) % 50}"],
        }
        for n in range(2_000)
    ]
    groups = [{"name": f"g{n}", "rules": rules} for n in range(50)]
    text = json.dumps({"version": 1, "vpcs": vpcs, "security_groups": groups, "ecs": hosts})
    begun = time.process_time()
    policy = parse_policy(text)
    assert sum(len(policy.members(f"g{n}")) for n in range(50)) == 4_000
    assert sum(len(ref.nic.addresses) for ref in policy.nics()) == 6_000
    assert time.process_time() - begun < 8  # 0.5 where this was measured


@pytest.mark.parametrize(
    ("section", "error"),
    [
        ("ecs: [{name: e, nics: []}]", "ecs[e].nics: is an empty list; write at least one NIC"),
        (
            "ecs: [{name: e, subnet: subnet-a, addresses: []}]",
            "ecs[e].addresses: is an empty list; write at least one address",
        ),
        (
            "ecs: [{name: e, nics: [{name: n, subnet: subnet-a, addresses: [192.168.0.5]}, "
            "{name: n, subnet: subnet-a, addresses: [192.168.0.6]}]}]",
            "ecs[e].nics[n].name: 'n' is listed twice; name each NIC once",
        ),
        (
            "external_hosts: [{name: h, addresses: [203.0.113.1, 203.0.113.1]}]",
            "external_hosts[h].addresses[1]: '203.0.113.1' is listed twice; write each address once",
        ),
        ("ecs: [ecs-a]", "ecs[0]: 'ecs-a' stands where a mapping is expected; write 'key: value' pairs"),
        (
            "ecs: [{name: [e], subnet: subnet-a, addresses: [192.168.0.5]}]",
            "ecs[0].name: a list stands where text is expected; write a text",
        ),
        (
            "marks: {packet_bit: 0xzz}",
            "marks.packet_bit: '0xzz' is not a mask; write 32 bits like 0x1000",
        ),
        (
            "marks: {packet_bit: true}",
            "marks.packet_bit: true is not a mask; write 32 bits like 0x1000",
        ),
        (
            "load_balancers: [{name: l, subnet: subnet-a, address: 192.168.0.9, listeners: [{protocol: tcp, port: 80, "
            "backends: [{ecs: e, port: 80}, {ecs: e, port: 80}]}]}]",
            "load_balancers[l].listeners[0].backends[1]: 'e port 80' is listed twice; write each backend once",
        ),
        (
            "address_groups: &a !!seq []",
            "address_groups: the tag 'tag:yaml.org,2002:seq' is not supported; leave it out",
        ),
        (
            "security_groups: [{name: x.1, colour: [&a 1, *a]}]",
            "security_groups[x.1].colour: is not a known key here; leave it out",
        ),
    ],
)  # fmt: skip
def test_mistakes_that_need_a_list_to_make(section: str, error: str):
    assert error in [f"{problem.where}: {problem.message}" for problem in problems(REGION, section)]


def test_two_routes_to_one_destination_are_one_too_many():
    routes = "routes: [{destination: 0.0.0.0/0, next_hop: e}, {destination: 0.0.0.0/0, next_hop: e}]"
    assert "vpcs[v].routes[1].destination: '0.0.0.0/0' is listed twice; write one route for each destination" in errors(
        "version: 1", f"vpcs: [{{name: v, subnets: [], {routes}}}]"
    )[0]  # fmt: skip


def test_null_leaves_out_what_has_no_effect_on_what_is_allowed():
    policy = region("""
        security_groups: [{name: a, description: null, rules: [{id: null, direction: egress, description: null}]}]
        ecs: [{name: e, type: null, subnet: subnet-a, addresses: [192.168.0.5], mac: null, interface: null}]
    """)
    assert (policy.group("a").rules[0].id, policy.group("a").description) == ("rule-1", "")
    assert (policy.ecs[0].type, policy.ecs[0].nics[0].mac, policy.ecs[0].nics[0].interface) == (None, None, None)


@pytest.mark.parametrize("key", ["remote_ip_prefix", "remote_group", "remote_address_group", "icmp_type", "priority"])
def test_null_never_widens_a_rule_s19(key: str):
    (problem,) = problems("version: 1", f"security_groups: [{{name: a, rules: [{{direction: ingress, {key}: null}}]}}]")
    assert problem.where == f"security_groups[a].rules[0].{key}"
