"""A sender of frames: as fast as one core can, every frame ready before the clock starts.

Frames go out through a packet socket of the guest with `sendmmsg(2)`. A veth hands them on at once, so the core that
sends also does the router's work, up to the receiver's interface: a burst's time over its frames is what a packet
costs. The receiver's guest drops what arrives at its interface; what arrived is read from that interface's counter.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import time
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from enforcer.dataplane.namespaces import entered

BATCH = 64
_MMSGHDR = struct.Struct("@QIIQQQQiiII")  # struct mmsghdr of 64-bit Linux: msghdr, then the length that was sent
_IOVEC = struct.Struct("@QQ")
_PACKET_QDISC_BYPASS = 20
_SOL_PACKET = 263
_libc = ctypes.CDLL(None, use_errno=True)


def udp_frame(macs: tuple[str, str], source: tuple[str, int], target: tuple[str, int], payload: bytes = b"") -> bytes:
    """Build an Ethernet frame with a UDP datagram; `macs` are destination and source."""
    near, far = ip_address(source[0]).packed, ip_address(target[0]).packed
    payload = payload or bytes(18)
    length = 8 + len(payload)
    ports = struct.pack("!HHH", source[1], target[1], length)
    pseudo = near + far + struct.pack("!II", length, 17)
    datagram = ports + struct.pack("!H", _checksum(pseudo + ports + b"\0\0" + payload) or 0xFFFF) + payload
    ethernet = b"".join(bytes.fromhex(mac.replace(":", "")) for mac in macs)
    if len(near) == 16:
        return ethernet + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, length, 17, 64) + near + far + datagram
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + length, 0, 0, 64, 17, 0, near, far)
    header = header[:10] + struct.pack("!H", _checksum(header)) + header[12:]
    return ethernet + b"\x08\x00" + header + datagram


def _checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


class Frames:
    """Frames in memory, with the headers that sendmmsg wants; they stay where they are while this object lives."""

    def __init__(self, frames: Sequence[bytes]) -> None:
        self.count = len(frames)
        stride = max(map(len, frames))
        self._data = ctypes.create_string_buffer(b"".join(frame.ljust(stride, b"\0") for frame in frames))
        base = ctypes.addressof(self._data)
        vectors = b"".join(_IOVEC.pack(base + at * stride, len(frame)) for at, frame in enumerate(frames))
        self._vectors = ctypes.create_string_buffer(vectors)
        base = ctypes.addressof(self._vectors)
        headers = (_MMSGHDR.pack(0, 0, 0, base + at * _IOVEC.size, 1, 0, 0, 0, 0, 0, 0) for at in range(self.count))
        self._headers = ctypes.create_string_buffer(b"".join(headers))
        self.address = ctypes.addressof(self._headers)

    def at(self, index: int) -> int:
        """Return the address of one frame's header."""
        return self.address + index * _MMSGHDR.size


class Sender:
    """The guest's interface, ready to send; opened in its namespace, used from anywhere."""

    def __init__(self, netns: str, interface: str = "eth0") -> None:
        with entered(netns):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
        self._socket.bind((interface, 0))

    def burst(self, frames: Frames, seconds: float) -> tuple[int, float]:
        """Send the frames in their order, at most for that long; return how many went out and the seconds it took."""
        sent, began = 0, time.perf_counter()
        while sent < frames.count and time.perf_counter() - began < seconds:
            sent += self.send(frames, sent)
        return sent, time.perf_counter() - began

    def send(self, frames: Frames, first: int) -> int:
        """Send a batch; return how many frames it had."""
        some = min(BATCH, frames.count - first)
        sent: int = _libc.sendmmsg(self._socket.fileno(), ctypes.c_void_p(frames.at(first)), some, 0)
        if sent < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return sent

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def received(netns: str, interface: str = "eth0") -> int:
    """Read how many packets the guest's interface has received."""
    with entered(netns):
        table = Path("/proc/thread-self/net/dev").read_text(encoding="ascii")
    for line in table.splitlines():
        name, _, counts = line.partition(":")
        if name.strip() == interface:
            return int(counts.split()[1])
    raise RuntimeError(f"{netns}: no interface {interface}")
