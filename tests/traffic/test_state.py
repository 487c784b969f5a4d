"""S13 with packets: what belongs to an allowed connection passes, and nothing else does."""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Iterator

import frames
import pytest
from guest import Guest
from harness import OUT, Stand, connects, drain, groups, policy, reaches, standing, until
from streams import gre, pumping, tcp, udp

from enforcer.model import Family

pytestmark = pytest.mark.traffic

SERVICES = ", ".join(
    f"{{direction: ingress, protocol: {protocol}, multiport: 7000-7099, ethertype: {family}}}"
    for protocol in ("tcp", "udp")
    for family in ("IPv4", "IPv6")
)
OTHERS = "{direction: ingress, protocol: icmp, icmp_type: 8}, {direction: ingress, protocol: gre}"
UNITS = 1400
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER = 10, 23


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with standing(policy(groups(A=OUT, B=f"{SERVICES}, {OTHERS}", C=OUT))) as lab:
        yield lab


@pytest.fixture(autouse=True)
def fresh(stand: Stand) -> None:
    stand.forget()


@pytest.mark.parametrize("family", [4, 6])
def test_fragments_are_judged_whole(stand: Stand, family: int) -> None:
    """S13: a datagram of many fragments passes where its port does, and no fragment of it passes where it does not."""
    sender, to = stand.udp("ecs-a", 0, family), stand.address("ecs-b", family)
    wire = stand.frames("ecs-b")
    allowed, denied = stand.udp("ecs-b", 7000, family), stand.udp("ecs-b", 6999, family)
    for size in (1473, 4000, 20000, 60000):
        assert reaches(sender, allowed, (to, 7000), os.urandom(size)), f"{size} bytes to an allowed port"
    drain(wire)
    secret = os.urandom(32)
    assert not reaches(sender, denied, (to, 6999), bytes(4000) + secret + bytes(4000))
    assert reaches(sender, allowed, (to, 7000), b"after")
    assert not [packet for packet in drain(wire) if secret in packet or bytes(100) in packet], "a fragment got through"


def test_crafted_fragments_do_not_slip_through(stand: Stand) -> None:
    """S13: no tiny first fragment, no later one alone and no overlapping one carries a denied port past the rules."""
    guest, wire = Guest(stand), stand.frames("ecs-b")
    whole = frames.udp_segment("10.0.0.11", "10.0.0.12", 6998, b"SECRET-DENIED-01" * 4)
    harmless = frames.udp_segment("10.0.0.11", "10.0.0.12", 7001, b"harmless-allowed" * 4)

    def fragment(data: bytes, offset: int, more: bool, number: int) -> None:
        packet = frames.ipv4("10.0.0.11", "10.0.0.12", 17, data, flags=offset // 8 | (0x2000 if more else 0))
        head = packet[:4] + struct.pack("!H", number) + packet[6:10] + b"\0\0" + packet[12:20]
        guest.send(head[:10] + struct.pack("!H", frames.checksum(head)) + head[12:] + packet[20:])

    fragment(whole[:8], 0, True, 1)  # the header alone, then the rest
    fragment(whole[8:], 8, False, 1)
    fragment(whole[8:], 8, False, 2)  # no beginning
    fragment(harmless[:16], 0, True, 3)  # an allowed beginning overlapped by a denied one
    fragment(whole[:16], 0, True, 3)
    fragment(whole[16:], 16, False, 3)
    fragment(harmless[:8], 0, True, 4)
    fragment(harmless[8:], 8, False, 4)
    until(lambda found=[]: found.extend(drain(wire)) or any(b"harmless-allowed" in each for each in found), "fragments")
    assert not [packet for packet in drain(wire) if b"SECRET" in packet]


@pytest.mark.parametrize("family", [4, 6])
def test_path_mtu_errors_of_a_hop_reach_the_sender(stand: Stand, family: Family) -> None:
    """S13: ICMP errors of an allowed flow pass, though no rule lets them in: path MTU discovery works."""
    to = stand.address("ecs-b", family)
    way = ("ip", f"-{family}", "route", "replace", to, "dev", "v-ecs-b")
    stand.run("vpc-x", *way, "mtu", "1280")
    try:
        sender, receiver = stand.udp("ecs-a", 0, family), stand.udp("ecs-b", 7002, family)
        sender.setsockopt(*{4: (0, IP_MTU_DISCOVER, 2), 6: (41, IPV6_MTU_DISCOVER, 2)}[family])
        assert not reaches(sender, receiver, (to, 7002), os.urandom(UNITS)), "too big for the hop"
        with pytest.raises(OSError, match="Message too long"):
            until(lambda: sender.sendto(os.urandom(UNITS), (to, 7002)) < 0, "the error arrives")
        assert reaches(sender, receiver, (to, 7002), os.urandom(1200))
        stand.run("ecs-a", "ip", f"-{family}", "route", "flush", "cache")
        bulk = tcp(stand, "ecs-a", "ecs-b", 7003, family)
        sent = os.urandom(100_000)
        arrived = bytearray()
        near, far = (end.carrier.socket for end in bulk.ends)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        assert near.send(sent) == len(sent)
        until(lambda: arrived.extend(b"".join(drain(far))) or bytes(arrived) == sent, "a whole TCP stream arrives")
    finally:
        stand.run("vpc-x", *way)
        stand.run("ecs-a", "ip", f"-{family}", "route", "flush", "cache")


@pytest.mark.parametrize("family", [4, 6])
def test_errors_of_the_peer_reach_the_sender(stand: Stand, family: int) -> None:
    """S13: port unreachable from the peer, whose group lets nothing out, reaches the one who asked."""
    sender, to = stand.udp("ecs-a", 0, family), stand.address("ecs-b", family)
    sender.connect((to, 7010))
    sender.send(b"anybody there?")
    until(lambda: sender.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "port unreachable")
    with pytest.raises(ConnectionRefusedError):
        connects(stand, "ecs-a", "ecs-b", 7010, family)
    sender = stand.udp("ecs-a", 0, family)
    sender.connect((to, 6990))
    sender.send(b"denied")
    assert not reaches(stand.udp("ecs-a", 0, family), stand.udp("ecs-b", 6990, family), (to, 6990))
    assert sender.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def test_errors_about_nothing_reach_nobody(stand: Stand) -> None:
    """S13: ICMP errors that quote no flow in force, or that go to somebody else than its ends, are dropped."""
    guest, wire = Guest(stand, "ecs-c"), stand.frames("ecs-a")
    asked = stand.udp("ecs-a")
    own = stand.udp("ecs-b", 7011)
    assert reaches(asked, own, ("10.0.0.12", 7011))
    port = asked.getsockname()[1]
    made_up = [
        frames.udp("10.0.0.11", "10.0.0.12", 9999, sport=port),  # no such flow
        frames.udp("10.0.0.11", "10.0.0.13", 7011, sport=port),
        frames.tcp("10.0.0.11", "10.0.0.12", 7011, frames.ACK, sport=port),
        frames.echo("10.0.0.11", "10.0.0.12"),
        frames.udp("10.0.0.12", "10.0.0.11", port, sport=7011)[:20],  # too short to tell
    ]
    for quoted in made_up:
        for kind, code in ((3, 3), (3, 4), (11, 0), (12, 0), (5, 1), (4, 0)):
            guest.send(frames.icmp_error("10.0.0.13", "10.0.0.11", quoted, kind=kind, code=code, rest=600))
    flow = frames.udp("10.0.0.11", "10.0.0.12", 7011, sport=port)
    for kind, code in ((13, 0), (0, 0), (14, 0), (18, 0), (9, 0), (10, 0)):
        guest.send(frames.icmp_error("10.0.0.13", "10.0.0.11", flow, kind=kind, code=code))
    drained = drain(wire)
    belongs = frames.icmp_error("10.0.0.13", "10.0.0.11", flow)  # any router on the way may say so
    guest.send(belongs)
    until(lambda: drained.extend(drain(wire)) or any(packet[14 + 9] == 1 for packet in drained), "the one that belongs")
    assert [packet[34:36] for packet in drained if packet[12:14] == b"\x08\0" and packet[23] == 1] == [b"\x03\x03"]


@pytest.mark.parametrize("family", [4, 6])
def test_tcp_begins_with_a_syn(stand: Stand, family: int) -> None:
    """S13: no other segment begins a connection, though the port is allowed; not from outside and not from within."""
    guest, wire = Guest(stand), stand.frames("ecs-b")
    own, to = stand.address("ecs-a", family), stand.address("ecs-b", family)
    stand.listener("ecs-b", 7020, family)
    a, s, f, r, p = frames.ACK, frames.SYN, frames.FIN, frames.RST, frames.PSH
    wrong = (a, a | p, f | a, r, r | a, s | a, s | f, s | r, 0, f, p, 0x3F, 0x29)
    for sport, flags in enumerate(wrong, 5000):
        guest.send(frames.tcp(own, to, 7020, flags, sport=sport, data=b"mid-stream"))
        guest.send(frames.tcp(own, to, 7020, flags, sport=sport, data=b"mid-stream", seq=2))
    assert connects(stand, "ecs-a", "ecs-b", 7020, family), "with a SYN it opens"
    at = 14 + (20 if family == 4 else 40)
    protocol = 23 if family == 4 else 20
    segments = [packet for packet in drain(wire) if packet[protocol] == 6 and packet[12:14] != b"\x08\x06"]
    ports = {struct.unpack_from("!H", packet, at)[0] for packet in segments}
    assert ports.isdisjoint(range(5000, 5000 + len(wrong))), ports


def test_invalid_packets_are_dropped(stand: Stand) -> None:
    """S13: what connection tracking calls invalid is dropped: bad checksums and lengths, replies to nothing."""
    guest, wire = Guest(stand), stand.frames("ecs-b")
    good = frames.udp("10.0.0.11", "10.0.0.12", 7030, b"invalid")
    bad = good[:26] + b"\x12\x34" + good[28:]  # the checksum
    short = good[:24] + b"\0\x04" + good[26:]  # the length
    for packet in (bad, short):
        guest.send(packet)
    for kind in (0, 3, 5, 11, 14, 16, 18, 40):
        guest.send(frames.echo("10.0.0.11", "10.0.0.12", b"invalid", kind=kind))
    guest.send(frames.tcp("10.0.0.11", "10.0.0.12", 7030, frames.SYN)[:32])
    guest.send(frames.echo("10.0.0.11", "10.0.0.12", b"valid!!"))
    found: list[bytes] = []
    until(lambda: found.extend(drain(wire)) or any(b"valid!!" in packet for packet in found), "the request arrives")
    assert not [packet for packet in found if b"invalid" in packet]


def test_idle_timeouts(stand: Stand) -> None:
    """S13: the times after which an idle connection is forgotten."""
    streams = (udp(stand, "ecs-a", "ecs-b", 7040), udp(stand, "ecs-a", "ecs-b", 7041, 6))
    connections = (tcp(stand, "ecs-a", "ecs-b", 7042), tcp(stand, "ecs-a", "ecs-b", 7043, 6))
    tunnel = gre(stand, "ecs-a", "ecs-b")
    stand.run("ecs-a", "ping", "-c1", "-W2", "10.0.0.12")
    with pumping(*streams, *connections, tunnel) as pump:
        pump.flowing(*streams, *connections)
        # The kernel takes UDP for a conversation once it has gone both ways for two seconds.
        until(lambda: min(timeouts(stand)["udp", port] for port in (7040, 7041)) > 30, "UDP is established")
        lone = stand.udp("ecs-a"), stand.udp("ecs-a", 0, 6)
        lone[0].sendto(b"x", ("10.0.0.12", 7044))
        lone[1].sendto(b"x", ("2001:db8::12", 7044))
        pump.finish()
        # 300 s as long as something is not acknowledged.
        until(lambda: min(timeouts(stand)["tcp", port] for port in (7042, 7043)) > 300, "all is acknowledged")
        left = timeouts(stand)
    for key, most in {
        ("udp", 7040): 180, ("udp", 7041): 180, ("tcp", 7042): 600, ("tcp", 7043): 600,
        ("udp", 7044): 30, ("icmp", 0): 30,
    }.items():  # fmt: skip
        assert most - 5 <= left[key] <= most, (key, left[key])
    assert 175 <= left["gre", 0] <= 180, "both directions were seen"
    for end in connections[0].ends[0], connections[1].ends[0]:
        end.carrier.socket.shutdown(socket.SHUT_WR)
    until(lambda: timeouts(stand)["tcp", 7042] <= 60 and timeouts(stand)["tcp", 7043] <= 60, "half closed")
    for end in connections[0].ends[1], connections[1].ends[1]:
        end.carrier.socket.close()
    states = stand.run("vpc-x", "conntrack", "-L", "-p", "tcp", "--dport", "7042").stdout
    assert "ESTABLISHED" not in states


def timeouts(stand: Stand) -> dict[tuple[str, int], int]:
    """Return the seconds left of each flow, by protocol and original destination port."""
    found = {}
    for family in ("ipv4", "ipv6"):
        for line in stand.run("vpc-x", "conntrack", "-L", "-f", family).stdout.splitlines():
            words = line.split()
            port = re.search(r"dport=(\d+)", line)
            found[words[0], int(port[1]) if port and words[0] in ("tcp", "udp") else 0] = int(words[2])
    return found


def test_the_reply_direction_needs_no_rule_and_opens_none(stand: Stand) -> None:
    """S13: ecs-b answers without an outbound rule, and begins nothing itself, not even from the port it answers on."""
    client, server = stand.udp("ecs-a"), stand.udp("ecs-b", 7050)
    assert reaches(client, server, ("10.0.0.12", 7050))
    assert reaches(server, client, ("10.0.0.11", client.getsockname()[1]))
    other = stand.udp("ecs-a")
    assert not reaches(server, other, ("10.0.0.11", other.getsockname()[1]))
    assert not reaches(stand.udp("ecs-b"), client, ("10.0.0.11", client.getsockname()[1]))
