"""GRE between two hosts: the kernel's GRE devices where it has them, else a TUN device in each and raw sockets.

    inner ping ──▶ GRE device of A ══▶ GRE device of B ──▶ B's kernel answers
    inner ping ──▶ TUN of A ──▶ GRE packet, raw socket of A ══▶ raw socket of B ──▶ TUN of B ──▶ B's kernel answers

A GRE device must know the address of its other end, so to an EIP, or to whoever holds a virtual IP, it is TUN always.
TUN devices vanish with their descriptors, also when this process is killed; what a killed one leaves of GRE devices,
the next one removes or the namespace takes along. Either way genuine GRE packets are on the wire. Inner addresses are
from 169.254.64.0/18, one /22 for each process that probes at the same time, so that two of them do not take each
other's answers.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Final

from enforcer.dataplane.namespaces import entered
from enforcer.errors import SystemRefused
from enforcer.lab.links import Netlink
from enforcer.lab.plan import Address, Route, network_of
from enforcer.lab.probe.conversation import Attempt, Board, Conversation
from enforcer.lab.probe.packets import gre_unwrapped, gre_wrapped, icmp_request, ipv4_payload, parse_icmp
from enforcer.model import GRE, ICMP, Family, IPAddress

_TUNSETIFF: Final = 0x400454CA
_IFF_TUN, _IFF_NO_PI, _IFF_UP = 0x0001, 0x1000, 0x1
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFFLAGS = 0x8916, 0x891C, 0x8914
_SLOTS: Final = tuple(IPv4Network("169.254.64.0/18").subnets(new_prefix=22))
_BURST: Final = 64
_MOST_PAIRS: Final = 256
"""How many pairs of GRE devices one run makes: all pairs of many hosts are better served by one TUN device in each."""


class InnerNetwork:
    """The inner addresses of one process's tunnels, from a range that nobody else uses meanwhile."""

    def __init__(self) -> None:
        self._lock: socket.socket | None = None

    def _take(self) -> None:
        """Take a free range; the abstract socket's name is the lock, and the kernel lets go of it for us."""
        for slot in _SLOTS:
            lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                lock.bind(f"\0enforcer-lab-tunnels-{slot}")
            except OSError:
                lock.close()
                continue
            self._lock, self.network = lock, slot
            self._free = slot.hosts()
            return
        raise SystemRefused("GRE probes: too many run at the same time; wait until another has ended")

    def next_address(self) -> IPv4Address:
        """Return an inner address nobody has yet."""
        if self._lock is None:
            self._take()
        try:
            return next(self._free)
        except StopIteration as error:
            raise SystemRefused(f"GRE probes: more than {self.network.num_addresses - 2} hosts in one run") from error

    def close(self) -> None:
        """Let go of the range."""
        if self._lock is not None:
            self._lock.close()


class GreDevices:
    """The kernel's GRE devices of one run, one pair for each two outer addresses.

    The number of the inner range is their key, so that processes do not take each other's packets, and their group.
    """

    def __init__(self) -> None:
        self.inner = InnerNetwork()
        self._pairs: dict[tuple[str, IPAddress, IPAddress], tuple[IPv4Address, IPv4Address]] = {}
        self._cleared: set[str] = set()
        self._refused: set[Family] = set()

    @classmethod
    @contextmanager
    def opened(cls, attempts: Iterable[Attempt]) -> Iterator[GreDevices]:
        """Make the devices that the attempts can use, if this kernel has any, and remove them after the block."""
        devices = cls()
        try:
            for attempt in attempts:
                if attempt.protocol == GRE and not attempt.problem and not attempt.translated:
                    devices._connect(attempt)
            yield devices
        finally:
            for netns in devices._cleared:
                with suppress(SystemRefused), Netlink.opened(netns) as here:  # refused: the lab is gone already
                    here.remove_group(devices._number)
            devices.inner.close()

    def ends(self, attempt: Attempt) -> tuple[IPv4Address, IPv4Address] | None:
        """Return the inner addresses, the sender's first; None where no devices connect the two."""
        if attempt.source is None or attempt.destination is None:
            return None
        return self._pairs.get((attempt.netns, attempt.source, attempt.destination))

    @property
    def _number(self) -> int:
        return int(self.inner.network.network_address) & 0xFFFF

    def _connect(self, attempt: Attempt) -> None:
        source, destination = attempt.source, attempt.destination
        far = [answerer.netns for answerer in attempt.answerers if answerer.netns != attempt.netns]
        if source is None or destination is None or len(far) != 1 or len(self._pairs) >= 2 * _MOST_PAIRS:
            return
        if attempt.family in self._refused or self.ends(attempt) is not None:
            return
        near_inner, far_inner = self.inner.next_address(), self.inner.next_address()
        try:
            self._add(attempt.netns, source, destination, near_inner, far_inner)
            self._add(far[0], destination, source, far_inner, near_inner)
        except SystemRefused:  # no such devices in this kernel: not asked again
            self._refused.add(attempt.family)
            return
        self._pairs[attempt.netns, source, destination] = near_inner, far_inner
        self._pairs[far[0], destination, source] = far_inner, near_inner

    def _add(self, netns: str, local: IPAddress, remote: IPAddress, near: IPv4Address, far: IPv4Address) -> None:
        name = f"sg-gre-{int(near) & 0xFFFF:04x}"
        with Netlink.opened(netns) as here:
            if netns not in self._cleared:  # a killed process may have left some
                here.remove_group(self._number)
                self._cleared.add(netns)
            here.add_gre(name, local, remote, self._number)
            here.add_address(Address(netns, name, IPv4Interface(near), on_link=False))
            here.set_up(name)
            here.set_route(Route(netns, network_of(far), interface=name, source=near))


class Tun:
    """A TUN device in a host; `sent` gets the packets that the host's kernel sends through it."""

    def __init__(self, netns: str, address: IPv4Address, network: IPv4Network, sent: Callable[[bytes], None]) -> None:
        self.address, self._sent = address, sent
        with entered(netns):
            try:
                self._descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                raise SystemRefused(f"/dev/net/tun: {error.strerror}; GRE probes need TUN devices here") from error
            control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            request = struct.pack("16sH22x", b"sg-gre%d", _IFF_TUN | _IFF_NO_PI)
            name = fcntl.ioctl(self._descriptor, _TUNSETIFF, request)[:16]
            for command, value in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, network.netmask)):
                fcntl.ioctl(control, command, struct.pack("16sHH4s8x", name, socket.AF_INET, 0, value.packed))
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", name, _IFF_UP))
        except OSError as error:
            os.close(self._descriptor)
            raise SystemRefused(f"{netns}: no TUN device for a GRE probe ({error.strerror})") from error
        finally:
            control.close()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._read)

    def close(self) -> None:
        """Remove the device."""
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)

    def deliver(self, packet: bytes) -> None:
        """Give the host's kernel a packet that came out of the tunnel; OSError if it is none."""
        os.write(self._descriptor, packet)

    def _read(self) -> None:
        for _ in range(_BURST):
            try:
                packet = os.read(self._descriptor, 65536)
            except OSError:
                return
            self._sent(packet)


SendFrom = Callable[[str, int, bytes, IPAddress, IPAddress], None]
"""Send by a host's raw socket: namespace, protocol, data, source, destination."""


class Tunnels:
    """All tunnels of one run; without GRE devices there is one TUN device for each host, whoever it talks to.

    A packet of these finds its outer addresses by the conversation that it carries, so a tunnel also leads to an EIP
    or to whoever holds a virtual IP.
    """

    def __init__(self, board: Board, send: SendFrom, gre: GreDevices) -> None:
        self._board, self._send, self._gre = board, send, gre
        self._devices: dict[str, Tun] = {}
        self._back: dict[tuple[str, bytes], tuple[IPAddress, IPAddress]] = {}

    def open(self, attempt: Attempt) -> None:
        """Make the TUN devices of both ends, unless GRE devices connect them."""
        if self._gre.ends(attempt) is not None:
            return
        for netns in (attempt.netns, *(answerer.netns for answerer in attempt.answerers)):
            if netns not in self._devices:
                address = self._gre.inner.next_address()
                self._devices[netns] = Tun(netns, address, self._gre.inner.network, partial(self._carry, netns))

    def close(self) -> None:
        """Remove all TUN devices."""
        for device in self._devices.values():
            device.close()

    def ping(self, conversation: Conversation) -> None:
        """Ping through the tunnel each host that may be at its far end; the one that is will answer."""
        attempt = conversation.attempt
        assert attempt.source is not None
        assert attempt.destination is not None
        data = icmp_request(8, 0, conversation.nonce).packed()
        if (ends := self._gre.ends(attempt)) is not None:
            conversation.carrier = " through the kernel's GRE devices"
            self._send(attempt.netns, ICMP, data, *ends)
            return
        conversation.carrier = " through TUN devices and raw sockets"
        near = self._devices[attempt.netns].address
        for answerer in attempt.answerers:
            if answerer.netns != attempt.netns:
                self._send(attempt.netns, ICMP, data, near, self._devices[answerer.netns].address)
        if not attempt.answerers:  # nobody will unpack it, but it is to be sent
            self._send(
                attempt.netns, GRE, gre_wrapped(b"\x45" + b"\0" * 19 + data), attempt.source, attempt.destination
            )

    def receive(self, key: tuple[str, int, int], data: bytes, peer: IPAddress, own: IPAddress, _port: int) -> None:
        """Unpack what came to a host through a tunnel and give it to the host's kernel."""
        netns, packet = key[0], gre_unwrapped(data)
        found = self._conversation(packet) if packet is not None else None
        if packet is None or found is None or netns not in self._devices:
            return
        conversation, kind, icmp_key = found
        if kind == conversation.attempt.request_type:
            if not conversation.answers_at(netns):
                return
            conversation.arrived = True
            self._back[netns, icmp_key] = (own, peer)
        self._devices[netns].deliver(packet)

    def _carry(self, netns: str, packet: bytes) -> None:
        """Pack what a host's kernel sends into its device, and send it to the tunnel's other end."""
        if (found := self._conversation(packet)) is None:
            return
        conversation, kind, icmp_key = found
        attempt = conversation.attempt
        source, destination = attempt.source, attempt.destination
        if kind != attempt.request_type:
            source, destination = self._back.get((netns, icmp_key), (None, None))
        if source is not None and destination is not None:
            with suppress(OSError):
                self._send(netns, GRE, gre_wrapped(packet), source, destination)

    def _conversation(self, packet: bytes) -> tuple[Conversation, int, bytes] | None:
        """Return whose inner packet this is, its ICMP type, and its key."""
        message = parse_icmp(ipv4_payload(packet)) if packet and packet[0] >> 4 == 4 else None
        conversation = self._board.of_key(message.key) if message is not None else None
        return None if message is None or conversation is None else (conversation, message.type, message.key)
