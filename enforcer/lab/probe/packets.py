"""The bytes that probes send and look for: nonces, ICMP, GRE and SCTP. Pure.

Every attempt has a nonce, and every packet of it carries the nonce, so one socket serves all attempts of a host.
    request   "SGP?" + nonce        answer   "SGP!" + nonce
ICMP carries the first four bytes of the nonce as identifier and sequence number too: some answers return no more.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

NONCE_BYTES: Final = 12
REQUEST: Final = b"SGP?"
ANSWER: Final = b"SGP!"
MESSAGE_BYTES: Final = len(REQUEST) + NONCE_BYTES

ICMP_ANSWERS: Final = {8: 0, 13: 14, 15: 16, 17: 18}
ICMPV6_ANSWERS: Final = {128: 129, 139: 140}
KERNEL_ANSWERS: Final = frozenset({8, 13, 128})
"""ICMP requests that every kernel answers by itself; for the others the probe answers."""

_GRE_IPV4: Final = b"\x00\x00\x08\x00"  # RFC 2784: no checksum, version 0, an IPv4 packet inside
_SCTP_INIT, _SCTP_INIT_ACK = 1, 2
_SCTP_PARAMETER: Final = 0x8009  # unknown to everybody; the two high bits say "skip it"


def found_message(data: bytes) -> tuple[bytes, bytes] | None:
    """Return kind (REQUEST or ANSWER) and nonce of the message somewhere in the data."""
    for kind in (REQUEST, ANSWER):
        at = data.find(kind)
        if at >= 0 and len(data) >= at + MESSAGE_BYTES:
            return kind, data[at + len(kind) : at + MESSAGE_BYTES]
    return None


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass(frozen=True, slots=True)
class Icmp:
    """What matters of an ICMP or ICMPv6 message; `key` is identifier and sequence number."""

    type: int
    code: int
    key: bytes
    body: bytes

    def packed(self) -> bytes:
        """Return the message with its checksum, which the kernel writes anew for ICMPv6."""
        head = struct.pack("!BBH4s", self.type, self.code, 0, self.key)
        total = checksum(head + self.body)
        return struct.pack("!BBH4s", self.type, self.code, total, self.key) + self.body


def icmp_request(kind: int, code: int, nonce: bytes) -> Icmp:
    """Return the message of an attempt; its key is the nonce's beginning."""
    return Icmp(kind, code, nonce[:4], REQUEST + nonce)


def parse_icmp(data: bytes) -> Icmp | None:
    """Read a message; None if it is too short for one."""
    if len(data) < 8:
        return None
    return Icmp(data[0], data[1], data[4:8], data[8:])


def ipv4_payload(packet: bytes) -> bytes:
    """Return what an IPv4 packet carries."""
    return packet[(packet[0] & 0x0F) * 4 :] if packet else b""


def gre_wrapped(packet: bytes) -> bytes:
    """Return an IPv4 packet inside a GRE header."""
    return _GRE_IPV4 + packet


def gre_unwrapped(data: bytes) -> bytes | None:
    """Return the IPv4 packet inside, None if this is no plain GRE around IPv4."""
    return data[4:] if data[:4] == _GRE_IPV4 and len(data) >= 24 else None


def sctp_init(nonce: bytes) -> bytes:
    """Return an SCTP packet that begins an association: connection tracking knows SCTP and drops what is none."""
    ports = struct.unpack("!HH", nonce[:4])
    tag = struct.unpack("!I", nonce[4:8])[0] or 1
    return _sctp((ports[0] | 1, ports[1] | 1), 0, _SCTP_INIT, tag, REQUEST + nonce)


def sctp_init_ack(request: bytes, nonce: bytes) -> bytes:
    """Return the answer to `sctp_init`, to the ports and with the tag of the request."""
    source, destination = struct.unpack("!HH", request[:4])
    tag = struct.unpack("!I", request[16:20])[0]
    return _sctp((destination, source), tag, _SCTP_INIT_ACK, tag, ANSWER + nonce)


def _sctp(ports: tuple[int, int], tag: int, chunk: int, initiate: int, message: bytes) -> bytes:
    """Return common header, INIT or INIT ACK chunk (RFC 9260) and the message as a parameter of it."""
    parameter = struct.pack("!HH", _SCTP_PARAMETER, 4 + len(message)) + message
    body = struct.pack("!IIHHI", initiate, 65536, 1, 1, initiate) + parameter
    chunks = struct.pack("!BBH", chunk, 0, 4 + len(body)) + body
    total = crc32c(struct.pack("!HHII", *ports, tag, 0) + chunks)
    return struct.pack("!HHI", *ports, tag) + struct.pack("<I", total) + chunks


def crc32c(data: bytes) -> int:
    """Return the checksum of SCTP (RFC 9260, appendix A)."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF
