"""S15 with packets: what a link cannot work without passes unasked, in these forms and no other.

The instances here have no rule at all, except ecs-b, which lets everything in and out: what passes, passes unasked.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

import frames
import pytest
from guest import Guest
from harness import ANY_IN, OUT, Stand, drain, groups, policy, received, standing, until
from watching import Watch, watching

pytestmark = pytest.mark.traffic

EXTERNAL = """
external_hosts: [{name: outside, addresses: [198.51.100.10, "2001:db8:ffff::10"]}]
eips: [{address: 203.0.113.11, ecs: ecs-a}, {address: 203.0.113.12, ecs: ecs-b}]
"""
METADATA = "169.254.169.254"
DISCOVER = b"\x01\x01\x06\0" + os.urandom(4) + bytes(228) + b"\x63\x82\x53\x63\x35\x01\x01\xff"


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with standing(policy(EXTERNAL, groups(B=f"{ANY_IN}, {OUT}"))) as lab:
        lab.run("vpc-x", "ip", "address", "add", f"{METADATA}/32", "dev", "lo")
        yield lab


@pytest.fixture
def watch(stand: Stand) -> Iterator[Watch]:
    stand.forget()
    with watching(stand, "v-ecs-a") as seen:
        yield seen


def router_socket(stand: Stand, port: int, family: int = 4) -> socket.socket:
    made = stand.socket("vpc-x", {4: socket.AF_INET, 6: socket.AF_INET6}[family], socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"v-ecs-a")
    made.bind(("", port))
    return made


def test_arp_and_neighbour_discovery_need_no_rule(stand: Stand, watch: Watch) -> None:
    """S15: the gateway is found by both families, and finds the instance."""
    for address in ("10.0.0.1", "fe80::1"):
        stand.run("ecs-a", "ip", "neigh", "flush", "dev", "eth0")
        sender = stand.socket("ecs-a", socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        sender.sendto(b"x", (address, 9, 0, stand.index("ecs-a", "eth0")) if ":" in address else (address, 9))
        until(lambda at=address: resolved(stand, "ecs-a", "eth0", at), f"{address} is resolved")
    guest, host = Guest(stand), stand.frames("vpc-x", "v-ecs-a")
    host.send(
        frames.frame(
            frames.arp(1, guest.router, "10.0.0.1", guest.mac, "10.0.0.11"), source=guest.router, kind=frames.ARP
        )
    )
    host.send(
        frames.frame(
            frames.solicitation("fe80::1", "2001:db8::11", guest.router, to="2001:db8::11"),
            source=guest.router,
            to=guest.mac,
        )
    )
    until(lambda: (guest.mac, "10.0.0.11") in watch.frames("arps"), "the instance answers ARP")
    until(lambda: ("2001:db8::11", 136) in watch.passed("messages"), "the instance advertises its address")


def resolved(stand: Stand, host: str, interface: str, address: str) -> bool:
    listed = stand.run(host, "ip", "neigh", "show", address, "dev", interface).stdout
    return "lladdr" in listed and "FAILED" not in listed


def test_dhcp_as_a_client_needs_no_rule(stand: Stand, watch: Watch) -> None:
    """S15: DISCOVER by broadcast from 0.0.0.0, REQUEST by unicast; broadcast and unicast answers come back."""
    guest, server = Guest(stand), router_socket(stand, 67)
    wire = stand.frames("ecs-a")
    guest.send(frames.udp("0.0.0.0", "255.255.255.255", 67, DISCOVER, sport=68), to=frames.BROADCAST)
    assert received(server) == DISCOVER
    for to in ("255.255.255.255", "10.0.0.11"):
        answer = os.urandom(300)
        server.sendto(answer, (to, 68))
        until(lambda answer=answer: any(answer in packet for packet in drain(wire)), f"an answer to {to}")
    renewal = os.urandom(300)
    guest.send(frames.udp("10.0.0.11", "10.0.0.1", 67, renewal, sport=68))
    until(lambda: renewal in drain(server), "the renewal arrives")
    assert (17, 67) in {(protocol, int(port)) for protocol, port in _numbers(watch)}


def _numbers(watch: Watch) -> set[tuple[int, int]]:
    return {(17 if str(protocol) == "udp" else int(protocol), int(port)) for protocol, port in watch.passed("ports")}


def test_dhcp_is_no_way_to_anybody_else(stand: Stand, watch: Watch) -> None:
    """S15: the DHCP ports open nothing: not the other instances, not the Internet, not other services of the host."""
    guest = Guest(stand)
    others = {"ecs-b": "10.0.0.12", "outside": "198.51.100.10"}
    receivers = [stand.udp(host, 67) for host in others]
    services = [router_socket(stand, 53)]
    for to in others.values():
        guest.send(frames.udp("10.0.0.11", to, 67, b"out", sport=68))
        guest.send(frames.udp("10.0.0.11", to, 68, b"out", sport=67))
    guest.send(frames.udp("10.0.0.11", "10.0.0.1", 53, b"out", sport=68))
    guest.send(frames.udp("0.0.0.0", "255.255.255.255", 53, b"out", sport=68), to=frames.BROADCAST)
    guest.send(frames.udp("0.0.0.0", "10.0.0.12", 67, b"out", sport=68))
    guest.send(frames.udp("0.0.0.0", "10.0.0.1", 67, b"out", sport=68))
    guest.send(frames.udp("10.0.0.11", "10.0.0.1", 67, b"out", sport=67))
    guest.send(frames.udp("10.0.0.11", "10.0.0.1", 67, b"in", sport=68))
    until(lambda: _numbers(watch) == {(17, 67)}, "the one to the host's DHCP server passes")
    assert [drain(each) for each in (*receivers, *services)] == [[], [], []]
    # The same to ecs-b passes where a rule lets it: ecs-b may send everything.
    Guest(stand, "ecs-b").send(frames.udp("10.0.0.12", "198.51.100.10", 67, b"allowed", sport=68))
    assert received(receivers[1]) == b"allowed"


def test_an_instance_is_no_dhcp_server(stand: Stand) -> None:
    """S15: even ecs-b, which may send everything, answers no client: neither the host nor a neighbour."""
    guest, clients = Guest(stand, "ecs-b"), [stand.socket("vpc-x", socket.AF_INET, socket.SOCK_DGRAM)]
    clients[0].bind(("", 68))
    clients.append(stand.udp("outside", 68))
    for sport, to, l2 in (
        (67, "255.255.255.255", frames.BROADCAST),
        (67, "10.0.0.1", guest.router),
        (67, "198.51.100.10", guest.router),
    ):
        guest.send(frames.udp("10.0.0.12", to, 68, b"offer", sport=sport), to=l2)
    guest.send(frames.udp("10.0.0.12", "10.0.0.1", 68, b"marker", sport=66))
    guest.send(frames.udp("10.0.0.12", "198.51.100.10", 68, b"marker", sport=66))
    assert received(clients[0]) == b"marker"
    assert received(clients[1]) == b"marker"


def test_an_instance_is_no_dhcpv6_server(stand: Stand) -> None:
    """S15: the same for IPv6, from its own address and from its link-local one."""
    guest = Guest(stand, "ecs-b")
    local = frames.link_local(guest.mac)
    host, outside = stand.socket("vpc-x", socket.AF_INET6, socket.SOCK_DGRAM), stand.udp("outside", 546, 6)
    host.bind(("::", 546))
    for source in ("2001:db8::12", local):
        for to in ("ff02::1", "fe80::1", "2001:db8:ffff::10"):
            guest.send(frames.udp(source, to, 546, b"reply", sport=547))
    guest.send(frames.udp("2001:db8::12", "2001:db8:ffff::10", 546, b"marker", sport=548))
    assert received(outside) == b"marker"
    assert drain(host) == []


def test_dhcpv6_as_a_client_needs_no_rule(stand: Stand, watch: Watch) -> None:
    """S15: SOLICIT from the link-local address to the servers' group reaches the host; its answer comes back."""
    guest, server = Guest(stand), router_socket(stand, 547, 6)
    local = frames.link_local(guest.mac)
    group = socket.inet_pton(socket.AF_INET6, "ff02::1:2") + struct.pack("=I", stand.index("vpc-x", "v-ecs-a"))
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    wire = stand.frames("ecs-a")
    guest.send(frames.udp(local, "ff02::1:2", 547, b"solicit", sport=546))
    assert received(server) == b"solicit"
    stand.run("vpc-x", "ip", "neigh", "replace", local, "lladdr", guest.mac, "dev", "v-ecs-a")
    server.sendto(b"advertise", (local, 546, 0, stand.index("vpc-x", "v-ecs-a")))
    until(lambda: any(b"advertise" in packet for packet in drain(wire)), "the answer arrives")
    guest.send(frames.udp(local, "ff02::1:2", 5353, b"mdns", sport=5353))
    guest.send(frames.udp(local, "fe80::1", 53, b"dns", sport=546))
    guest.send(frames.icmpv6(local, "fe80::1", 128, b"ping"))
    guest.send(frames.udp(local, "ff02::1:2", 547, b"again", sport=546))
    assert received(server) == b"again"
    assert {port for _, port in _numbers(watch)} == {547}
    assert watch.passed("messages") <= {(local, 135), (local, 136), (local, 133)}


def test_router_advertisements_reach_the_instance(stand: Stand) -> None:
    """S15: from the host they do; from the outside, or from another instance, they do not."""
    wire, router_mac = stand.frames("ecs-a"), stand.mac("vpc-x", "v-ecs-a")
    host = stand.frames("vpc-x", "v-ecs-a")
    raw = stand.socket("vpc-x", socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, stand.index("vpc-x", "v-ecs-a"))
    message = frames.router_advertisement("fe80::1", router_mac)[40:]
    raw.sendto(message, ("ff02::1", 0))
    assert host is not None
    until(lambda: any(packet[54:55] == b"\x86" for packet in drain(wire)), "the advertisement arrives")


def test_neighbour_discovery_is_no_way_out(stand: Stand, watch: Watch) -> None:
    """S15: what the link needs stays on the link; nothing of it is forwarded, whatever it carries."""
    guest, outside, b = Guest(stand), stand.frames("outside"), stand.frames("ecs-b")
    secret = b"\x0e\x04" + os.urandom(30)
    local = frames.link_local(guest.mac)
    for source in ("2001:db8::11", local):
        for to in ("2001:db8:ffff::10", "2001:db8::12"):
            body = bytes(4) + socket.inet_pton(socket.AF_INET6, "2001:db8::11") + secret
            for kind in (133, 135, 136):
                guest.send(frames.icmpv6(source, to, kind, body[: 4 if kind == 133 else None] + secret))
    stand.run("ecs-b", "ping", "-c1", "-W2", "2001:db8:ffff::10")  # ecs-b may: the way is there
    for wire in (outside, b):
        assert not [packet for packet in drain(wire) if secret[2:] in packet]


def test_the_metadata_address_needs_a_rule(stand: Stand) -> None:
    """S15: 169.254.169.254 is an address like any other."""
    service = stand.socket("vpc-x", socket.AF_INET, socket.SOCK_DGRAM)
    service.bind((METADATA, 80))
    for host in ("ecs-a", "ecs-b"):
        stand.udp(host).sendto(host.encode(), (METADATA, 80))
    assert received(service) == b"ecs-b"
    assert drain(service) == []
