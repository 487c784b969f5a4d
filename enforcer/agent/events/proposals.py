"""The thread that hears the store: every revision that is proposed goes to the loop's mailbox, in order, each once."""

from __future__ import annotations

import threading
from collections.abc import Callable

from enforcer.agent.events.mailbox import Mailbox, Proposed
from enforcer.agent.store import Store
from enforcer.errors import EnforcerError

IDLE = 1.0
"""Seconds after which it looks whether it shall end, and after which a store that failed is asked again."""


class Proposals(threading.Thread):
    """Watches the store from a revision on."""

    def __init__(self, store: Store, mailbox: Mailbox, after: int, failed: Callable[[str, str], None]) -> None:
        super().__init__(name="proposals", daemon=True)
        self._store, self._mailbox, self._after, self._failed = store, mailbox, after, failed
        self._ending = threading.Event()

    def run(self) -> None:
        while not self._ending.is_set():
            try:
                for revision in self._store.watch(self._after, timeout=IDLE):
                    self._after = revision.number
                    self._mailbox.put(Proposed(revision))
            except EnforcerError as error:
                self._failed("store", str(error))
                self._ending.wait(IDLE)

    def end(self) -> None:
        """End within its idle time."""
        self._ending.set()
