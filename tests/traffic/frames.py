"""Packets byte by byte: what root inside an instance can put on its wire.

    frame(udp("10.0.0.99", "10.0.0.12", 5000), source="fa:16:3e:00:00:01", to=router)

Addresses are text, payloads bytes; checksums are right unless a test spoils them.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address, ip_address

ARP, IPV4, IPV6, VLAN, QINQ = 0x0806, 0x0800, 0x86DD, 0x8100, 0x88A8
BROADCAST = "ff:ff:ff:ff:ff:ff"
SYN, ACK, FIN, RST, PSH = 0x02, 0x10, 0x01, 0x04, 0x08
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def frame(
    packet: bytes, *, source: str, to: str = BROADCAST, kind: int = 0, vlans: tuple[tuple[int, int], ...] = ()
) -> bytes:
    """Put a packet into an Ethernet frame; `vlans` are (EtherType, VLAN) tags, the outermost first."""
    kind = kind or (IPV6 if packet[0] >> 4 == 6 else IPV4)
    tags = b"".join(struct.pack("!HH", tag, number) for tag, number in vlans)
    return mac(to) + mac(source) + tags + struct.pack("!H", kind) + packet


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2]))
    total += data[-1] << 8 if len(data) % 2 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(
    source: str, to: str, protocol: int, payload: bytes, *, options: bytes = b"", ttl: int = 64, flags: int = 0
) -> bytes:
    """Build an IPv4 packet; `flags` are the 16 bits with the fragment offset."""
    length = 20 + len(options)
    head = struct.pack("!BBHHHBBH", 0x40 | length // 4, 0, length + len(payload), 7, flags, ttl, protocol, 0)
    head += socket.inet_aton(source) + socket.inet_aton(to) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv6(source: str, to: str, protocol: int, payload: bytes, *, hops: int = 64) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, hops)
    return head + IPv6Address(source).packed + IPv6Address(to).packed + payload


def packet(source: str, to: str, protocol: int, payload: bytes, *, hops: int = 64) -> bytes:
    """Build a packet of the addresses' family; a checksum over the pseudo header belongs to the payload."""
    if ip_address(source).version == 6:
        return ipv6(source, to, protocol, payload, hops=hops)
    return ipv4(source, to, protocol, payload, ttl=hops)


def _with_checksum(source: str, to: str, protocol: int, data: bytes, at: int) -> bytes:
    packed = ip_address(source).packed + ip_address(to).packed
    pseudo = packed + struct.pack("!IHBB", len(data), 0, 0, protocol)
    return data[:at] + struct.pack("!H", checksum(pseudo + data) or 0xFFFF) + data[at + 2 :]


def udp_segment(source: str, to: str, port: int, data: bytes, sport: int = 4000) -> bytes:
    return _with_checksum(source, to, 17, struct.pack("!HHHH", sport, port, 8 + len(data), 0) + data, 6)


def udp(source: str, to: str, port: int, data: bytes = b"x", *, sport: int = 4000, hops: int = 64) -> bytes:
    return packet(source, to, 17, udp_segment(source, to, port, data, sport), hops=hops)


def tcp(source: str, to: str, port: int, flags: int, *, sport: int = 4000, data: bytes = b"", seq: int = 1) -> bytes:
    segment = struct.pack("!HHIIBBHHH", sport, port, seq, 1, 5 << 4, flags, 65535, 0, 0) + data
    return packet(source, to, 6, _with_checksum(source, to, 6, segment, 16))


def echo(source: str, to: str, data: bytes = b"", *, kind: int = 8, identity: int = 1) -> bytes:
    """Build an ICMP echo request, or another type with the same layout."""
    message = struct.pack("!BBHHH", kind, 0, 0, identity, 1) + data
    return ipv4(source, to, 1, message[:2] + struct.pack("!H", checksum(message)) + message[4:])


def icmpv6(source: str, to: str, kind: int, body: bytes, *, code: int = 0, hops: int = 255) -> bytes:
    message = _with_checksum(source, to, 58, struct.pack("!BBH", kind, code, 0) + body, 2)
    return ipv6(source, to, 58, message, hops=hops)


def icmp_error(source: str, to: str, quoted: bytes, *, kind: int = 3, code: int = 3, rest: int = 0) -> bytes:
    """Build an ICMP error about a packet."""
    message = struct.pack("!BBHI", kind, code, 0, rest) + quoted[:548]
    return ipv4(source, to, 1, message[:2] + struct.pack("!H", checksum(message)) + message[4:])


def arp(operation: int, sender_mac: str, sender: str, target_mac: str, target: str) -> bytes:
    addresses = mac(sender_mac) + socket.inet_aton(sender) + mac(target_mac) + socket.inet_aton(target)
    return struct.pack("!HHBBH", 1, IPV4, 6, 4, operation) + addresses


def solicitation(source: str, target: str, lladdr: str, *, to: str = "", hops: int = 255) -> bytes:
    address = IPv6Address(target).packed
    to = to or str(IPv6Address(IPv6Address("ff02::1:ff00:0").packed[:13] + address[13:]))
    option = b"" if source == "::" else b"\x01\x01" + mac(lladdr)
    return icmpv6(source, to, 135, bytes(4) + address + option, hops=hops)


def advertisement(source: str, target: str, lladdr: str, *, to: str = "ff02::1", hops: int = 255) -> bytes:
    """Build a neighbour advertisement that overrides what is known."""
    return icmpv6(source, to, 136, b"\x20\0\0\0" + IPv6Address(target).packed + b"\x02\x01" + mac(lladdr), hops=hops)


def router_advertisement(source: str, lladdr: str, *, to: str = "ff02::1") -> bytes:
    prefix = b"\x03\x04\x40\xc0" + struct.pack("!III", 1800, 1800, 0) + IPv6Address("2001:db8:bad::").packed
    return icmpv6(source, to, 134, b"\x40\0" + struct.pack("!HII", 1800, 0, 0) + b"\x01\x01" + mac(lladdr) + prefix)


def redirect(source: str, to: str, target: str, destination: str) -> bytes:
    return icmpv6(source, to, 137, bytes(4) + IPv6Address(target).packed + IPv6Address(destination).packed)


def extension(kind: int, following: int, payload: bytes) -> bytes:
    """Put an IPv6 extension header (padding, or an empty routing header of type 253) before a payload."""
    return struct.pack("!BB", following, 0) + (b"\xfd\0\0\0\0\0" if kind == ROUTING else b"\x01\x04\0\0\0\0") + payload


def link_local(address: str) -> str:
    """Return the EUI-64 address that belongs to a MAC."""
    octets = mac(address)
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]))
