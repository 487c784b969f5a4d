"""Virtual IPs: addresses that move between instances while the lab runs.

The kernel is the only record of who holds one: the instance that has the address on its interface. `follow` points
the routers there, so a fail-over by hand (`ip address add` inside an instance) works as one by `move` does. While two
instances hold an address, the one that the router already knows keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable

from enforcer.dataplane import namespaces
from enforcer.errors import UsageError
from enforcer.lab.links import Netlink
from enforcer.lab.plan import Holder, Plan, Route, VirtualIp, network_of
from enforcer.model import IPAddress

Held = frozenset[tuple[str, str, IPAddress]]
"""Which namespace and interface holds which address."""


def held(plans: Iterable[Plan]) -> Held:
    """Read who holds addresses, among all that may hold a virtual IP of one of the plans."""
    candidates = dict.fromkeys(holder.netns for plan in plans for each in plan.virtual_ips for holder in each.holders)
    found: set[tuple[str, str, IPAddress]] = set()
    for netns in candidates:
        if namespaces.exists(netns):
            with Netlink.opened(netns) as here:
                found |= {(netns, interface, address) for interface, address in here.addresses()}
    return frozenset(found)


def place(olds: tuple[Plan, ...], new: Plan, before: Held) -> None:
    """Put virtual IPs where a change of plan wants them; `before` is who held what before it.

    1. Who may hold one no longer loses it, and the router its route to it.
    2. A new one goes to its first holder, and so does one that lost its holder to the change. One that nobody held
       before stays free: somebody took it away by hand.
    """
    wanted = {(each.router, each.address): each for each in new.virtual_ips}
    now = held((*olds, new))
    had_holder: set[tuple[str, IPAddress]] = set()
    known: set[tuple[str, IPAddress]] = set()
    for old in (each for plan in olds for each in plan.virtual_ips):
        key = (old.router, old.address)
        known.add(key)
        keeping = wanted[key].holders if key in wanted else ()
        for holder in old.holders:
            if holds(old, holder, before):
                had_holder.add(key)
            if holder not in keeping and holds(old, holder, now):
                _remove(old, holder)
        if key not in wanted and namespaces.exists(old.router):
            with Netlink.opened(old.router) as here:
                for holder in old.holders:
                    here.remove_route(old.route(holder))
    for key, each in wanted.items():
        if not any(holds(each, holder, now) for holder in each.holders) and (key not in known or key in had_holder):
            _add(each, each.holders[0])


def holds(each: VirtualIp, holder: Holder, found: Held) -> bool:
    """Tell whether `holder` was found to hold the virtual IP."""
    return (holder.netns, holder.interface, each.address) in found


def follow(plan: Plan) -> None:
    """Point each router at the instances that hold its virtual IPs now; one that nobody holds leads nowhere."""
    found = held((plan,))
    by_router: dict[str, list[VirtualIp]] = {}
    for each in plan.virtual_ips:
        by_router.setdefault(each.router, []).append(each)
    for router, group in by_router.items():
        with Netlink.opened(router) as here:
            ways = here.host_routes()
            for each in group:
                current = ways.get(each.address)
                ends = [holder for holder in each.holders if holds(each, holder, found)]
                if any(holder.router_interface == current for holder in ends):
                    continue
                if ends:
                    here.set_route(each.route(ends[0]))
                elif current is not None:
                    here.remove_route(Route(router, network_of(each.address), current))


def move(plan: Plan, address: IPAddress, host: str) -> None:
    """Let the NIC `host` (`ecs` or `ecs:nic`) hold the address alone, and route it there."""
    candidates = [each for each in plan.virtual_ips if each.address == address]
    choices = [(each, holder) for each in candidates for holder in each.holders if _names(holder, host)]
    if not choices:
        holders = ", ".join(holder.label for each in candidates for holder in each.holders)
        mend = f"it can be moved between {holders}" if holders else "no NIC lists it in allowed_addresses"
        raise UsageError(f"virtual IP {address}: {host!r} cannot hold it; {mend}")
    each, chosen = choices[0]
    found = held((Plan(virtual_ips=(each,)),))
    for holder in each.holders:
        if holder != chosen and holds(each, holder, found):
            _remove(each, holder)
    _add(each, chosen)
    with Netlink.opened(each.router) as here:
        here.set_route(each.route(chosen))


def _names(holder: Holder, host: str) -> bool:
    return host in (holder.label, holder.label.partition(":")[0])


def _add(each: VirtualIp, holder: Holder) -> None:
    with Netlink.opened(holder.netns) as here:
        here.add_address(each.at(holder))


def _remove(each: VirtualIp, holder: Holder) -> None:
    with Netlink.opened(holder.netns) as here:
        here.remove_address(each.at(holder))
