"""One figure each, of whatever stands in the router now. Everything runs on the core that the caller is pinned to.

new_flows       flows a second: every frame has a five-tuple of its own, into a table that was emptied before
established     packets a second of one flow that both sides have spoken in
first_packet    µs from send() in one guest until the datagram can be read in the other: median and 99th percentile
connections     TCP connections a second, each with a request and an answer
requests        requests and answers a second in one TCP connection
throughput      TCP Gbit/s, by iperf3, server on the other core
datagrams       the same with UDP datagrams of 1400 bytes
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from statistics import median, quantiles

from bench import cases
from bench.sender import Frames, Sender, received, udp_frame
from bench.shape import MEASURED
from bench.topology import Topology, address, mac, router_mac
from enforcer.dataplane.namespaces import entered

FIRST_PORT = 2048
LONGEST = 0.4
"""Seconds that a burst may last; the kernel leaves 0.95 of a second to real-time processes."""
SINK = """
table netdev sink {
  chain c {
    type filter hook ingress device "eth0" priority 0; policy drop;
  }
}
"""


@cache
def _new_flow_frames(family: int, bursts: int, flows: int) -> tuple[Frames, ...]:
    macs, target = (router_mac(0), mac(0)), (address(1, family), MEASURED)
    frames = [udp_frame(macs, (address(0, family), FIRST_PORT + n), target) for n in range(bursts * flows)]
    return tuple(Frames(frames[first : first + flows]) for first in range(0, len(frames), flows))


@cache
def _one_flow_frames(family: int, count: int) -> Frames:
    frame = udp_frame((router_mac(0), mac(0)), (address(0, family), FIRST_PORT), (address(1, family), MEASURED))
    return Frames([frame] * count)


@contextmanager
def sink(made: Topology) -> Iterator[None]:
    """Have the receiving guest drop at its interface what arrives."""
    made.run(made.b, "nft", "-f", "-", text=SINK)
    try:
        yield
    finally:
        made.run(made.b, "nft", "delete table netdev sink")


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let no other process have the core: a burst is shorter than what the kernel leaves to real-time processes."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _burst(made: Topology, sender: Sender, frames: Frames, *, denied: bool) -> float:
    """Send, and return packets a second that arrived, or were dropped if that is what the case does with them."""
    before = received(made.b)
    with undisturbed():
        sent, took = sender.burst(frames, LONGEST)
    arrived = _settled(made.b, before, 0 if denied else sent)
    if denied:
        if arrived > 2:
            raise RuntimeError(f"{arrived} of {sent} packets arrived, of a flow that is denied")
        return sent / took
    if arrived < sent * 0.98:
        raise RuntimeError(f"only {arrived} of {sent} packets arrived, of flows that are allowed")
    return arrived / took


def _settled(netns: str, before: int, wanted: int) -> int:
    """Wait until the packets have arrived, or none has for a tenth of a second."""
    seen, since = received(netns) - before, time.monotonic()
    while seen < wanted and time.monotonic() - since < 0.1:
        now = received(netns) - before
        if now != seen:
            seen, since = now, time.monotonic()
    return seen


def new_flows(made: Topology, case: cases.Case, bursts: int = 20, flows: int = 3000) -> float:
    """Return the median rate of some bursts; `bursts` × `flows` is at most 60,000, for every flow has its own port."""
    sender, rates = Sender(made.a), []
    cases.forget(made)
    try:
        with sink(made):
            for frames in _new_flow_frames(case.family, bursts, flows):
                rates.append(_burst(made, sender, frames, denied=case.denied))
    finally:
        sender.close()
    return median(rates)


def established(made: Topology, case: cases.Case, bursts: int = 20, flows: int = 3000) -> float:
    """Return the median rate of some bursts of one flow, as long as those of new flows, after a packet each way."""
    _greet(made, case.family)
    frames, sender = _one_flow_frames(case.family, flows), Sender(made.a)
    try:
        with sink(made):
            return median(_burst(made, sender, frames, denied=False) for _ in range(bursts))
    finally:
        sender.close()


def _greet(made: Topology, family: int) -> None:
    with _udp(made.a, family, FIRST_PORT) as near, _udp(made.b, family, MEASURED) as far:
        near.sendto(b"?", (address(1, family), MEASURED))
        far.recv(10)
        far.sendto(b"!", (address(0, family), FIRST_PORT))
        near.recv(10)


def _udp(netns: str, family: int, port: int) -> socket.socket:
    with entered(netns):
        made = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    made.settimeout(2)
    made.bind(("", port))
    return made


def first_packet(made: Topology, case: cases.Case, at: int = 50, count: int = 1000) -> float:
    """Return a percentile of the µs that a flow's first packet needs from guest to guest."""
    cases.forget(made)
    taken = []
    with ExitStack() as opened:
        far = opened.enter_context(_udp(made.b, case.family, MEASURED))
        target = (address(1, case.family), MEASURED)
        for number in range(count):
            with _udp(made.a, case.family, FIRST_PORT + number) as near:
                near.connect(target)
                began = time.perf_counter_ns()
                near.send(b"?")
                far.recv(10)
                taken.append((time.perf_counter_ns() - began) / 1000)
    return quantiles(taken, n=100)[at - 1]


def connections(made: Topology, case: cases.Case, count: int = 1000) -> float:
    """Return TCP connections a second: connect, one request, one answer, close; both ends in this thread."""
    cases.forget(made)
    with _listening(made, case.family) as listener:
        began = time.perf_counter()
        for _ in range(count):
            near, far = _connected(made, case.family, listener)
            with near, far:
                near.send(b"?")
                far.recv(10)
                far.send(b"!")
                near.recv(10)
        return count / (time.perf_counter() - began)


def requests(made: Topology, case: cases.Case, count: int = 10_000) -> float:
    """Return requests and answers a second in one connection; both ends in this thread."""
    with _listening(made, case.family) as listener:
        near, far = _connected(made, case.family, listener)
        with near, far:
            for each in (near, far):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            began = time.perf_counter()
            for _ in range(count):
                near.send(b"?")
                far.recv(10)
                far.send(b"!")
                near.recv(10)
            return count / (time.perf_counter() - began)


def _listening(made: Topology, family: int) -> socket.socket:
    with entered(made.b):
        listener = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", MEASURED))
    listener.listen(128)
    listener.settimeout(5)
    return listener


def _connected(made: Topology, family: int, listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    with entered(made.a):
        near = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6)
    near.settimeout(5)
    near.connect((address(1, family), MEASURED))
    far, _ = listener.accept()
    far.settimeout(5)
    return near, far


def throughput(made: Topology, case: cases.Case, seconds: float = 1.5) -> float:
    """Return TCP Gbit/s of one stream."""
    return _iperf(made, case.family, "-t", str(seconds))


def datagrams(made: Topology, case: cases.Case, seconds: float = 1) -> float:
    """Return UDP Gbit/s that arrive, of datagrams of 1400 bytes."""
    return _iperf(made, case.family, "-t", str(seconds), "-u", "-b", "0", "-l", "1400")


def _iperf(made: Topology, family: int, *options: str) -> float:
    where = ("-4" if family == 4 else "-6", "-p", str(MEASURED))
    with entered(made.b):
        server = subprocess.Popen(
            ("iperf3", "-s", "-1", *where, "-A", "0", "--forceflush"), stdout=subprocess.PIPE, text=True
        )
    try:
        assert server.stdout is not None
        while "listening" not in server.stdout.readline():
            pass
        target = ("-c", address(1, family), *options, "-A", "1", "-J", *where)
        report = json.loads(made.run(made.a, "iperf3", *target))
    finally:
        server.terminate()
        server.wait(10)
    ended = report["end"]  # iperf3 3.12 has no `sum_received` for UDP
    return float(ended["sum_received" if "sum_received" in ended else "sum"]["bits_per_second"]) / 1e9
