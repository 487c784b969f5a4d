"""What is sent: a flow, its turns, and the bytes of each frame. Pure.

Every frame carries a number of its own, so what arrives, and where, is known without any doubt. A flow has the turns
that a conversation can take:

    open     the first packet (TCP: a SYN, unless the flow is a stray), and its repetition while nobody answered
    answer   the other end's packet: SYN-ACK, the ICMP type that answers, the same protocol backwards
    onward   the opener's packet after an answer
    talk     the other end's packet after the opener's `onward`
    error    an ICMP error of the other end, about the flow
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Literal

from enforcer.lab.probe.packets import (
    ICMP_ANSWERS,
    ICMPV6_ANSWERS,
    REQUEST,
    Icmp,
    checksum,
    found_message,
    sctp_init,
    sctp_init_ack,
)
from enforcer.model import GRE, ICMP, ICMPV6, TCP, UDP, IPAddress, Traffic

Turn = Literal["open", "answer", "onward", "talk", "error"]
SCTP = 132
SYN, ACK, SYN_ACK = 0x02, 0x10, 0x12
_NUMBER = struct.Struct("!Q")
_SERVER_SEQ, _CLIENT_SEQ = 50_000, 10_000
_ERRORS = {4: (ICMP, 3, 1), 6: (ICMPV6, 1, 1)}


@dataclass(frozen=True, slots=True)
class Flow:
    """A conversation that somebody tries to begin.

    `sender` and `receiver` are NICs of the stage, the receiver being where the packet comes out. `key` is the source
    port, or the ICMP identifier. `flags` other than SYN begin no connection; `stranger`: the frame has another MAC.
    """

    sender: str
    receiver: str
    source: IPAddress
    destination: IPAddress
    protocol: int
    key: int = 0
    port: int = 0
    icmp_type: int = 0
    icmp_code: int = 0
    flags: int = SYN
    stranger: bool = False

    @property
    def traffic(self) -> Traffic:
        """Return what rules are asked about."""
        if self.protocol in (TCP, UDP):
            return Traffic(self.protocol, port=self.port)
        if self.is_icmp:
            return Traffic(self.protocol, icmp_type=self.icmp_type, icmp_code=self.icmp_code)
        return Traffic(self.protocol)

    @property
    def is_icmp(self) -> bool:
        """Whether this is the family's own ICMP."""
        return self.protocol == (ICMP if self.source.version == 4 else ICMPV6)

    def words(self) -> dict[str, Any]:
        """Return the flow for a file."""
        found = {name: getattr(self, name) for name in self.__slots__}
        found |= {"source": str(self.source), "destination": str(self.destination)}
        defaults = {"port": 0, "icmp_type": 0, "icmp_code": 0, "flags": SYN, "stranger": False, "key": 0}
        return {name: value for name, value in found.items() if name not in defaults or value != defaults[name]}


def backwards(turn: Turn) -> bool:
    """Say whether a turn is sent by the flow's receiver."""
    return turn in ("answer", "talk", "error")


def number_of(frame: bytes) -> int | None:
    """Return the number that a frame carries."""
    found = found_message(frame)
    return _NUMBER.unpack(found[1][4:])[0] if found else None


def packet(flow: Flow, turn: Turn, number: int) -> bytes:
    """Return the IP packet of a turn."""
    mark = REQUEST + struct.pack("!HH", flow.key or 1, flow.port or 1) + _NUMBER.pack(number)
    near, far = flow.source, flow.destination
    if turn == "error":
        protocol, kind, code = _ERRORS[near.version]
        about = _ip(near, far, flow.protocol, _content(flow, "open", mark))
        return _ip(far, near, protocol, _icmp(far, near, Icmp(kind, code, bytes(4), about)))
    source, destination = (far, near) if backwards(turn) else (near, far)
    return _ip(source, destination, flow.protocol, _content(flow, turn, mark))


def _content(flow: Flow, turn: Turn, mark: bytes) -> bytes:
    near, far = (flow.destination, flow.source) if backwards(turn) else (flow.source, flow.destination)
    ports = (flow.port, flow.key) if backwards(turn) else (flow.key, flow.port)
    if flow.protocol == TCP:
        return _tcp(flow, turn, ports, near, far, mark)
    if flow.protocol == UDP:
        head = struct.pack("!HHH", *ports, 8 + len(mark))
        total = checksum(_pseudo(near, far, UDP, 8 + len(mark)) + head + b"\0\0" + mark) or 0xFFFF
        return head + struct.pack("!H", total) + mark
    if flow.is_icmp:
        answers = ICMP_ANSWERS if near.version == 4 else ICMPV6_ANSWERS
        kind = answers.get(flow.icmp_type, flow.icmp_type) if backwards(turn) else flow.icmp_type
        return _icmp(near, far, Icmp(kind, flow.icmp_code, struct.pack("!HH", flow.key, 1), mark))
    if flow.protocol == SCTP:
        nonce = mark[len(REQUEST) :]
        if not backwards(turn):
            return sctp_init(nonce)
        return sctp_init_ack(sctp_init(nonce), nonce)
    return (b"\0\0\x08\0" if flow.protocol == GRE else b"") + mark


def _tcp(flow: Flow, turn: Turn, ports: tuple[int, int], near: IPAddress, far: IPAddress, mark: bytes) -> bytes:
    """Return a segment in the window that earlier turns left: each has as many bytes as the others."""
    begun, answered = _CLIENT_SEQ + 1 + len(mark), _SERVER_SEQ + 1 + len(mark)
    flags, seq, ack = {
        "open": (flow.flags, _CLIENT_SEQ, 0),
        "answer": (SYN_ACK, _SERVER_SEQ, begun),
        "onward": (ACK, begun, answered),
        "talk": (ACK, answered, begun),
    }[turn]
    head = struct.pack("!HHIIBBH", *ports, seq, ack, 5 << 4, flags, 65535)
    total = checksum(_pseudo(near, far, TCP, 20 + len(mark)) + head + b"\0\0\0\0" + mark)
    return head + struct.pack("!HH", total, 0) + mark


def _icmp(near: IPAddress, far: IPAddress, message: Icmp) -> bytes:
    packed = message.packed()
    if near.version == 4:
        return packed
    blank = packed[:2] + b"\0\0" + packed[4:]
    return blank[:2] + struct.pack("!H", checksum(_pseudo(near, far, ICMPV6, len(blank)) + blank)) + blank[4:]


def _pseudo(near: IPAddress, far: IPAddress, protocol: int, length: int) -> bytes:
    tail = struct.pack("!BBH", 0, protocol, length) if near.version == 4 else struct.pack("!II", length, protocol)
    return near.packed + far.packed + tail


def _ip(near: IPAddress, far: IPAddress, protocol: int, content: bytes) -> bytes:
    if near.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(content), protocol, 64) + near.packed + far.packed + content
    head = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(content), 0, 0x4000, 64, protocol)
    total = checksum(head + b"\0\0" + near.packed + far.packed)
    return head + struct.pack("!H", total) + near.packed + far.packed + content
