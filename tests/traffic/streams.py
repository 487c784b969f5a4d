"""Conversations in which both sides keep sending, whatever becomes of them: the material of revocation tests (S14).

Every record bears its number and the time at which it was sent, so "nothing that was sent after the commit returned
has arrived" and "nothing was lost" are facts, not guesses about queues.

    with pumping(udp(stand, "ecs-a", "ecs-b", 5000), tcp(…)) as pump:
        pump.flowing(*pump.streams)
        committed = stand.enforce(…)
        pump.cut(committed, doomed)
    assert kept.lost() == (0, 0)
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from harness import PATIENCE, Stand, drain, until

from enforcer.model import Family

RECORD = struct.Struct("!QQ")
GRE_HEADER = struct.pack("!HH", 0, 0x88B5)  # version 0, no key, a local experimental payload
INTERVAL = 0.002
_AF = {4: socket.AF_INET, 6: socket.AF_INET6}


class Carrier(Protocol):
    """How records travel from one end to the other."""

    def send(self, record: bytes) -> bool: ...
    def receive(self) -> list[bytes]: ...


@dataclass
class Datagrams:
    """A connected UDP or raw socket; a raw one adds a header, and sees the IPv4 header of what arrives."""

    socket: socket.socket
    header: bytes = b""

    def send(self, record: bytes) -> bool:
        with suppress(OSError):  # refused, or no route any more: it was sent in vain
            self.socket.send(self.header + record)
        return True

    def receive(self) -> list[bytes]:
        return [packet[-RECORD.size :] for packet in drain(self.socket)]


@dataclass
class Bytes:
    """A TCP connection; a record that does not fit the send buffer is not sent."""

    socket: socket.socket
    pending: bytes = b""
    arrived: bytes = b""

    def send(self, record: bytes) -> bool:
        whole = not self.pending
        if whole:
            self.pending = record
        with suppress(BlockingIOError):
            self.pending = self.pending[self.socket.send(self.pending) :]
        return whole

    def receive(self) -> list[bytes]:
        self.arrived += b"".join(drain(self.socket))
        size = len(self.arrived) // RECORD.size * RECORD.size
        whole, self.arrived = self.arrived[:size], self.arrived[size:]
        return [whole[at : at + RECORD.size] for at in range(0, size, RECORD.size)]


@dataclass
class End:
    """One side: what it sent, and what arrived at it as (number, time of sending)."""

    carrier: Carrier
    sent: int = 0
    got: list[tuple[int, int]] = field(default_factory=list)

    def send(self) -> None:
        if self.carrier.send(RECORD.pack(self.sent, time.monotonic_ns())):
            self.sent += 1

    def receive(self) -> None:
        for record in self.carrier.receive():
            number, sent_at = RECORD.unpack(record)
            self.got.append((number, sent_at))


@dataclass
class Stream:
    """Two ends that talk to each other; the first opened the conversation."""

    name: str
    ends: tuple[End, End]
    talking: tuple[bool, bool] = (True, True)

    def step(self, sending: bool) -> None:
        for end, talks in zip(self.ends, self.talking, strict=True):
            if sending and talks:
                end.send()
        for end in self.ends:
            end.receive()

    def after(self, moment: int) -> int:
        """Count the records that were sent after `moment` and arrived."""
        return sum(1 for end in self.ends for _, sent_at in end.got if sent_at > moment)

    def lost(self) -> tuple[int, int]:
        """Count the records that each end sent in vain, or that arrived out of order or twice."""
        return (_lost(self.ends[0], self.ends[1]), _lost(self.ends[1], self.ends[0]))


def _lost(sender: End, receiver: End) -> int:
    numbers = [number for number, _ in tuple(receiver.got)]
    assert len(numbers) == len(set(numbers)), "records arrived twice"  # two cores may well turn datagrams round
    return sender.sent - len(numbers)


class Pump:
    """Keeps streams talking, in a thread of its own."""

    def __init__(self, streams: tuple[Stream, ...]) -> None:
        self.streams = streams
        self._sending = True
        self._stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failure: Exception | None = None

    def _run(self) -> None:
        try:
            while not self._stopped:
                for stream in self.streams:
                    stream.step(self._sending)
                time.sleep(INTERVAL)
        except Exception as error:
            self._failure = error

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped = True
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def flowing(self, *streams: Stream) -> None:
        """Wait until records sent from now on arrive at both ends of every stream."""
        begun = time.monotonic_ns()
        for stream in streams:
            for end in stream.ends:
                until(lambda end=end: end.got and end.got[-1][1] > begun, f"{stream.name} flows in both directions")

    def cut(self, committed: int, *streams: Stream) -> None:
        """Assert that nothing sent after `committed` arrives, and nothing at all once the queues are empty."""
        self._talk_on(streams, 5)
        before = {stream.name: [len(end.got) for end in stream.ends] for stream in streams}
        self._talk_on(streams, 40)
        for stream in streams:
            assert stream.after(committed) == 0, f"{stream.name}: packets passed after the commit"
            assert [len(end.got) for end in stream.ends] == before[stream.name], f"{stream.name}: still arriving"

    def _talk_on(self, streams: tuple[Stream, ...], records: int) -> None:
        goals = [(end, end.sent + records) for stream in streams for end in stream.ends]
        until(lambda: all(end.sent >= goal for end, goal in goals), "the ends keep sending")

    def finish(self, *streams: Stream) -> None:
        """Stop sending and wait until everything that was sent has arrived."""
        self._sending = False
        for stream in streams:
            until(lambda stream=stream: stream.lost() == (0, 0), f"{stream.name}: everything arrives")


@contextmanager
def pumping(*streams: Stream) -> Iterator[Pump]:
    """Keep streams talking for the length of the block."""
    pump = Pump(streams)
    pump.start()
    try:
        yield pump
    finally:
        pump.stop()


def udp(stand: Stand, client: str, server: str, port: int, family: Family = 4, to: str = "", own: str = "") -> Stream:
    """Open a UDP conversation; `to` is the server's address as the client knows it, `own` the one that it has."""
    near, far = stand.udp(client, 0, family), stand.udp(server, port, family, address=own)
    near.connect((to or stand.address(server, family), port))
    ends = (End(Datagrams(near)), End(Datagrams(far)))
    far.connect(_begun(*ends))
    return Stream(f"udp/{port} IPv{family} {client} → {server}", ends)


def _begun(near: End, far: End) -> tuple[str, int]:
    """Send the first record and wait for it, for it is the one that opens the conversation; return who sent it."""
    near.send()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            packet, sender = far.carrier.socket.recvfrom(100)
        except BlockingIOError:
            time.sleep(0.001)
            continue
        far.got.append(RECORD.unpack(packet[-RECORD.size :]))
        return sender[:2]
    raise AssertionError("the first packet never arrived")


def tcp(stand: Stand, client: str, server: str, port: int, family: Family = 4, to: str = "", at: int = 0) -> Stream:
    """Open a TCP connection; `to` and `at` are the server's address and port as the client knows them."""
    listener = stand.listener(server, port, family)
    near = stand.socket(client, _AF[family], socket.SOCK_STREAM)
    near.settimeout(PATIENCE)
    near.connect((to or stand.address(server, family), at or port))
    listener.settimeout(PATIENCE)
    far = stand.opened.enter_context(listener.accept()[0])
    listener.close()
    for each in (near, far):
        each.setblocking(False)
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Stream(f"tcp/{port} IPv{family} {client} → {server}", (End(Bytes(near)), End(Bytes(far))))


def gre(stand: Stand, client: str, server: str, family: Family = 4) -> Stream:
    """Open a GRE tunnel: raw sockets, for not every kernel has GRE devices."""
    ends = []
    for here, there in ((client, server), (server, client)):
        made = stand.socket(here, _AF[family], socket.SOCK_RAW, socket.IPPROTO_GRE)
        made.bind((stand.address(here, family), 0))
        made.connect((stand.address(there, family), 0))
        ends.append(End(Datagrams(made, GRE_HEADER)))
    _begun(*ends)
    return Stream(f"gre IPv{family} {client} → {server}", (ends[0], ends[1]))
