"""A netlink socket that is told of what happens in a network namespace: opened there, closed once, used from anywhere.

    class Links(Hearing):
        def _begin(self) -> None: …     asks the kernel to tell

It never blocks once it is open. Must not know: what the kernel tells of, and what becomes of what was lost.
"""

from __future__ import annotations

import socket
from typing import Final, Self

from enforcer.dataplane.namespaces import entered

_RCVBUFFORCE: Final = 33
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1


class Hearing:
    """Hears in one namespace, with room for so many bytes; raises OSError where it may not."""

    def __init__(self, netns: str, protocol: int, room: int) -> None:
        with entered(netns):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, room)
            self._socket.bind((0, 0))  # a socket without a number would be taken for the sender itself
            self._begin()
            self._socket.setblocking(False)
        except OSError:
            self._socket.close()
            raise

    def _begin(self) -> None:
        """Ask the kernel to tell; the socket blocks yet."""

    def _join(self, group: int) -> None:
        """Be told what a group is told."""
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
