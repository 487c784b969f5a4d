"""The same Ruleset under names that nobody has: for tables whose content cannot be trusted, though their packets flow.

Names stand for content, so a difference leaves alone what has the right name, even if somebody has changed it. Under
fresh names everything is put there anew before it is switched to, and no packet meets a half-filled map, as it does for
an instant when both tables are replaced whole. Fixed objects keep their names: the switch fills them again anyway.
What packets fill keeps its name, too, and with it what it has counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from enforcer.ruleset.difference import Present
from enforcer.ruleset.names import FRESH, GENERATION
from enforcer.ruleset.nft import Chain, Dispatch, Element, InSet, Load, Rule, Ruleset, Set, Statement, Table, Verdict


def fresh(ruleset: Ruleset, present: Mapping[str, Present]) -> Ruleset:
    """Rename all objects whose names stand for content; none of the names is in `present`."""
    names = {name for there in present.values() for name in there.sets | there.maps | there.chains}
    number = next(n for n in range(1, len(names) + 2) if not any(name.endswith(FRESH.format("", n)) for name in names))
    return replace(ruleset, tables=tuple(_table(table, number) for table in ruleset.tables))


def _table(table: Table, number: int) -> Table:
    renamed = {entry.name for entry in table.sets if not (entry.fixed or entry.dynamic)}
    renamed |= {c.name for c in table.chains if not (c.fixed or c.hook or c.name.startswith(GENERATION.format("")))}
    names = {name: FRESH.format(name, number) for name in renamed}
    sets = tuple(_set(entry, names) for entry in table.sets)
    return replace(table, sets=sets, chains=tuple(_chain(chain, names) for chain in table.chains))


def _set(entry: Set, names: Mapping[str, str]) -> Set:
    name = names.get(entry.name, entry.name)
    if entry.value != "verdict":  # names nothing; what verdict maps say need not be there all at once
        return replace(entry, name=name)
    return replace(entry, name=name, elements=tuple(_element(element, names) for element in entry.elements))


def _element(element: Element, names: Mapping[str, str]) -> Element:
    if not isinstance(element.value, Verdict) or element.value.chain not in names:
        return element
    return element._replace(value=_verdict(element.value, names))


def _chain(chain: Chain, names: Mapping[str, str]) -> Chain:
    rules = tuple(Rule(tuple(_statement(s, names) for s in each.statements), each.comment) for each in chain.rules)
    return replace(chain, name=names.get(chain.name, chain.name), rules=rules)


def _statement(statement: Statement, names: Mapping[str, str]) -> Statement:
    match statement:
        case Verdict():
            return _verdict(statement, names)
        case InSet():
            return replace(statement, set=names.get(statement.set, statement.set))
        case Dispatch() | Load():
            return replace(statement, map=names.get(statement.map, statement.map))
        case _:
            return statement


def _verdict(verdict: Verdict, names: Mapping[str, str]) -> Verdict:
    return replace(verdict, chain=names.get(verdict.chain, verdict.chain))
