"""The worst that any packet can meet: the longest way through the chains of a hook, in rules and lookups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from enforcer.ruleset.nft import Counter, Dispatch, InSet, Load, Ruleset, SetPriority, Throttle, Verdict


@dataclass(frozen=True)
class Cost:
    """Rules evaluated and sets looked up."""

    rules: int = 0
    lookups: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.rules + other.rules, self.lookups + other.lookups)


def size(cost: Cost) -> tuple[int, int]:
    return cost.rules, cost.lookups


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
            met, exits = Cost(), []
            for entry in chains[name].rules:
                met += Cost(1, sum(isinstance(s, InSet | Dispatch | Load | Throttle) for s in entry.statements))
                there = targets(entry.statements)
                exits += [met + of_chain(verdict.chain) for verdict in there if not comes_back(verdict)]
                met += max(
                    (of_chain(verdict.chain) for verdict in there if comes_back(verdict)), key=size, default=Cost()
                )
            known[name] = max([met, *exits], key=size)
        return known[name]

    def verdicts(statements: tuple[Any, ...]) -> list[Verdict]:
        found = [s for s in statements if isinstance(s, Verdict)]
        for dispatch in (s for s in statements if isinstance(s, Dispatch)):
            found += [e.value for e in sets[dispatch.map].elements if isinstance(e.value, Verdict)]
        return list(set(found))

    def targets(statements: tuple[Any, ...]) -> list[Verdict]:
        return [verdict for verdict in verdicts(statements) if verdict.chain]

    def comes_back(verdict: Verdict) -> bool:
        """Say whether the rule behind can be met: not after a goto, nor where every packet finds its end."""
        return verdict.kind == "jump" and not ends(verdict.chain)

    def ends(name: str) -> bool:
        rules = chains[name].rules
        last = rules[-1].statements if rules else ()
        always = all(isinstance(s, Counter | SetPriority | Verdict) for s in last)
        finals = [s for s in last if isinstance(s, Verdict)] if always else []
        out = [v for entry in rules for v in verdicts(entry.statements) if v.kind in ("return", "goto")]
        return bool(finals) and all(v.kind == "goto" and ends(v.chain) for v in out)

    starts = [chain.name for chain in chains.values() if chain.hook and chain.hook.hook == hook]
    return max((of_chain(name) for name in starts), key=size)
