"""Where a packet's time goes: the ruleset in force, ended by an `accept` behind one step of its way after another.

What a step costs is the difference to the case above it. The first case are the hooks alone, the last is the ruleset as
it is. The steps are those of a first packet from one NIC to another; packets of a flow in force end at the stamp.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import partial

from bench import cases
from bench.shape import Shape
from bench.topology import Topology
from enforcer.ruleset import lower, render
from enforcer.ruleset.nft import ACCEPT, Ruleset, rule

NIC, FROM, TO = "nic_.*", r"from4_[0-9a-f]{10}_\d+", r"to4_[0-9a-f]{10}_\d+"
IN, OUT = "prerouting", "postrouting"


@dataclass(frozen=True, slots=True)
class Step:
    """How many rules are met in the chains whose names match; in others, all."""

    name: str
    rules: dict[str, int] = field(default_factory=dict)


STEPS = (
    Step("hooks alone", {NIC: 0, IN: 0, OUT: 0}),
    Step("+ source", {IN: 0, OUT: 0}),
    Step("+ checked bit", {IN: 2, OUT: 0}),
    Step("+ stamp", {IN: 3, OUT: 0}),
    Step("+ SYN and DHCP", {IN: 6, OUT: 0}),
    Step("+ sender's profile", {FROM: 0, OUT: 0}),
    Step("+ outbound policy", {OUT: 0}),
    Step("+ stamp, on the way out", {OUT: 1}),
    Step("+ receiver's profile", {TO: 0}),
    Step("+ SYN and DHCP once more", {TO: 3}),
    Step("+ class of the peer", {TO: 4}),
    Step("+ inbound policy", {TO: 5}),
    Step("+ stamped: all of it"),
)


def cut_off() -> list[cases.Case]:
    """Return the cases, of NICs with 600 rules each."""
    return [cases.Case(step.name, partial(_install, step)) for step in STEPS]


def _install(step: Step, made: Topology) -> None:
    cases.load(made, render(until(step, lower(cases.program(Shape(), made.router)))))


def until(step: Step, ruleset: Ruleset) -> Ruleset:
    """End the chains of a step early by an `accept`; each must be there, and longer than that."""
    ended = dict.fromkeys(step.rules, 0)
    tables = []
    for table in ruleset.tables:
        chains = []
        for chain in table.chains:
            name = next((name for name in step.rules if re.fullmatch(name, chain.name)), None)
            if name is not None and len(chain.rules) > step.rules[name]:
                ended[name] += 1
                chain = replace(chain, rules=(*chain.rules[: step.rules[name]], rule(ACCEPT)))  # noqa: PLW2901
            chains.append(chain)
        tables.append(replace(table, chains=tuple(chains)))
    if not all(ended.values()):
        raise LookupError(f"step {step.name!r}: no such chain, or too short: {ended}")
    return replace(ruleset, tables=tuple(tables))
