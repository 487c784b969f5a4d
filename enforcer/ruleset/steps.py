"""The three transactions of `difference` as operations: what raw messages are made of, where `difference` writes text.

    steps(ruleset, present)  ──▶  Changes(prepare, switch, sweep, retired)

Object by object the same as the texts, but for idle timeouts, which are there wherever our tables are. Whoever carries
these out has the texts for what the kernel refuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from enforcer.ruleset.changes import (
    AddChain,
    AddElements,
    AddSet,
    Changes,
    DeleteChain,
    DeleteSet,
    EmptyChain,
    EmptySet,
    Operation,
    WakeTable,
)
from enforcer.ruleset.difference import NOTHING, Present, anew, doomed, missing
from enforcer.ruleset.nft import Ruleset, Table


def steps(ruleset: Ruleset, present: Mapping[str, Present]) -> Changes:
    """Compute what leads from `present` (by table family) to the ruleset."""
    found = Changes()
    for table in ruleset.tables:
        there = present.get(table.family, NOTHING)
        wanting = missing(table, there)
        found.prepare += [AddSet(table.family, entry) for entry in wanting.sets]
        found.prepare += [AddChain(table.family, chain) for chain in wanting.chains]
        found.prepare += _grown(table, there)
        found.switch += _emptied(table, there)
        found.sweep += _unreferenced(table, there)
    for table in ruleset.tables:
        again = anew(table)
        found.switch.append(WakeTable(table.family))
        found.switch += [AddSet(table.family, entry) for entry in again.sets]
        found.switch += [AddChain(table.family, chain) for chain in again.chains]
    found.retired = [name for table in ruleset.tables for name in doomed(table, present)]
    return found


def _grown(table: Table, present: Present) -> Iterator[Operation]:
    for entry in table.sets:
        if entry.grows and entry.elements and entry.name in present.maps:
            yield AddElements(table.family, entry, entry.elements)


def _emptied(table: Table, present: Present) -> Iterator[Operation]:
    yield from (EmptyChain(table.family, c.name) for c in table.chains if c.fixed and c.name in present.chains)
    known = present.sets | present.maps
    yield from (EmptySet(table.family, entry.name) for entry in table.sets if entry.fixed and entry.name in known)


def _unreferenced(table: Table, present: Present) -> Iterator[Operation]:
    chains = sorted(present.chains - {chain.name for chain in table.chains})
    yield from (EmptyChain(table.family, name) for name in chains)
    wanted = {entry.name for entry in table.sets}
    yield from (DeleteSet(table.family, name) for name in sorted(present.maps - wanted))
    yield from (DeleteSet(table.family, name) for name in sorted(present.sets - wanted))
    yield from (DeleteChain(table.family, name) for name in chains)
