"""Bring namespaces in line with a plan, and take all of them away again.

`realise` follows a fixed order, so that a NIC is deaf and mute until its rules are in force (S19), and a step that was
cut off can be repeated:

1. remove what goes: routes, policy rules, addresses, links, namespaces;
2. add what comes: namespaces, settings, links, addresses, routes, NAT; the guests' ends of new NICs stay down;
3. enforce: somebody else puts rules on the interfaces that are there now;
4. bring the new NICs up, and give their instances their routes.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Protocol, TypeVar

from enforcer.dataplane import libnftables, namespaces
from enforcer.errors import SystemRefused
from enforcer.lab import nat
from enforcer.lab.links import Netlink, set_switches
from enforcer.lab.plan import Changes, Route

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is, and how much there is."""

_CARRIER_TIMEOUT: Final = 10.0
_FAREWELL: Final = 2.0
"""How long a process in a namespace may take to end when its host is removed."""


class _Placed(Protocol):
    @property
    def netns(self) -> str: ...


_Part = TypeVar("_Part", bound=_Placed)


def _by_namespace(parts: Iterable[_Part]) -> dict[str, list[_Part]]:
    grouped: dict[str, list[_Part]] = {}
    for part in parts:
        grouped.setdefault(part.netns, []).append(part)
    return grouped


def realise(changes: Changes, enforce: Callable[[], None], progress: Progress) -> None:
    """Make the changes; `enforce` is called once, when all interfaces are there."""
    _remove(changes)
    _add(changes, progress)
    progress("enforcing", 0, 1)
    enforce()
    progress("enforcing", 1, 1)
    _open(changes, progress)


def _remove(changes: Changes) -> None:
    gone = {host.netns for host in changes.hosts.removed}
    kept = {(route.netns, route.destination, route.table, route.metric) for route in changes.routes.added}
    routes = _by_namespace(
        route
        for route in changes.routes.removed
        if route.netns not in gone and (route.netns, route.destination, route.table, route.metric) not in kept
    )
    rules = _by_namespace(rule for rule in changes.rules.removed if rule.netns not in gone)
    addresses = _by_namespace(address for address in changes.addresses.removed if address.netns not in gone)
    links: dict[str, list[str]] = {}
    for link in changes.links.removed:  # one end is enough, the one that stays
        if link.netns not in gone:
            links.setdefault(link.netns, []).append(link.interface)
        elif link.far_netns not in gone:
            links.setdefault(link.far_netns, []).append(link.far_interface)
    for netns in dict.fromkeys((*routes, *rules, *addresses, *links)):
        if not namespaces.exists(netns):
            continue
        with Netlink.opened(netns) as here:
            for route in routes.get(netns, ()):
                here.remove_route(route)
            for rule in rules.get(netns, ()):
                here.remove_rule(rule)
            for address in addresses.get(netns, ()):
                here.remove_address(address)
            for name in links.get(netns, ()):  # now: a namespace that goes takes its links along only some time later
                here.remove_link(name)
    remove_hosts(gone)
    rebuilt = {table.netns for table in changes.nat.added}
    for table in changes.nat.removed:
        if table.netns not in gone | rebuilt and namespaces.exists(table.netns):
            libnftables.run(table.netns, f"add table {nat.TABLE}\ndelete table {nat.TABLE}\n")


def _add(changes: Changes, progress: Progress) -> None:
    for done, host in enumerate(changes.hosts.added):
        progress("namespaces", done, len(changes.hosts.added))
        if not namespaces.exists(host.netns):  # there already: from an attempt that was cut off
            namespaces.create(host.netns)
        with Netlink.opened(host.netns) as here:
            here.set_up("lo")
    progress("namespaces", len(changes.hosts.added), len(changes.hosts.added))
    for netns, switches in _by_namespace(switch for switch in changes.switches.added if not switch.interface).items():
        set_switches(netns, ((switch.key, switch.value) for switch in switches))
    _add_links(changes, progress)
    for netns, switches in _by_namespace(switch for switch in changes.switches.added if switch.interface).items():
        set_switches(netns, ((switch.key, switch.value) for switch in switches))
    closed = _closed_ends(changes)
    addresses = _by_namespace(changes.addresses.added)
    routes = _by_namespace(route for route in changes.routes.added if (route.netns, route.interface) not in closed)
    rules = _by_namespace(changes.rules.added)
    for netns in dict.fromkeys((*addresses, *routes, *rules)):
        with Netlink.opened(netns) as here:
            for address in addresses.get(netns, ()):
                here.add_address(address)
            for rule in rules.get(netns, ()):
                here.add_rule(rule)
            _set_routes(here, routes.get(netns, ()))
    for table in changes.nat.added:
        libnftables.run(table.netns, table.script)


def _add_links(changes: Changes, progress: Progress) -> None:
    done, total = 0, len(changes.links.added)
    for netns, links in _by_namespace(changes.links.added).items():
        with Netlink.opened(netns) as here:
            for link in links:
                progress("links", done, total)
                here.add_veth(link.interface, link.far_netns, link.far_interface, link.mac, link.far_mac)
                here.set_up(link.interface)
                done += 1
    for netns, names in _far_ends(changes, guarded=False).items():
        with Netlink.opened(netns) as here:
            for name in names:
                here.set_up(name)
    progress("links", total, total)


def _open(changes: Changes, progress: Progress) -> None:
    """Bring up the NICs that were added, then wait for all new links: first packets are not lost."""
    closed = _far_ends(changes, guarded=True)
    ends = _closed_ends(changes)
    routes = _by_namespace(route for route in changes.routes.added if (route.netns, route.interface) in ends)
    for done, (netns, names) in enumerate(closed.items()):
        progress("instances", done, len(closed))
        with Netlink.opened(netns) as here:
            for name in names:
                here.set_up(name)
            _set_routes(here, routes.get(netns, ()))
    progress("instances", len(closed), len(closed))
    _await_carrier(changes)


def _await_carrier(changes: Changes) -> None:
    """Wait until both ends of every new link are in operation: before that IPv6 does not listen there."""
    ends: dict[str, set[str]] = {}
    for link in changes.links.added:
        ends.setdefault(link.netns, set()).add(link.interface)
        ends.setdefault(link.far_netns, set()).add(link.far_interface)
    deadline = time.monotonic() + _CARRIER_TIMEOUT
    for netns, names in ends.items():
        with Netlink.opened(netns) as here:
            while missing := names - here.running():
                if time.monotonic() > deadline:
                    raise SystemRefused(
                        f"{netns}: no carrier on {', '.join(sorted(missing))}; was a namespace removed?"
                    )
                time.sleep(0.002)


def _set_routes(here: Netlink, routes: Iterable[Route]) -> None:
    for route in sorted(routes, key=lambda route: route.gateway is not None):  # gateways want their way to be there
        here.set_route(route)


def _closed_ends(changes: Changes) -> frozenset[tuple[str, str | None]]:
    return frozenset((link.far_netns, link.far_interface) for link in changes.links.added if link.guarded)


def _far_ends(changes: Changes, *, guarded: bool) -> dict[str, list[str]]:
    ends: dict[str, list[str]] = {}
    for link in changes.links.added:
        if link.guarded is guarded:
            ends.setdefault(link.far_netns, []).append(link.far_interface)
    return ends


def remove_hosts(netns: Iterable[str]) -> None:
    """Switch hosts off: end the processes in the namespaces, then remove them; absent ones are fine."""
    names = tuple(netns)
    there = tuple(name for name in names if namespaces.exists(name))
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for pid in namespaces.occupants(*there):
            with suppress(ProcessLookupError):
                os.kill(pid, sign)
        deadline = time.monotonic() + _FAREWELL
        while namespaces.occupants(*there) and time.monotonic() < deadline:
            time.sleep(0.01)
    for name in names:
        namespaces.delete(name)
