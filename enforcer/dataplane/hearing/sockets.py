"""A netlink socket that is told of what happens in a network namespace: opened there, closed once, used from anywhere.

    class Links(Hearing):
        def _begin(self) -> None: …     asks the kernel to tell

It never blocks once it is open. Must not know: what the kernel tells of, and what becomes of what was lost.
"""

from __future__ import annotations

import random
import socket
from typing import Final, Self

from enforcer.dataplane.namespaces import entered

_RCVBUFFORCE: Final = 33
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_NUMBERS: Final = range(1 << 23, 1 << 31)
"""Numbers for sockets that hear: neither a process has one of them, nor does the kernel choose one.

Its choice would be the process's number, which a socket that is being closed may have had: it is free before those hear
of the closing who end what belongs to it, and all they know is the number (`NETLINK_URELEASE`). Where nf_tables hears
of it before nfnetlink_log does, as on Debian, tens of milliseconds lie between (`closing`). Whoever took the number
meanwhile to listen to an NFLOG group would lose the group, and never hear of that.
"""


class Hearing:
    """Hears in one namespace, with room for so many bytes; raises OSError where it may not."""

    def __init__(self, netns: str, protocol: int, room: int) -> None:
        with entered(netns):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, room)
            self._socket.bind((random.choice(_NUMBERS), 0))
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
