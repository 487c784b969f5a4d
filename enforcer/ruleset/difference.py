"""From what is in the kernel to what shall be there: the smallest transactions, known by names alone.

Names of most objects stand for their content (`names`), so "is it there?" is the whole comparison. What changes in
place has an edition in its name, and what is prepared here is of an edition that is not there yet. Maps that grow are
the exception: entries are added to those that are there; which others they have is no matter. Three transactions:

1. *prepare* adds the objects that are missing and that nothing refers to yet. Not in the same transaction as what will
   refer to them: the kernel puts the new rules in force before it fills new interval maps, and flows that are judged in
   between would find the maps empty.
2. *switch* refills the fixed chains, sets and maps: base chains stay hooked, every packet meets either the old rules or
   the new ones, and each hook is passed once. This is the commit (S14).
3. *sweep* deletes what nothing refers to any more. Not in the same transaction: a packet that entered a chain before
   the switch goes on in the old rules but already reads the new state of sets; it must find the old maps complete.

Crashing in between leaves unreferenced objects, which the next difference uses or sweeps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from enforcer.ruleset.names import COUNTING, EDITION, GENERATION
from enforcer.ruleset.nft import Chain, Ruleset, Table
from enforcer.ruleset.render import element_texts, identifier, render_table


@dataclass(frozen=True, slots=True)
class Present:
    """Names of what our table of one family holds."""

    sets: frozenset[str]
    maps: frozenset[str]
    chains: frozenset[str]


NOTHING = Present(frozenset(), frozenset(), frozenset())


@dataclass(frozen=True, slots=True)
class Transactions:
    """Three nft scripts; `prepare` and `sweep` are empty when there is nothing to add or to delete.

    `doomed` are the chains and maps that the sweep deletes, and with them what they have counted of rules' hits.
    """

    prepare: str
    switch: str
    sweep: str
    doomed: frozenset[str] = frozenset()


def difference(ruleset: Ruleset, present: Mapping[str, Present]) -> Transactions:
    """Compute the transactions that lead from `present` (by table family; none: no such table) to the ruleset."""
    prepare: list[str] = []
    switch: list[str] = []
    sweep: list[str] = []
    for table in ruleset.tables:
        there = present.get(table.family, NOTHING)
        wanting = missing(table, there)
        prepare += render_table(wanting) if wanting.sets or wanting.chains else ()
        prepare += _grown(table, there)
        switch += _refilled(table, there)
        sweep += _unreferenced(table, there)
    for table in ruleset.tables:
        switch += render_table(anew(table))
    going = frozenset(name for table in ruleset.tables for name in doomed(table, present))
    texts = ["\n".join(lines) + "\n" if lines else "" for lines in (prepare, switch, sweep)]
    return Transactions(texts[0], texts[1], texts[2], going)


def next_edition(present: Mapping[str, Present]) -> int:
    """Return an edition of which nothing is there."""
    names = (name for there in present.values() for name in there.sets | there.maps | there.chains)
    return max((int(found[1]) for name in names if (found := EDITION.fullmatch(name))), default=0) + 1


def _grown(table: Table, present: Present) -> Iterator[str]:
    """Add the entries of maps that grow: they mean nothing before addresses have their classes."""
    for entry in table.sets:
        if entry.grows and entry.elements and entry.name in present.maps:
            elements = ", ".join(element_texts(entry))
            yield f"add element {table.family} {table.name} {identifier(entry.name)} {{ {elements} }}"


def _refilled(table: Table, present: Present) -> Iterator[str]:
    """Empty the fixed objects that were there; the table block fills them again."""
    where = f"{table.family} {table.name}"
    for chain in table.chains:
        if chain.fixed and chain.name in present.chains:
            yield f"flush chain {where} {identifier(chain.name)}"
    for entry in table.sets:
        if entry.fixed and entry.name in present.sets | present.maps:
            yield f"flush {'map' if entry.value else 'set'} {where} {identifier(entry.name)}"


def missing(table: Table, present: Present) -> Table:
    """Return what has to be added; fixed objects that it may refer to are added empty, base chains not at all."""
    known = present.sets | present.maps
    sets = (entry for entry in table.sets if entry.name not in known)
    chains = (chain for chain in table.chains if chain.name not in present.chains and not _commits(chain))
    return Table(
        table.family,
        table.name,
        (),
        tuple(replace(entry, elements=()) if entry.fixed else entry for entry in sets),
        tuple(replace(chain, rules=()) if chain.fixed else chain for chain in chains),
    )


def anew(table: Table) -> Table:
    """Return what the switch puts there once more, whatever is there: what is fixed, and what commits by its being."""
    return Table(
        table.family,
        table.name,
        table.timeouts,  # adding one that is there changes nothing
        tuple(entry for entry in table.sets if entry.fixed),
        tuple(chain for chain in table.chains if chain.fixed or _commits(chain)),
    )


def _commits(chain: Chain) -> bool:
    """Say whether the chain's being there already puts something in force, or says so."""
    return chain.hook is not None or chain.name.startswith(GENERATION.format(""))


def doomed(table: Table, present: Mapping[str, Present]) -> Iterator[str]:
    """Yield the names of what counts hits of rules and is there no longer than until the sweep."""
    there = present.get(table.family, NOTHING)
    wanted = {chain.name for chain in table.chains} | {entry.name for entry in table.sets}
    yield from (name for name in (there.maps | there.chains) - wanted if name.startswith(COUNTING))


def _unreferenced(table: Table, present: Present) -> Iterator[str]:
    where = f"{table.family} {table.name}"
    chains = sorted(present.chains - {chain.name for chain in table.chains})
    yield from (f"flush chain {where} {identifier(name)}" for name in chains)
    wanted = {entry.name for entry in table.sets}
    yield from (f"delete map {where} {identifier(name)}" for name in sorted(present.maps - wanted))
    yield from (f"delete set {where} {identifier(name)}" for name in sorted(present.sets - wanted))
    yield from (f"delete chain {where} {identifier(name)}" for name in chains)
