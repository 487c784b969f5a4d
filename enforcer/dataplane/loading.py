"""Replace both tables of a namespace whole, in one transaction: raw messages, or text where these do not do.

    load(ruleset)      all of it holds afterwards, or what was before

Messages take a fraction of the time and of the memory. What has no form as a message, an interface that went away
meanwhile and whatever the kernel refuses goes to libnftables once more: it has a form for everything, and says what is
wrong in its own words, with the line.
"""

from __future__ import annotations

import socket

from enforcer.dataplane import libnftables
from enforcer.dataplane.namespaces import entered
from enforcer.dataplane.netlink import Channel, Untold, whole
from enforcer.errors import TransactionRefused
from enforcer.ruleset import Ruleset, render


def load(ruleset: Ruleset) -> None:
    """Put a Ruleset in the place of both tables.

    Raises TransactionRefused, and then nothing has changed; SystemRefused when nobody knows whether it has.
    """
    try:
        load_raw(ruleset)
    except (Untold, KeyError, TransactionRefused):
        libnftables.run(ruleset.namespace, render(ruleset))


def load_raw(ruleset: Ruleset) -> None:
    """Do so by messages alone. Raises Untold as well, and KeyError for an interface that is not there."""
    with entered(ruleset.namespace):
        indexes = {name: index for index, name in socket.if_nameindex()}
    batch = tuple(whole(ruleset, indexes))
    channel = Channel(ruleset.namespace)
    try:
        channel.commit(batch)
    finally:
        channel.close()
