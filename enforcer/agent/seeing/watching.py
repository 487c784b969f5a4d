"""The thread that sees: denied packets become lines of the log, new flows lines of a trace, counters hits.

    NFLOG socket per namespace ──▶ Naming ──▶ log line, followers
    conntrack socket per namespace, while somebody follows ──▶ Naming ──▶ followers
    every few seconds: Counting.read, and a line for each NIC of which denied packets were not logged

It reads from the kernel and changes nothing there. Whatever fails here fails for seeing alone: enforcement does not
wait for it, and it tries again. Bounded: so many lines a second; what is left out is counted for each NIC.
"""

from __future__ import annotations

import selectors
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import TypeVar

import structlog

from enforcer.agent.seeing.counting import Counting
from enforcer.agent.seeing.naming import Naming, Seen
from enforcer.agent.seeing.tracing import Traces
from enforcer.dataplane import namespaces
from enforcer.dataplane.conntrack import Tracked
from enforcer.dataplane.hearing.beginnings import BeginningSocket
from enforcer.dataplane.hearing.nflog import DenialSocket
from enforcer.dataplane.notices import LinkSocket
from enforcer.errors import EnforcerError
from enforcer.model import Policy

READ_EVERY = 10.0
"""Seconds between two readings of all counters; a reading that takes long is followed by a longer pause."""
MOST_SHARE = 0.05
"""The share of the time that readings may take."""
LOOK_AFTER = 1.0
"""Seconds after which interfaces are looked up anew for an index that is not known."""
ROUND = 0.25
MOST_LINES = 500
"""Lines of denied packets a second, of all NICs together: naming one takes time that enforcement may need."""


Source = TypeVar("Source", DenialSocket, BeginningSocket)


class Watching:
    """Sees until it is ended; `in_force` tells the policy, `where` the namespaces in which it has NICs.

    Policies follow each other by the hundreds a second: what one takes to be asked is made when there is a question.
    """

    def __init__(
        self,
        in_force: Callable[[], Policy],
        where: Callable[[], tuple[str, ...]],
        counting: Counting,
        traces: Traces,
        failed: Callable[[str, str], None],
        *,
        count_flows: bool = False,
    ) -> None:
        self._count_flows, self.flows_missed = count_flows, 0
        self._in_force, self._where, self._counting = in_force, where, counting
        self._traces, self._failed = traces, failed
        self._log = structlog.get_logger("enforcer")
        self._naming = Naming(in_force())
        self._netns = where()
        self._denials: dict[str, tuple[tuple[int, int], DenialSocket]] = {}
        self._second, self._lines = 0, 0
        self._beginnings: dict[str, BeginningSocket] = {}
        self._selector = selectors.DefaultSelector()
        self._links: dict[str, tuple[float, dict[int, str]]] = {}
        self._logged: Counter[str] = Counter()
        self._owed: dict[str, int] = {}
        self._told: dict[str, str] = {}
        self._next_reading = 0.0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="seeing", daemon=True)

    def start(self) -> None:
        """Begin to see."""
        self._thread.start()

    def end(self) -> None:
        """End, and keep what was counted."""
        self._ending.set()
        self._thread.join(10)
        self._counting.keep(self._in_force(), now=True)
        for _, log in self._denials.values():
            log.close()
        for beginning in self._beginnings.values():
            beginning.close()

    def namespaces(self) -> Collection[str]:
        """Return the namespaces in which NICs are."""
        return self._netns

    def nic_of(self, netns: str, index: int) -> str | None:
        """Return the NIC behind an interface's index."""
        name = self._interface(netns, index)
        return self._naming.nic(netns, name) if name else None

    def nics(self) -> dict[str, dict[str, str]]:
        """Return the NIC behind each interface of each namespace."""
        found: dict[str, dict[str, str]] = {}
        for (netns, interface), nic in self._naming.interfaces().items():
            found.setdefault(netns, {})[interface] = nic
        return found

    def read_now(self) -> None:
        """Read all counters; for whoever asks for hits."""
        self._counting.read(self)
        self._counting.keep(self._in_force())

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._round()
            except Exception as error:  # seeing must not end: it says so, and goes on
                self._say("seeing", f"{type(error).__name__}: {error}")
                self._ending.wait(1.0)

    def _round(self) -> None:
        self._renew()
        for key, _ in self._selector.select(ROUND):
            source: DenialSocket | BeginningSocket = key.fileobj  # type: ignore[assignment]
            before = source.lost
            if isinstance(source, DenialSocket):
                self._hear_denials(key.data, source)
            else:
                self._hear_beginnings(key.data, source.read())
                self.flows_missed += source.lost - before
                self._traces.miss(source.lost - before)
        if time.monotonic() >= self._next_reading:
            self._read()

    def _hear_beginnings(self, netns: str, flows: list[Tracked]) -> None:
        if self._count_flows:
            self._counting.begun(nic for flow in flows for nic in self._naming.ends(netns, flow))
        if self._traces:
            self._traces.tell(seen for flow in flows for seen in self._naming.begun(netns, flow))

    def _hear_denials(self, netns: str, source: DenialSocket) -> None:
        lines: list[Seen] = []
        for packet in source.read():
            name = self._interface(netns, packet.index)
            seen = self._naming.denied(netns, name, packet) if name else None
            if seen is None or not self._may_tell():
                continue
            self._logged[seen.nic] += 1
            lines.append(seen)
        if self._traces:
            self._traces.tell(lines)
        for seen in lines:
            self._log.info("denied", **{key: value for key, value in asdict(seen).items() if key != "verdict"})

    def _may_tell(self) -> bool:
        """Count a line, unless this second has had enough of them."""
        if (second := int(time.monotonic())) != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        return self._lines <= MOST_LINES

    def _read(self) -> None:
        begun = time.monotonic()
        self._counting.read(self)
        grown = self._counting.to_be_told()
        self._counting.keep(self._in_force())
        now = time.monotonic()
        self._next_reading = now + max(READ_EVERY, (now - begun) / MOST_SHARE)
        for nic in sorted(grown.keys() | self._owed.keys()):
            before = self._owed.get(nic, 0)
            owed = before + grown.get(nic, 0) - self._logged[nic]
            if (left_out := min(before, owed)) > 0:  # what came just now may be told yet
                self._log.info("denied_left_out", nic=nic, packets=left_out)
                owed -= left_out
            self._owed[nic] = owed
        self._owed = {nic: owed for nic, owed in self._owed.items() if owed}
        self._logged.clear()

    def _renew(self) -> None:
        """Follow the policy: other namespaces, another group; listen to new flows while somebody follows."""
        policy = self._in_force()
        if policy is not self._naming.policy:
            self._naming = Naming(policy)
            self._netns = self._where()
        group = policy.deny_log.group if policy.deny_log.enabled else -1
        here = {netns: namespaces.number(netns) for netns in self._netns}
        for netns, (known, old) in list(self._denials.items()):
            if known != (here.get(netns, 0), group):
                self._drop(old)
                del self._denials[netns]
        for netns, number in here.items():
            if number and group >= 0 and netns not in self._denials:
                log = self._open(netns, partial(DenialSocket, netns, group))
                if log is not None:
                    self._denials[netns] = ((number, group), log)
        wanted = self._netns if self._traces or self._count_flows else ()
        for netns in self._beginnings.keys() - set(wanted):
            self._drop(self._beginnings.pop(netns))
        for netns in wanted:
            if (
                here[netns]
                and netns not in self._beginnings
                and (heard := self._open(netns, partial(BeginningSocket, netns)))
            ):
                self._beginnings[netns] = heard

    def _open(self, netns: str, make: Callable[[], Source]) -> Source | None:
        try:
            made = make()
        except EnforcerError as error:
            self._say(f"seeing {netns or '(own)'}", str(error))
            return None
        self._told.pop(f"seeing {netns or '(own)'}", None)
        self._selector.register(made, selectors.EVENT_READ, netns)
        return made

    def _drop(self, source: DenialSocket | BeginningSocket) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(source)
        source.close()

    def _interface(self, netns: str, index: int) -> str | None:
        at, known = self._links.get(netns, (-LOOK_AFTER, {}))
        if index not in known and time.monotonic() - at >= LOOK_AFTER:
            with suppress(EnforcerError, OSError), LinkSocket(netns) as links:
                known = {link.index: link.name for link in links.dump().values()}
            self._links[netns] = (time.monotonic(), known)
        return known.get(index)

    def _say(self, what: str, why: str) -> None:
        """Report a failure, once as long as it is the same."""
        if self._told.get(what) != why:
            self._told[what] = why
            self._failed(what, why)
