"""The namespaces in which the policy is in force: each is changed, repaired and closed on its own.

    places.begin(program)      what was in force in an earlier life: to be put there anew
    places.enforce(program)    a new program: all of it is in force afterwards, or what was before
    places.replace("", why)    after a fault
    places.attach("")          after interfaces came or went

One bad object does not freeze the rest: an interface that cannot be programmed is closed and reported, a namespace that
fails is tried again later, and neither hinders another. Only what a new program itself brings is refused.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from enforcer.agent.decide import MOST_PATIENCE, Place, guilty, moved, port_of
from enforcer.agent.kernel import Kernel
from enforcer.agent.observer import Observer
from enforcer.compiler import NamespaceProgram, Program
from enforcer.dataplane import Committed
from enforcer.dataplane.notices import Link
from enforcer.errors import AttachmentRefused, EnforcerError, SystemRefused

ATTEMPTS = 4
"""How often a commit is tried when the interfaces keep changing under it."""


class Eyes(Protocol):
    """Who sees interfaces and namespaces (`events.listener`)."""

    def look(self, netns: str) -> Mapping[str, Link] | None:
        """Return the interfaces of a namespace as they are, None if it is not there; go on watching it."""

    def links(self, netns: str) -> Mapping[str, Link] | None:
        """Return the interfaces of a namespace as far as they were heard of."""

    def keep(self, names: Collection[str]) -> None:
        """Watch no other namespaces."""


class Places:
    """All namespaces of the program."""

    def __init__(self, kernel: Kernel, eyes: Eyes, observer: Observer) -> None:
        self.all: dict[str, Place] = {}
        self._kernel, self._eyes, self._observer = kernel, eyes, observer

    def begin(self, program: Program) -> None:
        """Take a program for what an earlier life had in force; nothing is done yet."""
        for namespace in program.namespaces:
            self._add(namespace)

    def _add(self, namespace: NamespaceProgram) -> Place:
        place = Place(namespace.name, namespace, self._eyes.look(namespace.name))
        self.all[namespace.name] = place
        return place

    # --- a new program -----------------------------------------------------------------------------------------------

    def enforce(self, program: Program) -> list[Committed]:
        """Put a program in force wherever it differs; raises EnforcerError, and then it is as before."""
        before: list[tuple[Place, NamespaceProgram | None]] = []
        committed: list[Committed] = []
        try:
            for namespace in program.namespaces:
                place = self.all.get(namespace.name)
                if place is not None and place.program == namespace:
                    continue
                known = place.program if place else None
                place = place or self._add(namespace)
                before.append((place, known))
                _refuse_ports(place, namespace, known)
                place.program = namespace
                if place.links is not None:
                    committed += self._put_or_postpone(place)
            self._leave({namespace.name for namespace in program.namespaces})
        except BaseException:
            self._undo(before)
            raise
        return committed

    def _put_or_postpone(self, place: Place) -> Iterable[Committed]:
        """Put a place in force; one that failed before this change does not hinder it."""
        try:
            return self._put(place)
        except EnforcerError as error:
            if not place.failures:
                raise
            self._failed(place, error)
            return ()

    def _undo(self, before: list[tuple[Place, NamespaceProgram | None]]) -> None:
        """Put back what was in force in the places that a refused program has reached."""
        for place, known in reversed(before):
            tried, place.program = place.program, known or place.program
            try:
                if known is None:
                    del self.all[place.netns]
                    if place.links is not None:
                        self._clear(place.netns)
                elif place.loaded and tried is not known:
                    self._put(place)
            except EnforcerError as error:
                place.fault = f"a refused change could not be undone: {error}"

    def _leave(self, names: Collection[str]) -> None:
        """Take our tables out of the namespaces that the policy names no more."""
        for netns in self.all.keys() - set(names):
            if self.all[netns].links is not None:
                self._clear(netns)
            del self.all[netns]
        self._eyes.keep(self.all)

    def _clear(self, netns: str) -> None:
        """Take our tables out of a namespace; one that is gone has taken them along, heard of or not yet."""
        try:
            self._kernel.clear(netns)
        except SystemRefused:
            if self._eyes.look(netns) is not None:
                raise

    # --- one place ---------------------------------------------------------------------------------------------------

    def replace(self, netns: str) -> bool:
        """Replace the tables of a place whole; say whether that worked."""
        return self._carefully(self.all[netns])

    def attach(self, netns: str, *, anew: bool = False) -> bool:
        """Put a place in force for the interfaces that are there now; say whether that worked."""
        if anew:
            self.all[netns].refused = {}
        return self._carefully(self.all[netns])

    def _carefully(self, place: Place) -> bool:
        """Put a place in force; if the kernel refuses because of some NICs, close these and put the rest in force."""
        try:
            try:
                self._put(place)
            except SystemRefused as error:
                if not self._close_guilty(place):
                    raise error
                self._put(place)
        except EnforcerError as error:
            self._failed(place, error)
            return False
        return True

    def _failed(self, place: Place, error: EnforcerError) -> None:
        place.failed(str(error), time.monotonic())
        self._observer.failed(f"network namespace {place.netns or '(own)'}", str(error))

    def _close_guilty(self, place: Place) -> bool:
        bound, closed = place.wanted()
        try:
            found = guilty(bound, lambda more: self._kernel.refusal(place.program, {*closed, *more}))
        except EnforcerError:
            return False
        place.refused = {**place.refused, **{name: (bound[name], why) for name, why in found.items()}}
        place.anew_at = time.monotonic() + MOST_PATIENCE
        return bool(found)

    def _put(self, place: Place) -> tuple[Committed, ...]:
        """Commit a place's program for the interfaces that are seen; when they change meanwhile, look again."""
        for attempt in range(ATTEMPTS):
            if place.links is None:
                self.lost(place)
                return ()
            bound, closed = place.wanted()
            how = {"whole": bool(place.fault), "anew": not place.loaded}
            try:
                done = self._kernel.commit(place.program, closed=closed, moved=moved(place, bound, closed), **how)
            except SystemRefused:
                seen, place.links = place.links, self._eyes.look(place.netns)
                if attempt + 1 == ATTEMPTS or seen == place.links:
                    raise
                continue
            if not bound.keys().isdisjoint(done.absent):
                bound = {name: index for name, index in bound.items() if name not in done.absent}
            self._in_force(place, bound, closed, done)
            return (done,)
        raise AssertionError("the last attempt returns or raises")

    def _in_force(self, place: Place, bound: dict[str, int], closed: dict[str, str], done: Committed) -> None:
        if bound is not place.bound:
            self._attached(place, bound)
        for name in sorted(closed.keys() - place.closed.keys()):
            self._observer.closed(place.netns, name, closed[name])
        place.bound, place.closed, place.generation = bound, closed, done.generation
        place.loaded, place.fault, place.error, place.failures, place.retry_at = True, "", "", 0, 0.0

    def _attached(self, place: Place, bound: Mapping[str, int]) -> None:
        came = sorted(name for name in bound if place.bound.get(name) != bound[name])
        went = sorted(place.bound.keys() - bound.keys())
        if place.loaded and (came or went):
            self._observer.attached(place.netns, came, went)

    # --- what is seen ------------------------------------------------------------------------------------------------

    def links_changed(self, netns: str, away: Collection[str]) -> None:
        """Take notice of interfaces; one that was away is to be put in force anew, whatever its index is now."""
        if (place := self.all.get(netns)) is not None:
            place.links = self._eyes.links(netns)
            place.bound = {name: 0 if name in away else index for name, index in place.bound.items()}
            place.closed = {name: "was away" if name in away else why for name, why in place.closed.items()}
            place.refused = {name: how for name, how in place.refused.items() if name not in away}
            place.retry_at = 0.0

    def namespace_changed(self, netns: str) -> None:
        """Take notice of a namespace that came, went, or was made anew under the same name."""
        if (place := self.all.get(netns)) is not None:
            place.links = self._eyes.look(netns)
            self.lost(place)

    def lost(self, place: Place) -> None:
        """Forget what was in force in a namespace: it is another one now, or none."""
        if place.loaded and place.links is None:
            self._observer.attached(place.netns, (), sorted(place.bound))
        place.bound, place.closed, place.refused, place.loaded, place.fault = {}, {}, {}, False, ""
        place.error, place.failures, place.retry_at = "", 0, 0.0

    def distrust(self, why: str) -> None:
        """Look at everything anew, and have it replaced whole after a while."""
        for place in self.all.values():
            place.links = self._eyes.look(place.netns)
            place.fault = place.fault or why
            place.failed(why, time.monotonic())

    def suspect(self, netns: str, why: str) -> None:
        """Take notice that somebody changed our tables in a place: it is to be replaced whole."""
        if (place := self.all.get(netns)) is not None:
            place.fault, place.retry_at = why, 0.0


def _refuse_ports(place: Place, namespace: NamespaceProgram, known: NamespaceProgram | None) -> None:
    """Raise AttachmentRefused if a NIC that was not there before is behind a port of a bridge."""
    if known is not None and known.nics is namespace.nics:
        return
    links = place.links or {}
    before = {nic.interface for nic in known.nics} if known else set()
    new = sorted({nic.interface for nic in namespace.nics} - before)
    ports = [f"interface {name}: {port_of(links[name], links)}" for name in new if name in links and links[name].master]
    if ports:
        raise AttachmentRefused("\n".join(f"{each}, or leave the NIC out of the policy" for each in ports))
