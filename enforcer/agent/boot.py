"""Before the network comes up: put in force what was in force when the host went down, and end.

Interfaces that are not there yet are closed by name, so that none of them can send or receive before the daemon has
attached it (S19). What cannot be programmed is closed and hinders nobody, as in the daemon. Revisions that nobody was
told are in force are left to the daemon.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from enforcer.agent.desired import Desired
from enforcer.agent.kernel import Nftables
from enforcer.agent.memory import uncollected
from enforcer.agent.observer import Log
from enforcer.agent.places import Places
from enforcer.agent.store import SqliteStore, StoreDamaged, StoreFailed, copying
from enforcer.compiler import compile_policy
from enforcer.dataplane import namespaces
from enforcer.dataplane.notices import Link, LinkSocket, by_name
from enforcer.errors import SystemRefused
from enforcer.model import host_layout


@dataclass(frozen=True, slots=True)
class Booted:
    """What is in force now, as of which revision, and what is not: namespaces that are not there, or refuse.

    `damaged` says what is wrong with the store, if that was so and its copy was loaded instead.
    """

    revision: int
    in_force: tuple[str, ...]
    absent: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    damaged: str = ""


class Glance:
    """Eyes that look once."""

    def look(self, netns: str) -> Mapping[str, Link] | None:
        """Return the interfaces of a namespace, None if it is not there; none of one that refuses to be looked into."""
        if not namespaces.exists(netns):
            return None
        try:
            with LinkSocket(netns) as socket:
                return by_name(socket.dump())
        except SystemRefused:
            return {}

    links = look

    def keep(self, names: Collection[str]) -> None:
        """Watch nothing."""


def boot(path: Path) -> Booted:
    """Put the last good state of the store at `path` in force, each namespace on its own.

    Of a damaged store the copy beside it is loaded, so that nothing is open. Raises StoreFailed.
    """
    damaged = ""
    try:
        revision, resources = _last_good(path)
    except StoreDamaged as error:
        damaged = str(error)
        try:
            revision, resources = copying.read(copying.place(path))
        except StoreFailed as worse:
            raise StoreDamaged(f"{error}\n{worse}") from error
    places = Places(Nftables(), Glance(), Log())
    with uncollected():
        policy = Desired.of(resources).policy
        places.begin(compile_policy(policy, host_layout(policy)))
        there = [netns for netns, place in places.all.items() if place.links is not None]
        done = [netns for netns in there if places.replace(netns)]
    absent = tuple(netns for netns in places.all if netns not in there)
    failed = tuple((netns, places.all[netns].error) for netns in there if netns not in done)
    return Booted(revision, tuple(done), absent, failed, damaged)


def _last_good(path: Path) -> copying.Copy:
    store = SqliteStore(path)
    try:
        unsettled = store.unsettled()
        revision = unsettled[0].number - 1 if unsettled else store.head
        return copying.Copy(revision, {key: entry.value for key, entry in store.snapshot(revision).items()})
    finally:
        store.close()
