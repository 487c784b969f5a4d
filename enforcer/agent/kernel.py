"""What the loop asks of the kernel, and how it knows its own changes from those of others.

    kernel.commit(program, closed={"tap-x"})     → Committed, or SystemRefused and nothing has changed
    kernel.is_ours(netns, notice)                → False: somebody else changed our tables

nftables numbers its transactions in each namespace and tells everybody of each. Around each commit the number is read:
if it grew by as many transactions as we made, those numbers are ours. If somebody else's came in between, the kernel's
word on who made each of them – the thread's id – decides.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from enforcer import dataplane
from enforcer.compiler import NamespaceProgram
from enforcer.dataplane import Committed, notices
from enforcer.dataplane.closing import close_beside
from enforcer.dataplane.counters import Last
from enforcer.dataplane.notices import Generation, NumberSocket
from enforcer.errors import SystemRefused

MOST_REMEMBERED = 256
"""Commits of ours that are known by their numbers, per namespace: more than can be between a commit and its notice."""


class Kernel(Protocol):
    """The verbs that change the kernel; one thread at a time calls them."""

    def commit(
        self,
        program: NamespaceProgram,
        *,
        closed: Collection[str] = (),
        whole: bool = False,
        anew: bool = False,
        moved: Collection[str] = (),
    ) -> Committed:
        """Put a namespace's program in force; raises SystemRefused, and then nothing has changed.

        `moved` are the interfaces about which anything is different since the last commit (`Session.replace`).
        `whole` and `anew` trust nothing that is there: at once, or without a gap (`dataplane.replace`).
        """

    def tidy(self) -> None:
        """Delete what earlier commits have left behind for packets in flight, and make ready for the next one.

        Whoever waits for a commit need not wait for that.
        """

    def clear(self, netns: str) -> None:
        """Take our tables out of a namespace."""

    def refusal(self, program: NamespaceProgram, closed: Collection[str]) -> str:
        """Say why the kernel would refuse a program, or ""; nothing is changed."""

    def is_ours(self, netns: str, notice: Generation) -> bool:
        """Say whether a transaction was one of ours, or older than our last whole replacement, which mended it."""

    def is_last_ours(self, netns: str) -> bool:
        """Say whether the last transaction in a namespace was one of ours."""


@dataclass(frozen=True, slots=True)
class _Own:
    """The transactions between two readings of the number; `alone`: all of them were ours, else those by `thread`."""

    after: int
    last: int
    alone: bool
    mended: bool
    thread: int


class Nftables:
    """The kernel itself."""

    def __init__(
        self,
        passed: Callable[[str], None] = lambda _: None,
        leaving: Callable[[str, Collection[str] | None], None] = lambda _netns, _names: None,
        gone: Callable[[str, Collection[Last]], None] = lambda _netns, _last: None,
    ) -> None:
        self._passed, self._leaving, self._gone = passed, leaving, gone
        self._own: defaultdict[str, deque[_Own]] = defaultdict(lambda: deque(maxlen=MOST_REMEMBERED))
        self._commits: dict[str, tuple[int, int]] = {}
        self._sessions: dict[str, dataplane.Session] = {}
        self._numbers: dict[str, NumberSocket] = {}

    def commit(
        self,
        program: NamespaceProgram,
        *,
        closed: Collection[str] = (),
        whole: bool = False,
        anew: bool = False,
        moved: Collection[str] = (),
    ) -> Committed:
        with self._counting(program.name, mended=whole or anew) as passed:
            session = self._sessions.setdefault(
                program.name,
                dataplane.Session(
                    program.name, partial(self._leaving, program.name), partial(self._gone, program.name)
                ),
            )
            return session.replace(program, closed=closed, whole=whole, anew=anew, moved=moved, passed=passed)

    def tidy(self) -> None:
        for netns, session in self._sessions.items():
            if session.untidy:
                with suppress(SystemRefused), self._counting(netns, mended=False) as passed:
                    session.tidy(passed)
            with suppress(SystemRefused):  # no stamp is free: whoever commits next is told
                session.ready()

    def clear(self, netns: str) -> None:
        if (session := self._sessions.pop(netns, None)) is not None:
            session.close()
        with self._counting(netns, mended=True) as passed:
            if dataplane.clear(netns):
                passed(dataplane.Step.REPLACED)
        self._numbers.pop(netns).close()

    def refusal(self, program: NamespaceProgram, closed: Collection[str]) -> str:
        return dataplane.refusal(program, closed)

    @contextmanager
    def _counting(self, netns: str, *, mended: bool) -> Iterator[Callable[[dataplane.Step], None]]:
        asking, made = self._asking(netns, anew=mended), 0
        before = asking.last()

        def passed(step: dataplane.Step) -> None:
            nonlocal made
            made += step in dataplane.TRANSACTIONS
            self._passed(step)

        try:
            yield passed
        finally:
            now = asking.last()
            if now != before:
                self._own[netns].append(
                    _Own(before, now, now - before == made, mended and made > 0, threading.get_native_id())
                )
                count, _ = self._commits.get(netns, (0, 0))
                self._commits = {**self._commits, netns: (count + 1, now)}

    def _asking(self, netns: str, *, anew: bool) -> NumberSocket:
        """Return what tells the number: `anew` where another namespace may have the name now, else as before."""
        if anew and (old := self._numbers.pop(netns, None)) is not None:
            close_beside(old)
        if netns not in self._numbers:
            self._numbers[netns] = NumberSocket(netns)
        return self._numbers[netns]

    def commits(self) -> dict[str, tuple[int, int]]:
        """Return for each namespace how many commits were made there, and the last transaction; for any thread."""
        return self._commits

    def is_ours(self, netns: str, notice: Generation) -> bool:
        for own in reversed(self._own[netns]):
            if own.after < notice.number <= own.last:
                return own.alone or notice.pid == own.thread
            if own.mended and notice.number <= own.after:
                return True
        return False

    def is_last_ours(self, netns: str) -> bool:
        own = self._own[netns]
        return bool(own) and own[-1].alone and own[-1].last == notices.generation(netns)
