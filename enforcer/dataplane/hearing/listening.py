"""A netlink socket that hears what netfilter tells of a namespace: works from any thread, and never blocks.

What the kernel had no room for is lost, and counted in `lost`: so many times, not so many messages.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import Final, Self

from enforcer.dataplane.namespaces import entered
from enforcer.dataplane.notices import messages

_NETFILTER: Final = 12
_RCVBUFFORCE: Final = 33
_LONGEST: Final = 1 << 17
_MOST_READS: Final = 256


class NetfilterSocket:
    """Listens in one namespace, with room for so many bytes; raises OSError where it may not."""

    def __init__(self, netns: str, room: int) -> None:
        self.lost = 0
        with entered(netns):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, room)
            self._socket.bind((0, 0))
            self._begin()
            self._socket.setblocking(False)
        except OSError:
            self._socket.close()
            raise

    def _begin(self) -> None:
        """Ask the kernel to tell; the socket blocks yet."""

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def heard(self) -> Iterator[tuple[int, bytes]]:
        """Yield type and body of the messages that are there, a bounded number of them at a time."""
        for _ in range(_MOST_READS):
            try:
                data = self._socket.recv(_LONGEST)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.lost += 1
                continue
            yield from ((kind, body) for kind, _, body in messages(data))

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
