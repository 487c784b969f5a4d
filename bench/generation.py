"""A change of generation under live flows: is a packet lost, and is there a step in latency?

Flows are opened, then packets of all of them are sent again and again, round by round, at a steady pace: some rounds
before the change, the change itself in the middle of a round, and rounds after it, in which every flow is judged once
more. Every packet is counted at the other end. Latency is what the sender's core needs for a packet: a batch of 64.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from bench import cases
from bench.measures import sink
from bench.sender import BATCH, Frames, Sender, received, udp_frame
from bench.shape import MEASURED, Shape
from bench.topology import Topology, address, mac, router_mac
from enforcer.dataplane import replace

PORTS = 50_000


@dataclass(frozen=True, slots=True)
class Change:
    """What happened: packets sent and lost, and µs per packet, p50 and p99 over batches, before and after."""

    flows: int
    sent: int
    lost: int
    before: tuple[float, float]
    after: tuple[float, float]
    commit_ms: float


def change(made: Topology, shape: Shape, flows: int, rounds: int = 6) -> Change:
    """Open the flows, change the generation in the middle, and count."""
    frames, sender = _frames(flows), Sender(made.a)
    cases.ours(shape).install(made)
    try:
        with sink(made):
            began = received(made.b)
            taken = [_round(sender, frames) for _ in range(rounds // 2)]  # the first opens the flows
            commits: list[float] = []
            committer = threading.Thread(target=lambda: commits.append(_commit(shape, made.router)))
            committer.start()
            while committer.is_alive():
                taken.append(_round(sender, frames))
            at = len(taken) - 1
            committer.join()
            taken += [_round(sender, frames) for _ in range(rounds // 2)]
            sent = len(taken) * frames.count
            deadline = time.monotonic() + 2
            while received(made.b) - began < sent and time.monotonic() < deadline:
                pass
            lost = sent - (received(made.b) - began)
    finally:
        sender.close()
        cases.clear(made)
    return Change(flows, sent, lost, _percentiles(taken[1 : rounds // 2]), _percentiles(taken[at:]), commits[0])


def _commit(shape: Shape, netns: str) -> float:
    os.sched_setaffinity(0, {0})  # of this thread: the sender keeps its core
    began = time.perf_counter()
    replace(cases.program(shape, netns))
    return (time.perf_counter() - began) * 1000


def _frames(flows: int) -> Frames:
    macs = (router_mac(0), mac(0))
    return Frames(
        [
            udp_frame(macs, (address(0), 2048 + number % PORTS), (address(1), MEASURED + number // PORTS))
            for number in range(flows)
        ]
    )


def _round(sender: Sender, frames: Frames) -> list[float]:
    """Send every frame once; return the µs per packet of each batch."""
    taken = []
    for first in range(0, frames.count, BATCH):
        began = time.perf_counter_ns()
        sent = sender.send(frames, first)
        taken.append((time.perf_counter_ns() - began) / 1000 / sent)
    return taken


def _percentiles(rounds: Sequence[list[float]]) -> tuple[float, float]:
    every = [each for taken in rounds for each in taken]
    return median(every), quantiles(every, n=100)[98]
