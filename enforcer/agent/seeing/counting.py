"""The ledger of hits and the packets denied to each NIC, kept up to date and kept for a next life.

    tick ──read──▶ counters of every namespace ──▶ ledger ──remember──▶ Store (a note)
    commit ──leaving──▶ the counters of what is about to be deleted ──▶ ledger

Safe to call from several threads. Never raises into a commit: what cannot be read is said once, and counted later.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Collection
from typing import Protocol

from enforcer.agent.seeing.hits import Hits, Ledger, RuleHits
from enforcer.agent.store import Store
from enforcer.dataplane import counters
from enforcer.errors import EnforcerError
from enforcer.model import Policy
from enforcer.ruleset.names import DENIALS

NOTE = "hits"
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
        self._denied: dict[str, int] = {}
        self._seen: dict[str, dict[bytes, int]] = {}
        self._kept = time.monotonic()
        self._kept_text = ""

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
        with self._lock:
            self._ledger.take(netns, found, time.time(), whole=False)

    def read(self, places: Places) -> dict[str, int]:
        """Read all counters; return how many packets each NIC was denied since the last reading, if there was one."""
        grown: dict[str, int] = {}
        for netns in places.namespaces():
            try:
                with self._lock:  # what is read must not be older than what a commit has read meanwhile
                    self._ledger.take(netns, counters.read(netns), time.time())
                found = counters.by_key(netns, "inet", DENIALS)
            except (EnforcerError, OSError):
                continue  # the namespace is gone, or not there yet: status says so
            seen = self._seen.get(netns)
            self._seen[netns] = found
            for key, packets in found.items():
                before = seen.get(key, 0) if seen else 0
                more = packets - before if packets >= before else packets
                if more and (nic := places.nic_of(netns, int.from_bytes(key, sys.byteorder))):
                    with self._lock:
                        self._denied[nic] = self._denied.get(nic, 0) + more
                    if seen is not None:
                        grown[nic] = grown.get(nic, 0) + more
        return grown

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

    def denied(self) -> dict[str, int]:
        """Return the packets that each NIC was denied, in this life of the daemon."""
        with self._lock:
            return dict(self._denied)

    @property
    def since(self) -> float:
        """When counting began, in wall-clock seconds."""
        return self._ledger.since
