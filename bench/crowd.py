"""Callers at once: many connections to a daemon's socket, asked from one thread that does next to nothing else.

    Crowd(living, connections=32, edits=500, rate=0).run()    # figures, and whether none was lost and all in order

Each connection has an instance of its own that leaves a group and joins it again, and asks for one edit after another,
the next one when the one before is answered. Requests are bytes before the clock starts, and of an answer the revision
alone is looked for: what it takes to ask stands beside the daemon's figures.
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from heapq import heappop, heappush
from typing import Any

from bench.living import PATIENCE, Caller, Living, request
from bench.spread import spread

PAGE = 1000
REVISION = re.compile(rb'"revision":(\d+),"outcome":"in_force","reason":"","changed":true')


def groups_of(number: int, turn: int) -> tuple[str, str, dict[str, Any]]:
    """Let instance `number` of another host leave the group of thousands, or join it again."""
    rest = f"m-{1 + number % 11}"
    return "PUT", f"/v1/nics/far-1-{number}/security_groups", {"security_groups": [rest, "m-0"][: 1 + turn % 2]}


class _Connection:
    """One caller: what it has to ask, and what it has learned."""

    def __init__(self, living: Living, who: int, edits: int) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(str(living.socket))
        self.requests = [request(*_named(who, edit)) for edit in range(edits)]
        self.learned: list[int] = []
        self.waited: list[float] = []
        self._asked, self._said = 0.0, b""

    def ask(self) -> None:
        """Ask for the next edit."""
        self._asked, self._said = time.perf_counter(), b""
        self.socket.sendall(self.requests[len(self.learned)])

    def heard(self) -> bool:
        """Take what has come; say whether that was the end of the answer."""
        part = self.socket.recv(1 << 16)
        if not part:
            raise ConnectionError("the daemon closed the connection")
        self._said += part
        if not self._said.endswith(b"}"):
            return False
        found = REVISION.search(self._said)
        assert found, self._said
        self.learned.append(int(found[1]))
        self.waited.append((time.perf_counter() - self._asked) * 1e3)
        return True


def _named(who: int, edit: int) -> tuple[str, str, dict[str, Any]]:
    method, path, body = groups_of(100 + who, edit)
    return method, f"{path}?message={who}.{edit}", body


class Crowd:
    """`connections` at once; `rate` is what they aim at together, 0: as fast as answers come."""

    def __init__(self, living: Living, connections: int, edits: int, rate: float = 0) -> None:
        self._living, self._rate = living, rate
        self._edits = edits // connections // 2 * 2  # what one edit does, the next undoes
        self._callers = [_Connection(living, who, self._edits) for who in range(connections)]

    def run(self) -> dict[str, Any]:
        """Let all ask, wait for all answers, and look whether they are what happened."""
        before, own = self._living.cpu(), time.process_time()
        begun = time.perf_counter()
        with ExitStack() as stack:
            for caller in self._callers:
                stack.callback(caller.socket.close)
            self._asking(begun)
        took, own = time.perf_counter() - begun, time.process_time() - own
        used = sum(self._living.cpu().values()) - sum(before.values())
        self._compare()
        done = self._edits * len(self._callers)
        commits = self._living.commits()
        merged = len({commits[number] for each in self._callers for number in each.learned})
        return {
            "edits": done,
            "edits/s": round(done / took),
            "edits of a commit": round(done / merged, 1),
            "request to answer": spread([each for caller in self._callers for each in caller.waited]),
            "cpu of an edit": round(used / done * 1e3, 3),
            "cpu of asking": round(own / done * 1e3, 3),
        }

    def _asking(self, begun: float) -> None:
        """Ask for each edit at its time, or later if the one before is not answered yet."""
        apart = len(self._callers) / self._rate if self._rate else 0.0
        due = [(begun + apart * who / len(self._callers), who) for who in range(len(self._callers))]
        left = len(self._callers) * self._edits
        with selectors.EpollSelector() as waiting:
            for who, caller in enumerate(self._callers):
                waiting.register(caller.socket, selectors.EVENT_READ, who)
            while left:
                while due and due[0][0] <= time.perf_counter():
                    self._callers[heappop(due)[1]].ask()
                for key, _ in waiting.select(max(0.0, due[0][0] - time.perf_counter()) if due else PATIENCE):
                    caller = self._callers[key.data]
                    if caller.heard():
                        left -= 1
                        asked = len(caller.learned)
                        if asked < self._edits:
                            heappush(due, (begun + apart * (asked + key.data / len(self._callers)), key.data))

    def _compare(self) -> None:
        """Hold what callers learned against the history: all are there, and in the order of each caller."""
        everything = sorted(number for each in self._callers for number in each.learned)
        assert everything == list(range(everything[0], everything[0] + len(everything))), "none is lost"
        written = {each["revision"]: each for each in self._history(everything[0], everything[-1])}
        for who, caller in enumerate(self._callers):
            assert caller.learned == sorted(caller.learned), "in order"
            said = [(written[number]["message"], written[number]["outcome"]) for number in caller.learned]
            assert said == [(f"{who}.{edit}", "in_force") for edit in range(self._edits)]

    def _history(self, first: int, last: int) -> Iterator[dict[str, Any]]:
        with Caller(self._living.socket) as caller:
            while last >= first:
                page = caller.ask("GET", f"/v1/revisions?most={PAGE}&before={last + 1}")["revisions"]
                yield from page
                last = page[-1]["revision"] - 1
