"""The stage as it stands in the kernel: put a scene in force, send frames from the instances, see what arrives where.

Nothing sleeps and nothing is lost: this process and all packets stay on one processor, whose queue keeps their order,
and a last frame on the longest way, which passes always, says that all others have arrived or never will. The guests
are deaf: packet sockets see every frame before their own nft table drops it, so nothing is answered.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fcntl import ioctl
from ipaddress import ip_address
from pathlib import Path

from patience import patient
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

from enforcer.compiler import compile_policy
from enforcer.dataplane import Session, libnftables, namespaces
from enforcer.dataplane.namespaces import entered
from enforcer.errors import UsageError
from enforcer.lab import lifecycle
from enforcer.model import UDP, Policy, lab_layout, parse_policy
from enforcer.model.layout import ecs_namespace, vpc_namespace
from fuzz.scenes import str_of
from fuzz.shots import Flow, Turn, backwards, number_of, packet
from fuzz.stage import ADDRESSES, OUTSIDE, VIRTUAL_IPS, VPC, WIRES

_SOL_PACKET, _IGNORE_OUTGOING, _RCVBUFFORCE, _SIOCGIFHWADDR = 263, 23, 33, 0x8927
_DEAF = "table netdev deaf { chain in { type filter hook ingress device eth0 priority 0; policy drop; }; }"
_PATIENCE = patient(5.0)
_CHUNK = 100
_STRANGER = b"\x02\x00\x00\x00\x00\x01"
Shot = tuple[Flow, Turn]


class Rig:
    """A lab of the stage; use it through `rigged`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.routers = {vpc: vpc_namespace(name, f"vpc-{vpc}") for vpc in OUTSIDE}
        self._open = ExitStack()
        self._sessions: dict[str, Session] = {}
        self._numbers = iter(range(1, 1 << 62))
        self._sockets: dict[str, socket.socket] = {}
        self._macs: dict[str, tuple[bytes, bytes]] = {}
        for nic, addresses in ADDRESSES.items():
            self._attach(nic, (*addresses, *(VIRTUAL_IPS if nic == "b" else ())))
        for router in self.routers.values():
            with entered(router):
                for state in ("closed", "cookie_wait", "cookie_echoed"):  # the kernel forgets in 3 or 10 s
                    Path(f"/proc/sys/net/netfilter/nf_conntrack_sctp_timeout_{state}").write_text("120")

    def _attach(self, nic: str, addresses: tuple[str, ...]) -> None:
        netns, router = ecs_namespace(self.name, nic), self.routers[VPC[nic]]
        self._macs[nic] = (_mac(netns, "eth0"), _mac(router, f"v-{nic}"))
        libnftables.run(netns, _DEAF.replace("; }; }", ";\n}\n}\n"))
        with entered(netns):
            made = self._open.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
        made.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        made.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, 1 << 25)
        made.bind(("eth0", 0))
        made.setblocking(False)
        self._sockets[nic] = made
        for address in addresses:  # a deaf guest answers no ARP
            mac = self._macs[nic][0].hex(":")
            with entered(router):
                words = ("ip", "neigh", "replace", address, "lladdr", mac, "dev", f"v-{nic}", "nud", "permanent")
                subprocess.run(words, check=True, capture_output=True)

    def close(self) -> None:
        """Close the sockets."""
        for session in self._sessions.values():
            session.close()
        self._open.close()

    def enforce(self, policy: Policy) -> None:
        """Put a policy of the stage in force: what differs, as the daemon does."""
        program = compile_policy(policy, lab_layout(policy, self.name))
        for namespace in program.namespaces:
            if namespace.name in self.routers.values():
                session = self._sessions.setdefault(namespace.name, Session(namespace.name))
                session.replace(namespace)
                session.tidy()

    def forget(self) -> None:
        """Empty the routers' connection tracking."""
        for router in self.routers.values():
            with entered(router), NFCTSocket() as conntrack:
                conntrack.flush()

    def send(self, shots: Iterable[Shot]) -> list[frozenset[str]]:
        """Send frames in their order; return for each at which NICs it came out."""
        shots = list(shots)
        arrived: list[frozenset[str]] = []
        for start in range(0, len(shots), _CHUNK):
            arrived += self._chunk(shots[start : start + _CHUNK])
        return arrived

    def _chunk(self, shots: list[Shot]) -> list[frozenset[str]]:
        numbers = [next(self._numbers) for _ in shots]
        for (flow, turn), number in zip(shots, numbers, strict=True):
            self._emit(flow, turn, number)
        found: dict[int, set[str]] = {}
        barriers = {}
        for near, far in (("r", "q"), ("q", "r")):
            barriers[number := next(self._numbers)] = far
            self._emit(_barrier(near, far), "open", number)
        deadline = time.monotonic() + _PATIENCE
        while any(far not in found.get(number, ()) for number, far in barriers.items()):
            for nic, receiver in self._sockets.items():
                _collect(nic, receiver, found)
            assert time.monotonic() < deadline, "the barrier never arrived: unguarded NICs must reach each other"
        for nic, receiver in self._sockets.items():
            _collect(nic, receiver, found)
        return [frozenset(found.get(number, ())) for number in numbers]

    def _emit(self, flow: Flow, turn: Turn, number: int) -> None:
        nic = flow.receiver if backwards(turn) else flow.sender
        near, far = self._macs[nic]
        kind = b"\x08\x00" if flow.source.version == 4 else b"\x86\xdd"
        frame = far + (_STRANGER if flow.stranger else near) + kind + packet(flow, turn, number)
        self._sockets[nic].send(frame)


def _barrier(near: str, far: str) -> Flow:
    return Flow(near, far, ip_address(ADDRESSES[near][0]), ip_address(ADDRESSES[far][0]), UDP, 1023, 1023)


def _collect(nic: str, receiver: socket.socket, found: dict[int, set[str]]) -> None:
    with suppress(BlockingIOError):
        while True:
            number = number_of(receiver.recv(2048))
            if number is not None:
                found.setdefault(number, set()).add(nic)


def _mac(netns: str, interface: str) -> bytes:
    with entered(netns), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        return bytes(ioctl(asked, _SIOCGIFHWADDR, struct.pack("256s", interface.encode()))[18:24])


@contextmanager
def rigged(name: str, processor: int | None = None) -> Iterator[Rig]:
    """Build the stage under a lab's name, and take everything away afterwards."""
    text = str_of(WIRES)
    policy = parse_policy(text)
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    os.sched_setaffinity(0, {cores[(processor or 0) % len(cores)]})
    try:
        lifecycle.up(policy, name, text, lambda: None, lambda *_: None)
        rig = Rig(name)
        try:
            rig.enforce(policy)
            yield rig
        finally:
            rig.close()
    finally:
        with suppress(UsageError):
            lifecycle.down(name)
        for left in namespaces.names(f"{name}-"):
            namespaces.delete(left)
        os.sched_setaffinity(0, before)
