"""`plan` names the live connections that a change cuts; then the change is made, and exactly these are cut (S14).

Every kind of conversation at once: TCP, UDP, GRE and ping, both families, within a VPC and across a peering, over EIPs,
through balancers with and without the client's address (S12), at a virtual IP, with a NIC that nobody filters, and one
that is never answered. Random ones are in `test_plan_fuzz.py`.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from socket import AF_INET, IPPROTO_ICMP, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM
from typing import Any

import pytest
from harness import Stand, drain, reaches, standing
from patience import patient
from streams import Stream, gre, pumping, tcp, udp

from enforcer.agent.plan import document, plan, seen
from enforcer.dataplane import clear
from enforcer.lab.probe.packets import checksum
from enforcer.model import lab_layout, parse_policy

pytestmark = [pytest.mark.traffic, pytest.mark.timeout(240)]

POLICY = """
version: 1
revoke: inbound
vpcs:
  - {name: vpc-x, subnets: [{name: subnet-a, cidr: 10.0.0.0/24, ipv6_cidr: "2001:db8::/64"}]}
  - {name: vpc-y, subnets: [{name: subnet-y, cidr: 10.1.0.0/24}]}
peerings: [{name: xy, vpcs: [vpc-x, vpc-y]}]
external_hosts: [{name: pc, addresses: [203.0.113.10]}]
eips: [{address: 198.51.100.12, ecs: ecs-b}]
load_balancers:
  - name: transparent
    subnet: subnet-a
    address: 10.0.0.200
    listeners: [{protocol: tcp, port: 80, transfer_client_ip: true, backends: [{ecs: ecs-b, port: 8080}]}]
  - name: hiding
    subnet: subnet-a
    address: 10.0.0.201
    listeners: [{protocol: tcp, port: 80, backends: [{ecs: ecs-b, port: 8081}]}]
security_groups:
  - name: open
    rules:
      - {id: in4, direction: ingress}
      - {id: in6, direction: ingress, ethertype: IPv6}
      - {id: out4, direction: egress}
      - {id: out6, direction: egress, ethertype: IPv6}
  - {name: peers, rules: []}
  - name: served
    rules:
      - {id: a4, direction: ingress, remote_ip_prefix: 10.0.0.11}
      - {id: a6, direction: ingress, ethertype: IPv6, remote_ip_prefix: "2001:db8::11"}
      - {id: peers, direction: ingress, remote_group: peers}
      - {id: y, direction: ingress, remote_ip_prefix: 10.1.0.0/24}
      - {id: pc, direction: ingress, protocol: tcp, remote_ip_prefix: 203.0.113.10}
      - {id: balancers, direction: ingress, protocol: tcp, multiport: 8081, remote_ip_prefix: 100.125.0.0/16}
      - {id: d, direction: ingress, remote_ip_prefix: 10.0.0.14}
      - {id: out4, direction: egress}
      - {id: out6, direction: egress, ethertype: IPv6}
ecs:
  - {name: ecs-a, subnet: subnet-a, addresses: [10.0.0.11, "2001:db8::11"], security_groups: [open]}
  - {name: ecs-b, subnet: subnet-a, addresses: [10.0.0.12, "2001:db8::12"], security_groups: [served]}
  - name: ecs-c
    subnet: subnet-a
    addresses: [10.0.0.13, "2001:db8::13"]
    security_groups: [open, peers]
    allowed_addresses: [10.0.0.40]
  - {name: ecs-d, subnet: subnet-a, addresses: [10.0.0.14], security_groups: [peers], port_security: false}
  - {name: ecs-e, subnet: subnet-y, addresses: [10.1.0.11], security_groups: [open]}
"""


def without(*rules: str, text: str = POLICY) -> str:
    """Return the policy without the lines that begin with these words."""
    return "".join(
        line for line in text.splitlines(keepends=True) if not line.strip().startswith(tuple(f"- {{{r}" for r in rules))
    )


def with_(old: str, new: str, text: str = POLICY) -> str:
    assert old in text
    return text.replace(old, new)


NO_EGRESS = without("id: out4", "id: out6")
CHANGES = {
    "nothing": (POLICY, set()),
    "a rule by prefix goes": (without("id: a4"), {"a-b udp", "a-b tcp", "a-b gre", "a-b ping"}),
    "the same for IPv6": (without("id: a6"), {"a-b udp6", "a-b tcp6"}),
    "a member leaves the group": (
        with_("security_groups: [open, peers]", "security_groups: [open]"),
        {"c-b udp", "c-b tcp"},
    ),
    "a peered VPC is not let in": (without("id: y"), {"e-b tcp"}),
    "the Internet is not let in": (without("id: pc"), {"pc-b tcp"}),
    "the balancers are not let in": (without("id: balancers"), {"c-hiding"}),
    "a balancer hides its clients, who are let in": (
        with_("transfer_client_ip: true, ", ""),
        set(),
    ),
    "a balancer hides its clients, who are not let in": (
        without("id: a4", text=with_("transfer_client_ip: true, ", "")),
        {"a-b udp", "a-b tcp", "a-b gre", "a-b ping", "a-transparent"},
    ),
    "outbound rules go": (NO_EGRESS, set()),
    "outbound rules go, under revoke: both": (
        with_("revoke: inbound", "revoke: both", NO_EGRESS),
        {"a-b udp", "a-b tcp", "a-b gre", "a-b ping", "a-b udp6", "a-b tcp6", "c-b udp", "c-b tcp", "e-b tcp"}
        | {"c-hiding", "a-transparent", "a-vip", "b-d udp", "b-e udp", "b-pc udp", "a-c one way"},
    ),
    "a virtual IP goes": (with_("    allowed_addresses: [10.0.0.40]\n", ""), {"a-vip"}),
    "nobody filters ecs-b any more": (with_("[served]}", "[served], port_security: false}"), set()),
    "everything inbound goes": (
        without("id: in4", "id: in6", "id: a4", "id: a6", "id: y", "id: pc", "id: d", "id: peers", "id: balancers"),
        {"a-b udp", "a-b tcp", "a-b gre", "a-b ping", "a-b udp6", "a-b tcp6", "c-b udp", "c-b tcp", "e-b tcp"}
        | {"pc-b tcp", "c-hiding", "a-vip", "b-e udp", "d-b udp", "a-c one way"},
    ),
}


Talk = dict[str, Stream]


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with standing(POLICY) as lab:
        yield lab


def conversations(stand: Stand, port: int) -> Talk:
    """Open one of each kind in which both ends talk; ports from `port` on are nobody else's."""
    ports = iter(range(port, port + 50))
    vip = "10.0.0.40"
    return {
        "a-b udp": udp(stand, "ecs-a", "ecs-b", next(ports)),
        "a-b tcp": tcp(stand, "ecs-a", "ecs-b", next(ports)),
        "a-b gre": gre(stand, "ecs-a", "ecs-b"),
        "a-b udp6": udp(stand, "ecs-a", "ecs-b", next(ports), 6),
        "a-b tcp6": tcp(stand, "ecs-a", "ecs-b", next(ports), 6),
        "c-b udp": udp(stand, "ecs-c", "ecs-b", next(ports)),
        "c-b tcp": tcp(stand, "ecs-c", "ecs-b", next(ports)),
        "d-b udp": udp(stand, "ecs-d", "ecs-b", next(ports)),
        "b-d udp": udp(stand, "ecs-b", "ecs-d", next(ports)),
        "e-b tcp": tcp(stand, "ecs-e", "ecs-b", next(ports)),
        "b-e udp": udp(stand, "ecs-b", "ecs-e", next(ports)),
        "pc-b tcp": tcp(stand, "pc", "ecs-b", next(ports), to="198.51.100.12"),
        "b-pc udp": udp(stand, "ecs-b", "pc", next(ports)),
        "a-transparent": tcp(stand, "ecs-a", "ecs-b", 8080, to="10.0.0.200", at=80),
        "c-hiding": tcp(stand, "ecs-c", "ecs-b", 8081, to="10.0.0.201", at=80),
        "a-vip": udp(stand, "ecs-a", "ecs-c", next(ports), to=vip, own=vip),
    }


class Unanswered:
    """Datagrams from one host to another that never says anything."""

    def __init__(self, stand: Stand, client: str, server: str, port: int) -> None:
        self.socket, self._server = stand.udp(client), stand.udp(server, port)
        self._to = stand.address(server), port
        assert self.goes_on()

    def goes_on(self) -> bool:
        return reaches(self.socket, self._server, self._to)


class Ping:
    """Echo requests, which the other end's kernel answers."""

    def __init__(self, stand: Stand, client: str, server: str, identifier: int) -> None:
        self.socket, self._identifier, self._to = (
            stand.socket(client, AF_INET, SOCK_RAW, IPPROTO_ICMP),
            identifier,
            server,
        )
        self._stand = stand
        assert self.goes_on()

    def goes_on(self) -> bool:
        content = struct.pack("!HH", self._identifier, 1) + os.urandom(12)
        total = checksum(b"\x08\0\0\0" + content)
        answer = struct.pack("!BBH", 0, 0, checksum(b"\0\0\0\0" + content)) + content
        self.socket.sendto(b"\x08\0" + struct.pack("!H", total) + content, (self._stand.address(self._to), 0))
        deadline = time.monotonic() + patient(0.15)
        while time.monotonic() < deadline:
            if any(answer in packet for packet in drain(self.socket)):
                return True
            time.sleep(0.001)
        return False


@pytest.mark.parametrize("change", CHANGES)
def test_a_plan_names_exactly_the_connections_that_are_then_cut(stand: Stand, change: str) -> None:
    """S14, S12, S13: what is predicted to end ends at the commit, in both directions; all others go on."""
    stand.enforce(POLICY)
    stand.forget()
    after, expected = CHANGES[change]
    port = 6000 + 100 * list(CHANGES).index(change)
    ping, silent = Ping(stand, "ecs-a", "ecs-b", port), Unanswered(stand, "ecs-a", "ecs-c", port + 99)
    talking = conversations(stand, port)
    with pumping(*talking.values()) as pump:
        pump.flowing(*talking.values())
        told = planned(stand, POLICY, after)
        named = {opener(stream): name for name, stream in talking.items()}
        named |= {(1, "10.0.0.11", port): "a-b ping", (17, *silent.socket.getsockname()[:2]): "a-c one way"}
        cut = [named[_opener_told(each)] for each in told["live"]["connections"]]
        assert sorted(cut) == sorted(expected)
        assert told["live"]["judged"] == len(named)
        committed = stand.enforce(after)
        pump.cut(committed, *(stream for name, stream in talking.items() if name in expected))
        pump.flowing(*(stream for name, stream in talking.items() if name not in expected))
        assert ping.goes_on() == ("a-b ping" not in expected)
        assert silent.goes_on() == ("a-c one way" not in expected)


def test_a_nic_that_is_filtered_from_now_on_ends_its_conversations(stand: Stand) -> None:
    """S13, S14: the commit makes the kernel forget them; datagrams begin anew, and TCP cannot in mid-stream."""
    stand.enforce(POLICY)
    stand.forget()
    after = with_("security_groups: [peers], port_security: false}", "security_groups: [open]}")
    datagrams, segments = udp(stand, "ecs-d", "ecs-b", 5900), tcp(stand, "ecs-d", "ecs-b", 5901)
    with pumping(datagrams, segments) as pump:
        pump.flowing(datagrams, segments)
        told = planned(stand, POLICY, after)["live"]
        assert (told["cut"], told["begins_anew"], told["goes_on"]) == (1, 1, 0)
        assert told["connections"][0]["proto"] == "tcp/5901"
        committed = stand.enforce(after)
        pump.cut(committed, segments)
        pump.flowing(datagrams)


def test_the_first_policy_cuts_what_it_denies_and_says_so_before(stand: Stand) -> None:
    """S14, S19: what talked before anything was enforced was never judged, and is judged at both ends."""
    for vpc in ("vpc-x", "vpc-y"):
        clear(stand.netns(vpc))
    stand.forget()
    kept, doomed = udp(stand, "ecs-a", "ecs-b", 5910), udp(stand, "ecs-c", "ecs-a", 5911)
    with pumping(kept, doomed) as pump:
        pump.flowing(kept, doomed)
        first = without("id: in4", "id: in6")
        told = document(plan(None, parse_policy(first), lambda each: lab_layout(each, stand.lab.name), seen))
        assert [each["destination_port"] for each in told["live"]["connections"]] == [5911]
        committed = stand.enforce(first)
        pump.cut(committed, doomed)
        pump.flowing(kept)


def planned(stand: Stand, old: str, new: str) -> dict[str, Any]:
    return document(plan(parse_policy(old), parse_policy(new), lambda each: lab_layout(each, stand.lab.name), seen))


def opener(stream: Stream) -> tuple[int, str, int]:
    """Return protocol, address and port by which connection tracking knows who opened it."""
    near = stream.ends[0].carrier.socket
    address, port = near.getsockname()[:2]
    return {SOCK_STREAM: 6, SOCK_DGRAM: 17, SOCK_RAW: 47}[near.type], address, 0 if near.type == SOCK_RAW else port


def _opener_told(told: dict[str, Any]) -> tuple[int, str, int]:
    protocol = {"tcp": 6, "udp": 17, "icmp": 1, "gre": 47}[told["proto"].partition("/")[0]]
    return protocol, told["source"], told["icmp_id"] or told["source_port"] or 0
