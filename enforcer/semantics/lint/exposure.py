"""Management ports that a group opens to the world: what a scanner finds within the hour.

*The world* is at least half of all IPv4 addresses, or all of the IPv6 addresses in use (2000::/3), by whichever remote.
A port is *open* by a rule that allows some of its packets from there which no earlier rule of the group decides; an
allowance behind a sufficient deny is none. A template is named once for all of its rules.
"""

from __future__ import annotations

from collections.abc import Iterator

from enforcer.errors import Problem
from enforcer.model import TCP, UDP, Action, Direction, Family, Policy, Rule, SecurityGroup
from enforcer.semantics.lint.packets import Box, Cover, Interval
from enforcer.semantics.lint.views import View, views

MANAGEMENT: dict[tuple[int, int], str] = {
    (TCP, 22): "tcp 22 (SSH)",
    (TCP, 23): "tcp 23 (Telnet)",
    (TCP, 135): "tcp 135 (Windows RPC)",
    (TCP, 445): "tcp 445 (SMB)",
    (TCP, 2375): "tcp 2375 (Docker)",
    (TCP, 2376): "tcp 2376 (Docker)",
    (TCP, 3389): "tcp 3389 (RDP)",
    (TCP, 5900): "tcp 5900 (VNC)",
    (TCP, 5985): "tcp 5985 (WinRM)",
    (TCP, 5986): "tcp 5986 (WinRM)",
    (TCP, 6443): "tcp 6443 (Kubernetes)",
    (UDP, 161): "udp 161 (SNMP)",
    (UDP, 623): "udp 623 (IPMI)",
    (UDP, 3389): "udp 3389 (RDP)",
}
WORLD: dict[Family, int] = {4: 2**31, 6: 2**125}
MOST_NAMED = 3


def exposures(policy: Policy, group: SecurityGroup) -> Iterator[Problem]:
    """Yield a warning for the group's template and for each listed rule that opens management ports to the world."""
    opened: dict[str, dict[str, None]] = {}
    for view in views(policy, group):
        for family in WORLD:
            for rule, name in _openings(view, family):
                opened.setdefault(rule.id, {})[name] = None
    listed = {rule.id for _, rule in group.listed()}
    by_template = [name for rule in group.rules if rule.id not in listed for name in opened.get(rule.id, ())]
    place = f"security_groups[{group.name}]"
    if by_template:
        yield _warning(f"{place}.template", f"{group.template} opens", tuple(dict.fromkeys(by_template)))
    for rule in group.rules:
        if rule.id in listed and rule.id in opened:
            yield _warning(f"{place}.rules[{rule.id}]", "opens", tuple(opened[rule.id]))


def _openings(view: View, family: Family) -> Iterator[tuple[Rule, str]]:
    """Yield the rules that open a port of MANAGEMENT to the world here, with the port's name."""
    before = Cover()
    for rule in view.ranked(Direction.INGRESS, family):
        box = view.box(rule)
        if rule.action == Action.ALLOW and _is_world(box.addresses, family):
            for (protocol, port), name in MANAGEMENT.items():
                one = Box(protocol, ((port, port),), box.addresses)
                if box.meets(one) and not before.holds(one):
                    yield rule, name
        before.add(box)


def _is_world(addresses: tuple[Interval, ...], family: Family) -> bool:
    return sum(last - first + 1 for first, last in addresses) >= WORLD[family]


def _warning(where: str, opens: str, names: tuple[str, ...]) -> Problem:
    shown = ", ".join(names[:MOST_NAMED])
    more = f" and {len(names) - MOST_NAMED} more management ports" if len(names) > MOST_NAMED else ""
    mend = "allow it from the addresses that need it"
    return Problem(where, f"{opens} {shown}{more} to the world; {mend}", code="world-open-management")
