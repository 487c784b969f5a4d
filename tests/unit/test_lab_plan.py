"""The lab's pure half: what a policy means as namespaces, wires, routes and translations, and what differs."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network

from enforcer.lab.nat import router_script
from enforcer.lab.plan import Address, Host, Link, Plan, Role, Route, changes, guest_interface
from enforcer.lab.wiring import gateway, wire
from enforcer.model import Policy, parse_policy

BASE = """
version: 1
vpcs:
  - name: vpc-x
    subnets: [{name: x, cidr: 10.0.0.0/24, ipv6_cidr: "2001:db8:a::/64"}]
  - name: vpc-y
    subnets: [{name: y, cidr: 10.1.0.0/24}]
peerings: [{name: x-y, vpcs: [vpc-x, vpc-y]}]
ecs:
  - {name: ecs-a, subnet: x, addresses: [10.0.0.11, "2001:db8:a::11"], allowed_addresses: [10.0.0.21, 10.0.0.12]}
  - {name: ecs-b, subnet: x, addresses: [10.0.0.12], allowed_addresses: [10.0.0.21, 10.0.0.64/26]}
  - name: ecs-y
    nics:
      - {name: eth0, subnet: y, addresses: [10.1.0.11]}
      - {name: eth1, subnet: x, addresses: [10.0.0.13, "2001:db8:a::13"], source_dest_check: false}
"""
INTERNET = """
external_hosts: [{name: my-pc, addresses: [203.0.113.10]}]
eips: [{address: 198.51.100.10, ecs: ecs-a}]
"""


def policy(*texts: str) -> Policy:
    return parse_policy(BASE + "".join(texts))


def plan(*texts: str) -> Plan:
    return wire(policy(*texts), "lab")


def routes(found: Plan, netns: str) -> dict[str, tuple[str | None, str | None]]:
    """Interface and gateway of each route in the main table."""
    return {
        str(each.destination): (each.interface, each.gateway and str(each.gateway))
        for each in found.routes
        if each.netns == netns and each.table == 254 and not (each.interface is None and each.metric < 4_000_000_000)
    }


def test_every_vpc_is_a_router_and_every_ecs_a_namespace():
    assert [(host.netns, host.role) for host in plan().hosts] == [
        ("lab-vpc-vpc-x", Role.ROUTER),
        ("lab-vpc-vpc-y", Role.ROUTER),
        ("lab-internet", Role.INTERNET),  # vpc-x has global IPv6
        ("lab-ecs-ecs-a", Role.ECS),
        ("lab-ecs-ecs-b", Role.ECS),
        ("lab-ecs-ecs-y", Role.ECS),
    ]


def test_the_router_has_a_route_to_each_address_and_a_hole_where_nobody_is():
    found = routes(plan(), "lab-vpc-vpc-x")
    assert found["10.0.0.11/32"] == ("v-ecs-a", None)
    assert found["2001:db8:a::13/128"] == found["10.0.0.13/32"]
    assert found["10.0.0.0/24"] == (None, None)
    assert found["10.1.0.0/24"] == ("peer-x-y", "fe80::2")
    assert found["::/0"] == ("up-inet", "fe80::1")
    assert "0.0.0.0/0" not in found  # no EIP


def test_only_the_links_of_nics_are_guarded():
    found = plan(INTERNET)
    assert {link.far_netns for link in found.links if link.guarded} == {f"lab-ecs-ecs-{name}" for name in "aby"}
    assert {link.interface for link in found.links if not link.guarded} == {"vpc-vpc-x", "ext-my-pc", "peer-x-y"}


def test_an_eip_is_routed_to_its_vpc_and_gives_it_a_way_out():
    found = plan(INTERNET)
    assert routes(found, "lab-internet")["198.51.100.10/32"] == ("vpc-vpc-x", "fe80::2")
    assert routes(found, "lab-vpc-vpc-x")["0.0.0.0/0"] == ("up-inet", "fe80::1")
    assert routes(found, "lab-ext-my-pc")["0.0.0.0/0"] == ("eth0", "fe80::1")


def test_ipv6_that_two_vpcs_have_is_unknown_to_the_internet():
    """S18: overlapping ranges of unpeered VPCs never leak."""
    text = BASE.replace("cidr: 10.1.0.0/24", 'cidr: 10.1.0.0/24, ipv6_cidr: "2001:db8:a::/64"').replace(
        "peerings: [{name: x-y, vpcs: [vpc-x, vpc-y]}]", ""
    )
    found = wire(parse_policy(text), "lab")
    assert "lab-internet" not in {host.netns for host in found.hosts}
    assert routes(plan(), "lab-internet") == {"2001:db8:a::/64": ("vpc-vpc-x", "fe80::2")}


def test_a_second_nic_answers_through_itself():
    found = plan()
    assert {(str(rule.source), rule.table) for rule in found.rules} == {
        ("10.0.0.13/32", 101),
        ("2001:db8:a::13/128", 101),
    }
    own = {str(each.destination): each.interface for each in found.routes if each.table == 101}
    assert own == {"0.0.0.0/0": "eth1", "10.0.0.0/24": "eth1", "::/0": "eth1"}
    assert routes(found, "lab-ecs-ecs-y")["0.0.0.0/0"] == ("eth0", "10.1.0.1")


def test_only_instances_that_are_meant_to_forward_do():
    forwarding = {each.netns: each.value for each in plan().switches if each.key == "ipv4/ip_forward"}
    assert forwarding["lab-ecs-ecs-y"] == 1  # source_dest_check: false (S16)
    assert forwarding["lab-ecs-ecs-a"] == 0


def test_a_custom_route_leads_to_the_next_hops_interface():
    text = BASE.replace("- name: vpc-x", "- name: vpc-x\n    routes: [{destination: 172.16.0.0/12, next_hop: ecs-b}]")
    assert routes(wire(parse_policy(text), "lab"), "lab-vpc-vpc-x")["172.16.0.0/12"] == ("v-ecs-b", "10.0.0.12")


def through_nat(destination: str) -> Plan:
    """A plan in which a route leads through a second NIC with an EIP; ecs-a has one of its own."""
    route = f"- name: vpc-x\n    routes: [{{destination: '{destination}', next_hop: ecs-y:eth1}}]"
    eips = INTERNET.replace("203.0.113.10]", '203.0.113.10, "2001:db8:f::1"]')
    text = BASE.replace("- name: vpc-x", route) + eips + '  - {address: 198.51.100.13, ecs: "ecs-y:eth1"}\n'
    return wire(parse_policy(text.replace("eips: [{address: 198.51.100.10, ecs: ecs-a}]", EIP_LIST)), "lab")


EIP_LIST = "eips:\n  - {address: 198.51.100.10, ecs: ecs-a}"


def test_nics_with_an_eip_go_past_custom_routes_to_the_internet():
    found = through_nat("0.0.0.0/0")
    router = "lab-vpc-vpc-x"
    assert [(str(one.source), one.table) for one in found.rules if one.netns == router] == [
        ("10.0.0.11/32", 90),
        ("10.0.0.13/32", 90),
    ]
    direct = {str(one.destination): one.interface for one in found.routes if (one.netns, one.table) == (router, 90)}
    assert direct == dict.fromkeys(("203.0.113.10/32", "198.51.100.10/32", "198.51.100.13/32"), "up-inet")
    assert "203.0.113.10/32" not in routes(found, router)  # for others the custom route holds


def test_an_instance_on_the_way_to_the_internet_translates_and_sends_back_where_it_came_in():
    found = through_nat("203.0.113.0/24")
    (table,) = (one for one in found.nat if one.netns == "lab-ecs-ecs-y")
    assert 'iifname "eth1" oifname "eth1" ip daddr != { 10.0.0.0/24, 10.1.0.0/24 } snat ip to 10.0.0.13' in table.script
    assert ("0.0.0.0/0", 51, "eth1") in {(str(one.source), one.table, one.interface) for one in found.rules}
    back = {str(one.destination): one.interface for one in found.routes if one.table == 51}
    assert back == {"203.0.113.10/32": "eth1", "10.0.0.0/24": "eth1"}


def test_routes_that_lead_to_nobody_on_the_internet_need_no_detour():
    found = through_nat("172.16.0.0/12")
    assert {one.table for one in found.rules} == {101}


def test_external_hosts_are_reached_by_ipv6_past_custom_routes():
    found = routes(through_nat("::/0"), "lab-vpc-vpc-x")
    assert found["2001:db8:f::1/128"] == ("up-inet", "fe80::1")


def test_single_allowed_addresses_are_virtual_ips_unless_they_are_somebodys_own():
    (found,) = plan().virtual_ips  # 10.0.0.12 is ecs-b's, 10.0.0.64/26 is no address
    assert found.address == IPv4Address("10.0.0.21")
    assert [holder.label for holder in found.holders] == ["ecs-a", "ecs-b"]


def test_a_gateway_is_the_first_host_address_or_the_last_free_one():
    network = ip_network("10.0.0.0/24")
    assert gateway(network, frozenset()) == ip_address("10.0.0.1")
    assert gateway(network, frozenset({ip_address("10.0.0.1")})) == ip_address("10.0.0.254")
    assert gateway(network, frozenset({ip_address("10.0.0.1"), ip_address("10.0.0.254")})) == ip_address("10.0.0.253")
    assert gateway(ip_network("10.0.0.7/32"), frozenset({ip_address("10.0.0.7")})) is None
    assert gateway(ip_network("2001:db8::/64"), frozenset()) == ip_address("fe80::1")


def test_nic_names_that_the_kernel_refuses_are_replaced():
    assert guest_interface("eth0") == "eth0"
    for name in ("lo", "all", "..", "a-very-long-nic-name", "网卡"):
        assert 1 < len(guest_interface(name)) <= 15
        assert guest_interface(name) != name


BALANCER = """
load_balancers:
  - name: elb
    subnet: x
    address: 10.0.0.100
    listeners:
      - {protocol: tcp, port: 80, transfer_client_ip: true, backends: [{ecs: ecs-b, port: 8080}]}
      - {protocol: udp, port: 53, backends: [{ecs: ecs-a, port: 53}, {ecs: ecs-b, port: 54}]}
"""


def test_the_routers_table_translates_eips_and_balancers():
    """S12: the client's address is hidden only where the listener does not transfer it."""
    found = policy(INTERNET, BALANCER)
    eips = {eip.address: found.nic_ref(eip.ecs) for eip in found.eips}
    script = router_script(found, found.load_balancers, eips, with_uplink=True)
    assert (
        script
        == """\
add table inet lab
delete table inet lab
table inet lab {
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr 10.0.0.100 tcp dport 80 dnat ip to 10.0.0.12:8080
    ip daddr 10.0.0.100 udp dport 53 dnat ip to numgen inc mod 2 map { 0 : 10.0.0.11 . 53, 1 : 10.0.0.12 . 54 }
    iifname "up-inet" dnat ip to ip daddr map { 198.51.100.10 : 10.0.0.11 }
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ct status dnat ct original ip daddr 10.0.0.100 meta l4proto tcp ct original proto-dst 80 \
ip saddr 10.0.0.12 ip daddr 10.0.0.12 snat ip to 100.125.0.1
    ct status dnat ct original ip daddr 10.0.0.100 meta l4proto udp ct original proto-dst 53 snat ip to 100.125.0.1
    oifname "up-inet" snat ip to ip saddr map { 10.0.0.11 : 198.51.100.10 }
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    oifname "up-inet" meta nfproto ipv4 ip saddr != { 10.0.0.11 } drop
  }
  chain input {
    type filter hook input priority filter; policy accept;
    ip daddr 10.0.0.100 drop
  }
}
"""
    )
    assert router_script(found, (), {}, with_uplink=False) == ""


def test_between_equal_plans_nothing_differs():
    found = changes((plan(INTERNET, BALANCER),), plan(INTERNET, BALANCER))
    for part in (found.hosts, found.switches, found.links, found.addresses, found.routes, found.rules, found.nat):
        assert part.removed == part.added == ()


def test_a_new_instance_touches_no_other():
    more = BASE + "  - {name: ecs-c, subnet: x, addresses: [10.0.0.14]}\n"
    found = changes((plan(),), wire(parse_policy(more), "lab"))
    assert [host.owner for host in found.hosts.added] == ["ecs-c"]
    assert [link.far_netns for link in found.links.added] == ["lab-ecs-ecs-c"]
    touched = {part.netns for each in (found.addresses, found.routes) for part in each.added}
    assert touched == {"lab-ecs-ecs-c", "lab-vpc-vpc-x"}
    assert {str(route.destination) for route in found.routes.added} == {"10.0.0.14/32", "0.0.0.0/0"}
    assert found.links.removed == found.addresses.removed == found.routes.removed == ()


def test_what_hangs_on_a_link_that_is_made_anew_is_added_again():
    with_mac = BASE.replace("name: ecs-b,", 'name: ecs-b, mac: "fa:16:3e:00:00:77",')
    found = changes((plan(),), wire(parse_policy(with_mac), "lab"))
    assert len(found.links.removed) == len(found.links.added) == 1
    assert found.hosts.removed == found.hosts.added == ()
    assert {(part.netns, str(part.ip.ip)) for part in found.addresses.added} == {
        ("lab-ecs-ecs-b", "10.0.0.12"),
        ("lab-vpc-vpc-x", "fe80::1"),
    }
    assert {str(route.destination) for route in found.routes.added} == {"10.0.0.12/32", "0.0.0.0/0"}


def test_routes_of_an_interface_that_loses_an_address_are_set_again():
    host = Host("h", Role.ECS, "h")
    link = Link("r", "v", "h", "eth0", guarded=True)
    route = Route("h", ip_network("0.0.0.0/0"), "eth0")
    before = Plan((host,), (), (link,), (Address("h", "eth0", interface("10.0.0.1/24")),), (route,))
    after = Plan((host,), (), (link,), (Address("h", "eth0", interface("10.0.0.2/24")),), (route,))
    assert changes((before,), after).routes.added == (route,)
    assert changes((before,), before).routes.added == ()


def interface(text: str):
    from ipaddress import ip_interface

    return ip_interface(text)


def test_after_an_apply_that_was_cut_off_only_what_both_plans_hold_is_taken_as_there():
    one, two, three = (Host(name, Role.ECS, name) for name in ("one", "two", "three"))
    found = changes((Plan((one, two)), Plan((one, three))), Plan((one, three)))
    assert found.hosts.removed == (two,)
    assert found.hosts.added == (three,)


def test_from_nothing_everything_is_added():
    found = changes((), plan(INTERNET))
    assert found.links.added == plan(INTERNET).links
    assert found.routes.added == plan(INTERNET).routes
    assert found.hosts.removed == ()
