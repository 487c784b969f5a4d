"""S17 with packets: what is denied is dropped without an answer, whoever denies it."""

from __future__ import annotations

from collections.abc import Iterator

import frames
import pytest
from guest import Guest
from harness import OUT, Stand, drain, groups, policy, standing, until

pytestmark = pytest.mark.traffic

WEB = (
    "{direction: ingress, protocol: tcp, multiport: 80}, "
    "{direction: ingress, protocol: tcp, multiport: 80, ethertype: IPv6}"
)


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with standing(policy(groups(A=OUT, B=f"{WEB}, {OUT}", C=""))) as lab:
        yield lab


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("denier", ["the receiver", "the sender"])
def test_denied_packets_are_not_answered(stand: Stand, family: int, denier: str) -> None:
    """S17: no reset, no ICMP: the sender sees nothing; an allowed port that nobody listens on answers."""
    host = "ecs-a" if denier == "the receiver" else "ecs-c"
    guest, wire = Guest(stand, host), stand.frames(host)
    own, to = stand.address(host, family), stand.address("ecs-b", family)
    drain(wire)
    flags = (frames.SYN, frames.ACK, frames.FIN | frames.ACK, frames.RST, frames.SYN | frames.ACK, 0)
    for number, each in enumerate(flags):
        guest.send(frames.tcp(own, to, 81, each, sport=4100 + number))
    guest.send(frames.udp(own, to, 80))
    guest.send(frames.packet(own, to, 47, b"\0\0\x08\0"))
    guest.send(frames.packet(own, to, 132, bytes(12)))
    if family == 4:
        guest.send(frames.echo(own, to))
    else:
        guest.send(frames.icmpv6(own, to, 128, bytes(8), hops=64))
    answers: list[bytes] = []
    if denier == "the receiver":
        guest.send(frames.tcp(own, to, 80, frames.SYN, sport=4200))
        until(lambda: answers.extend(ip_packets(wire, guest.mac)) or answers, "the allowed port answers with a reset")
    else:
        marker = Guest(stand, "ecs-a")
        marker_wire = stand.frames("ecs-a")
        marker.send(frames.tcp(stand.address("ecs-a", family), to, 80, frames.SYN, sport=4300))
        until(lambda: ip_packets(marker_wire, marker.mac), "the neighbour, who may, is answered")
    answers += ip_packets(wire, guest.mac)
    assert len(answers) == (1 if denier == "the receiver" else 0)


def ip_packets(wire: object, mac: str) -> list[bytes]:
    """Return the IP packets to an instance, without neighbour discovery."""
    found = []
    for packet in drain(wire):
        to_instance = packet[:6] == frames.mac(mac)
        neighbours = packet[12:14] == b"\x86\xdd" and packet[20] == 58 and packet[54] in (133, 134, 135, 136)
        if to_instance and packet[12:14] in (b"\x08\0", b"\x86\xdd") and not neighbours:
            found.append(packet)
    return found
