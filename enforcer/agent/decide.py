"""The next steps of the enforcing loop, from what is wanted, in force and seen; nothing is done here.

    places, proposed revisions, now ──decide──▶ steps in the order in which to take them

A *place* is a network namespace. After any fault its tables are replaced whole, and in a new life they are put there
anew; otherwise the difference is put in force, also when only an interface came or went. Repairs come before changes:
what is denied must stay out first. One place that fails does not keep the others waiting: each is tried again in its
own time.

Pure: no clock (`now` is monotonic seconds), no I/O. Example: a place whose `fault` is "nft flush ruleset" gives
`Replace(netns)`, and after that `Commit((7, 8))` for two revisions that are waiting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import is_

from enforcer.compiler import NamespaceProgram
from enforcer.dataplane.notices import Link
from enforcer.ruleset.names import NIC_CHAIN

_NO_WORD = re.compile(r"[^A-Za-z0-9_.-]+")

MOST_MERGED = 1000
"""Revisions that one commit puts in force at most."""

FIRST_PATIENCE, MOST_PATIENCE = 0.5, 30.0
"""Seconds until what failed is tried again: at first, and at most."""


Wanted = tuple[dict[str, int], dict[str, str]]
"""Under which index each interface is to be in force, and why others are to be closed."""


@dataclass(slots=True)
class Place:
    """One namespace: what the policy wants of it, what was put in force there, and what is seen.

    `links` None: the namespace is not there. `bound` has the index under which each interface is in force; `closed`
    interfaces exist and pass nothing, each with the reason. `loaded`: our tables are there as we put them, unless
    `fault` says what happened to them. `failures` in a row, and not tried again before `retry_at`; `refused` NICs are
    tried again at `anew_at`.
    """

    netns: str
    program: NamespaceProgram
    links: Mapping[str, Link] | None = None
    bound: Mapping[str, int] = field(default_factory=dict)
    closed: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    loaded: bool = False
    fault: str = ""
    generation: int = 0
    error: str = ""
    failures: int = 0
    retry_at: float = 0.0
    anew_at: float = 0.0
    _asked: tuple[object, ...] = ()
    _wanted: Wanted = field(default_factory=lambda: ({}, {}))

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The interfaces of its NICs."""
        return tuple(nic.interface for nic in self.program.nics)

    def wanted(self) -> Wanted:
        """Return `wanted` of this place; it is worked out anew when NICs, interfaces or refusals are other objects."""
        asked = (self.program.nics, self.links, self.refused)
        if len(self._asked) != len(asked) or not all(map(is_, asked, self._asked)):
            self._asked, self._wanted = asked, wanted(self)
        return self._wanted

    def failed(self, error: str, now: float) -> None:
        """Note a failure, and when to try again."""
        self.error = error
        self.retry_at = now + min(MOST_PATIENCE, FIRST_PATIENCE * 2**self.failures)
        self.failures += 1


@dataclass(frozen=True, slots=True)
class Replace:
    """Replace the tables of a place whole: `why`."""

    netns: str
    why: str


@dataclass(frozen=True, slots=True)
class Attach:
    """Put a place in force for the interfaces that are there now; ask about refused ones `anew`."""

    netns: str
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """Put proposed revisions in force, all of them together if they can be."""

    numbers: tuple[int, ...]


Step = Replace | Attach | Commit


def decide(places: Mapping[str, Place], proposed: Sequence[int], now: float) -> Iterator[Step]:
    """Yield the steps that are due, repairs first; nothing when all is in force."""
    for place in places.values():
        if place.links is None or now < place.retry_at:
            continue
        if place.fault or not place.loaded:
            yield Replace(place.netns, place.fault or "nothing of ours is there yet")
        elif place.wanted() != (place.bound, place.closed):
            yield Attach(place.netns)
        elif place.refused and now >= place.anew_at:
            yield Attach(place.netns, anew=True)
    if proposed:
        yield Commit(tuple(proposed[:MOST_MERGED]))


def patience(places: Mapping[str, Place], now: float, most: float) -> float:
    """Return how many seconds to wait for something to happen before looking for something to do."""
    there = [place for place in places.values() if place.links is not None]
    due = [place.retry_at for place in there] + [place.anew_at for place in there if place.refused]
    return min((moment - now for moment in due if now < moment < now + most), default=most)


def wanted(place: Place) -> Wanted:
    """Return the indexes under which interfaces are to be in force, and why others are to be closed.

    An interface that the kernel refused stays closed while it is the same one.
    """
    links = place.links or {}
    bound: dict[str, int] = {}
    closed: dict[str, str] = {}
    for interface in place.interfaces:
        if (link := links.get(interface)) is None:
            continue
        refused_as, why = place.refused.get(interface, (0, ""))
        if link.master:
            closed[interface] = port_of(link, links)
        elif refused_as == link.index:
            closed[interface] = why
        else:
            bound[interface] = link.index
    return bound, closed


def moved(place: Place, bound: Mapping[str, int], closed: Mapping[str, str]) -> frozenset[str]:
    """Return the interfaces that are to be bound or closed otherwise than they are."""
    if bound is place.bound and closed is place.closed:
        return frozenset()
    others = {name for name, index in bound.items() if place.bound.get(name) != index}
    return frozenset(others | (place.bound.keys() - bound.keys()) | (place.closed.keys() ^ closed.keys()))


def port_of(link: Link, links: Mapping[str, Link]) -> str:
    """Say of which other interface a link is a port, and what would be right."""
    master = next((each for each in links.values() if each.index == link.master), None)
    label = f"the {master.kind or 'master'} {master.name}" if master else "another interface"
    name = master.name if master else "it"
    return f"is a port of {label}, so the enforcer would not see its packets; take it out of {name} and route to it"


def _named(complaint: str, interfaces: Collection[str]) -> str | None:
    """Return the one interface that a complaint names, as itself or by its chain."""
    words = set(_NO_WORD.split(complaint))
    named = [name for name in interfaces if name in words or NIC_CHAIN.format(name) in words]
    return named[0] if len(named) == 1 else None


def guilty(interfaces: Collection[str], refusal: Callable[[frozenset[str]], str]) -> dict[str, str]:
    """Find the fewest interfaces that must be closed for the kernel to take the rest, each with its complaint.

    `refusal` says why the kernel refuses when some are closed, or "". Nothing is found if it refuses even with all
    closed: then it is not about a NIC. Who is named by a complaint is tried first; where that does not help, halves
    are, so one bad NIC among 2,000 costs three questions, or some twenty.
    """
    everyone = frozenset(interfaces)
    if not everyone or refusal(everyone):
        return {}
    found: dict[str, str] = {}
    while complaint := refusal(frozenset(found)):
        if (name := _named(complaint, everyone - found.keys())) is None:
            break
        found[name] = complaint
    if not complaint:
        return found
    found = {}

    def search(suspects: list[str], closed: frozenset[str]) -> None:
        complaint = refusal(closed | found.keys())
        if not complaint:
            return
        if len(suspects) == 1:
            found[suspects[0]] = complaint
            return
        half = len(suspects) // 2
        search(suspects[:half], closed | frozenset(suspects[half:]))
        search(suspects[half:], closed)

    search(sorted(everyone), frozenset())
    return found
