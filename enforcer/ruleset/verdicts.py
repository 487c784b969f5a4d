"""What the verdict maps of a side policy say, class by class, and how little of it differs after a change.

    said = said_by(policy, before)      one `Said` for each local class, the rest first; what `before` has is kept
    Verdicts(said, level, …)            the elements of one verdict map, made when somebody asks for them

A local class is known to the kernel by a number that stands for its entries: those of classes that a list did not have
are added to its maps before the commit, and those that it has no more are deleted after it, whichever rules have
changed. Where one may say something else under its number, from the commit on, `may_change` says.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, TypeVar, overload

from enforcer.compiler.program import LAST_CLASS, REST, LocalClass, SidePolicy
from enforcer.model import Action
from enforcer.model.runs import same_ends
from enforcer.ruleset.levels import CLASS, POINT, PROTOCOL, RANGE, Levels, Rows, levels_above, levels_of_rest, rows_of
from enforcer.ruleset.nft import Element, Interval

DENIED, ALLOWED = LAST_CLASS + 1, LAST_CLASS + 2
"""What verdict maps yield: the number of no class."""

_MOST: Final = 0x7FFF_FFFF
_Row = tuple[Any, ...]
_Many = TypeVar("_Many", bound=Hashable)


@lru_cache(4096)
def _once(many: _Many) -> _Many:
    """Return the first of equal values: 10,000 classes have a few between them."""
    return many


class Said:
    """What is said about one local class, and its number; entries are made again when they have been let go.

    `counts` are the entries on each level, `protocols` those in the keys of a level (`ANY_PROTOCOL`'s first where keys
    have none).
    """

    __slots__ = ("_levels", "_rest", "_rows", "counts", "leans", "local", "number", "protocols")

    def __init__(self, local: LocalClass, rest: Rows | None) -> None:
        """Sort a class's regions into levels; `rest` is what holds for the rest of the addresses, None: this is it."""
        self.local, self._rest = local, rest
        self._levels: Levels | None = None
        self._rows: tuple[Sequence[_Row], ...] | None = None
        found = self.levels
        self.leans = found.leans
        self.counts, self.protocols = _once(found.counts), _once(found.named)
        self.number = local.number if local.number != REST and not found.leans else _mark(found)

    @property
    def levels(self) -> Levels:
        """The entries."""
        if self._levels is None:
            regions = self.local.regions
            self._levels = levels_of_rest(regions) if self._rest is None else levels_above(regions, self._rest)
        return self._levels

    @property
    def rows(self) -> tuple[Sequence[_Row], ...]:
        """The entries, level by level, to be compared with others: kept, for what has changed changes again."""
        if self._rows is None:
            self._rows = self.levels.rows
        return self._rows

    def stand_for(self, local: LocalClass, rest: Rows | None) -> Said:
        """Take what says the same from here on, so that what it was made of can go."""
        self.local, self._rest = local, rest
        return self

    def let_go(self) -> None:
        """Forget the entries, which are most of what a Ruleset weighs."""
        self._levels = self._rows = None

    def under(self, number: int) -> Said:
        """Return the same under another number; what says it now may be what was said of another class before."""
        other = Said.__new__(Said)
        for name in Said.__slots__:
            setattr(other, name, getattr(self, name))
        other.number = number
        return other

    def free_of(self, taken: Collection[int]) -> Said:
        """Take the next number that is free; nearly always that is the own one."""
        while self.number in taken:
            self.number = self.number % _MOST + 1
        return self


def _mark(found: Levels) -> int:
    """Hash entries to a number of a local class."""
    text = ";".join(f"{row[:-1]} {row[-1].action} {row[-1]}" for level in found.rows for row in level)
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big") & _MOST or 1


def said_by(policy: SidePolicy, before: Sequence[Said] = ()) -> tuple[Said, ...]:
    """Sort the regions of all local classes into levels, the rest first; what was said before is kept where it holds.

    A number that meant something before never comes to mean something else.
    """
    known = {each.local.number: each for each in before}
    taken = {each.number for each in before}
    rows = rows_of(policy.classes[0].regions)
    found: list[Said] = []
    for local in policy.classes:
        old = known.get(local.number)
        said = old if old and _same(old.local, local) else None
        if said is None or (said.leans and found[0] is not before[0]):
            made = Said(local, rows if found else None)
            if said is None or made.levels != said.levels:
                said = made.free_of(taken)
                taken.add(said.number)
        found.append(said.stand_for(local, rows if found else None))
    return tuple(found)


def _same(one: LocalClass, other: LocalClass) -> bool:
    return one.regions is other.regions or one.regions == other.regions


def counterparts(old: SidePolicy, new: SidePolicy, before: Iterable[Said]) -> dict[int, Said] | None:
    """Return what was said of each local class, by its number in the new one; None: other classes were told apart."""
    said = {each.local.number: each for each in before}
    known = {number: said[local] for number, local in old.locals}
    found = {REST: said[REST]}
    for number, local in new.locals:
        if (was := known.get(number)) is None or found.setdefault(local, was) is not was:
            return None
    as_many = len(known) == len(new.locals) and len(set(map(id, found.values()))) == len(found)
    return found if as_many else None


def may_change(old: Said, new: Said, *, alone: bool) -> bool:
    """Say whether a class may say something else under its number; `alone`: the rest stays as it is, or this is it.

    A packet in flight may ask one level before the commit and the next one behind it. So one level alone may differ;
    and no interval map, which the kernel fills after the commit. If the rest changes as well, a packet must not come to
    it from one state of the class only: where entries come or go, a default behind them has an answer.
    """
    levels = tuple(zip(old.rows, new.rows, strict=True))
    differ = [level for level, (one, other) in enumerate(levels) if one != other]
    if len(differ) != 1 or differ == [RANGE]:
        return False
    if alone or (new.counts[CLASS] and differ != [CLASS]):
        return True
    came_or_went = {row[0] for part in _apart(*levels[POINT]) for row in part}
    return differ == [POINT] and came_or_went <= new.protocols[PROTOCOL]


def _apart(one: Sequence[_Row], other: Sequence[_Row]) -> tuple[Sequence[_Row], Sequence[_Row]]:
    """Leave out what two lists of entries have in common at their beginnings and ends."""
    first, last = same_ends(one, other)
    return one[first : len(one) - last], other[first : len(other) - last]


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts(Sequence[Element]):
    """The elements of one verdict map, class by class; `numbered`: keys begin with the number of the class."""

    said: tuple[Said, ...]
    level: int
    numbered: bool

    def __len__(self) -> int:
        return sum(each.counts[self.level] for each in self.said)

    def __iter__(self) -> Iterator[Element]:
        answers: dict[int, tuple[int, str]] = {}
        for each in self.said:
            yield from self._all(each, answers)

    @overload
    def __getitem__(self, at: int) -> Element: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[Element, ...]: ...

    def __getitem__(self, at: int | slice) -> Element | tuple[Element, ...]:
        return tuple(self)[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and (self is other or tuple(self) == tuple(other))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def beside(self, other: Verdicts) -> Verdicts:
        """Return the elements of classes of which another state of the map says nothing."""
        there = {each.number for each in other.said}
        return replace(self, said=tuple(each for each in self.said if each.number not in there))

    def differing(self, other: Verdicts) -> tuple[Element, ...]:
        """Return the elements of classes of which another state of the map says something else under their numbers."""
        there = {each.number: each for each in other.said}
        found: list[Element] = []
        for each in self.said:
            if (old := there.get(each.number, each)) is not each:
                ours, theirs = _apart(*(one.rows[self.level] for one in (each, old)))
                found += self._of(each, [row for row in ours if row not in theirs], {})
        return tuple(found)

    def _all(self, said: Said, answers: dict[int, tuple[int, str]]) -> Iterator[Element]:
        return self._of(said, said.levels[self.level] if said.counts[self.level] else (), answers)

    def _of(self, said: Said, rows: Sequence[_Row], answers: dict[int, tuple[int, str]]) -> Iterator[Element]:
        prefix = (said.number,) if self.numbered else ()
        for row in rows:
            rule = row[-1]
            if id(rule) not in answers:
                answers[id(rule)] = (ALLOWED if rule.action is Action.ALLOW else DENIED, str(rule))
            key = (*prefix, row[0], Interval(*row[1])) if self.level == RANGE else (*prefix, *row[:-1])
            yield Element(key, *answers[id(rule)])
