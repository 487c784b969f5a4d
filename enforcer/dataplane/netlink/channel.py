"""A netlink socket in a namespace: one batch is one transaction, and what the kernel says about it is the answer.

The kernel has dealt with a batch when `send` returns; its answers are in the socket's queue by then. An answer with an
error names its message, and then nothing of the batch holds. The last message asks to be acknowledged: without that
answer nobody knows what holds, and `OutcomeUnknown` says so. What a message has asked to be told of comes before.

Must not know: what the messages mean.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from enforcer.dataplane.namespaces import entered
from enforcer.dataplane.netlink.messages import Message
from enforcer.dataplane.netlink.wire import ACK, SUBSYSTEM, message, messages
from enforcer.errors import SystemRefused, TransactionRefused

_NETFILTER: Final = 12
_BEGIN, _END, _ERROR = 16, 17, 2
_DELETED: Final = SUBSYSTEM << 8 | 14
_SEND_ROOM_FORCE, _RECEIVE_ROOM_FORCE = 32, 33
_ROOM: Final = 64 << 20
MOST_BYTES: Final = 64 << 20
"""No batch is larger; what would be is for a full load."""


class OutcomeUnknown(SystemRefused):
    """The kernel's answer was lost: what is in force must be looked at."""


class Channel:
    """A socket that stays in the namespace in which it was opened, whoever uses it."""

    def __init__(self, netns: str) -> None:
        self._netns = netns
        with entered(netns):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
        self._socket.setsockopt(socket.SOL_SOCKET, _RECEIVE_ROOM_FORCE, _ROOM)
        self._answers = bytearray(1 << 18)  # a new one of that size for each answer would be mapped and unmapped
        self._room = 0
        self._sequence = 0

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def commit(self, batch: Iterable[Message], hear: Callable[[bytes], None] = lambda _: None) -> None:
        """Carry out a batch as one transaction; its messages are asked for one by one, and not kept.

        `hear` is told of elements that were deleted with `ECHO`, as they were when they went, one by one.
        Raises TransactionRefused naming the object and the reason, and then nothing has changed; OutcomeUnknown
        when the answer is lost.
        """
        self._sequence = first = (self._sequence + 1) & 0x3FFF_FFFF
        data = bytearray(message(_BEGIN, 0, 0, b"", first, SUBSYSTEM))
        about: list[str] = []
        last: Message | None = None
        for each in batch:
            if last is not None:
                data += last.numbered(first + len(about))
            about.append(each.about)
            last = each
        if last is None:
            return
        end = first + len(about)
        data += last.numbered(end, ACK)
        data += message(_END, 0, 0, b"", end + 1, SUBSYSTEM)
        self._sequence = end + 1
        self._send(data)
        self._answer(first, end, about, hear)

    def _send(self, data: bytearray) -> None:
        if len(data) > MOST_BYTES:
            raise TransactionRefused(f"{self._place()}: a change of {len(data)} bytes is too large")
        if len(data) > self._room:
            self._room = 2 * len(data) + (1 << 16)
            self._socket.setsockopt(socket.SOL_SOCKET, _SEND_ROOM_FORCE, self._room)
        while True:
            try:
                self._socket.send(data)
            except InterruptedError:
                continue
            except OSError as error:
                raise TransactionRefused(
                    f"{self._place()}: netlink refused ({os.strerror(error.errno or 0)})"
                ) from error
            return

    def _answer(self, first: int, last: int, abouts: Sequence[str], hear: Callable[[bytes], None]) -> None:
        acknowledged = lost = False
        refused: tuple[int, str] | None = None
        while True:
            try:
                received = self._socket.recv_into(self._answers, 0, socket.MSG_DONTWAIT)
            except InterruptedError:
                continue
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                lost = True
                continue
            for kind, _, sequence, body in messages(bytes(memoryview(self._answers)[:received])):
                if kind == _DELETED:
                    hear(body)  # without the number of its message (Linux 6.18)
                if kind != _ERROR or not first <= sequence <= last:
                    continue  # an answer to an earlier batch, come late
                number = -struct.unpack_from("=i", body)[0]
                if number == 0:
                    acknowledged = acknowledged or sequence == last
                elif refused is None:
                    about = abouts[sequence - first - 1] if sequence > first else "the transaction"
                    refused = (number, about)
        if refused is not None:
            raise TransactionRefused(f"{self._place()}: {refused[1]}: nftables refused it ({os.strerror(refused[0])})")
        if lost or not acknowledged:
            raise OutcomeUnknown(f"{self._place()}: the kernel's answer was lost; what is in force will be looked at")

    def _place(self) -> str:
        return f"network namespace {self._netns}" if self._netns else "this network namespace"
