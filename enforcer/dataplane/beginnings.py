"""Conversations as they begin: connection tracking tells of each once its first packet has reached its end.

A packet that one of our rules dropped begins nothing and is not told of, so what is told was accepted. Costs nothing
while nobody listens (`nf_conntrack_events` 1 or 2), changes no rule, and leaves nothing behind, even after a crash.
What the listener has no time for is lost, and counted.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

from enforcer.dataplane.conntrack import Tracked, parse
from enforcer.dataplane.namespaces import entered
from enforcer.dataplane.notices import messages
from enforcer.errors import SystemRefused

_NETFILTER: Final = 12
_NEW_GROUP: Final = 1  # NFNLGRP_CONNTRACK_NEW
_NEW: Final = 1 << 8
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_RCVBUFFORCE: Final = 33
_ROOM: Final = 4 << 20
_MOST_READS: Final = 256


class BeginningSocket:
    """New conversations of one namespace; never blocks."""

    def __init__(self, netns: str) -> None:
        self.lost = 0
        with entered(netns):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _ROOM)
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NEW_GROUP)
            self._socket.setblocking(False)
        except OSError as error:
            self._socket.close()
            raise SystemRefused(
                f"network namespace {netns}: new flows cannot be heard of ({error.strerror})"
            ) from error

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def read(self) -> list[Tracked]:
        """Return the conversations that have begun, a bounded number of them at a time."""
        found: list[Tracked] = []
        for _ in range(_MOST_READS):
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.lost += 1
                continue
            found += [parse(body) for kind, _, body in messages(data) if kind == _NEW]
        return found

    def close(self) -> None:
        """End it."""
        self._socket.close()
