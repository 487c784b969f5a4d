"""What the kernel says without being asked: interfaces that come and go, and who changed nftables.

A `LinkSocket` and a `TableSocket` each belong to the namespace in which they were opened, work from any thread and
never block. What they miss – the kernel drops notices that find no room – they report as `Overrun`, never as silence:
then look at the whole again.

    links = LinkSocket("router")     # from now on nothing is missed
    links.dump()                     # all interfaces as they are
    links.read()                     # what has changed since

Must not know: policies, what a change means.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from enforcer.dataplane.hearing.sockets import Hearing
from enforcer.dataplane.namespaces import called, entered
from enforcer.dataplane.netlink.wire import attributes, messages
from enforcer.errors import EnforcerError, SystemRefused
from enforcer.ruleset.names import TABLE

_ROUTE, _NETFILTER = 0, 12
_RTNLGRP_LINK, _NFNLGRP_NFTABLES = 1, 7
_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NFT_SUBSYSTEM, _NEWGEN, _GETGEN = 10, 15, 16
_ERROR, _DONE, _OVERRUN = 2, 3, 4
_REQUEST, _DUMP, _INTERRUPTED = 0x1, 0x300, 0x10
_ROOM: Final = 8 << 20
_HEADER: Final = struct.Struct("=IHHII")
_LINK: Final = struct.Struct("=BxHiII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_KIND: Final = 0x3FFF
_IFNAME, _MASTER, _LINKINFO, _INFO_KIND = 3, 10, 18, 1
_WITHOUT_COUNTERS: Final = struct.pack("=HHI", 8, 29, 1 << 3)  # IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS
_INET, _NETDEV = 1, 5  # NFPROTO_…
_GEN_ID, _GEN_PID, _GEN_NAME = 1, 2, 3


class Overrun(EnforcerError):
    """The kernel had more to say than there was room for, or was interrupted: some notices are lost."""


@dataclass(frozen=True, slots=True)
class Link:
    """An interface; `master` is the index of the bridge or the like that it is a port of, 0 if of none."""

    name: str
    index: int
    master: int = 0
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Gone:
    """An interface is no more in the namespace."""

    name: str
    index: int


@dataclass(frozen=True, slots=True)
class Generation:
    """One transaction of nftables: its number, who made it, and whether it touched our tables."""

    number: int
    pid: int
    program: str
    ours_touched: bool


class _Socket(Hearing):
    """Hears a group of notices in a namespace."""

    def __init__(self, netns: str, protocol: int, group: int) -> None:
        self._group = group
        self._buffer = bytearray(1 << 18)  # a new one of that size for each notice would be mapped and unmapped
        try:
            super().__init__(netns, protocol, _ROOM)
        except OSError as error:
            mend = "; are you root?" if isinstance(error, PermissionError) else ""
            raise SystemRefused(f"{called(netns)}: notices cannot be had ({error.strerror}){mend}") from error

    def _begin(self) -> None:
        self._join(self._group)

    def _received(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield kind, flags and body of all messages that are there."""
        while True:
            try:
                received = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    raise Overrun("netlink: notices were lost (no buffer space)") from error
                raise
            data = bytes(memoryview(self._buffer)[:received])
            yield from ((kind, flags, body) for kind, flags, _, body in messages(data))


class LinkSocket(_Socket):
    """Interfaces of one namespace."""

    def __init__(self, netns: str) -> None:
        super().__init__(netns, _ROUTE, _RTNLGRP_LINK)
        self._netns = netns

    def dump(self) -> dict[int, Link]:
        """Return all interfaces by index; a dump that a change interrupted is begun again."""
        while True:
            try:
                return self._dumped()
            except Overrun:
                continue

    def _dumped(self) -> dict[int, Link]:
        found: dict[int, Link] = {}
        with entered(self._netns), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _ROUTE) as asking:
            wanted = _LINK.pack(0, 0, 0, 0, 0) + _WITHOUT_COUNTERS
            asking.send(_HEADER.pack(16 + len(wanted), _GETLINK, _REQUEST | _DUMP, 1, 0) + wanted)
            while True:
                for kind, flags, _, body in messages(asking.recv(1 << 18)):
                    if flags & _INTERRUPTED:
                        raise Overrun("netlink: a listing of interfaces was interrupted by a change")
                    if kind == _DONE:
                        return found
                    if kind == _ERROR:
                        number = -struct.unpack_from("=i", body)[0]
                        raise SystemRefused(f"interfaces cannot be listed ({os.strerror(number)})")
                    link = _link(body)
                    found[link.index] = link

    def read(self) -> list[Link | Gone]:
        """Return what has changed, in order; raises Overrun when some of it is lost."""
        found: list[Link | Gone] = []
        for kind, _, body in self._received():
            if kind == _OVERRUN:
                raise Overrun("netlink: notices were lost")
            # A bridge tells of its ports in its own family: that says nothing about the interface itself.
            if kind in (_NEWLINK, _DELLINK) and body[0] == socket.AF_UNSPEC:
                link = _link(body)
                found.append(link if kind == _NEWLINK else Gone(link.name, link.index))
        return found


def _link(body: bytes) -> Link:
    """Read an interface. There may be thousands, with forty attributes each: no detours."""
    index = _LINK.unpack_from(body)[2]
    name, master, kind = "", 0, ""
    at, end = _LINK.size, len(body)
    while at < end:
        length, attribute = _ATTRIBUTE.unpack_from(body, at)
        if attribute == _IFNAME:
            name = body[at + 4 : at + length].rstrip(b"\0").decode(errors="surrogateescape")
        elif attribute == _MASTER:
            master = int.from_bytes(body[at + 4 : at + 8], sys.byteorder)
        elif attribute & _KIND == _LINKINFO:
            told = dict(attributes(body[at + 4 : at + length]))
            kind = told.get(_INFO_KIND, b"").rstrip(b"\0").decode()
        at += length + 3 & ~3 or end
    return Link(name, index, master, kind)


def by_name(links: Mapping[int, Link]) -> dict[str, Link]:
    """Return the same interfaces by name."""
    return {link.name: link for link in links.values()}


class TableSocket(_Socket):
    """Transactions of nftables in one namespace."""

    def __init__(self, netns: str) -> None:
        super().__init__(netns, _NETFILTER, _NFNLGRP_NFTABLES)
        self._touched = False

    def read(self) -> list[Generation]:
        """Return the transactions since the last read; raises Overrun when some notices are lost.

        The kernel tells of a transaction's objects first, each with its table, and closes with the new generation.
        """
        found: list[Generation] = []
        try:
            for kind, _, body in self._received():
                if kind == _NFT_SUBSYSTEM << 8 | _NEWGEN:
                    found.append(_generation(body, self._touched))
                    self._touched = False
                elif kind >> 8 == _NFT_SUBSYSTEM:
                    self._touched = self._touched or _about_ours(body)
        except Overrun:
            self._touched = False
            raise
        return found


def _about_ours(body: bytes) -> bool:
    """Say whether an object is in one of our tables: in every kind of object attribute 1 names the table."""
    if body[0] not in (_INET, _NETDEV):
        return False
    return next((value for kind, value in attributes(body[4:]) if kind == 1), b"") == TABLE.encode() + b"\0"


def _generation(body: bytes, touched: bool) -> Generation:
    found = dict(attributes(body[4:]))
    number, pid = (int.from_bytes(found.get(kind, b""), "big") for kind in (_GEN_ID, _GEN_PID))
    program = found.get(_GEN_NAME, b"").rstrip(b"\0").decode(errors="replace")
    return Generation(number, pid, program, touched)


class NumberSocket:
    """Asks for the number of nftables' last transaction, in the namespace in which it was opened.

    It stays open for whoever asks often: to close a netlink socket takes as long as a small change.
    """

    def __init__(self, netns: str) -> None:
        with entered(netns):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def last(self) -> int:
        """Return the number."""
        self._socket.send(_HEADER.pack(20, _NFT_SUBSYSTEM << 8 | _GETGEN, _REQUEST, 1, 0) + bytes(4))
        kind, _, _, body = next(messages(self._socket.recv(1 << 12)))
        return _number(kind, body)


def generation(netns: str) -> int:
    """Return the number of nftables' last transaction in a namespace."""
    with closing(NumberSocket(netns)) as asking:
        return asking.last()


def _number(kind: int, body: bytes) -> int:
    if kind != _NFT_SUBSYSTEM << 8 | _NEWGEN:
        number = -struct.unpack_from("=i", body)[0]
        raise SystemRefused(f"nftables does not tell its generation ({os.strerror(number)})")
    return _generation(body, False).number
