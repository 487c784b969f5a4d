"""A netlink socket that hears what netfilter tells of a namespace: works from any thread, and never blocks.

What the kernel had no room for is lost, and counted in `lost`: so many times, not so many messages.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final

from enforcer.dataplane.hearing.sockets import Hearing
from enforcer.dataplane.netlink.wire import messages

_NETFILTER: Final = 12
_LONGEST: Final = 1 << 17
_MOST_READS: Final = 256


class NetfilterSocket(Hearing):
    """Listens in one namespace, with room for so many bytes; raises OSError where it may not."""

    def __init__(self, netns: str, room: int) -> None:
        self.lost = 0
        super().__init__(netns, _NETFILTER, room)

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
            yield from ((kind, body) for kind, _, _, body in messages(data))
