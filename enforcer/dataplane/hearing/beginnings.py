"""Conversations as they begin: connection tracking tells of each once its first packet has reached its end.

A packet that one of our rules dropped begins nothing and is not told of, so what is told was accepted. Costs nothing
while nobody listens (`nf_conntrack_events` 1 or 2), changes no rule, and leaves nothing behind, even after a crash.
What the listener has no time for is lost, and counted.
"""

from __future__ import annotations

from typing import Final

from enforcer.dataplane.conntrack import Tracked, parse
from enforcer.dataplane.hearing.listening import NetfilterSocket
from enforcer.dataplane.namespaces import called
from enforcer.errors import SystemRefused

_NEW_GROUP: Final = 1  # NFNLGRP_CONNTRACK_NEW
_NEW: Final = 1 << 8
_ROOM: Final = 4 << 20


class BeginningSocket(NetfilterSocket):
    """New conversations of one namespace."""

    def __init__(self, netns: str) -> None:
        try:
            super().__init__(netns, _ROOM)
        except OSError as error:
            raise SystemRefused(f"{called(netns)}: new flows cannot be heard of ({error.strerror})") from error

    def _begin(self) -> None:
        self._join(_NEW_GROUP)

    def read(self) -> list[Tracked]:
        """Return the conversations that have begun, a bounded number of them at a time."""
        return [parse(body) for kind, body in self.heard() if kind == _NEW]
