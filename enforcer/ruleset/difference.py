"""From what is in the kernel to what shall be there: the smallest pair of transactions, known by names alone.

Names of most objects stand for their content (`names`), so "is it there?" is the whole comparison. Two transactions:

1. *switch* adds the objects that are missing, and refills the fixed chains, sets and maps: base chains stay hooked,
   every packet meets either the old rules or the new ones, and each hook is passed once. This is the commit (S14).
2. *sweep* deletes what nothing refers to any more. Not in the same transaction: a packet that entered a chain before
   the switch goes on in the old rules but already reads the new state of sets; it must find the old maps complete.

Crashing between the two leaves unreferenced objects, which the next difference sweeps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from enforcer.ruleset.nft import Ruleset, Table
from enforcer.ruleset.render import identifier, render_table


@dataclass(frozen=True, slots=True)
class Present:
    """Names of what our table of one family holds."""

    sets: frozenset[str]
    maps: frozenset[str]
    chains: frozenset[str]


NOTHING = Present(frozenset(), frozenset(), frozenset())


@dataclass(frozen=True, slots=True)
class Transactions:
    """Two nft scripts; `sweep` is empty when there is nothing to delete."""

    switch: str
    sweep: str


def difference(ruleset: Ruleset, present: Mapping[str, Present]) -> Transactions:
    """Compute the transactions that lead from `present` (by table family; none: no such table) to the ruleset."""
    switch: list[str] = []
    sweep: list[str] = []
    for table in ruleset.tables:
        switch += _refilled(table, present.get(table.family, NOTHING))
        sweep += _unreferenced(table, present.get(table.family, NOTHING))
    for table in ruleset.tables:
        switch += render_table(_missing(table, present.get(table.family, NOTHING)))
    return Transactions("\n".join(switch) + "\n", "\n".join(sweep) + "\n" if sweep else "")


def _refilled(table: Table, present: Present) -> Iterator[str]:
    """Empty the fixed objects that are there; the table block fills them again."""
    where = f"{table.family} {table.name}"
    for chain in table.chains:
        if chain.fixed and chain.name in present.chains:
            yield f"flush chain {where} {identifier(chain.name)}"
    for entry in table.sets:
        if entry.fixed and entry.name in present.sets | present.maps:
            yield f"flush {'map' if entry.value else 'set'} {where} {identifier(entry.name)}"


def _missing(table: Table, present: Present) -> Table:
    known = present.sets | present.maps
    return Table(
        table.family,
        table.name,
        table.timeouts,  # adding one that is there changes nothing
        tuple(entry for entry in table.sets if entry.fixed or entry.name not in known),
        tuple(chain for chain in table.chains if chain.fixed or chain.name not in present.chains),
    )


def _unreferenced(table: Table, present: Present) -> Iterator[str]:
    where = f"{table.family} {table.name}"
    chains = sorted(present.chains - {chain.name for chain in table.chains})
    yield from (f"flush chain {where} {identifier(name)}" for name in chains)
    yield from (f"delete chain {where} {identifier(name)}" for name in chains)
    wanted = {entry.name for entry in table.sets}
    yield from (f"delete map {where} {identifier(name)}" for name in sorted(present.maps - wanted))
    yield from (f"delete set {where} {identifier(name)}" for name in sorted(present.sets - wanted))
