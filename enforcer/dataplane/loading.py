"""Put a Ruleset in force, whole or as a difference: by raw messages, or as text where these do not do.

    load(ruleset)                  both tables, in one transaction: all of it holds afterwards, or what was before
    Steps(ruleset, present)        from what is there by name: prepare, switch, sweep (`ruleset.difference`)

Messages take a fraction of the time and of the memory. What has no form as a message, an interface that went away
meanwhile and whatever the kernel refuses goes to libnftables once more: it has a form for everything, and says what is
wrong in its own words, with the line.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence

from enforcer.dataplane import libnftables
from enforcer.dataplane.closing import closed_beside
from enforcer.dataplane.namespaces import entered
from enforcer.dataplane.netlink import Channel, Message, Untold, encode, whole
from enforcer.errors import TransactionRefused
from enforcer.ruleset import Present, Ruleset, Transactions, difference, render
from enforcer.ruleset.changes import Operation
from enforcer.ruleset.steps import steps


def load(ruleset: Ruleset, indexes: Mapping[str, int] | None = None) -> None:
    """Put a Ruleset in the place of both tables; `indexes` are the interfaces, if somebody has just looked.

    Raises TransactionRefused, and then nothing has changed; SystemRefused when nobody knows whether it has.
    """
    try:
        load_raw(ruleset, indexes)
    except (Untold, KeyError, TransactionRefused):
        libnftables.run(ruleset.namespace, render(ruleset))


def load_raw(ruleset: Ruleset, indexes: Mapping[str, int] | None = None) -> None:
    """Do so by messages alone. Raises Untold as well, and KeyError for an interface that is not there."""
    found = _indexes(ruleset.namespace) if indexes is None else indexes
    _send(ruleset.namespace, whole(ruleset, found))


class Steps:
    """The three transactions of a difference; each is carried out once, and is empty where there is nothing to do."""

    def __init__(self, ruleset: Ruleset, present: Mapping[str, Present]) -> None:
        self._ruleset, self._present = ruleset, present
        self.operations = steps(ruleset, present)
        self.doomed = frozenset(self.operations.retired)

    @property
    def sweeps(self) -> bool:
        """Whether there is something to sweep."""
        return bool(self.operations.sweep)

    def prepare(self) -> bool:
        """Add what nothing refers to yet; False: there was nothing to do."""
        return self._ran(self.operations.prepare, lambda texts: texts.prepare)

    def switch(self) -> bool:
        """Put the new rules in force; False: there was nothing to do."""
        return self._ran(self.operations.switch, lambda texts: texts.switch)

    def sweep(self) -> bool:
        """Delete what nothing refers to any more; False: there was nothing to do."""
        return self._ran(self.operations.sweep, lambda texts: texts.sweep)

    def _ran(self, operations: Sequence[Operation], text: Callable[[Transactions], str]) -> bool:
        if not operations:
            return False
        netns = self._ruleset.namespace
        try:
            self.run_raw(operations)
        except (Untold, KeyError, TransactionRefused):
            libnftables.run(netns, text(difference(self._ruleset, self._present)))
        return True

    def run_raw(self, operations: Sequence[Operation]) -> None:
        """Carry out operations by messages alone."""
        sets = {entry.name: entry for table in self._ruleset.tables for entry in table.sets}
        netns = self._ruleset.namespace
        _send(netns, encode(operations, sets, _indexes(netns)))


def _indexes(netns: str) -> dict[str, int]:
    with entered(netns):
        return {name: index for index, name in socket.if_nameindex()}


def _send(netns: str, batch: Iterable[Message]) -> None:
    with closed_beside(Channel(netns)) as channel:
        channel.commit(batch)
