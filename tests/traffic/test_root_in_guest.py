"""Root inside an instance weakens nothing (S16): the rules are not where it is.

ecs-a may send UDP 7000 to ecs-b and nothing else; ecs-b lets in UDP 7000 and 7001 from ecs-a only. Whatever root in
ecs-a does to its own namespace, this stays so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import frames
import pytest
from guest import Guest
from harness import Stand, drain, groups, policy, reaches, standing, until
from watching import watching

pytestmark = pytest.mark.traffic

OUT_7000 = (
    "{direction: egress, protocol: udp, multiport: 7000, remote_group: Sg-B}, "
    "{direction: egress, protocol: udp, multiport: 7000, remote_group: Sg-B, ethertype: IPv6}"
)
IN_7000 = (
    "{direction: ingress, protocol: udp, multiport: 7000-7001, remote_group: Sg-A}, "
    "{direction: ingress, protocol: udp, multiport: 7000-7001, remote_group: Sg-A, ethertype: IPv6}"
)
ALLOWED, DENIED_HERE, DENIED_THERE = 7000, 7001, 7002
OWN, PEER = {4: "10.0.0.11", 6: "2001:db8::11"}, {4: "10.0.0.12", 6: "2001:db8::12"}


@pytest.fixture
def stand() -> Iterator[Stand]:
    with standing(policy(groups(A=OUT_7000, B=IN_7000, C="{direction: ingress}"))) as lab:
        yield lab


class Trial:
    """What ecs-b and ecs-c see of what ecs-a sends."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self._ports = {
            (family, port): stand.udp("ecs-b", port, family)
            for family in (4, 6)
            for port in (ALLOWED, DENIED_HERE, DENIED_THERE)
        }
        self._neighbour = stand.udp("ecs-c", ALLOWED)
        self._wires = stand.frames("ecs-b"), stand.frames("ecs-c")

    def holds(self, family: int = 4, source: str = "") -> None:
        """The allowed port is reached from an own address, the denied ones and the neighbour are not."""
        sender = self.stand.udp("ecs-a", 0, family, source or OWN[family])
        to = PEER[family]
        until(lambda: reaches(sender, self._ports[family, ALLOWED], (to, ALLOWED)), "the allowed port is reached")
        assert not reaches(sender, self._ports[family, DENIED_HERE], (to, DENIED_HERE))
        assert not reaches(sender, self._ports[family, DENIED_THERE], (to, DENIED_THERE))
        if family == 4:
            assert not reaches(sender, self._neighbour, ("10.0.0.13", ALLOWED))

    def silent(self, secret: bytes) -> None:
        """Nothing that carries the secret has come to a wire."""
        for wire in self._wires:
            assert not [packet for packet in drain(wire) if secret in packet]


def test_flushing_nftables_inside(stand: Stand) -> None:
    """S16: the instance's own tables are its own business."""
    trial = Trial(stand)
    trial.holds()
    stand.run("ecs-a", "nft", "flush", "ruleset")
    stand.feed("ecs-a", "nft", "-f", "-", text="table inet enforcer {\nchain c {\n}\n}\n")
    stand.run("ecs-a", "sysctl", "-qw", "net.ipv4.ip_forward=1", check=False)
    trial.holds()
    trial.holds(6)


def test_other_addresses(stand: Stand) -> None:
    """S16: an address that it gives itself does not get out, and does not take over the neighbour's packets."""
    trial, b = Trial(stand), stand.udp("ecs-b", 7100)
    for address in ("10.0.0.13/24", "10.0.0.12/32", "10.0.0.99/24", "192.0.2.7/32"):
        stand.run("ecs-a", "ip", "address", "add", address, "dev", "eth0")
    stand.run("ecs-a", "ip", "-6", "address", "add", "2001:db8::13/128", "dev", "eth0", "nodad")
    stand.run("ecs-a", "ip", "route", "add", "10.0.0.12", "via", "10.0.0.1", "dev", "eth0", "table", "7", "onlink")
    stand.run("ecs-a", "ip", "rule", "add", "pref", "0", "to", "10.0.0.12", "lookup", "7")
    stand.run("ecs-a", "ip", "rule", "del", "pref", "0", "lookup", "local")
    stand.run("ecs-a", "ip", "rule", "add", "pref", "5", "lookup", "local")
    with watching(stand, "v-ecs-a") as watch:
        for address in ("10.0.0.13", "10.0.0.99", "192.0.2.7"):
            sender = stand.udp("ecs-a", 0, 4, address)
            assert not reaches(sender, b, (PEER[4], 7100))
            sender.sendto(b"x", (PEER[4], ALLOWED))
        sender = stand.udp("ecs-a", 0, 6, "2001:db8::13")
        sender.sendto(b"x", (PEER[6], ALLOWED))
        trial.holds()
        trial.holds(6)
        assert watch.frames("sources4") == {OWN[4]}
        assert watch.frames("sources6") <= {OWN[6], "::", frames.link_local(stand.mac("ecs-a"))}
    # ecs-b's packets still go to ecs-b, however often ecs-a has announced its address.
    guest = Guest(stand)
    for operation in (1, 2):
        guest.send(frames.arp(operation, guest.mac, "10.0.0.12", guest.mac, "10.0.0.12"), kind=frames.ARP)
    trial.holds()


def test_another_mac(stand: Stand) -> None:
    """S16: under another MAC nothing gets out; under the own one everything is as it was."""
    trial, own = Trial(stand), stand.mac("ecs-a")
    trial.holds()
    stand.run("ecs-a", "ip", "link", "set", "eth0", "address", "02:00:00:00:00:02")
    with watching(stand, "v-ecs-a") as watch:
        for family in (4, 6):
            sender = stand.udp("ecs-a", 0, family)
            assert not reaches(sender, trial._ports[family, ALLOWED], (PEER[family], ALLOWED))
        assert watch.frames("macs") == set()
    stand.run("ecs-a", "ip", "link", "set", "eth0", "address", own)
    trial.holds()


def test_other_routes_and_neighbours(stand: Stand) -> None:
    """S16: whichever way it sends a packet, there is one wire and the rules are at its other end."""
    trial, peer_mac = Trial(stand), stand.mac("ecs-b")
    for family, to in PEER.items():
        stand.run("ecs-a", "ip", f"-{family}", "route", "replace", to, "dev", "eth0")
        stand.run("ecs-a", "ip", f"-{family}", "neigh", "replace", to, "lladdr", peer_mac, "dev", "eth0")
        sender = stand.udp("ecs-a", 0, family)
        assert not reaches(sender, trial._ports[family, ALLOWED], (to, ALLOWED)), "the frame is for ecs-b's MAC"
        router = stand.mac("vpc-x", "v-ecs-a")
        stand.run("ecs-a", "ip", f"-{family}", "neigh", "replace", to, "lladdr", router, "dev", "eth0")
        trial.holds(family)


def test_vlans_and_tunnels_of_its_own(stand: Stand) -> None:
    """S16: a VLAN interface reaches nobody; a tunnel is not looked into, for it is denied itself."""
    trial, secret = Trial(stand), os.urandom(24)
    stand.run("ecs-a", "ip", "link", "add", "link", "eth0", "name", "v7", "type", "vlan", "id", "7", check=False)
    guest = Guest(stand)
    inner = frames.udp("10.0.0.13", PEER[4], ALLOWED, secret)
    for protocol in (4, 41, 47, 97, 115, 132, 136, 255, 0):
        for to in (PEER[4], "10.0.0.1", "10.0.0.13"):
            guest.send(frames.ipv4(OWN[4], to, protocol, (b"\0\0\x08\0" if protocol == 47 else b"") + inner))
    for tags in (((frames.VLAN, 7),), ((frames.QINQ, 7), (frames.VLAN, 7)), ((frames.VLAN, 0), (frames.VLAN, 7))):
        guest.send(frames.udp(OWN[4], PEER[4], ALLOWED, secret), vlans=tags)
    for port in (4789, 6081, 8472, 51820):
        guest.send(frames.udp(OWN[4], PEER[4], port, secret))
        guest.send(frames.udp(OWN[4], "10.0.0.1", port, secret))
    trial.holds()
    trial.silent(secret)


@pytest.mark.parametrize("family", [4, 6])
def test_options_and_extension_headers(stand: Stand, family: int) -> None:
    """S13: the port is found behind any of them, and a source route leads nowhere."""
    trial, guest = Trial(stand), Guest(stand)
    own, to = OWN[family], PEER[family]
    build = _with_options if family == 4 else _with_extensions
    wire, receiver = stand.frames("ecs-b"), trial._ports[family, ALLOWED]
    for number, (packets, passes) in enumerate(build(own, to)):
        secret = f"denied-{family}-{number}-".encode() + os.urandom(8)
        for port in (DENIED_HERE, DENIED_THERE):
            guest.send(packets(frames.udp_segment(own, to, port, secret)))
        mark = os.urandom(16)
        guest.send(packets(frames.udp_segment(own, to, ALLOWED, mark)))
        if passes:
            until(lambda mark=mark: mark in drain(receiver), f"variant {number} of the allowed packet arrives")
        trial.holds(family)
        assert not [packet for packet in drain(wire) if secret in packet], f"variant {number} of a denied packet"


Build = Callable[[bytes], bytes]


def _with_options(own: str, to: str) -> list[tuple[Build, bool]]:
    """Options that routers pass on, source routes that they must not follow, and a source route to a denied host."""
    inward = bytes(map(int, to.split(".")))
    harmless = (b"\x01" * 4, b"\x94\x04\0\0", b"\x07\x07\x04\0\0\0\0\0", b"\x44\x08\x05\0\0\0\0\0", b"\x88\x04\0\1")
    routes = (b"\x83\x07\x04" + inward + b"\0", b"\x89\x07\x04" + inward + b"\0", b"\x83\x07\x04\x0a\0\0\x0d\0")
    variants: list[tuple[Build, bool]] = [
        (lambda segment, o=o: frames.ipv4(own, to, 17, segment, options=o), True) for o in harmless
    ]
    for option in routes:
        for first in (to, "10.0.0.1"):
            variants.append((lambda segment, o=option, f=first: frames.ipv4(own, f, 17, segment, options=o), False))
    return variants


def _with_extensions(own: str, to: str) -> list[tuple[Build, bool]]:
    """One extension header, several, and one that is not the last of its chain."""

    def chain(*kinds: int) -> Build:
        def build(segment: bytes) -> bytes:
            following, payload = 17, segment
            for kind in reversed(kinds):
                payload, following = frames.extension(kind, following, payload), kind
            return frames.ipv6(own, to, following, payload)

        return build

    def fragmented(segment: bytes) -> bytes:
        return frames.ipv6(own, to, frames.FRAGMENT, b"\x11\0\0\0\0\0\0\x01" + segment)

    hop, routing, options = frames.HOP_BY_HOP, frames.ROUTING, frames.DESTINATION
    passing = (chain(options), chain(hop), chain(hop, options), chain(options, options, options), fragmented)
    strange = (chain(routing), chain(options, hop), chain(*[options] * 12))
    return [*((build, True) for build in passing), *((build, False) for build in strange)]


def test_addresses_of_other_families_and_links(stand: Stand) -> None:
    """S16: 6to4, mapped, multicast and link-local packets are no way around either."""
    trial, guest, secret = Trial(stand), Guest(stand), os.urandom(24)
    local = frames.link_local(guest.mac)
    for source in (OWN[6], local):
        for to in (PEER[6], "ff02::1", "ff05::1", "ff0e::1", "fe80::1", frames.link_local(stand.mac("ecs-b"))):
            guest.send(frames.udp(source, to, DENIED_HERE, secret))
            guest.send(frames.icmpv6(source, to, 128, b"\0\1\0\1" + secret))
    for to in ("224.0.0.1", "224.0.0.251", "10.0.0.255", "255.255.255.255", "10.0.0.0", "127.0.0.1", "0.0.0.0"):
        guest.send(frames.udp(OWN[4], to, DENIED_HERE, secret))
        guest.send(frames.udp(OWN[4], to, DENIED_HERE, secret), to=frames.BROADCAST)
    trial.holds()
    trial.holds(6)
    trial.silent(secret)
