"""Which NIC is at which end of a tracked conversation? Connection tracking keeps addresses, not interfaces. Pure.

1. A private address tells: packets from any other NIC would not have passed (S16).
2. An allowed address may be used by several NICs, and an address that is nobody's may be behind a forwarder (no
   `source_dest_check`): there the way that packets to the address take now tells. `unclear` names these addresses.
3. Everything else is behind no NIC of the namespace.

The policy in force is asked first, then the new one, for a NIC that comes may have talked before it was one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from enforcer.model import Attachment, IPAddress, IPNetwork, Namespace


class Ends:
    """The interfaces of one namespace by the addresses behind them, under the old layout and the new one."""

    def __init__(self, *spaces: Namespace | None) -> None:
        self._private: dict[IPAddress, str] = {}
        self._allowed: dict[IPAddress, set[str]] = {}
        self._networks: list[tuple[IPNetwork, str]] = []
        self._loose = False
        self._ways: Mapping[IPAddress, str] = {}
        for space in spaces:
            self._loose |= space is not None and space.owned  # a peering may go, and its wire with it
            for attachment in _attachments(space):
                self._learn(attachment)

    def _learn(self, attachment: Attachment) -> None:
        nic, interface = attachment.ref.nic, attachment.interface
        self._loose |= not (nic.source_dest_check and nic.port_security)
        for address in nic.addresses:
            self._private.setdefault(address, interface)
        for network in nic.allowed_addresses:
            if network.num_addresses == 1:
                self._allowed.setdefault(network.network_address, set()).add(interface)
            else:
                self._networks.append((network, interface))

    def unclear(self, addresses: Collection[IPAddress]) -> Iterator[IPAddress]:
        """Yield the addresses whose NIC only the routes can tell."""
        return (each for each in addresses if each not in self._private and (self._loose or self._users(each)))

    def learn_ways(self, ways: Mapping[IPAddress, str]) -> None:
        """Take note of the interfaces by which packets to unclear addresses leave."""
        self._ways = ways

    def interface(self, address: IPAddress) -> str | None:
        """Return the interface of the NIC behind which the address is; None: no NIC's, as far as can be told."""
        found = self._private.get(address)
        if found is not None or not (self._loose or self._allowed or self._networks):
            return found
        users = self._users(address)
        way = self._ways.get(address)
        if way is None or (users and way not in users):
            return min(users, default=None)
        return way

    def _users(self, address: IPAddress) -> set[str]:
        inside = {interface for network, interface in self._networks if address in network}
        return inside | self._allowed.get(address, set())


def ended(old: Namespace | None, new: Namespace | None) -> frozenset[IPAddress]:
    """Return the addresses whose conversations the commit ends (S14): none of their interfaces had them before.

    A NIC that loses its `port_security` keeps its addresses. One that gets it comes anew, like any other: nothing has
    ever judged what it talks about.
    """
    before, after = _owners(old), _owners(new)
    unguarded = {each.interface for each in _attachments(new) if not each.ref.nic.port_security}
    for address, interfaces in before.items():
        after.setdefault(address, set()).update(interfaces & unguarded)
    return frozenset(
        each for each in before.keys() | after.keys() if before.get(each, set()).isdisjoint(after.get(each, set()))
    )


def _owners(space: Namespace | None) -> dict[IPAddress, set[str]]:
    owners: dict[IPAddress, set[str]] = {}
    for attachment in _attachments(space):
        nic = attachment.ref.nic
        if nic.port_security:
            single = [network.network_address for network in nic.allowed_addresses if network.num_addresses == 1]
            for address in (*nic.addresses, *single):
                owners.setdefault(address, set()).add(attachment.interface)
    return owners


def _attachments(space: Namespace | None) -> tuple[Attachment, ...]:
    return space.attachments if space is not None else ()
