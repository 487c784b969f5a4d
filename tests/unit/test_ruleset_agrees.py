"""A packet traced through the lowered Ruleset meets the verdict that the rules give when they are tried one by one.

New flows (S7, S8), replies of flows whose stamp is stale (S14), stamped flows, and flows that the instance opened.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from first_match import first_match
from hypothesis import given, settings
from hypothesis import strategies as st
from packets import ICMP, ICMPV6, TCP, UDP, Flow, Packet, answer
from policies import compiled, random_policies
from tracer import Tracer

from enforcer.compiler.program import NamespaceProgram
from enforcer.model import Direction, Policy
from enforcer.ruleset import lower
from enforcer.ruleset.stamps import stamp_bits

GENERATION = 7
REQUESTS = {(ICMP, kind) for kind in (8, 13, 15, 17)} | {(ICMPV6, kind) for kind in (128, 139)}
ANSWERS = {8: 0, 13: 14, 15: 16, 17: 18, 128: 129, 139: 140}
PORTS = (1, 2, 21, 22, 23, 80, 81, 65534, 65535)
OTHERS = (0, 2, 5, 7, 16, 18, 41, 46, 47, 48, 132, 255)


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[Policy, NamespaceProgram, Packet, str, str, int, int]:
    """Draw a policy and a packet that one of its NICs sends to another one of the same namespace."""
    policy = draw(random_policies())
    program = compiled(policy)
    sender, receiver = draw(st.permutations(program.nics))[:2]
    families = [family for family, _ in sender.profiles if family in {f for f, _ in receiver.profiles}]
    family = draw(st.sampled_from(families))
    source, destination = (
        next(n.network_address for n in nic.addresses if n.version == family) for nic in (sender, receiver)
    )
    icmp = ICMP if family == 4 else ICMPV6
    protocol = draw(st.sampled_from((TCP, TCP, UDP, icmp, *OTHERS)))
    packet = Packet(
        source, destination, protocol, sender.interface, receiver.interface, mac=sender.mac or "", short=protocol == 255
    )
    if protocol in (TCP, UDP):
        subkey = draw(st.sampled_from(PORTS))
        packet = replace(packet, dport=subkey)
    elif protocol == icmp:
        kind = draw(st.sampled_from(sorted(kind for number, kind in REQUESTS if number == icmp)))
        subkey = kind << 8 | draw(st.sampled_from((0, 1, 255)))
        packet = replace(packet, sport=subkey, dport=draw(st.sampled_from(PORTS)))
    else:
        subkey = 0
        packet = replace(packet, dport=draw(st.sampled_from(PORTS)), sport=draw(st.sampled_from((8 << 8, 22))))
    return policy, program, packet, sender.label, receiver.label, protocol, subkey


def returning(packet: Packet, mark: int) -> Packet:
    """Make the answer of the other end, within a flow that bears a mark."""
    turned = answer(packet, flow=Flow("established", reply=True, mark=mark))
    if packet.protocol in (ICMP, ICMPV6):
        kind, code = packet.sport >> 8, packet.sport & 0xFF
        return replace(turned, sport=ANSWERS[kind] << 8 | code, dport=packet.dport)
    return turned


@given(exchanges())
@settings(max_examples=300)
def test_a_new_flow_passes_if_both_ends_let_it(exchange: tuple[Policy, NamespaceProgram, Packet, str, str, int, int]):
    policy, program, packet, sender, receiver, protocol, subkey = exchange
    out = first_match(policy, policy.nic_ref(sender), Direction.EGRESS, packet.destination, protocol, subkey)
    into = first_match(policy, policy.nic_ref(receiver), Direction.INGRESS, packet.source, protocol, subkey)
    trace = Tracer(lower(program, GENERATION)).forward(packet)
    assert trace.accepted == (out.allowed and into.allowed), (out, into, trace.by, trace.path)
    if not out.allowed:
        assert trace.by in (out.rule, "no rule matches")
    elif not into.allowed:
        assert trace.by in (into.rule, "no rule matches")
    else:
        assert trace.flow_mark == stamp_bits(program.marks, GENERATION), "who passes both ends is stamped"
        assert trace.priority == 0, "the scratch register is given back"
        assert trace.mark == 0, "the packet's mark is given back"


@given(exchanges(), st.sampled_from((1, 6, 2**31)))
def test_a_priority_that_somebody_set_before_changes_no_verdict(
    exchange: tuple[Policy, NamespaceProgram, Packet, str, str, int, int], priority: int
) -> None:
    _, program, packet, *_ = exchange
    tracer = Tracer(lower(program, GENERATION))
    with_it = tracer.forward(replace(packet, priority=priority))
    assert (with_it.accepted, with_it.by) == ((without := tracer.forward(packet)).accepted, without.by)


@pytest.mark.parametrize("beside", ["", ", {id: net, direction: ingress, remote_ip_prefix: 172.16.0.0/12}"])
def test_a_priority_is_never_taken_for_the_class_of_a_peer(beside: str):
    from policies import three_hosts

    only_a = f"rules: [{{id: a, direction: ingress, remote_group: Sg-A}}, {{id: o, direction: egress}}{beside}]"
    opens = "rules: [{id: o, direction: egress}]"
    program = compiled(
        three_hosts(f"security_groups: [{{name: Sg-A, {opens}}}, {{name: Sg-B, {only_a}}}, {{name: Sg-C, {opens}}}]")
    )
    a, b, c = program.nics
    tracer = Tracer(lower(program))
    classes = [entry.number for addresses in program.addresses for entry in addresses.classes]
    local = [number for policy in program.policies for number in (*range(4), *(to for _, to in policy.locals))]
    for priority in (*classes, *local):
        for sender, passes in ((a, True), (c, False)):
            source = next(n.network_address for n in sender.addresses if n.version == 4)
            packet = Packet(source, ip_address("10.0.0.12"), TCP, sender.interface, b.interface, mac=sender.mac or "")
            assert tracer.forward(replace(packet, priority=priority)).accepted == passes, priority


@given(exchanges())
@settings(max_examples=300)
def test_a_stale_flow_is_judged_again_in_whichever_direction_its_next_packet_goes_s14(
    exchange: tuple[Policy, NamespaceProgram, Packet, str, str, int, int],
) -> None:
    policy, program, packet, sender, receiver, protocol, subkey = exchange
    out = first_match(policy, policy.nic_ref(sender), Direction.EGRESS, packet.destination, protocol, subkey)
    into = first_match(policy, policy.nic_ref(receiver), Direction.INGRESS, packet.source, protocol, subkey)
    stale = stamp_bits(program.marks, GENERATION - 1)
    tracer = Tracer(lower(program, GENERATION))
    # Inbound is revoked at once; outbound only if the operator says so.
    expected = into.allowed and (out.allowed or policy.revoke == "inbound")
    onward = replace(packet, flow=Flow("established", mark=stale), flags=0x10)
    back = replace(returning(packet, stale), mac=mac_of(program, packet.oif))
    for one in (onward, back):
        trace = tracer.forward(one)
        assert trace.accepted == expected, (out, into, policy.revoke, trace.by, trace.path)
        revoked = program.marks.connection_mask
        assert trace.flow_mark == (stamp_bits(program.marks, GENERATION) if expected else revoked)


@given(exchanges(), st.sampled_from(("whole", "half")))
@settings(max_examples=300)
def test_a_packet_that_a_change_overtakes_on_its_way_brings_no_stamp_to_a_flow_that_is_denied_now_s14(
    exchange: tuple[Policy, NamespaceProgram, Packet, str, str, int, int], before: str
) -> None:
    policy, program, packet, sender, receiver, protocol, subkey = exchange
    out = first_match(policy, policy.nic_ref(sender), Direction.EGRESS, packet.destination, protocol, subkey)
    into = first_match(policy, policy.nic_ref(receiver), Direction.INGRESS, packet.source, protocol, subkey)
    allowed = into.allowed and (out.allowed or policy.revoke == "inbound")
    old, new = (Tracer(lower(program, generation)) for generation in (GENERATION - 1, GENERATION))
    answering = program.marks.connection_mask & -program.marks.connection_mask if before == "half" else 0
    mark = stamp_bits(program.marks, GENERATION - 1) | answering
    onward = replace(packet, flow=Flow("established", mark=mark), flags=0x10)
    back = replace(returning(packet, mark), mac=mac_of(program, packet.oif))
    for one in (onward, back):
        trace = old.overtaken(one, new)
        assert allowed or trace.flow_mark != stamp_bits(program.marks, GENERATION)
        settled = new.forward(replace(one, flow=replace(one.flow, mark=trace.flow_mark)))
        assert settled.accepted == allowed, "the next one is judged"


@given(exchanges())
def test_a_flow_that_no_earlier_generation_stamped_was_never_judged_and_is(
    exchange: tuple[Policy, NamespaceProgram, Packet, str, str, int, int],
) -> None:
    policy, program, packet, sender, receiver, protocol, subkey = exchange
    out = first_match(policy, policy.nic_ref(sender), Direction.EGRESS, packet.destination, protocol, subkey)
    into = first_match(policy, policy.nic_ref(receiver), Direction.INGRESS, packet.source, protocol, subkey)
    tracer = Tracer(lower(program, GENERATION))
    onward = replace(packet, flow=Flow("established", mark=0), flags=0x10)
    back = replace(returning(packet, 0), mac=mac_of(program, packet.oif))
    for one in (onward, back):
        assert tracer.forward(one).accepted == (out.allowed and into.allowed)


@given(exchanges(), st.booleans())
def test_a_flow_with_the_current_stamp_passes_with_one_compare_at_each_hook(
    exchange: tuple[Policy, NamespaceProgram, Packet, str, str, int, int], reply: bool
) -> None:
    _, program, packet, *_ = exchange
    ours = stamp_bits(program.marks, GENERATION) | 0x5A  # bits outside our mask are others' and change nothing
    trace = Tracer(lower(program, GENERATION)).forward(
        replace(packet, flow=Flow("established", reply=reply, mark=ours), flags=0x10)
    )
    assert trace.accepted
    assert trace.flow_mark == ours
    inet = [place for place in trace.path if place.startswith(("prerouting", "postrouting"))]
    # Was it checked; take the bit off; is it stamped — and, on the way out, only the last.
    assert inet == ["prerouting:0", "prerouting:1", "prerouting:2", "postrouting:0"]


@given(exchanges())
def test_bits_of_others_in_the_marks_survive_a_verdict(
    exchange: tuple[Policy, NamespaceProgram, Packet, str, str, int, int],
) -> None:
    _, program, packet, *_ = exchange
    trace = Tracer(lower(program, GENERATION)).forward(replace(packet, mark=0x0300_0001, flow=Flow(mark=0x77)))
    assert trace.mark == 0x0300_0001
    if trace.accepted:
        assert trace.flow_mark == stamp_bits(program.marks, GENERATION) | 0x77


@given(exchanges(), st.sampled_from(("invalid", "related")))
def test_invalid_and_foreign_related_packets_pass_in_no_policy_s13(
    exchange: tuple[Policy, NamespaceProgram, Packet, str, str, int, int], state: str
) -> None:
    _, program, packet, *_ = exchange
    stale = Flow(state, mark=stamp_bits(program.marks, GENERATION - 1))
    assert not Tracer(lower(program, GENERATION)).forward(replace(packet, flow=stale)).accepted


@given(exchanges())
def test_an_icmp_error_about_a_flow_in_force_passes_s13(
    exchange: tuple[Policy, NamespaceProgram, Packet, str, str, int, int],
) -> None:
    _, program, packet, *_ = exchange
    current = Flow("related", mark=stamp_bits(program.marks, GENERATION))
    assert Tracer(lower(program, GENERATION)).forward(replace(packet, flow=current)).accepted


def mac_of(program: NamespaceProgram, interface: str) -> str:
    return next(nic.mac or "" for nic in program.nics if nic.interface == interface)


def test_a_range_with_a_port_left_out_of_it_takes_no_other_ranges_place():
    from policies import three_hosts

    program = compiled(
        three_hosts("""
            security_groups:
              - {name: Sg-A, rules: [{id: out, direction: egress}]}
              - name: Sg-B
                rules:
                  - {id: hole, direction: ingress, protocol: tcp, multiport: 500, action: deny}
                  - {id: wide, direction: ingress, protocol: tcp, multiport: "100-200,300-900"}
        """)
    )
    a, b = program.nics[:2]
    packet = Packet(*map(ip_address, ("10.0.0.11", "10.0.0.12")), TCP, a.interface, b.interface, mac=a.mac or "")
    tracer = Tracer(lower(program))
    for port, passes in ((99, False), (150, True), (250, False), (400, True), (500, False), (900, True), (901, False)):
        assert tracer.forward(replace(packet, dport=port)).accepted == passes, port


@pytest.mark.parametrize(("flags", "passes"), [(0x02, True), (0x10, False), (0x12, False), (0x03, False), (0, False)])
def test_a_tcp_connection_begins_with_a_syn_alone_s13(flags: int, passes: bool):
    from policies import three_hosts

    rules = "[{id: o, direction: egress}, {id: i, direction: ingress}]"
    program = compiled(
        three_hosts(f"""
            security_groups:
              - {{name: Sg-A, rules: {rules}}}
              - {{name: Sg-B, rules: {rules}}}
        """)
    )
    a, b = program.nics[:2]
    source, destination = ip_address("10.0.0.11"), ip_address("10.0.0.12")
    packet = Packet(source, destination, TCP, a.interface, b.interface, mac=a.mac or "", flags=flags)
    assert Tracer(lower(program)).forward(packet).accepted == passes
