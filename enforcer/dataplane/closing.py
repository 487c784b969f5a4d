"""Close netfilter's netlink sockets beside whoever is at work: closing one may take as long as a transaction.

With each that is closed the kernel waits until all that nftables has deleted so far is destroyed (`nft_rcv_nl_event`,
Linux 4.20 and later): tens of milliseconds after `nft flush ruleset`, and nobody who puts rules in force shall wait so.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar


class Closes(Protocol):
    """What can be closed: a socket, or what holds one."""

    def close(self) -> None:
        """End it."""


C = TypeVar("C", bound=Closes)


def close_beside(each: Closes) -> None:
    """Close it in a thread of its own; nobody may use it any more."""
    threading.Thread(target=each.close, name="closing").start()


@contextmanager
def closed_beside(each: C) -> Iterator[C]:
    """Use it for the length of the block."""
    try:
        yield each
    finally:
        close_beside(each)
