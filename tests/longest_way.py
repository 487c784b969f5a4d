"""The worst that any packet can meet: the longest way through the chains of a hook, in rules and lookups."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from enforcer.ruleset.nft import Dispatch, InSet, Load, Ruleset, Throttle, Verdict


@dataclass(frozen=True)
class Cost:
    """Rules evaluated and sets looked up."""

    rules: int = 0
    lookups: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.rules + other.rules, self.lookups + other.lookups)


def longest_way(ruleset: Ruleset, family: str, hook: str) -> Cost:
    """Add up the longest way through the chains of a hook: every rule is evaluated, every dispatch goes where it hurts.

    No packet can meet more, whatever is in it; real ones meet less.
    """
    table = next(table for table in ruleset.tables if table.family == family)
    chains = {chain.name: chain for chain in table.chains}
    sets = {entry.name: entry for entry in table.sets}
    known: dict[str, Cost] = {}

    def of_chain(name: str) -> Cost:
        """Add up the rules; who leaves a chain by `goto` does not meet the rest of it."""
        if name not in known:
            total, ways = Cost(), [Cost()]
            for entry in chains[name].rules:
                own, targets = of_rule(entry.statements)
                ways += [total + own + of_chain(target.chain) for target in targets if target.kind == "goto"]
                total = total + own + worst(of_chain(target.chain) for target in targets if target.kind == "jump")
            known[name] = worst((total, *ways))
        return known[name]

    def of_rule(statements: tuple[Any, ...]) -> tuple[Cost, list[Verdict]]:
        cost = Cost(1, sum(isinstance(s, InSet | Dispatch | Load | Throttle) for s in statements))
        targets = [s for s in statements if isinstance(s, Verdict)]
        for dispatch in (s for s in statements if isinstance(s, Dispatch)):
            targets += [e.value for e in sets[dispatch.map].elements if isinstance(e.value, Verdict)]
        return cost, targets

    def worst(costs: Iterable[Cost]) -> Cost:
        return max(costs, key=lambda c: (c.rules, c.lookups), default=Cost())

    starts = [chain.name for chain in chains.values() if chain.hook and chain.hook.hook == hook]
    return max((of_chain(name) for name in starts), key=lambda c: (c.rules, c.lookups))
