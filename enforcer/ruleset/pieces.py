"""The pieces of an address map in the kernel: one interval map, or one that tells which of many small ones to ask.

    few        address ──▶ class
    many       address ──▶ part, and there address ──▶ class

An interval map is never changed in place, since the kernel fills it after the rules that ask it. So a prefix that comes
writes a whole map, and with thousands of prefixes that takes 30 ms of the kernel alone. Cut into parts, all but one or
two of them stay. Where a part begins is for the first address of its first piece to say: so the same pieces give the
same parts, whatever was there before, and a change moves no borders but its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from enforcer.compiler.program import Span
from enforcer.compiler.sides import digest
from enforcer.model import Family
from enforcer.model.runs import same_ends
from enforcer.ruleset import names
from enforcer.ruleset.nft import Chain, Dispatch, Element, Field, Interval, Load, Set, goto, rule

Pieces = tuple[tuple[Span, int], ...]

MOST = 512
"""So many pieces are one map: few policies have more, and a packet asks one map less."""

_BITS = 7
"""A part has 128 pieces on average."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some pieces that follow each other, with their map and the chains that ask it for each end of a packet."""

    pieces: Pieces
    map: Set
    chains: tuple[Chain, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What asks the pieces about one end of a packet."""

    field: Field
    statement: Load | Dispatch


@dataclass(frozen=True, slots=True)
class PieceMaps:
    """All maps and chains of some pieces; `parts` is empty where they are one map."""

    pieces: Pieces
    parts: tuple[Part, ...]
    sets: tuple[Set, ...]
    chains: tuple[Chain, ...]
    asked: tuple[Asked, ...]

    def ask(self, field: Field) -> Load | Dispatch:
        """Return the statement that puts the class into the priority; after it nothing of its chain may come."""
        return next(each.statement for each in self.asked if each.field is field)


def piece_maps(pieces: Pieces, family: Family, ends: tuple[Field, Field], before: PieceMaps | None = None) -> PieceMaps:
    """Lower pieces, asked by source or destination of a packet (`ends`); parts of `before` that stay are kept."""
    if len(pieces) <= MOST:
        one = _map(pieces, digest(pieces), family, ends[0])
        asked = tuple(Asked(field, Load((field,), one.name)) for field in ends)
        return PieceMaps(pieces, (), (one,) if len(pieces) > 1 else (), (), asked)
    parts = tuple(_parts(pieces, family, ends, before))
    ways = (names.PARTS_SOURCE, names.PARTS_DESTINATION)
    tops = tuple(_top(name, parts, at, family, ends[0]) for at, name in enumerate(ways))
    asked = tuple(Asked(field, Dispatch((field,), top.name)) for field, top in zip(ends, tops, strict=True))
    chains = tuple(chain for part in parts for chain in part.chains)
    return PieceMaps(pieces, parts, (*(part.map for part in parts), *tops), chains, asked)


def _parts(pieces: Pieces, family: Family, ends: tuple[Field, Field], before: PieceMaps | None) -> Iterator[Part]:
    """Yield the parts; those before and behind what differs are the very same ones."""
    old = before.parts if before else ()
    first, last = same_ends(before.pieces, pieces) if before else (0, 0)
    tail = len(old)
    behind = 0
    while tail and behind + len(old[tail - 1].pieces) <= last:
        tail -= 1
        behind += len(old[tail].pieces)
    at = 0
    for part in old[:tail]:
        if at + len(part.pieces) > first:
            break
        at += len(part.pieces)
        yield part
    end = len(pieces) - behind
    starts = [at, *(place for place in range(at + 1, end) if _begins(pieces[place][0].first)), end]
    for begin, stop in pairwise(starts):
        if begin < stop:
            yield _part(pieces[begin:stop], family, ends)
    yield from old[tail:]


def _begins(address: int) -> bool:
    """Say whether a part begins with the piece that begins there: for one in 128, by all of the address."""
    folded = address ^ address >> 32 ^ address >> 64 ^ address >> 96
    return (folded * 0x9E37_79B1 & 0xFFFF_FFFF) >> 32 - _BITS == 0


def _part(pieces: Pieces, family: Family, ends: tuple[Field, Field]) -> Part:
    content = digest(pieces)
    found = _map(pieces, content, family, ends[0])
    ways = (names.PART_SOURCE, names.PART_DESTINATION)
    chains = (
        Chain(name.format(family, content), (rule(Load((field,), found.name)),))
        for name, field in zip(ways, ends, strict=True)
    )
    return Part(pieces, found, tuple(chains))


def _map(pieces: Pieces, content: str, family: Family, key: Field) -> Set:
    elements = tuple(Element((Interval(*span),), number) for span, number in pieces)
    return Set(names.PIECES.format(family, content), (key,), elements, "classid", interval=True)


def _top(name: str, parts: tuple[Part, ...], way: int, family: Family, key: Field) -> Set:
    elements = tuple(
        Element((Interval(part.pieces[0][0].first, part.pieces[-1][0].last),), goto(part.chains[way].name))
        for part in parts
    )
    content = digest([(element.key, element.value) for element in elements])
    return Set(name.format(family, content), (key,), elements, "verdict", interval=True)
