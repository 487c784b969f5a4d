"""A flow through a forwarding instance (S16) is judged there on its way in and out, at first and after a change (S14).

guest a ──▶ router ──▶ guest b (source_dest_check: false) ──▶ router ──▶ guest o; answers of o come directly to a
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from byhand import Host, by_hand
from harness import groups, reaches, until

from enforcer.compiler import compile_policy
from enforcer.dataplane import replace_all
from enforcer.model import host_layout, parse_policy

pytestmark = pytest.mark.traffic

IN, OUT = "{direction: ingress}", "{direction: egress}"
ELSEWHERE = "{direction: ingress, protocol: tcp}, {direction: egress}"
TO = ("10.0.9.2", 80)


@pytest.fixture
def host() -> Iterator[Host]:
    with by_hand("a", "b", "o") as built:
        no_checks = ("net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.all.send_redirects=0")
        built.run(built.router, "sysctl", "-qw", "net.ipv4.conf.tap-b.rp_filter=0", *no_checks)
        own = ("net.ipv4.conf.eth0.rp_filter=0", "net.ipv4.conf.eth0.send_redirects=0")
        built.run(built.netns("b"), "sysctl", "-qw", "net.ipv4.ip_forward=1", *no_checks, *own)
        built.run(built.router, "ip", "rule", "add", "iif", "tap-a", "to", TO[0], "table", "77")
        way = ("via", "10.0.0.12", "dev", "tap-b", "onlink", "table", "77")
        built.run(built.router, "ip", "route", "add", TO[0], *way)
        yield built


def put_in_force(host: Host, forwarder: str, behind: str = "", revoke: str = "inbound") -> None:
    """Let guest a send anything; `behind` makes guest o a NIC with these rules."""
    text = host.policy(groups(A="{direction: egress}", B=forwarder, C=behind))
    text = text.replace("security_groups: [Sg-B]", "source_dest_check: false, security_groups: [Sg-B]")
    if behind:
        nic = f'addresses: [10.0.9.2], interface: {host.port("o")}, netns: "{host.router}", security_groups: [Sg-C]'
        text = text.replace('"2001:db8::/64"}]', '"2001:db8::/64"}, {name: subnet-o, cidr: 10.0.9.0/24}]')
        text = text.replace("ecs:\n", f"ecs:\n  - {{name: ecs-o, nics: [{{name: eth0, subnet: subnet-o, {nic}}}]}}\n")
    policy = parse_policy(f"revoke: {revoke}\n{text}")
    replace_all(compile_policy(policy, host_layout(policy)))


def answers(far: socket.socket, near: socket.socket) -> bool:
    return reaches(far, near, ("10.0.0.11", near.getsockname()[1]))


def test_a_new_flow_is_asked_of_the_forwarders_rules_on_its_way_in_and_on_its_way_out(host: Host) -> None:
    far = host.udp("o", TO[1])
    for rules, passes in ((f"{IN}, {OUT}", True), (IN, False), (OUT, False)):
        put_in_force(host, rules)
        near = host.udp("a")
        assert [reaches(near, far, TO) for _ in range(3)] == [passes] * 3, rules


def test_an_answer_that_comes_directly_does_not_keep_a_flow_that_the_forwarder_denies_now(host: Host) -> None:
    """S14: however early it comes after the change; allowed again, the flow goes on."""
    far = host.udp("o", TO[1])
    put_in_force(host, f"{IN}, {OUT}")
    near = host.udp("a")
    assert reaches(near, far, TO)
    assert answers(far, near)
    put_in_force(host, ELSEWHERE)
    assert answers(far, near), "nobody on this way denies it"
    assert [reaches(near, far, TO) for _ in range(2)] == [False, False]
    put_in_force(host, f"{IN}, {OUT}")
    assert answers(far, near)
    assert reaches(near, far, TO)


def test_what_a_forwarder_lets_through_goes_on_under_its_old_outbound_rules(host: Host) -> None:
    """S14, by default: a change of outbound rules is for new flows."""
    far = host.udp("o", TO[1])
    put_in_force(host, f"{IN}, {OUT}")
    near = host.udp("a")
    assert reaches(near, far, TO)
    put_in_force(host, IN)
    assert reaches(near, far, TO)
    assert not reaches(host.udp("a"), far, TO), "a new one"


def test_under_revoke_both_they_end(host: Host) -> None:
    far = host.udp("o", TO[1])
    put_in_force(host, f"{IN}, {OUT}", revoke="both")
    near = host.udp("a")
    assert reaches(near, far, TO)
    put_in_force(host, IN, revoke="both")
    assert not reaches(near, far, TO)
    put_in_force(host, f"{IN}, {OUT}", revoke="both")
    assert reaches(near, far, TO)


def test_whoever_is_behind_a_forwarder_is_asked_too(host: Host) -> None:
    """By the address that the packets carry (S8): at first, and after a change whichever way the next packet goes."""
    both, only_tcp = f"{IN}, {OUT}", ELSEWHERE
    far = host.udp("o", TO[1])
    put_in_force(host, both, both)
    near = host.udp("a")
    assert reaches(near, far, TO)
    assert answers(far, near)
    put_in_force(host, both, only_tcp)
    assert not answers(far, near)
    assert not reaches(near, far, TO)
    assert not reaches(host.udp("a"), far, TO), "a new one"
    put_in_force(host, both, both)
    assert reaches(near, far, TO)
    assert answers(far, near)


def test_what_a_forwarder_opens_itself_goes_on_under_its_old_outbound_rules(host: Host) -> None:
    far, own = host.udp("o", TO[1]), host.udp("b")
    put_in_force(host, f"{IN}, {OUT}")
    assert reaches(own, far, TO)
    put_in_force(host, IN)
    assert reaches(own, far, TO)
    assert not reaches(host.udp("b"), far, TO), "a new one"


def test_a_flow_to_the_forwarder_itself_ends_with_a_change_of_its_inbound_rules(host: Host) -> None:
    to = (host.address("b"), 5000)
    own, near = host.udp("b", to[1]), host.udp("a")
    put_in_force(host, f"{IN}, {OUT}")
    assert reaches(near, own, to)
    put_in_force(host, ELSEWHERE)
    assert not answers(own, near), "in either direction"
    assert not reaches(near, own, to)
    put_in_force(host, f"{IN}, {OUT}")
    assert reaches(near, own, to)


def test_an_error_about_a_flow_that_meets_a_forwarder_comes_back(host: Host) -> None:
    """S13: nobody listens on the port, and the forwarder's host says so."""
    put_in_force(host, f"{IN}, {OUT}")
    near = host.udp("a")
    near.connect((host.address("b"), 4999))
    near.send(b"anybody?")

    def refused() -> bool:
        try:
            near.recv(10)
        except ConnectionRefusedError:
            return True
        except BlockingIOError:
            return False
        return False

    until(refused, "it is told")
