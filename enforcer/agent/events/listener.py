"""The thread that hears the kernel: interfaces, namespaces, and who changes nftables, in every namespace in use.

The loop says which namespaces it uses (`look`, `keep`); from then on each change there is an event in its mailbox. A
namespace may come late: it is known by its name under /run/netns, which is a mount, and the kernel tells when mounts
change (proc(5), /proc/PID/mountinfo). Where notices are lost, all interfaces are listed anew.

Sockets are opened by the loop's thread and read by this one; a lock is held for both.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from enforcer.agent.events.mailbox import LinksChanged, Mailbox, NamespaceChanged, TablesTouched, TablesUnknown
from enforcer.dataplane import namespaces
from enforcer.dataplane.notices import Gone, Link, LinkSocket, Overrun, TableSocket, by_name
from enforcer.errors import SystemRefused

Identity = tuple[int, int]
"""Device and inode of a namespace: another one behind the same name has others."""

MOUNTS = "/proc/self/mountinfo"


@dataclass(slots=True)
class _Post:
    """What is open in one namespace."""

    netns: str
    identity: Identity
    links: LinkSocket
    tables: TableSocket
    known: dict[int, Link] = field(default_factory=dict)

    def close(self) -> None:
        self.links.close()
        self.tables.close()


class Listener(threading.Thread):
    """Hears the kernel for the loop."""

    def __init__(self, mailbox: Mailbox, failed: Callable[[str, str], None]) -> None:
        super().__init__(name="listener", daemon=True)
        self._mailbox, self._failed = mailbox, failed
        self._lock = threading.RLock()
        self._posts: dict[str, _Post] = {}
        self._awaited: set[str] = set()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._ending = False

    # --- for the loop ------------------------------------------------------------------------------------------------

    def look(self, netns: str) -> Mapping[str, Link] | None:
        """Return the interfaces of a namespace, None if it is not there; from now on its changes are events.

        One that is there and refuses to be looked into has none, as far as we know; whoever commits there hears why.
        """
        with self._lock:
            identity = _identity(netns)
            post = self._posts.get(netns)
            if post is not None and post.identity != identity:
                self._drop(netns)
                post = None
            if identity is None:
                self._awaited.add(netns)
                return None
            try:
                if post is None:
                    post = self._posts[netns] = _opened(netns, identity)
                    os.eventfd_write(self._wake, 1)
                post.known = post.links.dump()
            except SystemRefused:
                self._drop(netns)
                if _identity(netns) == identity:
                    return {}
                self._awaited.add(netns)  # it went away this very moment
                return None
            return by_name(post.known)

    def links(self, netns: str) -> Mapping[str, Link] | None:
        """Return the interfaces of a namespace as far as they were heard of."""
        with self._lock:
            post = self._posts.get(netns)
            return None if post is None else by_name(post.known)

    def keep(self, names: Collection[str]) -> None:
        """Stop listening in namespaces that are not among these."""
        with self._lock:
            for netns in self._posts.keys() - set(names):
                self._drop(netns)
            self._awaited &= set(names)

    def end(self) -> None:
        """End the thread and close everything."""
        self._ending = True
        os.eventfd_write(self._wake, 1)
        self.join()
        with self._lock:
            for netns in tuple(self._posts):
                self._drop(netns)
            os.close(self._wake)

    def _drop(self, netns: str) -> None:
        if (post := self._posts.pop(netns, None)) is not None:
            post.close()
            os.eventfd_write(self._wake, 1)

    # --- the thread --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        with open(MOUNTS, "rb") as mounts:
            while not self._ending:
                for descriptor, _ in self._poll(mounts.fileno()).poll():
                    self._heard_safely(descriptor, mounts.fileno())

    def _poll(self, mounts: int) -> select.poll:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(mounts, select.POLLPRI | select.POLLERR)
        with self._lock:
            for post in self._posts.values():
                # In this order: what an interface's commit mends in passing would not be known for somebody's deed.
                poll.register(post.tables, select.POLLIN)
                poll.register(post.links, select.POLLIN)
        return poll

    def _heard_safely(self, descriptor: int, mounts: int) -> None:
        """Hear, and whatever goes wrong, go on hearing: what was not understood is looked at anew."""
        with self._lock:
            try:
                self._heard(descriptor, mounts)
            except Exception as error:
                self._failed("listener", f"{type(error).__name__}: {error}")
                for netns in self._posts:
                    self._mailbox.put(NamespaceChanged(netns))

    def _heard(self, descriptor: int, mounts: int) -> None:
        if descriptor == self._wake:
            with suppress(BlockingIOError):
                os.eventfd_read(self._wake)
        elif descriptor == mounts:
            self._mounts_changed()
        for post in self._posts.values():
            if descriptor == post.links.fileno():
                self._links_changed(post)
            elif descriptor == post.tables.fileno():
                self._tables_changed(post)

    def _mounts_changed(self) -> None:
        for netns, post in self._posts.items():
            if _identity(netns) != post.identity:
                self._mailbox.put(NamespaceChanged(netns))
        for netns in sorted(self._awaited):
            if _identity(netns) is not None:
                self._awaited.discard(netns)
                self._mailbox.put(NamespaceChanged(netns))

    def _links_changed(self, post: _Post) -> None:
        away: set[str] = set()
        try:
            for each in post.links.read():
                if isinstance(each, Gone):
                    away.add(each.name)
                    post.known.pop(each.index, None)
                else:
                    post.known[each.index] = each
        except Overrun:
            away |= {link.name for link in post.known.values()}
            with suppress(SystemRefused):
                post.known = post.links.dump()
        self._mailbox.put(LinksChanged(post.netns, frozenset(away)))

    def _tables_changed(self, post: _Post) -> None:
        try:
            for notice in post.tables.read():
                if notice.ours_touched:
                    self._mailbox.put(TablesTouched(post.netns, notice))
        except Overrun as error:
            self._mailbox.put(TablesUnknown(post.netns, str(error)))


def _opened(netns: str, identity: Identity) -> _Post:
    links = LinkSocket(netns)
    try:
        return _Post(netns, identity, links, TableSocket(netns))
    except BaseException:
        links.close()
        raise


def _identity(netns: str) -> Identity | None:
    """Say which namespace is behind a name; None: no name, or a name whose mount is not there yet."""
    if not netns:
        return (0, 0)
    try:
        if not namespaces.exists(netns):
            return None
        found = os.stat(namespaces.NETNS_DIRECTORY / netns)
    except OSError:
        return None
    return (found.st_dev, found.st_ino)
