"""The same change, committed in other ways than ours: bare messages, libnftables in this process, a process of nft.

    session = Compared("")
    session.way, session.took = Compared.in_process, 0.0
    session.replace(program)           # all else is done as ever; `took` are the seconds of its transactions alone

Each way leads from the same kernel state to the same kernel state, so they may take turns. What is compared is what
comes behind the compiler: the transactions that a change needs before it is in force, not the sweep behind them.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import assert_never

from enforcer.dataplane import Session, Step, libnftables
from enforcer.dataplane.netlink import Channel, encode
from enforcer.ruleset import Ruleset
from enforcer.ruleset.changes import (
    AddChain,
    AddElements,
    AddSet,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    EmptyChain,
    EmptySet,
    Operation,
    Refill,
    WakeTable,
)
from enforcer.ruleset.names import TABLE
from enforcer.ruleset.render import chain_block, element_texts, key_text, rule_text, set_block

Commit = Callable[["Compared", Sequence[Operation], Ruleset], float]
"""Commits operations; returns the seconds of what is compared."""


class Compared(Session):
    """A session of our own namespace whose transactions may go another way, and are clocked."""

    def __init__(self, netns: str) -> None:
        super().__init__(netns)
        self.way: Commit | None = None
        self.took = 0.0

    def _run(
        self, operations: Sequence[Operation], ruleset: Ruleset, step: Step, passed: Callable[[Step], None]
    ) -> None:
        if self.way is None or step is Step.SWEPT:
            super()._run(operations, ruleset, step, passed)
        elif operations:
            self.took += self.way(self, operations, ruleset)
            passed(step)

    def bare(self, operations: Sequence[Operation], ruleset: Ruleset) -> float:
        """Send messages that were made before."""
        messages = tuple(encode(operations, {each.name: each for each in ruleset.tables[0].sets}, self._indexes))
        self._channel = self._channel or Channel("")
        begun = time.perf_counter()
        self._channel.commit(messages, self._hear)
        return time.perf_counter() - begun

    def in_process(self, operations: Sequence[Operation], _: Ruleset) -> float:
        """Hand the same to libnftables as text that was made before."""
        text = script(operations)
        begun = time.perf_counter()
        libnftables.run("", text)
        return time.perf_counter() - begun

    def process(self, operations: Sequence[Operation], _: Ruleset) -> float:
        """Hand the same text to a process of nft."""
        text = script(operations)
        begun = time.perf_counter()
        subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)
        return time.perf_counter() - begun


def script(operations: Sequence[Operation]) -> str:
    """Write operations as one script of nft."""
    chains = (one for one in operations if isinstance(one, AddChain) and one.chain.hook is None)
    lines = [f"add chain {one.family} {TABLE} {one.chain.name}" for one in chains]
    for one in operations:
        lines += _lines(one)
    return "\n".join(lines) + "\n"


def _lines(one: Operation) -> Iterator[str]:
    table = f"{one.family} {TABLE}"
    match one:
        case WakeTable():
            yield f"add table {table}"
        case AddSet():
            yield from (f"table {table} {{", *set_block(one.set), "}")
        case AddElements():
            yield f"add element {table} {one.set.name} {{ {', '.join(element_texts(one.set, one.elements))} }}"
        case DeleteElements():
            yield f"delete element {table} {one.set.name} {{ {', '.join(_keys(one))} }}"
        case AddChain():
            yield from (f"table {table} {{", *chain_block(one.chain), "}")
        case Refill():
            yield f"flush chain {table} {one.chain.name}"
            yield from (f"add rule {table} {one.chain.name} {rule_text(rule)}" for rule in one.chain.rules)
        case EmptyChain():
            yield f"flush chain {table} {one.name}"
        case DeleteChain():
            yield f"delete chain {table} {one.name}"
        case EmptySet():
            yield f"flush set {table} {one.name}"
        case DeleteSet():
            yield f"delete set {table} {one.name}"
        case _:
            assert_never(one)


def _keys(one: DeleteElements) -> Iterator[str]:
    types = tuple(field.type for field in one.set.key)
    yield from (key_text(types, element.key) for element in one.elements)
