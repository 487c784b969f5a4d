"""Packets on their way: what is exempt (S12, S15), who is who (S16), what is closed while unknown (S19).

One line per packet; every "dropped" stands beside a "passes" over the same hosts.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from packets import ICMP, ICMPV6, TCP, UDP, Flow, Packet
from policies import compiled, three_hosts
from tracer import CannotTrace, Tracer

from enforcer.compiler.program import NamespaceProgram
from enforcer.ruleset import lower, names
from enforcer.ruleset.nft import ACCEPT, Chain, Field, Hook, Log, Match, Rule, Ruleset, Table, Throttle
from enforcer.ruleset.nics import link_local
from enforcer.ruleset.stamps import cut_bits, reached_bits, stamp_bits, through_bits

OPEN = "{id: o, direction: egress}, {id: i, direction: ingress}"
OPEN6 = "{id: o6, direction: egress, ethertype: IPv6}, {id: i6, direction: ingress, ethertype: IPv6}"
OPENED = f"""
security_groups:
  - {{name: Sg-A, rules: [{OPEN}, {OPEN6}]}}
  - {{name: Sg-B, rules: [{OPEN}, {OPEN6}]}}
  - {{name: Sg-C, rules: []}}
"""
HOSTS = """
ecs:
  - name: ecs-a
    subnet: subnet-a
    addresses: [10.0.0.11, "2001:db8::11"]
    allowed_addresses: [10.0.0.21, 172.16.0.0/12]
    mac: "fa:16:3e:00:00:0a"
    security_groups: [Sg-A]
  - name: ecs-b
    subnet: subnet-a
    addresses: [10.0.0.12, "2001:db8::12"]
    mac: "fa:16:3e:00:00:0b"
    security_groups: [Sg-B]
  - name: ecs-c
    subnet: subnet-a
    addresses: [10.0.0.13, "2001:db8::13"]
    mac: "fa:16:3e:00:00:0c"
    security_groups: [Sg-C]
"""
MAC = {"v-ecs-a": "fa:16:3e:00:00:0a", "v-ecs-b": "fa:16:3e:00:00:0b", "v-ecs-c": "fa:16:3e:00:00:0c"}


def opened(*more: str) -> NamespaceProgram:
    return compiled(three_hosts(OPENED, HOSTS, *more))


def packet(source: str, destination: str, protocol: int = TCP, **fields: Any) -> Packet:
    fields = {"iif": "v-ecs-a", "oif": "v-ecs-b", **fields}
    fields.setdefault("mac", MAC.get(fields["iif"], ""))
    return Packet(ip_address(source), ip_address(destination), protocol, **fields)


def passes(program: NamespaceProgram, one: Packet, **tracer: Any) -> bool:
    absent = tracer.pop("absent", ())
    return Tracer(lower(program, absent=absent), **tracer).forward(one).accepted


# --- S16 --------------------------------------------------------------------------------------------------------------


def test_an_instance_sends_from_its_own_addresses_only_s16():
    program = opened()
    assert passes(program, packet("10.0.0.11", "10.0.0.12"))
    assert passes(program, packet("10.0.0.21", "10.0.0.12")), "a virtual IP"
    assert passes(program, packet("172.31.255.255", "10.0.0.12")), "an allowed prefix"
    assert passes(program, packet("2001:db8::11", "2001:db8::12"))
    for stranger in ("10.0.0.13", "172.15.255.255", "172.32.0.0", "0.0.0.0", "127.0.0.1"):
        assert not passes(program, packet(stranger, "10.0.0.12")), stranger
    assert not passes(program, packet("2001:db8::13", "2001:db8::12"))


def test_an_instance_sends_from_its_own_mac_only_s16():
    program = opened()
    assert passes(program, packet("10.0.0.11", "10.0.0.12"))
    assert not passes(program, packet("10.0.0.11", "10.0.0.12", mac=MAC["v-ecs-b"]))


def test_spoofed_packets_are_dropped_before_connection_tracking_s16():
    tracer = Tracer(lower(opened()))
    assert tracer.ingress(packet("10.0.0.11", "10.0.0.12")).accepted
    assert not tracer.ingress(packet("10.0.0.13", "10.0.0.12")).accepted


def with_forwarder() -> NamespaceProgram:
    forwarder = HOSTS.replace("security_groups: [Sg-A]", "security_groups: [Sg-A]\n    source_dest_check: false")
    return compiled(three_hosts(OPENED, forwarder))


def test_a_forwarder_sends_and_receives_for_others_s16():
    forwards, checked = with_forwarder(), opened()
    assert passes(forwards, packet("203.0.113.9", "10.0.0.12"))
    assert not passes(checked, packet("203.0.113.9", "10.0.0.12"))
    inward = packet("10.0.0.12", "203.0.113.9", iif="v-ecs-b", oif="v-ecs-a")
    assert passes(forwards, inward)
    assert not passes(checked, inward)
    assert not passes(forwards, packet("203.0.113.9", "10.0.0.12", mac=MAC["v-ecs-b"])), "its MAC is still its own"
    to_another = packet("10.0.0.11", "203.0.113.9", oif="v-ecs-b")
    assert not passes(forwards, to_another), "others beside a forwarder receive for themselves alone"


def test_a_flow_that_meets_a_forwarder_is_marked_as_far_as_it_came_beside_the_marks_of_others_s14():
    program, others = with_forwarder(), 0x77
    tracer, mark = Tracer(lower(program)), others
    for iif, oif, bits in (("v-ecs-b", "v-ecs-a", reached_bits), ("v-ecs-a", "up-inet", through_bits)):
        one = packet("10.0.0.12", "203.0.113.9", iif=iif, oif=oif, flow=Flow(mark=mark))
        mark = tracer.forward(one).flow_mark
        assert mark == bits(program.marks) | others


def test_an_icmp_error_passes_about_a_flow_that_meets_a_forwarder_until_that_is_cut_s13_s14():
    program = with_forwarder()
    for bits, passes in ((reached_bits, True), (through_bits, True), (cut_bits, False)):
        flow = Flow("related", mark=bits(program.marks))
        error = packet("203.0.113.9", "10.0.0.12", ICMP, iif="up-inet", flow=flow)
        assert Tracer(lower(program)).forward(error).accepted == passes


def test_a_nic_without_port_security_is_not_filtered_s16():
    free = HOSTS.replace("security_groups: [Sg-C]", "security_groups: [Sg-C]\n    port_security: false")
    program = compiled(three_hosts(OPENED, free))
    anything = packet("203.0.113.9", "10.0.0.12", iif="v-ecs-c", mac="fa:16:3e:99:99:99")
    assert passes(program, anything)
    assert not passes(opened(), anything)
    to_it = packet("10.0.0.11", "10.0.0.13", oif="v-ecs-c")
    assert passes(program, to_it)
    assert not passes(opened(), to_it), "Sg-C has no rule"


def test_packets_to_an_address_that_the_nic_does_not_have_stay_out():
    assert passes(opened(), packet("10.0.0.12", "10.0.0.21", iif="v-ecs-b", oif="v-ecs-a"))
    assert passes(opened(), packet("10.0.0.12", "172.20.0.1", iif="v-ecs-b", oif="v-ecs-a"))
    assert not passes(opened(), packet("10.0.0.12", "10.0.0.99", iif="v-ecs-b", oif="v-ecs-a"))


# --- S15 --------------------------------------------------------------------------------------------------------------


def arp(operation: str, mac: str, address: str) -> Packet:
    return packet("10.0.0.11", "10.0.0.1", 0, arp=(operation, mac, ip_address(address)), oif="")


def test_an_instance_whose_mac_nobody_knows_speaks_arp_for_its_own_addresses_only_s15():
    known = opened()
    program = replace(known, nics=tuple(replace(nic, mac=None) for nic in known.nics))
    for operation in ("request", "reply"):
        assert passes(program, arp(operation, "fa:16:3e:00:00:77", "10.0.0.11"))
        assert not passes(program, arp(operation, "fa:16:3e:00:00:77", "10.0.0.12"))


def test_an_instance_speaks_arp_for_its_own_addresses_only_s15():
    program, own = opened(), MAC["v-ecs-a"]
    for operation in ("request", "reply"):
        assert passes(program, arp(operation, own, "10.0.0.11"))
        assert passes(program, arp(operation, own, "10.0.0.21"))
        assert not passes(program, arp(operation, own, "10.0.0.12"))
        assert not passes(program, arp(operation, MAC["v-ecs-b"], "10.0.0.11"))
    assert passes(program, arp("request", own, "0.0.0.0")), "an address probe"
    assert not passes(program, arp("reply", own, "0.0.0.0"))


def nd(kind: int, source: str, destination: str = "ff02::1", **fields: Any) -> Packet:
    fields = {"oif": "", "hoplimit": 255, "flow": Flow("untracked"), "sport": kind << 8, **fields}
    return packet(source, destination, ICMPV6, **fields)


LOCAL_A = str(ip_address(link_local(MAC["v-ecs-a"])))


def test_an_instance_discovers_its_neighbours_and_answers_for_itself_only_s15():
    program = opened()
    for source in ("2001:db8::11", LOCAL_A):
        assert passes(program, nd(135, source, target=ip_address("2001:db8::99"))), "it may ask for anybody"
        assert passes(program, nd(136, source, target=ip_address("2001:db8::11")))
        assert passes(program, nd(136, source, target=ip_address(LOCAL_A)))
        assert not passes(program, nd(136, source, target=ip_address("2001:db8::12")))
        assert not passes(program, nd(135, source, target=ip_address("2001:db8::12"), hoplimit=64)), "from afar"
    assert passes(program, nd(135, "::", target=ip_address("2001:db8::11"))), "is my address free?"
    assert not passes(program, nd(135, "::", target=ip_address("2001:db8::12")))
    assert passes(program, nd(133, LOCAL_A))


def test_an_instance_is_no_router_s15():
    assert not passes(opened(), nd(134, LOCAL_A))
    assert not passes(opened(), nd(134, "2001:db8::11"))
    advertised = nd(134, "fe80::1", iif="", oif="v-ecs-a", source_kind="local")
    assert passes(opened(), advertised), "routers advertise to it"


def test_link_local_addresses_are_for_the_link_only_s15():
    assert passes(opened(), nd(135, LOCAL_A, target=ip_address("2001:db8::99")))
    assert not passes(opened(), packet(LOCAL_A, "2001:db8::12", TCP))
    assert not passes(opened(), nd(135, "fe80::bad", target=ip_address("2001:db8::99"))), "not its own"


def dhcp(source: str, destination: str, sport: int, dport: int, **fields: Any) -> Packet:
    return packet(source, destination, UDP, sport=sport, dport=dport, **{"oif": "", **fields})


def test_an_instance_is_a_dhcp_client_whatever_its_rules_are_s15():
    closed = {"iif": "v-ecs-c", "oif": ""}
    program = opened()
    broadcast = {"destination_kind": "broadcast"}
    assert passes(program, dhcp("0.0.0.0", "255.255.255.255", 68, 67, **closed, **broadcast))
    assert passes(program, dhcp("10.0.0.13", "10.0.0.1", 68, 67, **closed, destination_kind="local"))
    assert not passes(program, dhcp("10.0.0.13", "10.0.0.1", 68, 69, **closed, destination_kind="local"))
    own = str(ip_address(link_local(MAC["v-ecs-c"])))
    assert passes(program, dhcp(own, "ff02::1:2", 546, 547, **closed, destination_kind="multicast"))


def test_dhcp_is_no_way_around_the_rules_s15():
    # To another instance, on DHCP's own ports: the rules decide, and Sg-C has none.
    assert not passes(opened(), dhcp("10.0.0.13", "10.0.0.12", 68, 67, iif="v-ecs-c", oif="v-ecs-b"))
    assert not passes(opened(), dhcp("10.0.0.11", "10.0.0.13", 67, 68, oif="v-ecs-c"))


def test_an_instance_is_no_dhcp_server_even_where_the_rules_allow_everything_s15():
    assert passes(opened(), dhcp("10.0.0.11", "10.0.0.12", 67, 69, oif="v-ecs-b"))
    assert not passes(opened(), dhcp("10.0.0.11", "10.0.0.12", 67, 68, oif="v-ecs-b"))
    assert not passes(opened(), dhcp("2001:db8::11", "2001:db8::12", 547, 546, oif="v-ecs-b"))


def test_this_hosts_dhcp_answers_reach_the_instance_s15():
    answer = dhcp("10.0.0.1", "10.0.0.13", 67, 68, iif="", oif="v-ecs-c", source_kind="local")
    assert passes(opened(), answer)
    assert not passes(opened(), replace(answer, source_kind="unicast")), "nobody else's do"


def test_the_metadata_address_needs_a_rule_like_any_other_s15():
    one = packet("10.0.0.11", "169.254.169.254", oif="up-inet")
    assert passes(opened(), one)
    assert not passes(opened(), replace(one, source=ip_address("10.0.0.13"), iif="v-ecs-c", mac=MAC["v-ecs-c"]))


# --- S12 --------------------------------------------------------------------------------------------------------------

BALANCER = """
load_balancers:
  - name: elb
    subnet: subnet-a
    address: 10.0.0.100
    listeners:
      - {protocol: tcp, port: 80, transfer_client_ip: true, backends: [{ecs: ecs-c, port: 8080}]}
      - {protocol: tcp, port: 81, transfer_client_ip: false, backends: [{ecs: ecs-c, port: 8080}]}
"""


def forwarded(port: int, **flow: Any) -> Packet:
    seen = Flow(dnat=True, original_destination=ip_address("10.0.0.100"), original_port=port)
    return packet("203.0.113.9", "10.0.0.13", dport=8080, iif="up-inet", oif="v-ecs-c", flow=replace(seen, **flow))


def test_a_balancer_that_transfers_the_clients_address_is_not_limited_s12():
    program = opened(BALANCER)
    assert passes(program, forwarded(80))
    assert not passes(program, forwarded(81)), "that listener does not transfer it"
    assert not passes(program, replace(forwarded(80), protocol=UDP)), "nor does it listen on UDP"
    assert not passes(program, replace(forwarded(80), flow=Flow())), "sent to the backend directly"
    assert not passes(program, forwarded(80, original_destination=ip_address("10.0.0.101"))), "another's NAT"
    assert not passes(opened(), forwarded(80))


def test_what_a_balancer_forwarded_goes_on_after_a_change_s12_s14():
    program = opened(BALANCER)
    stale = stamp_bits(program.marks, 1)
    tracer = Tracer(lower(program, 2))
    onward = forwarded(80, state="established", mark=stale)
    back = replace(
        onward, source=onward.destination, destination=onward.source, iif="v-ecs-c", oif="up-inet", mac=MAC["v-ecs-c"],
        sport=8080, dport=40000, flow=replace(onward.flow, reply=True),
    )  # fmt: skip
    assert tracer.forward(onward).accepted
    assert tracer.forward(back).accepted
    assert not tracer.forward(replace(back, flow=replace(back.flow, original_port=81))).accepted


# --- S19 --------------------------------------------------------------------------------------------------------------


def test_a_nic_whose_interface_does_not_exist_yet_is_closed_s19():
    program = opened()
    out, into = packet("10.0.0.11", "10.0.0.12"), packet("10.0.0.12", "10.0.0.11", iif="v-ecs-b", oif="v-ecs-a")
    for one in (out, into):
        assert passes(program, one)
        assert not passes(program, one, absent=("v-ecs-a",))
    assert passes(program, packet("10.0.0.12", "203.0.113.9", iif="v-ecs-b", oif="up-inet"), absent=("v-ecs-a",))


def test_an_interface_that_comes_back_under_its_name_is_closed_s19():
    program = opened()
    out, into = packet("10.0.0.11", "10.0.0.12"), packet("10.0.0.12", "10.0.0.11", iif="v-ecs-b", oif="v-ecs-a")
    for one in (out, into):
        assert not passes(program, one, renewed=("v-ecs-a",))
        assert passes(program, one, renewed=("v-ecs-c",))


def test_an_empty_table_lets_nothing_of_a_nic_pass_s19():
    # The moment in which base chains are hooked and what they jump to is not there yet must not open anything.
    program = opened()
    ruleset = lower(program)
    inet = ruleset.table("inet")
    hollow = replace(inet, chains=tuple(c if c.hook or c.fixed else replace(c, rules=()) for c in inet.chains))
    tracer = Tracer(replace(ruleset, tables=(hollow, ruleset.table("netdev"))))
    assert not tracer.forward(packet("10.0.0.11", "10.0.0.12")).accepted
    assert not tracer.forward(packet("203.0.113.9", "10.0.0.12", iif="up-inet")).accepted


def test_in_a_namespace_of_ours_an_interface_that_nobody_declared_is_dropped():
    program = opened()
    assert passes(program, packet("203.0.113.9", "10.0.0.12", iif="up-inet"))
    assert not passes(program, packet("203.0.113.9", "10.0.0.12", iif="eth7"))
    assert passes(program, packet("10.0.0.11", "203.0.113.9", oif="up-inet"))
    assert not passes(program, packet("10.0.0.11", "203.0.113.9", oif="eth7"))


def test_in_a_namespace_of_others_their_interfaces_pass():
    program = replace(opened(), owned=False, declared=())
    between_others = packet("203.0.113.9", "198.51.100.1", iif="eth0", oif="eth1")
    assert passes(program, between_others)
    assert passes(program, packet("203.0.113.9", "10.0.0.12", iif="eth0"))
    assert not passes(program, packet("203.0.113.9", "10.0.0.13", iif="eth0", oif="v-ecs-c")), "Sg-C has no rule"
    trace = Tracer(lower(program)).forward(replace(between_others, flow=Flow("invalid")))
    assert trace.accepted, "what others do with invalid packets is theirs to say"
    stamped = Tracer(lower(program)).forward(between_others)
    assert stamped.flow_mark == 0, "flows of others bear no mark of ours"


def test_a_family_that_a_nic_does_not_speak_is_closed():
    only4 = HOSTS.replace(', "2001:db8::12"', "")
    program = compiled(three_hosts(OPENED, only4))
    assert passes(program, packet("10.0.0.11", "10.0.0.12"))
    assert not passes(program, packet("2001:db8::11", "2001:db8::12"))
    assert not passes(program, packet("2001:db8::12", "2001:db8::11", iif="v-ecs-b", oif="v-ecs-a"))


# --- S17 --------------------------------------------------------------------------------------------------------------


def test_with_the_log_off_what_is_denied_is_counted_and_nobody_is_told_s17():
    limits: dict[bool, list[int]] = {}
    for logs in (True, False):
        tables = lower(opened(f"deny_log: {{enabled: {logs}, per_second: 10}}")).tables
        chains = (c for table in tables for c in table.chains if c.name == names.DENIAL_LOG or "refused" in c.name)
        found = [statement for chain in chains for one in chain.rules for statement in one.statements]
        assert any(isinstance(each, Log) for each in found) == logs
        limits[logs] = [each.per_second for each in found if isinstance(each, Throttle)]
    assert set(limits[True]) == {0, 10}, "cut flows are told of by their denied packets"
    assert limits[False] == [0] * len(limits[True])


# --- this host itself -------------------------------------------------------------------------------------------------


def test_traffic_with_this_host_is_judged_on_the_nics_own_wire():
    program = opened()
    assert passes(program, packet("10.0.0.11", "10.0.0.1", oif="", destination_kind="local"))
    assert not passes(program, packet("10.0.0.13", "10.0.0.1", iif="v-ecs-c", oif="", destination_kind="local"))
    assert passes(program, packet("10.0.0.1", "10.0.0.12", iif="", source_kind="local"))
    assert not passes(program, packet("10.0.0.1", "10.0.0.13", iif="", oif="v-ecs-c", source_kind="local"))


def test_a_flow_to_this_host_or_beyond_is_stamped_where_it_ends():
    program = opened()
    stamp = stamp_bits(program.marks, 1)
    for one in (packet("10.0.0.11", "10.0.0.1", oif=""), packet("10.0.0.11", "203.0.113.9", oif="up-inet")):
        assert Tracer(lower(program)).forward(one).flow_mark == stamp


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(("protocol", "word"), [(TCP, "tcp"), (UDP, "udp")])
def test_a_new_flow_gets_its_idle_timeouts_s13(family: int, protocol: int, word: str):
    ends = ("10.0.0.11", "10.0.0.12") if family == 4 else ("2001:db8::11", "2001:db8::12")
    on_a_host = Tracer(lower(replace(opened(), owned=False))).forward(packet(*ends, protocol))
    assert on_a_host.timeout == f"{word}_ip{'' if family == 4 else '6'}"


@pytest.mark.parametrize("unknown", [Match(Field.UDP_SOURCE_PORT, "domain"), "queue to 1"])
def test_the_tracer_refuses_what_it_was_not_taught(unknown: Any):
    chain = Chain("prerouting", (Rule((unknown, ACCEPT)),), Hook("prerouting", -190))
    with pytest.raises(CannotTrace):
        Tracer(Ruleset("", (Table("inet", "enforcer", (), (), (chain,)),), 1)).forward(
            packet("10.0.0.11", "10.0.0.12", UDP)
        )
