"""A sender that nothing disturbs: a process of its own, which keeps a steady rate while somebody else changes policies.

    python blast.py CLIENT-NETNS SERVER-NETNS [PACKETS-A-SECOND]

It prints a line when everything flows. From the line `denied` on its input on, what is sent of the denied flows and
arrives is a leak, and what is allowed must arrive; after the line `open`, which it answers with a line, neither counts
until the next `denied`. At the line `stop` it prints what happened as JSON, and ends.

From 10.0.0.11 to 10.0.0.12 and back, and the same over IPv6 (2001:db8::11, ::12):

    port 5000   allowed, established: numbered packets, answered
    port 5001   allowed, new flows: every packet from another source port
    port 5002   denied, established once
    port 5003   denied, new flows

Losses on the way are told apart from losses in a full socket or a full backlog by the kernel's own counters.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Collection
from pathlib import Path

from patience import patient

from enforcer.dataplane.namespaces import entered

ALLOWED, ALLOWED_NEW, DENIED, DENIED_NEW = 5000, 5001, 5002, 5003
CLIENT, SERVER = {4: "10.0.0.11", 6: "2001:db8::11"}, {4: "10.0.0.12", 6: "2001:db8::12"}
RATE = 5000
TICK = 0.002
_AF = {4: socket.AF_INET, 6: socket.AF_INET6}
_SO_RCVBUFFORCE, _SO_MEMINFO = 33, 55
DENIED_KEYS = (DENIED, DENIED_NEW, "denied answers")
_NUMBER = struct.Struct("!Q")


def udp(netns: str, address: str, port: int = 0) -> socket.socket:
    with entered(netns):
        made = socket.socket(_AF[6 if ":" in address else 4], socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 26)
    made.bind((address, port))
    made.setblocking(False)
    return made


def raw(netns: str, address: str) -> socket.socket:
    """Open a socket that writes UDP headers itself: a new flow costs no new socket."""
    family = 6 if ":" in address else 4
    with entered(netns):
        made = socket.socket(_AF[family], socket.SOCK_RAW, socket.IPPROTO_UDP)
    if family == 6:
        made.setsockopt(socket.IPPROTO_IPV6, 7, 6)  # IPV6_CHECKSUM at offset 6
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
    made.bind((address, 0))
    return made


def dropped(receiver: socket.socket) -> int:
    """Read how many packets the socket had no room for."""
    return struct.unpack("=9I", receiver.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36))[8]


def backlog_drops() -> int:
    return sum(int(line.split()[1], 16) for line in Path("/proc/net/softnet_stat").read_text().splitlines())


class Family:
    """All flows of one IP version."""

    def __init__(self, version: int, client: str, server: str) -> None:
        self.near = {port: udp(client, CLIENT[version]) for port in (ALLOWED, DENIED)}
        self.far = {port: udp(server, SERVER[version], port) for port in range(ALLOWED, DENIED_NEW + 1)}
        self.raw = raw(client, CLIENT[version])
        self.to = SERVER[version]
        self.sent = dict.fromkeys((*self.far, "answers", "denied answers"), 0)
        self.got: dict[object, set[int]] = {key: set() for key in self.sent}
        self.twice = 0
        self.guarded: dict[object, list[range]] = {key: [] for key in self.sent}
        self.guarded_from: dict[object, int] = {}
        self.client = {port: self.near[port].getsockname()[:2] for port in self.near}

    def established(self, port: int) -> None:
        self.near[port].sendto(_NUMBER.pack(self.sent[port]), (self.to, port))
        self.sent[port] += 1

    def new(self, port: int) -> None:
        source = 1024 + self.sent[port] % 30000 + (port - ALLOWED_NEW) // 2 * 30000
        header = struct.pack("!HHHH", source, port, 16, 0)
        self.raw.sendto(header + _NUMBER.pack(self.sent[port]), (self.to, 0))
        self.sent[port] += 1

    def answer(self, port: int, kind: str) -> None:
        self.far[port].sendto(_NUMBER.pack(self.sent[kind]), self.client[port])
        self.sent[kind] += 1

    def collect(self) -> None:
        for port, receiver in self.far.items():
            self._collect(receiver, port)
        self._collect(self.near[ALLOWED], "answers")
        self._collect(self.near[DENIED], "denied answers")

    def _collect(self, receiver: socket.socket, key: object) -> None:
        while True:
            try:
                (number,) = _NUMBER.unpack(receiver.recv(100))
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue
            self.twice += number in self.got[key]
            self.got[key].add(number)

    def deny(self) -> None:
        """From now on, what is denied must not arrive."""
        self.open()
        self.guarded_from = dict(self.sent)

    def open(self) -> None:
        """From now on, what is denied may arrive; what was sent before must not."""
        for key, first in self.guarded_from.items():
            self.guarded[key].append(range(first, self.sent[key]))
        self.guarded_from = {}

    def report(self) -> dict[str, object]:
        self.open()
        allowed = [key for key in self.sent if key not in DENIED_KEYS]
        sockets = (*self.far.values(), *self.near.values())
        return {
            "sent": {str(key): count for key, count in self.sent.items()},
            "lost": {str(key): lost for key in allowed if (lost := self.sent[key] - len(self.got[key]))},
            "lost while guarded": {
                str(key): lost
                for key in allowed
                if (lost := sum(n not in self.got[key] for span in self.guarded[key] for n in span))
            },
            "leaked": {
                str(key): leaks
                for key in DENIED_KEYS
                if (leaks := sum(n in self.got[key] for span in self.guarded[key] for n in span))
            },
            "twice": self.twice,
            "no room": sum(dropped(each) for each in sockets),
        }


def begun(families: Collection[Family]) -> list[int]:
    """Wait for the first packets of what is established; return how many of each arrived."""
    deadline = time.monotonic() + patient(1.0)
    while True:
        for family in families:
            family.collect()
        arrived = [len(family.got[port]) for family in families for port in (ALLOWED, DENIED)]
        if all(arrived) or time.monotonic() > deadline:
            return arrived
        time.sleep(TICK)


def main() -> None:
    client, server = sys.argv[1:3]
    rate = int(sys.argv[3]) if len(sys.argv) > 3 else RATE
    families = {version: Family(version, client, server) for version in (4, 6)}
    before = backlog_drops()
    for family in families.values():
        for port in (ALLOWED, DENIED):
            family.established(port)
    print(json.dumps({"begun": begun(families.values())}), flush=True)
    began, done = time.monotonic(), 0
    while True:
        words = os.read(0, 4096).decode().split() or ["stop"] if select.select([0], [], [], 0)[0] else []
        if "stop" in words:
            break
        for word in words:
            for family in families.values():
                family.deny() if word == "denied" else family.open()
            if word == "open":
                print(flush=True)
        due = int((time.monotonic() - began) * rate)
        for turn in range(done, due):
            family = families[6 if turn % 5 == 4 else 4]
            family.established(ALLOWED)
            if turn % 5 == 0:
                for each in families.values():
                    each.answer(ALLOWED, "answers")
            elif turn % 5 == 1:
                families[4].new(ALLOWED_NEW)
            elif turn % 5 == 2:
                families[6].new(ALLOWED_NEW)
            elif turn % 5 == 3:
                for each in families.values():
                    each.established(DENIED)
                    each.answer(DENIED, "denied answers")
                    each.new(DENIED_NEW)
        done = max(done, due)
        for family in families.values():
            family.collect()
        time.sleep(TICK)
    seconds = time.monotonic() - began
    time.sleep(patient(0.2))
    for family in families.values():
        family.collect()
    report = {f"IPv{version}": family.report() for version, family in families.items()}
    print(json.dumps({**report, "seconds": seconds, "backlog": backlog_drops() - before}), flush=True)


if __name__ == "__main__":
    main()
