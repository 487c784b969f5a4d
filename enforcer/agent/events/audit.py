"""The thread that does not believe in notices: now and then it compares the kernel's listing with its own earlier one.

A listing is an earlier one of *ours* if no transaction but ours came between our last commit and its end. What was
written cannot be compared with what is read (nft sorts and merges elements), one reading with another can. Reads only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from enforcer.agent.events.mailbox import Mailbox, TablesUnknown
from enforcer.dataplane import listing, notices
from enforcer.errors import EnforcerError

WHY = "our tables are not as they were listed before"


class Ledger(Protocol):
    """Who knows our commits (`kernel.Nftables`)."""

    def commits(self) -> dict[str, tuple[int, int]]:
        """Return for each namespace how many commits were made there, and the last transaction of the last one."""


class Audit(threading.Thread):
    """Compares, every some seconds."""

    def __init__(
        self,
        ledger: Ledger,
        mailbox: Mailbox,
        every: Callable[[], float],
        failed: Callable[[str, str], None],
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(name="audit", daemon=True)
        self._give_way = give_way
        self._ledger, self._mailbox, self._every, self._failed = ledger, mailbox, every, failed
        self._listed: dict[str, tuple[int, int]] = {}
        self._ending = threading.Event()

    def run(self) -> None:
        while not self._ending.wait(self._every()):
            self.look()

    def end(self) -> None:
        """End; a listing that is being read is read to its end."""
        self._ending.set()
        self.join()

    def look(self) -> None:
        """Compare all namespaces once."""
        for netns, (count, last) in self._ledger.commits().items():
            try:
                self._compare(netns, count, last)
            except EnforcerError as error:
                if self._ledger.commits().get(netns) == (count, last):
                    self._failed("audit", str(error))

    def _compare(self, netns: str, count: int, last: int) -> None:
        before = notices.generation(netns)
        digest = listing.digest(netns, self._give_way)
        if notices.generation(netns) != before or self._ledger.commits().get(netns) != (count, last):
            return  # something changed meanwhile: next time
        known = self._listed.get(netns)
        if known is None or known[0] != count:
            if before == last:
                self._listed[netns] = (count, digest)
        elif known[1] != digest:
            self._mailbox.put(TablesUnknown(netns, WHY, certain=True))
