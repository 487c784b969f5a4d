"""Compile one effective rule list into a side policy: local classes, each with its disjoint regions.

The steps, and what holds after each:

1. Rules after the first one that covers everything (any address, all protocols) can decide nothing: they are cut.
2. The rules for any address are painted once: `REST`. Every global class is in some of the list's terms; what the
   rules of these terms decide before a rule for any address does are its regions, and nothing else is. Classes with
   the same rules have the same regions, computed once.
3. Classes without a region of their own are `REST` and need no entry. The numbers of the others are hashes of their
   regions, so that they stay when other classes change.
4. The key stands for the rules, the regions in use and nothing else. Which class has which local number follows from
   it, so `locals` may grow and shrink under one key, and a number in it never comes to mean something different.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import NamedTuple

from enforcer.compiler.effective import EffectiveRule
from enforcer.compiler.program import REST, AddressClass, LocalClass, Region, SidePolicy, Span
from enforcer.compiler.regions import Painting, above, differing, painting, stack, subkeys
from enforcer.compiler.terms import anywhere, term_name
from enforcer.model import ICMP, ICMPV6, Direction, Family, SecurityGroup
from enforcer.model.runs import same_ends

Positions = tuple[int, ...]


def digest(*parts: object) -> str:
    """Hash content to ten hex digits (40 bits): names of objects that must not depend on anything else."""
    return blake2b("\0".join(map(repr, parts)).encode(), digest_size=5).hexdigest()


class Part(NamedTuple):
    """What a list has of a group: its rules in effect, and a hash of them.

    To say what 600 rules say takes longer than a small change, so of parts that stay it is remembered: by its hash, for
    the words of 60,000 rules are 6 MB.
    """

    group: SecurityGroup
    rules: tuple[EffectiveRule, ...]
    mark: str


Parts = tuple[Part, ...]


def part(group: SecurityGroup, rules: tuple[EffectiveRule, ...]) -> Part:
    """Build what a list has of a group."""
    return Part(group, rules, _mark(rules))


def _mark(rules: Iterable[EffectiveRule]) -> str:
    return digest([rule.identity() for rule in rules])


def until_all_is_decided(rules: Iterable[EffectiveRule]) -> tuple[EffectiveRule, ...]:
    """Cut the list after the first rule for any address and all protocols."""
    kept = []
    for rule in rules:
        kept.append(rule)
        if rule.rule.protocol is None and anywhere(rule.rule):
            break
    return tuple(kept)


class RuleList:
    """An effective rule list with the names of its rules' terms, ready to be compiled once the classes are known.

    `parts` are the groups with their effective rules. What it has worked out it remembers: the same list is asked again
    whenever classes come, and a list that differs little from `before` takes over what still holds (`carried`).
    `lineage` is what stays of a list when its rules change: whom it judges.
    """

    def __init__(
        self, direction: Direction, family: Family, parts: Parts, before: RuleList | None = None, lineage: str = ""
    ) -> None:
        self.direction, self.family, self.parts = direction, family, parts
        self.lineage = f"{direction[0]}{family}_{lineage}"
        self.rules = _rules_of(parts)
        self.places: dict[str, tuple[int, ...]] = {}
        unplaced = []
        for place, rule in enumerate(self.rules):
            if (name := term_name(rule.rule)) is None:
                unplaced.append(place)
            else:
                self.places[name] = (*self.places.get(name, ()), place)
        self._identity = _identity(parts, len(self.rules))
        self._below = painting(self.rules, unplaced, family)
        self._rest = _found(stack(self._below, self.rules))
        self._known = carried(before, self) if before else {}

    def has_the_rules_of(self, parts: Parts) -> bool:
        """Say whether a list of these parts would have the very same rules."""
        return _same_rules(self.rules, _rules_of(parts))

    def compile(
        self, inside: Mapping[str, Sequence[AddressClass]], groups: tuple[str, ...], displaced: tuple[int, ...] = ()
    ) -> SidePolicy:
        """Compile the list; `inside` gives the classes in use inside each term.

        `displaced` classes have not the number that their terms' names give: then numbers are part of the key.
        """
        asked = {entry.number: entry for name in self.places for entry in inside.get(name, ())}
        differing = {
            number: found for number, entry in asked.items() if (found := self._found_for(entry.terms)).regions
        }
        numbers = _local_numbers({found.mark for found in differing.values()})
        local = tuple((number, numbers[found.mark]) for number, found in sorted(differing.items()))
        regions = {numbers[found.mark]: found.regions for found in differing.values()}
        kept = (LocalClass(REST, self._rest.regions), *(LocalClass(n, regions[n]) for n in sorted(regions)))
        marks = [self._rest.mark, *sorted(numbers)]
        key = f"{self.direction[0]}{self.family}_{digest(groups, self._identity, marks, displaced)}"
        return SidePolicy(key, self.lineage, self.direction, self.family, groups, local, kept)

    def with_class(self, side: SidePolicy, entry: AddressClass) -> SidePolicy | None:
        """Add a class to a compiled list; None: it has regions that the list did not have before."""
        found = self.regions_of(entry.terms)
        if not found:
            return side
        number = next((known.number for known in side.classes[1:] if known.regions == found), None)
        if number is None:
            return None
        return replace(side, locals=tuple(sorted({*side.locals, (entry.number, number)})))

    def regions_of(self, terms: Iterable[str]) -> tuple[Region, ...]:
        """Return what the rules about a class's addresses decide before a rule for any address does."""
        return self._found_for(terms).regions

    def _found_for(self, terms: Iterable[str]) -> _Found:
        places = tuple(sorted(place for name in terms for place in self.places.get(name, ())))
        if not places:
            return _NOTHING
        if places not in self._known:
            painted = above(painting(self.rules, places, self.family), self._below)
            self._known[places] = _found(stack(painted, self.rules))
        return self._known[places]


@dataclass(frozen=True, slots=True)
class _Found:
    """Regions, and a hash of what they say."""

    regions: tuple[Region, ...]
    mark: bytes


def _found(regions: tuple[Region, ...]) -> _Found:
    return _Found(regions, blake2b(_text(regions).encode(), digest_size=8).digest()) if regions else _NOTHING


_NOTHING = _Found((), b"")


def carried(old: RuleList, new: RuleList) -> dict[Positions, _Found]:
    """Take over from an earlier list under the same key what the rules of places have been found to decide.

    1. Rules that both lists have at their beginning or end keep their order; other rules are not the same.
    2. What rules about some addresses decide depends on them, on their order among the rules for any address, and on
       what those paint where they paint: where that differs, nothing is taken over.
    3. Where not half of the rules are in both lists, to look takes longer than to paint: nothing is taken over.
    """
    first, last = same_ends(_identities(old.rules), _identities(new.rules))
    if 2 * (first + last) < len(new.rules):
        return {}
    shift, tail = len(new.rules) - len(old.rules), len(old.rules) - last
    moved = [*range(first), *((-1,) * (tail - first)), *range(tail + shift, len(new.rules))]
    was = Painting(
        {protocol: tuple((span, moved[at]) for span, at in row) for protocol, row in old._below.named.items()},
        tuple((span, moved[at]) for span, at in old._below.others),
    )
    named = {*was.named, *new._below.named}
    changed = {protocol: differing(was.of(protocol), new._below.of(protocol)) for protocol in named}
    others = differing(was.others, new._below.others)
    calm = not others and not any(changed.values())
    fine = [calm or _untouched(rule, changed, others) for rule in new.rules]
    known = ((tuple(moved[place] for place in places), found) for places, found in old._known.items())
    return {places: found for places, found in known if -1 not in places and all(fine[place] for place in places)}


def _untouched(rule: EffectiveRule, changed: Mapping[int, list[Span]], others: list[Span]) -> bool:
    """Say whether nothing has changed where a rule paints, although something has elsewhere."""
    protocol = rule.rule.protocol
    if protocol is None:
        return False
    where = changed.get(protocol, others)
    if not where or protocol in (ICMP, ICMPV6):  # its replies repeat its requests
        return not where
    least, most = where[0].first, where[-1].last
    near = (span for span in subkeys(rule) if span[0] <= most and least <= span[1])
    return not any(one.first <= last and first <= one.last for first, last in near for one in where)


def _rules_of(parts: Parts) -> tuple[EffectiveRule, ...]:
    return until_all_is_decided(rule for each in parts for rule in each.rules)


def _identity(parts: Parts, kept: int) -> str:
    """Hash the rules of a list of which so many are kept, part by part."""
    marks: list[str] = []
    for each in parts:
        rules = each.rules[:kept]
        kept -= len(rules)
        if rules:
            marks.append(each.mark if len(rules) == len(each.rules) else _mark(rules))
    return digest(marks)


def _same_rules(some: Sequence[EffectiveRule], others: Sequence[EffectiveRule]) -> bool:
    """Say whether two lists have the very same rules of the same groups."""
    pairs = zip(some, others, strict=False)
    return len(some) == len(others) and all(
        one is other or (one.rule is other.rule and one.group == other.group) for one, other in pairs
    )


def _identities(rules: Iterable[EffectiveRule]) -> list[tuple[str, int]]:
    return [(each.group, id(each.rule)) for each in rules]


def _local_numbers(marks: set[bytes]) -> dict[bytes, int]:
    """Number region lists by their content, 1 … 0x7fffffff; on a collision the next free number is taken."""
    numbers: dict[bytes, int] = {}
    taken: set[int] = set()
    for mark in sorted(marks):
        number = int.from_bytes(mark[:4], "big") & 0x7FFF_FFFF or 1
        while number in taken:
            number = number % 0x7FFF_FFFF + 1
        taken.add(number)
        numbers[mark] = number
    return numbers


def _text(regions: tuple[Region, ...]) -> str:
    return ";".join(
        f"{r.protocols.first}-{r.protocols.last} {r.subkeys.first}-{r.subkeys.last} {r.decider.action} {r.decider}"
        for r in regions
    )
