"""S16 with packets: an instance sends from its own MAC and addresses only; root inside it writes the frames by hand."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import frames
import pytest
from guest import Guest
from harness import ANY_IN, HOSTS, OUT, Stand, drain, groups, policy, standing, until
from watching import Watch, watching

pytestmark = pytest.mark.traffic

OPEN = f"{ANY_IN}, {OUT}"
ALLOWED = 'allowed_addresses: [10.0.0.100, 10.0.0.128/28, "2001:db8::100"]'
EXTRA = HOSTS.replace("security_groups: [Sg-A]}", f"security_groups: [Sg-A], {ALLOWED}}}")
OWN = {4: ("10.0.0.11", "10.0.0.100", "10.0.0.130"), 6: ("2001:db8::11", "2001:db8::100")}
FOREIGN = {
    4: "10.0.0.12 10.0.0.99 10.0.0.101 10.0.0.1 10.0.0.127 10.0.0.144 10.9.9.9 127.0.0.1 0.0.0.0 255.255.255.255",
    6: "2001:db8::12 2001:db8::99 2001:db8::1 2001:db8:9::9 ::1 :: ff02::1 fe80::1 ::ffff:a00:b",
}


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with standing(policy(groups(A=OPEN, B=OPEN, C=OPEN), hosts=EXTRA)) as lab:
        yield lab


@pytest.fixture
def watch(stand: Stand) -> Iterator[Watch]:
    with watching(stand, "v-ecs-a") as seen:
        yield seen


def arrives(stand: Stand, port: int, family: int, send: object) -> set[bytes]:
    """Send something to a port of ecs-b and return what of it arrives before a marker that is sent afterwards."""
    receiver = stand.udp("ecs-b", port, family)
    send()
    sender, marker = stand.udp("ecs-a", 0, family), os.urandom(8)
    sender.sendto(marker, (stand.address("ecs-b", family), port))
    found: set[bytes] = set()
    until(lambda: found.update(drain(receiver)) or marker in found, "the marker arrives")
    return found - {marker}


@pytest.mark.parametrize("family", [4, 6])
def test_only_own_addresses_get_out(stand: Stand, watch: Watch, family: int) -> None:
    """S16: private and allowed addresses pass; every other source ends at the NIC."""
    guest, to = Guest(stand), stand.address("ecs-b", family)

    def send() -> None:
        for source in (*OWN[family], *FOREIGN[family].split()):
            guest.send(frames.udp(source, to, 7000, source.encode()))

    assert arrives(stand, 7000, family, send) == {source.encode() for source in OWN[family]}
    foreign = set(FOREIGN[family].split())
    assert watch.frames(f"sources{family}") & foreign == set()
    assert set(OWN[family]) <= watch.frames(f"sources{family}")


@pytest.mark.parametrize("family", [4, 6])
def test_only_the_own_mac_gets_out(stand: Stand, watch: Watch, family: int) -> None:
    """S16: frames under another MAC end at the NIC, whatever address they bear."""
    guest, own, to = Guest(stand), stand.address("ecs-a", family), stand.address("ecs-b", family)
    foreign = ("02:00:00:00:00:01", stand.mac("ecs-b"), guest.router, "00:00:00:00:00:00", frames.BROADCAST)

    def send() -> None:
        for source in (guest.mac, *foreign):
            guest.send(frames.udp(own, to, 7001, source.encode()), source=source)

    assert arrives(stand, 7001, family, send) == {guest.mac.encode()}
    assert watch.frames("macs") == {guest.mac}


def neighbours(stand: Stand, interface: str = "v-ecs-a") -> str:
    return stand.run("vpc-x", "ip", "neigh", "show", "dev", interface).stdout


def test_arp_is_answered_for_own_addresses_only(stand: Stand, watch: Watch) -> None:
    """S15, S16: an ARP packet speaks for an address and a MAC of the NIC, or for none (a probe)."""
    guest, liar = Guest(stand), "02:00:00:00:00:66"
    own, zero = "10.0.0.11", "00:00:00:00:00:00"
    lies = [
        (guest.mac, "10.0.0.12"), (guest.mac, "10.0.0.1"), (guest.mac, "10.0.0.99"), (liar, own), (liar, "10.0.0.99"),
        (frames.BROADCAST, own), (zero, own), (guest.mac, "10.0.0.131"), (guest.mac, "255.255.255.255"),
    ]  # fmt: skip
    for operation in (1, 2):
        for sender_mac, sender in lies:
            for source in (guest.mac, sender_mac):
                packet = frames.arp(operation, sender_mac, sender, guest.router, "10.0.0.1")
                guest.send(packet, source=source, kind=frames.ARP)
                guest.send(packet, source=source, to=frames.BROADCAST, kind=frames.ARP)
    guest.send(frames.arp(2, guest.mac, "0.0.0.0", guest.router, "10.0.0.1"), kind=frames.ARP)
    guest.send(frames.arp(1, guest.mac, "0.0.0.0", zero, own), to=frames.BROADCAST, kind=frames.ARP)
    guest.send(frames.arp(1, guest.mac, own, zero, "10.0.0.1"), to=frames.BROADCAST, kind=frames.ARP)
    guest.send(frames.arp(2, guest.mac, "10.0.0.100", guest.router, "10.0.0.1"), kind=frames.ARP)
    until(lambda: (guest.mac, "10.0.0.100") in watch.frames("arps"), "the last ARP arrives")
    seen = watch.frames("arps")
    assert seen == {(guest.mac, "0.0.0.0"), (guest.mac, own), (guest.mac, "10.0.0.100")}
    assert liar not in neighbours(stand)
    assert "10.0.0.12 " not in neighbours(stand)


def test_neighbour_discovery_speaks_for_own_addresses_only(stand: Stand, watch: Watch) -> None:
    """S15: advertisements for addresses of others end at the NIC or in the router, those for own ones pass."""
    guest = Guest(stand)
    local = frames.link_local(guest.mac)
    liar = "02:00:00:00:00:66"
    for target in ("2001:db8::12", "2001:db8::1", "fe80::1", frames.link_local(liar), "2001:db8::99"):
        for source in (local, "2001:db8::11", target, frames.link_local(liar)):
            guest.send(frames.advertisement(source, target, guest.mac))
            guest.send(frames.advertisement(source, target, liar), source=liar)
            guest.send(frames.solicitation("::", target, guest.mac))
    assert not [kind for _, kind in watch.passed("messages") if int(kind) == 136]
    guest.send(frames.advertisement("2001:db8::11", "2001:db8::11", guest.mac))
    guest.send(frames.advertisement(local, "2001:db8::100", guest.mac))
    guest.send(frames.solicitation("::", "2001:db8::11", guest.mac))
    guest.send(frames.solicitation(local, "fe80::1", guest.mac))
    until(lambda: (local, 135) in watch.passed("messages"), "own neighbour discovery passes")
    assert watch.passed("messages") == {("2001:db8::11", 136), (local, 136), (local, 135), ("::", 135)}
    assert watch.frames("macs") == {guest.mac}
    assert "2001:db8::12" not in neighbours(stand)


def test_router_advertisements_and_redirects_end_at_the_nic(stand: Stand, watch: Watch) -> None:
    """S15: an instance is no router; what it says as one reaches nobody, neither the host nor the neighbours."""
    guest = Guest(stand)
    local = frames.link_local(guest.mac)
    neighbour = stand.frames("ecs-b")
    for source in (local, "2001:db8::11", "fe80::1"):
        for to in ("ff02::1", "2001:db8::12", "fe80::1"):
            guest.send(frames.router_advertisement(source, guest.mac, to=to))
            guest.send(frames.redirect(source, to, "2001:db8::11", "2001:db8::12"))
    guest.send(frames.icmpv6(local, "ff02::2", 133, bytes(4)))
    until(lambda: (local, 133) in watch.passed("messages"), "the router solicitation passes")
    assert watch.passed("messages") == {(local, 133)}
    assert not [packet for packet in drain(neighbour) if packet[12:14] == b"\x86\xdd" and packet[54] in (134, 137)]


def test_nothing_but_ip_and_arp_gets_out(stand: Stand, watch: Watch) -> None:
    """S16: other EtherTypes and VLAN tags are no way around the checks."""
    guest, to = Guest(stand), stand.address("ecs-b")
    tags = (frames.VLAN, 0), (frames.VLAN, 7), (frames.QINQ, 0), (frames.QINQ, 7)

    def send() -> None:
        for kind in (0x0842, 0x8847, 0x8863, 0x8864, 0x88CC, 0x0007, 0x88E5, 0x9000, 0x6558):
            guest.send(frames.udp("10.0.0.11", to, 7002, b"kind"), kind=kind)
        lie = frames.arp(2, guest.mac, "10.0.0.12", guest.router, "10.0.0.1")
        for one in tags:
            guest.send(frames.udp("10.0.0.99", to, 7002, b"spoofed"), vlans=(one,))
            guest.send(frames.udp("10.0.0.11", to, 7002, b"foreign mac"), source="02:00:00:00:00:01", vlans=(one,))
            for other in tags:
                guest.send(frames.udp("10.0.0.99", to, 7002, b"spoofed twice"), vlans=(one, other))
                guest.send(lie, kind=frames.ARP, vlans=(one, other))
            guest.send(lie, kind=frames.ARP, vlans=(one,))

    assert arrives(stand, 7002, 4, send) == set()
    assert "10.0.0.99" not in watch.frames("sources4")
    assert watch.frames("arps") <= {(guest.mac, "10.0.0.11")}
    assert watch.frames("macs") == {guest.mac}
    kinds = {socket.ntohs(kind) for kind in watch.frames("protocols")}  # nft prints them the other way round
    assert kinds <= {frames.IPV4, frames.IPV6, frames.ARP}
