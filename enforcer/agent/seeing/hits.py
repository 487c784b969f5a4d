"""Hits per rule, since when: readings of the kernel's counters added up over everything that resets them.

    ledger.take("router", reading, now)      a reading of all counters, every few seconds
    ledger.take("router", reading, now, whole=False)    of objects that a commit is about to delete
    ledger.last("router", last, now)         what elements had counted when a commit deleted them
    ledger.rules(policy)                     a row for each rule, unused ones with 0 hits

Only first packets of flows are judged, and all that is denied: a hit is a flow that a rule let pass, a packet that it
denied, or a flow that was judged anew after a change. A counter that is seen again adds what it grew by; one of another
life of the namespace, or that has fallen, adds all that it shows. So each packet is counted once, whatever replaced the
map or the elements that counted it, as long as these were read before they went.

A rule is known by its group's name and its id: with the same id, a changed rule goes on counting. Pure; `now` is
wall-clock seconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from enforcer.dataplane.counters import Last, Origin, Reading
from enforcer.model import Policy, SecurityGroup
from enforcer.ruleset.policies import NO_MATCH
from enforcer.ruleset.render import comment_text

VERSION = 2


class Hits(NamedTuple):
    """How often, since when it is counted, and when a reading last found more (0: never)."""

    hits: int
    since: float
    last: float


@dataclass(frozen=True, slots=True)
class RuleHits:
    """One rule of the policy, its words, and its hits."""

    group: str
    rule: str
    words: str
    enabled: bool
    hits: Hits


@dataclass(slots=True)
class Ledger:
    """The sums by comment, and what each counter showed when it was last seen."""

    since: float
    _sums: dict[str, Hits] = field(default_factory=dict)
    _seen: dict[str, dict[str, dict[Origin, int]]] = field(default_factory=dict)  # by namespace and object
    _before: dict[str, dict[str, dict[Origin, int]]] = field(default_factory=dict)
    _worlds: dict[str, str] = field(default_factory=dict)
    _known: tuple[tuple[SecurityGroup, ...] | None, int] = (None, 0)  # whose rules the sums have, and how many sums

    def take(self, netns: str, reading: Reading, now: float, *, whole: bool = True) -> None:
        """Add what counters have grown by; `whole`: the reading has them all, and others are gone."""
        if self._worlds.get(netns) != reading.world:
            self._worlds[netns] = reading.world
            self._seen[netns] = {}
        seen = self._seen[netns]
        now_seen: dict[str, dict[Origin, int]] = {} if whole else seen
        for origin, packets in reading.counts.items():
            self._grown(seen.get(origin.object, {}).get(origin, 0), packets, origin.label, now)
            now_seen.setdefault(origin.object, {})[origin] = packets
        self._before[netns], self._seen[netns] = seen, now_seen

    def last(self, netns: str, last: Iterable[Last], now: float) -> None:
        """Add what elements have grown by until they were deleted; another of the same key begins at 0.

        A reading may have been taken meanwhile that has them no more: then the one before it is asked.
        """
        for name, of_map in _by_object(last).items():
            seen, before = (all_.get(netns, {}).get(name, {}) for all_ in (self._seen, self._before))
            known = {(each.label, each.part): each for each in sorted(before.keys() | seen.keys())}
            for _, label, part, packets in of_map:
                origin = known.get((label, part))
                counted = before.pop(origin, 0) if origin else 0
                counted = seen.pop(origin, counted) if origin else 0
                self._grown(counted, packets, label, now)

    def _grown(self, before: int, packets: int, label: str, now: float) -> None:
        if more := packets - before if packets >= before else packets:
            self._add(label, more, now)

    def _add(self, label: str, grown: int, now: float) -> None:
        known = self._sums.get(label) or Hits(0, self.since, 0.0)
        self._sums[label] = Hits(known.hits + grown, known.since, now)

    def know(self, policy: Policy, now: float) -> None:
        """Begin to count rules that are new, and forget those that are no more; most of the time these are the same."""
        if self._known[0] is policy.security_groups and self._known[1] == len(self._sums):
            return
        labels = {label for _, _, label in _rules(policy)}
        for label in [each for each in self._sums if "/" in each and each not in labels]:
            del self._sums[label]
        self._sums.update(dict.fromkeys(labels - self._sums.keys(), Hits(0, now, 0.0)))
        self._known = (policy.security_groups, len(self._sums))

    def of(self, label: str) -> Hits:
        """Return the hits under a comment: `Group/Rule`, or why packets were dropped."""
        return self._sums.get(label) or Hits(0, self.since, 0.0)

    def rules(self, policy: Policy) -> tuple[RuleHits, ...]:
        """Return a row for each rule of the policy, in its order."""
        return tuple(
            RuleHits(group, rule.id, rule.text(), rule.enabled, self.of(label)) for group, rule, label in _rules(policy)
        )

    def reasons(self) -> dict[str, Hits]:
        """Return the packets that were dropped and that no rule decided about, by reason."""
        found = {label: hits for label, hits in self._sums.items() if label and "/" not in label}
        return {NO_MATCH: self.of(NO_MATCH), **dict(sorted(found.items()))}

    def document(self) -> str:
        """Return all of it as a JSON text, for a next life."""
        seen = {
            netns: [[*origin, count] for counts in objects.values() for origin, count in counts.items()]
            for netns, objects in self._seen.items()
        }
        content = {"version": VERSION, "since": self.since, "sums": self._sums, "worlds": self._worlds, "seen": seen}
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def read(cls, text: str | None, now: float) -> Ledger:
        """Return what an earlier life wrote; nothing, or nothing that can be read: begin now."""
        try:
            content: dict[str, Any] = json.loads(text or "")
            if content["version"] != VERSION:
                return cls(now)
            seen: dict[str, dict[str, dict[Origin, int]]] = {netns: {} for netns in content["seen"]}
            for netns, rows in content["seen"].items():
                for *origin, count in rows:
                    seen[netns].setdefault(origin[0], {})[Origin(*origin)] = count
            alike: dict[Hits, Hits] = {}  # of 60,000 rules most have the same: nothing
            sums = {label: alike.setdefault(hits := Hits(*row), hits) for label, row in content["sums"].items()}
            return cls(float(content["since"]), sums, seen, _worlds=dict(content["worlds"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls(now)


def _by_object(last: Iterable[Last]) -> dict[str, list[Last]]:
    found: dict[str, list[Last]] = {}
    for each in last:
        found.setdefault(each.object, []).append(each)
    return found


def label_of(group: str, rule: str) -> str:
    """Return the comment by which the kernel names a rule: cut where nft would not take more."""
    return comment_text(f"{group}/{rule}")


def _rules(policy: Policy) -> Iterator[tuple[str, Any, str]]:
    return (
        (group.name, rule, label_of(group.name, rule.id)) for group in policy.security_groups for rule in group.rules
    )
