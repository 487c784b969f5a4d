"""Runs in the machine, inside an instance: knock without pause on a port that is open and on one that is shut.

    knocking.py answer FILE              in web: answer whatever comes, and keep count
    knocking.py knock FILE               in visitor: a numbered datagram every few milliseconds, three ways:
        stream   one flow to the open port      fresh   a new flow each time      shut   the same to the shut port

FILE holds the counts as JSON, written anew all the time; at SIGTERM the knocking stops, waits for the last answers and
writes them. Nothing is filtered here: whether packets pass is the host's doing.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from collections import Counter
from contextlib import suppress

WEB = "10.77.0.11"
OPEN, SHUT = 53, 54
EVERY = 0.005
LAST_ANSWERS = 1.0


class Counts:
    """What was sent and seen, in a file."""

    def __init__(self, path: str) -> None:
        self._path, self._written = path, 0.0
        self.seen: Counter[str] = Counter()

    def write(self, *, now: bool = False) -> None:
        if now or time.monotonic() - self._written > 0.1:
            self._written = time.monotonic()
            with open(self._path + ".new", "w") as file:
                json.dump(self.seen, file)
            os.rename(self._path + ".new", self._path)


def answer(counts: Counts) -> None:
    ports = {bound(port): port for port in (OPEN, SHUT)}
    while True:
        for each in select.select(list(ports), [], [], 0.1)[0]:
            data, sender = each.recvfrom(64)
            counts.seen["open" if ports[each] == OPEN else "shut"] += 1
            with suppress(OSError):
                each.sendto(data, sender)
        counts.write()


def bound(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listening.bind((WEB, port))
    return listening


def knock(counts: Counts) -> None:
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
    stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asked: dict[socket.socket, tuple[str, float]] = {stream: ("stream", float("inf"))}
    until = float("inf")
    while time.monotonic() < until:
        if not ending:
            send(counts, stream, "stream", OPEN)
            for kind, port in (("fresh", OPEN), ("shut", SHUT)):
                one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                asked[one] = (kind, time.monotonic() + LAST_ANSWERS)
                send(counts, one, kind, port)
        elif until == float("inf"):
            until = time.monotonic() + LAST_ANSWERS
        hear(counts, asked)
        counts.write()
    counts.write(now=True)


def send(counts: Counts, sending: socket.socket, kind: str, port: int) -> None:
    with suppress(OSError):  # the host's end is not up yet
        sending.sendto(b"?", (WEB, port))
        counts.seen[f"{kind}-sent"] += 1


def hear(counts: Counts, asked: dict[socket.socket, tuple[str, float]]) -> None:
    """Take the answers of the next few milliseconds, and forget sockets that have waited long enough."""
    until = time.monotonic() + EVERY
    while (left := until - time.monotonic()) > 0:
        for each in select.select(list(asked), [], [], left)[0]:
            with suppress(OSError):
                each.recv(64)
                counts.seen[f"{asked[each][0]}-answered"] += 1
    for each in [each for each, (_, patience) in asked.items() if patience < time.monotonic()]:
        del asked[each]
        each.close()


if __name__ == "__main__":
    {"answer": answer, "knock": knock}[sys.argv[1]](Counts(sys.argv[2]))
