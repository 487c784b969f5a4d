"""What a plan says of tracked conversations: who is at which end, which are live, and what a new policy ends (S14)."""

from __future__ import annotations

from ipaddress import ip_address
from random import Random
from typing import Any

import policies
import pytest
from answers_asking import policy
from hypothesis import given
from hypothesis import strategies as st

from enforcer.agent.plan.connections import Fate, Live, Seen, Views, live
from enforcer.agent.plan.connections.alike import Judge
from enforcer.dataplane.conntrack import Ends, Tracked
from enforcer.model import ICMP, ICMPV6, TCP, UDP, Direction, Policy, Traffic, host_layout, lab_layout
from enforcer.semantics import evaluate_side

STAMPED, OLDER = 0x800, 0x400
ESTABLISHED, CLOSED = 3, 8
SERVER = """
security_groups:
  - {name: server, rules: [{id: in, direction: ingress, remote_ip_prefix: 10.0.0.11}, {id: out, direction: egress}]}
  - {name: client, rules: [{id: out, direction: egress}]}
ecs:
  - {name: server, subnet: subnet-a, addresses: [10.0.0.12], security_groups: [server], interface: s}
  - {name: client, subnet: subnet-a, addresses: [10.0.0.11], security_groups: [client], interface: c}
"""
CLOSING = SERVER.replace("{id: in, direction: ingress, remote_ip_prefix: 10.0.0.11}, ", "")


def tracked(source: str, destination: str, protocol: int = TCP, mark: int = STAMPED, **more: Any) -> Tracked:
    near, far = ip_address(source), ip_address(destination)
    there, back = Ends(near, far, 40000, 22), Ends(far, near, 22, 40000)
    state = {"icmp": None, "status": 0, "tcp_state": ESTABLISHED, "zone": 0, "identity": 1, **more}
    return Tracked(protocol, there, back, mark=mark, **state)


def judged(before: str | None, after: str, *seen: Tracked, generation: int = 2) -> Live:
    old = policy(before) if before is not None else None
    new = policy(after)
    return live(
        Views.of(old, host_layout(old)) if old is not None else None,
        Views.of(new, host_layout(new)),
        [Seen("", seen, generation)],
    )


def fates(found: Live) -> dict[str, int]:
    return {fate.value: number for fate, number in found.counts.items() if number}


IN_FORCE = tracked("10.0.0.11", "10.0.0.12")


def test_what_the_new_policy_denies_inbound_is_cut_and_the_reason_says_who_denies_it():
    found = judged(SERVER, CLOSING, IN_FORCE, tracked("10.0.0.12", "10.0.0.11"))
    assert fates(found) == {"cut": 2}, "a client lets nobody in, and what it let in before was open by the old stamp"
    refusal = found.refusal(found.cut[0])
    assert (refusal.nic, refusal.direction, refusal.rule) == ("server", Direction.INGRESS, None)
    assert "no rule of server matches" in refusal.reason
    assert fates(judged(SERVER, SERVER, IN_FORCE)) == {"goes on": 1}


def test_an_outbound_change_cuts_what_was_let_through_only_under_revoke_both():
    silent = SERVER.replace("{name: client, rules: [{id: out, direction: egress}]}", "{name: client, rules: []}")
    assert fates(judged(SERVER, silent, IN_FORCE)) == {"goes on": 1}
    assert fates(judged(SERVER, f"revoke: both\n{silent}", IN_FORCE)) == {"cut": 1}


def test_what_was_never_let_through_is_judged_at_both_ends_when_the_first_policy_comes():
    silent = SERVER.replace("{name: client, rules: [{id: out, direction: egress}]}", "{name: client, rules: []}")
    unmarked = IN_FORCE._replace(mark=0)
    assert fates(judged(None, SERVER, unmarked, generation=0)) == {"goes on": 1}
    assert fates(judged(None, silent, unmarked, generation=0)) == {"cut": 1}


def test_what_an_earlier_change_cut_is_not_cut_again_and_may_resume():
    cut_before = IN_FORCE._replace(mark=OLDER)
    assert fates(judged(CLOSING, CLOSING, cut_before)) == {"stays cut": 1}
    assert fates(judged(CLOSING, SERVER, cut_before)) == {"resumes": 1}
    assert fates(judged(SERVER, CLOSING, cut_before)) == {"cut": 1}, "it would have been judged again, and gone on"


def test_a_closed_tcp_connection_is_not_live():
    found = judged(SERVER, CLOSING, IN_FORCE._replace(tcp_state=CLOSED))
    assert (found.closing, found.judged) == (1, 0)


def test_conversations_of_others_are_not_ours():
    found = judged(SERVER, CLOSING, tracked("192.0.2.1", "192.0.2.2"))
    assert (fates(found), found.judged) == ({"not ours": 1}, 0)


def test_conversations_of_an_address_that_leaves_its_nic_end():
    """S14: the next owner inherits none."""
    moved = SERVER.replace("10.0.0.12", "10.0.0.22")
    heir = (
        moved + "  - {name: heir, subnet: subnet-a, addresses: [10.0.0.12], security_groups: [server], interface: h}\n"
    )
    for after in (moved, heir):
        found = judged(SERVER, after, IN_FORCE, tracked("10.0.0.11", "10.0.0.12", UDP))
        assert fates(found) == {"cut": 2}
        assert "10.0.0.12 is no longer an address of server" in found.refusal(found.cut[0]).reason


def test_conversations_of_a_nic_that_comes_end_and_may_begin_anew():
    """S13, S14: TCP cannot begin in mid-stream; what can is judged as new."""
    before = "".join(line for line in SERVER.splitlines(keepends=True) if "name: server, subnet" not in line)
    datagrams = tracked("10.0.0.11", "10.0.0.12", UDP)
    found = judged(before, SERVER, IN_FORCE, datagrams)
    assert fates(found) == {"cut": 1, "begins anew": 1}
    assert "which comes to its NIC or leaves it" in found.refusal(found.cut[0]).reason
    shut = CLOSING.replace("{name: server, rules: [{id: out, direction: egress}]}", "{name: server, rules: []}")
    assert fates(judged(before, shut, datagrams)) == {"cut": 1}, "neither end may begin it"
    assert fates(judged(before, CLOSING, datagrams)) == {"cut": 1}, "the client lets nobody in"


def test_a_nic_that_nobody_filters_any_more_keeps_its_conversations():
    free = CLOSING.replace("security_groups: [server], interface: s", "port_security: false, interface: s")
    assert fates(judged(SERVER, free, IN_FORCE)) == {"goes on": 1}


def test_what_a_balancer_forwards_with_the_clients_address_is_not_asked_about():
    """S12: the first packet goes to the balancer, the answer comes from the backend, whose port is another."""
    balancer = """
load_balancers:
  - name: lb
    subnet: subnet-a
    address: 10.0.0.100
    listeners: [{protocol: tcp, port: 80, transfer_client_ip: true, backends: [{ecs: server, port: 22}]}]
"""
    client, server = ip_address("10.0.0.11"), ip_address("10.0.0.12")
    first = Ends(client, ip_address("10.0.0.100"), 40000, 80)
    forwarded = IN_FORCE._replace(original=first, reply=Ends(server, client, 22, 40000), status=1 << 5)
    assert fates(judged(SERVER + balancer, CLOSING + balancer, forwarded, IN_FORCE)) == {"cut": 1, "goes on": 1}
    hiding = balancer.replace("transfer_client_ip: true, ", "")
    assert fates(judged(SERVER + balancer, CLOSING + hiding, forwarded)) == {"cut": 1}
    assert fates(judged(SERVER + balancer, CLOSING + balancer, forwarded._replace(status=0))) == {"cut": 1}


def test_a_connection_with_legs_in_two_namespaces_is_one_and_is_cut_if_a_leg_is():
    text = """
peerings: [{name: ab, vpcs: [vpc-a, vpc-b]}]
security_groups:
  - {name: all, rules: [{id: in, direction: ingress}, {id: out, direction: egress}]}
  - {name: served, rules: [{id: in, direction: ingress}, {id: out, direction: egress}]}
ecs:
  - {name: a, subnet: subnet-a, addresses: [10.0.0.11], security_groups: [all]}
  - {name: b, subnet: subnet-b, addresses: [10.0.1.11], security_groups: [served]}
"""
    old, new = (
        policy(text),
        policy(text.replace("{name: served, rules: [{id: in, direction: ingress}, ", "{name: served, rules: [")),
    )
    leg = tracked("10.0.0.11", "10.0.1.11")
    ways = {ip_address("10.0.1.11"): "peer-ab"}, {ip_address("10.0.0.11"): "peer-ab"}
    seen = [Seen(f"lab-vpc-vpc-{vpc}", (leg,), 2, way) for vpc, way in zip("ab", ways, strict=True)]
    found = live(Views.of(old, lab_layout(old)), Views.of(new, lab_layout(new)), seen)
    assert fates(found) == {"cut": 1}
    assert (found.cut[0].opener, found.cut[0].target, len(found.cut[0].legs)) == ("a", "b", 2)
    assert found.refusal(found.cut[0]).nic == "b"


@given(policies.random_policies(), st.integers(0, 10**6))
def test_what_is_asked_once_for_many_is_what_the_oracle_says_of_each(policy: Policy, seed: int):
    rng, judge = Random(seed), Judge(policy)
    for _ in range(60):
        ref = rng.choice(policy.nics())
        own = rng.choice(ref.nic.addresses)
        peer = rng.choice(policies.borders(policy, own.version))
        own = rng.choice((own, own, rng.choice(policies.borders(policy, own.version))))
        protocol, subkey = rng.choice(policies.probes(own.version))
        traffic = Traffic(protocol)
        if protocol in (TCP, UDP):
            traffic = Traffic(protocol, port=rng.choice((subkey, 67, 547)))
        elif protocol in (ICMP, ICMPV6):
            traffic = Traffic(protocol, icmp_type=subkey >> 8, icmp_code=subkey & 0xFF)
        direction = rng.choice(tuple(Direction))
        expected = evaluate_side(policy, ref, direction, peer, traffic, own=own).allowed
        assert judge.allows(ref, direction, peer, own, traffic) == expected


def test_the_oracle_is_asked_no_more_often_for_more_connections():
    """A client's port decides nothing, and clients that no rule tells apart are one."""
    many = [tracked(f"198.51.{n // 250}.{n % 250}", "10.0.0.12")._replace(identity=n) for n in range(5000)]
    found = judged(SERVER, CLOSING, *many)
    assert fates(found) == {"cut": 5000}
    assert found.asked < 20


@pytest.mark.parametrize("fate", Fate)
def test_every_fate_is_counted(fate: Fate):
    assert fate in judged(SERVER, SERVER).counts
