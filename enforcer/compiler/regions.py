"""From an ordered rule list to disjoint regions of (protocol, sub-key), each with the first rule that covers it.

The steps, and what holds after each:

1. *Paint* (one protocol): every rule that speaks of the protocol is a span of sub-keys with its place in the order. A
   sweep over the borders keeps the open rules in a heap; between two borders the smallest place decides. Spans that
   no rule covers are left out: what is not in a region is denied.
2. *Mirror* (ICMP): a reply is judged by the request that it answers, so the sub-keys of a reply type (echo reply 0)
   repeat those of its request (echo 8). A reply type never begins a conversation (S13), so no rule decides it.
3. *Above*: what some addresses' own rules decide is what they paint, less what an earlier rule for any address has
   painted there. The rest of their packets is decided as everybody's is, and needs to be said only once.
4. *Stack*: protocols that no rule names share what the rules for all protocols say; neighbouring protocol numbers with
   equal spans become one region. The regions are disjoint: nft refuses overlapping intervals.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise

from enforcer.compiler.effective import EffectiveRule
from enforcer.compiler.program import ANY_PROTOCOL, ANY_SUBKEY, Region, Span, Subkeys
from enforcer.model import ICMP, ICMPV6, Family

Painted = tuple[tuple[Subkeys, int], ...]
"""Disjoint sub-key spans in order, each with the place of its deciding rule."""

ICMP_ANSWERS: dict[Family, dict[int, int]] = {4: {0: 8, 14: 13, 16: 15, 18: 17}, 6: {129: 128, 140: 139}}
"""Reply type → the request type that it answers, as conntrack pairs them (nf_conntrack_proto_icmp*.c)."""


def subkeys(rule: EffectiveRule) -> tuple[Subkeys, ...]:
    """Return the sub-keys that a rule matches within its protocol."""
    spec = rule.rule
    if spec.ports:
        return spec.ports
    if spec.icmp_type is not None:
        first = spec.icmp_type << 8 | (spec.icmp_code or 0)
        return (Span(first, first | (0 if spec.icmp_code is not None else 0xFF)),)
    return (ANY_SUBKEY,)


def paint(layers: Sequence[tuple[Subkeys, int]]) -> Painted:
    """Cut overlapping (span, place) into disjoint spans, each decided by the smallest place that covers it."""
    starts = sorted(layers)
    borders = sorted({span.first for span, _ in layers} | {span.last + 1 for span, _ in layers})
    painted: list[tuple[Subkeys, int]] = []
    open_rules: list[tuple[int, int, Subkeys]] = []
    at = 0
    for here, border in pairwise(borders):
        while at < len(starts) and starts[at][0].first <= here:
            span, place = starts[at]
            heappush(open_rules, (place, span.last, span))
            at += 1
        while open_rules and open_rules[0][1] < here:
            heappop(open_rules)
        if not open_rules:
            continue
        place, _, span = open_rules[0]
        if painted and painted[-1][1] == place and painted[-1][0].last == here - 1:
            painted[-1] = (_part(span, painted[-1][0].first, border - 1), place)
        else:
            painted.append((_part(span, here, border - 1), place))
    return tuple(painted)


def _part(span: Subkeys, first: int, last: int) -> Subkeys:
    """Return a span that a rule decides: its own where nothing is cut off, for most regions of a policy are such."""
    return span if (first, last) == span else Span(first, last)


def clip(painted: Painted, window: Span) -> list[tuple[Subkeys, int]]:
    """Keep what lies inside the window."""
    return [
        (Span(max(span.first, window.first), min(span.last, window.last)), place)
        for span, place in painted
        if span.first <= window.last and span.last >= window.first
    ]


def mirror(painted: Painted, family: Family) -> Painted:
    """Let every ICMP reply type repeat its request type's spans."""
    result = list(painted)
    for reply, request in ICMP_ANSWERS[family].items():
        before = clip(tuple(result), Span(0, (reply << 8) - 1)) if reply else []
        after = clip(tuple(result), Span((reply + 1) << 8, 0xFFFF))
        shift = (reply - request) << 8
        inside = clip(painted, Span(request << 8, request << 8 | 0xFF))
        result = [*before, *((Span(s.first + shift, s.last + shift), place) for s, place in inside), *after]
    joined: list[tuple[Subkeys, int]] = []
    for span, place in result:
        if joined and joined[-1][1] == place and joined[-1][0].last + 1 == span.first:
            joined[-1] = (Span(joined[-1][0].first, span.last), place)
        else:
            joined.append((span, place))
    return tuple(joined)


@dataclass(frozen=True, slots=True)
class Painting:
    """What some rules of a list decide, by protocol; `others` is every protocol that is not named."""

    named: Mapping[int, Painted]
    others: Painted

    def of(self, protocol: int) -> Painted:
        """Return the spans of one protocol."""
        return self.named.get(protocol, self.others)


def painting(rules: Sequence[EffectiveRule], places: Iterable[int], family: Family) -> Painting:
    """Paint the rules at these places of a list, in their order, as if their addresses all matched."""
    everywhere: list[tuple[Subkeys, int]] = []
    layers: dict[int, list[tuple[Subkeys, int]]] = {}
    for place in places:
        rule = rules[place]
        if rule.rule.protocol is None:
            everywhere.append((ANY_SUBKEY, place))
            break  # nothing after a rule for every protocol can decide
        layers.setdefault(rule.rule.protocol, []).extend((span, place) for span in subkeys(rule))
    painted = {protocol: paint([*spans, *everywhere]) for protocol, spans in layers.items()}
    icmp = ICMP if family == 4 else ICMPV6
    if icmp in painted:
        painted[icmp] = mirror(painted[icmp], family)
    return Painting(painted, tuple(everywhere))


def above(upper: Painting, lower: Painting) -> Painting:
    """Leave of `upper` what is decided before `lower` is asked: smaller places win."""
    protocols = {*upper.named, *lower.named} if upper.others else upper.named
    named = {protocol: _above(upper.of(protocol), lower.of(protocol)) for protocol in sorted(protocols)}
    return Painting(named, _above(upper.others, lower.others))


def _above(upper: Painted, lower: Painted) -> Painted:
    if not upper or not lower:
        return upper
    left: list[tuple[Subkeys, int]] = []
    for span, place in upper:
        first = span.first
        at = max(bisect_left(lower, (Span(first, first), -1)) - 1, 0)
        while at < len(lower) and lower[at][0].first <= span.last and first <= span.last:
            hole, earlier = lower[at]
            at += 1
            if earlier < place and hole.last >= first:
                if hole.first > first:
                    left.append((_part(span, first, hole.first - 1), place))
                first = hole.last + 1
        if first <= span.last:
            left.append((_part(span, first, span.last), place))
    return tuple(left)


def differing(one: Painted, other: Painted) -> list[Span]:
    """Return the spans of sub-keys where two paintings of a protocol have not the same place."""
    if one == other:
        return []
    borders = sorted({b for row in (one, other) for span, _ in row for b in (span.first, span.last + 1)})
    found: list[Span] = []
    at = [0, 0]
    for here, border in pairwise(borders):
        places: list[int | None] = []
        for side, row in enumerate((one, other)):
            while at[side] < len(row) and row[at[side]][0].last < here:
                at[side] += 1
            inside = at[side] < len(row) and row[at[side]][0].first <= here
            places.append(row[at[side]][1] if inside else None)
        if places[0] != places[1]:
            found.append(Span(here, border - 1))
    return found


def regions(rules: Sequence[EffectiveRule], family: Family) -> tuple[Region, ...]:
    """Turn an ordered list of rules, whose addresses all match, into disjoint regions; the order decides."""
    return stack(painting(rules, range(len(rules)), family), rules)


def stack(painted: Painting, rules: Sequence[EffectiveRule]) -> tuple[Region, ...]:
    """Turn a painting into regions; each names the rule at its place."""
    rows: list[tuple[Span, Painted]] = []
    here = ANY_PROTOCOL.first
    for protocol in [*sorted(painted.named), ANY_PROTOCOL.last + 1]:
        if here < protocol:
            rows.append((Span(here, protocol - 1), painted.others))
        if protocol in painted.named:
            rows.append((Span(protocol, protocol), painted.named[protocol]))
        here = protocol + 1
    joined: list[tuple[Span, Painted]] = []
    for span, row in rows:
        if joined and joined[-1][1] == row:
            joined[-1] = (Span(joined[-1][0].first, span.last), row)
        else:
            joined.append((span, row))
    return tuple(Region(protocols, span, rules[place].decider) for protocols, row in joined for span, place in row)
