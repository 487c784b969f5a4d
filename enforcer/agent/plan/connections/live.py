"""Which live connections would a new policy cut? What connection tracking knows, judged by the oracle. Pure.

    live(old, new, seen) → Live

`court` judges the conversations of each namespace. A connection that crosses several namespaces has a leg in each and
is cut if one of them is: what leaves a namespace for none of its NICs comes into another from none of its NICs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from enforcer.agent.plan.connections.court import Court, Fate, Leg, Seen, Views
from enforcer.agent.plan.connections.side import Refusal
from enforcer.dataplane.conntrack import Tracked

_Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection with all its legs, in the direction in which it was opened."""

    legs: tuple[Leg, ...]

    @property
    def opener(self) -> str | None:
        return self.legs[0].opener

    @property
    def target(self) -> str | None:
        return self.legs[-1].target


@dataclass(frozen=True, slots=True)
class Live:
    """How many connections there are of each fate, those that end, and how often the oracle was asked."""

    counts: Mapping[Fate, int]
    closing: int
    cut: tuple[Connection, ...]
    anew: tuple[Connection, ...]
    asked: int
    courts: Mapping[str, Court]

    def refusal(self, cut: Connection) -> Refusal:
        """Say who cuts a connection: asked one by one, for nobody reads a hundred thousand reasons."""
        guilty = next(leg for leg in cut.legs if leg.fate is Fate.CUT)
        return self.courts[guilty.netns].refusal(guilty.tracked)

    @property
    def judged(self) -> int:
        """How many connections are ours."""
        return sum(number for fate, number in self.counts.items() if fate is not Fate.NOT_OURS)


def live(old: Views | None, new: Views, seen: Iterable[Seen]) -> Live:
    """Judge all that was seen; `old` None: nothing is in force yet."""
    courts = {each.netns: Court(old, new, each) for each in seen}
    legs = [leg for court in courts.values() for leg in court.legs()]
    found = list(_connections(legs)) if len(courts) > 1 else [(leg,) for leg in legs]
    counts = dict.fromkeys(Fate, 0)
    cut, anew = list[Connection](), list[Connection]()
    for each in found:
        fate = _fate(each)
        counts[fate] += 1
        if fate is Fate.ANEW:
            anew.append(Connection(each))
        if fate is Fate.CUT:
            cut.append(Connection(each))
    judges = [new.judge, *([old.judge] if old is not None else [])]
    return Live(
        counts,
        sum(court.closing for court in courts.values()),
        tuple(cut),
        tuple(anew),
        sum(judge.asked for judge in judges),
        courts,
    )


def _fate(legs: Sequence[Leg]) -> Fate:
    """Combine: a connection is in force if all its legs are."""
    fates = {leg.fate for leg in legs}
    if {Fate.CUT, Fate.RESUMES} <= fates:  # one leg was cut before, another is now
        return Fate.STAYS_CUT
    order = (Fate.STAYS_CUT, Fate.CUT, Fate.RESUMES, Fate.ANEW, Fate.GOES_ON)
    return next((fate for fate in order if fate in fates), Fate.NOT_OURS)


def _connections(legs: Sequence[Leg]) -> Iterator[tuple[Leg, ...]]:
    """Join legs: what leaves one namespace for none of its NICs comes into another from none of its NICs."""
    arriving: dict[_Key, list[int]] = {}
    for number, leg in enumerate(legs):
        if leg.opener is None:
            arriving.setdefault(_comes(leg.tracked), []).append(number)
    behind: dict[int, int] = {}
    for number, leg in enumerate(legs):
        if leg.target is None:
            onward = (n for n in arriving.get(_leaves(leg.tracked), ()) if legs[n].netns != leg.netns)
            if (found := next(onward, None)) is not None:
                behind[number] = found
    continued = set(behind.values())
    for number, leg in enumerate(legs):
        if number not in continued:
            chain, last = [leg], number
            while last in behind and legs[behind[last]] not in chain:
                last = behind[last]
                chain.append(legs[last])
            yield tuple(chain)


def _comes(tracked: Tracked) -> _Key:
    return (tracked.protocol, *tracked.original, tracked.icmp)


def _leaves(tracked: Tracked) -> _Key:
    answer = tracked.reply
    turned = (answer.destination, answer.source, answer.destination_port, answer.source_port)
    return (tracked.protocol, *turned, tracked.icmp)
