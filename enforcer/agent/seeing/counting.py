"""The ledger of hits and what is counted for each NIC, kept up to date and kept for a next life.

    tick ──read──▶ counters of every namespace ──▶ ledger ──remember──▶ Store (a note)
    commit ──leaving──▶ the counters of what is about to be deleted ──▶ ledger
    commit ──gone──▶ what single elements had counted when they were deleted ──▶ ledger

Safe to call from several threads. Never raises into a commit: what cannot be read is said once, and counted later.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from enforcer.agent.seeing.hits import Hits, Ledger, RuleHits
from enforcer.agent.store import Store
from enforcer.dataplane import counters
from enforcer.dataplane.counters import Last
from enforcer.errors import EnforcerError
from enforcer.model import Policy
from enforcer.ruleset.names import DENIALS, REFUSALS, REVOKED

NOTE = "hits"
BY_NIC = (("inet", DENIALS), ("inet", REFUSALS), ("netdev", REFUSALS), ("inet", REVOKED))
"""Sets in which packets count for the NIC whose index is the key."""
LOGGED = frozenset((DENIALS, REFUSALS))
"""Those whose packets are told in the log, as far as it goes."""
BEGUN = "begun"
KEEP_EVERY = 30.0
"""Seconds of counting that a crash may cost those rules whose maps are deleted just then; all others lose nothing."""


class Places(Protocol):
    """Where counters are, and whose interface an index is."""

    def namespaces(self) -> Collection[str]:
        """Return the namespaces in which NICs are."""

    def nic_of(self, netns: str, index: int) -> str | None:
        """Return the NIC behind an interface."""


class Counting:
    """All that is counted."""

    def __init__(self, store: Store, failed: Callable[[str, str], None]) -> None:
        self._store, self._failed = store, failed
        self._lock = threading.Lock()
        self._ledger = Ledger(time.time())
        self._of_nics: dict[str, Counter[str]] = {name: Counter() for name in (DENIALS, REFUSALS, REVOKED, BEGUN)}
        self._reading = threading.Lock()
        self._seen: dict[tuple[str, str, str], dict[bytes, int]] = {}
        self._grown: Counter[str] = Counter()
        self._kept = time.monotonic()
        self._kept_text = ""
        self._urgent = False
        self.give_way: Callable[[], None] = lambda: None

    def begin(self) -> None:
        """Take up what an earlier life has counted."""
        try:
            note = self._store.remembered(NOTE)
        except EnforcerError as error:
            self._failed("hits", str(error))
            return
        with self._lock:
            self._ledger = Ledger.read(note.value if note else None, time.time())

    def leaving(self, netns: str, names: Collection[str] | None) -> None:
        """Read what is about to be deleted (None: everything)."""
        try:
            found = counters.read(netns, names)
        except (EnforcerError, OSError) as error:
            self._failed("hits", f"{netns or '(own)'}: {error}")
            return
        self._urgent = True
        with self._lock:
            self._ledger.take(netns, found, time.time(), whole=False)
        self._urgent = False

    def gone(self, netns: str, last: Collection[Last]) -> None:
        """Take what elements had counted that a commit has deleted."""
        with self._lock:
            self._ledger.last(netns, last, time.time())

    def read(self, places: Places) -> None:
        """Read all counters."""
        for netns in places.namespaces():
            try:
                with self._lock:  # what is read must not be older than what a commit has read meanwhile
                    self._ledger.take(netns, counters.read(netns, between=self._between), time.time())
                with self._reading:  # two who read at once would each find what is new, or one of them less than before
                    for family, name in BY_NIC:
                        self._read_nics(places, netns, family, name)
            except (EnforcerError, OSError):
                continue  # the namespace is gone, or not there yet: status says so

    def to_be_told(self) -> dict[str, int]:
        """Return how many packets of each NIC could have been told since this was asked last, whoever read them."""
        with self._reading:
            grown, self._grown = self._grown, Counter()
        return grown

    def _between(self) -> None:
        """Let changes go first, but for one that waits for this reading to end."""
        if not self._urgent:
            self.give_way()

    def _read_nics(self, places: Places, netns: str, family: str, name: str) -> None:
        found = counters.by_key(netns, family, name)
        seen = self._seen.get((netns, family, name))
        self._seen[netns, family, name] = found
        for key, packets in found.items():
            before = seen.get(key, 0) if seen else 0
            more = packets - before if packets >= before else packets
            if more and (nic := places.nic_of(netns, int.from_bytes(key, sys.byteorder))):
                with self._lock:
                    self._of_nics[name][nic] += more
                if seen is not None and name in LOGGED:
                    self._grown[nic] += more

    def begun(self, nics: Iterable[str]) -> None:
        """Count flows that NICs let pass, one for each mention."""
        with self._lock:
            self._of_nics[BEGUN].update(nics)

    def keep(self, policy: Policy, *, now: bool = False) -> None:
        """Write what was counted, if it is time; rules that are new are counted from here on."""
        with self._lock:
            self._ledger.know(policy, time.time())
            if not now and time.monotonic() - self._kept < KEEP_EVERY:
                return
            self._kept = time.monotonic()
            text = self._ledger.document()
        if text != self._kept_text:
            try:
                self._store.remember(NOTE, text)
                self._kept_text = text
            except EnforcerError as error:
                self._failed("hits", str(error))

    def rules(self, policy: Policy) -> tuple[RuleHits, ...]:
        """Return the hits of each rule."""
        with self._lock:
            return self._ledger.rules(policy)

    def reasons(self) -> dict[str, Hits]:
        """Return the packets that no rule decided about, by reason."""
        with self._lock:
            return self._ledger.reasons()

    def of_nics(self, name: str) -> dict[str, int]:
        """Return what was counted for each NIC in this life of the daemon, in one of the sets or as flows begun."""
        with self._lock:
            return dict(self._of_nics[name])

    @property
    def since(self) -> float:
        """When counting began, in wall-clock seconds."""
        return self._ledger.since
