"""Both tables whole → the messages of one transaction: what was there goes, what is wanted comes.

    whole(ruleset, indexes)  ──▶  table, no table, table; timeouts, chains, sets and their elements; rules

Objects come in the Ruleset's order, and so `nft list` shows them in that order. What was in force goes on until the
transaction is committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Final

from enforcer.dataplane.netlink.messages import TABLE_NAME, Message, new_chain, new_set, new_table, rules
from enforcer.dataplane.netlink.wire import CREATE, FAMILIES, attribute, nest, number, text
from enforcer.ruleset.nft import Ruleset, Table, Timeout

_DELETE_TABLE, _NEW_OBJECT = 2, 18
_CT_TIMEOUT: Final = 7
_L3PROTOS: Final = {"ip": 2, "ip6": 10}
_PROTOCOLS: Final = {"tcp": 6, "udp": 17}
_STATES: Final = {
    "tcp": {"established": 2, "fin_wait": 3},
    "udp": {"unreplied": 0, "replied": 1},
}
"""CTA_TIMEOUT_TCP_… and CTA_TIMEOUT_UDP_…, less one."""


def whole(ruleset: Ruleset, indexes: Mapping[str, int]) -> Iterator[Message]:
    """Encode the replacement of both tables; `indexes` are the interfaces. Raises Untold."""
    for table in ruleset.tables:
        yield new_table(table.family)
        yield Message(_DELETE_TABLE, 0, FAMILIES[table.family], TABLE_NAME, "table")
        yield new_table(table.family)
    numbers = count(1)
    for table in ruleset.tables:
        yield from (_timeout(table, each) for each in table.timeouts)
        yield from (new_chain(table.family, chain) for chain in table.chains)
        for entry in table.sets:
            yield from new_set(table.family, entry, next(numbers), indexes)
    for table in ruleset.tables:
        sets = {entry.name: entry for entry in table.sets}
        for chain in table.chains:
            yield from rules(table.family, chain, sets)


def _timeout(table: Table, timeout: Timeout) -> Message:
    states = _STATES[timeout.protocol]
    policy = (number(states[state] + 1, seconds) for state, seconds in timeout.policy)
    protocols = (
        attribute(1, _L3PROTOS[timeout.l3proto].to_bytes(2, "big")),
        attribute(2, bytes((_PROTOCOLS[timeout.protocol],))),
    )
    body = TABLE_NAME + text(2, timeout.name) + number(3, _CT_TIMEOUT) + nest(4, *protocols, nest(3, *policy))
    return Message(_NEW_OBJECT, CREATE, FAMILIES[table.family], body, f"ct timeout {timeout.name}")
