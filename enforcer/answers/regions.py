"""Which conversations does a policy tell apart? One representative for each region that some rule names.

A region is a run of ports that the same rules name, so every port of it has the same verdict; its first port stands for
it. What lies between the named ports is one more region, the *other* ports, where a rule without ports speaks of them.
ICMP counts by type and code, any other protocol by its number. Asked are the enabled rules of the groups that some NIC
has. Protocols that no rule names by number are left out: ask for one to see it.

Example: a rule for tcp `22,80-90` and one that allows everything out give tcp/22, tcp/80, tcp/1 (others) and udp/1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from enforcer.model import ICMP, ICMPV6, PROTOCOL_NAMES, TCP, UDP, Family, Policy, PortRange, Rule, Traffic, service
from enforcer.semantics.sides import BEGINNINGS

ECHO = {ICMP: 8, ICMPV6: 128}
FAMILY: dict[int, Family] = {ICMP: 4, ICMPV6: 6}
EVERY_PORT = PortRange(1, 65535)


@dataclass(frozen=True, slots=True)
class Region:
    """What one column of the matrix asks: `word` as PROTO has it, `text` as people read it."""

    traffic: Traffic
    word: str
    text: str


def region_of(traffic: Traffic, word: str = "") -> Region:
    """Return the region of one question that was asked for by its word."""
    name = service(traffic)
    said = word or str(traffic)
    text = f"{said} ({name})" if name and name != said else said
    return Region(traffic, said, text)


def regions(*policies: Policy) -> tuple[Region, ...]:
    """Return the regions that the rules of the policies tell apart, taken together."""
    rules = [rule for policy in policies for rule in _asked(policy)]
    families = {address.version for policy in policies for ref in policy.nics() for address in ref.nic.addresses}
    return (
        *(region for protocol in (ICMP, ICMPV6) if FAMILY[protocol] in families for region in _icmp(protocol, rules)),
        *(region for protocol in (TCP, UDP) for region in _ports(protocol, rules)),
        *_others(rules),
    )


def _asked(policy: Policy) -> Iterator[Rule]:
    for group in policy.security_groups:
        if policy.members(group.name):
            yield from (rule for rule in group.rules if rule.enabled)


def _icmp(protocol: int, rules: list[Rule]) -> Iterator[Region]:
    """Yield the types that rules name, echo in any case; a type whose codes are named has a region for each."""
    codes: defaultdict[int, set[int]] = defaultdict(set, {ECHO[protocol]: set()})
    for rule in rules:
        kind = rule.icmp_type
        if rule.protocol == protocol and kind is not None and kind in BEGINNINGS[protocol, FAMILY[protocol]]:
            codes[kind].update(() if rule.icmp_code is None else (rule.icmp_code,))
    name = PROTOCOL_NAMES[protocol]
    for kind, named in sorted(codes.items(), key=lambda item: (item[0] != ECHO[protocol], item[0])):
        for code in sorted(named):
            yield Region(Traffic(protocol, None, kind, code), f"{name}/{kind}/{code}", f"{name} {kind}/{code}")
        code = next(code for code in range(257) if code not in named)
        if code > 255:
            continue
        plain = kind == ECHO[protocol] and not named
        text = f"{name} (ping)" if plain else f"{name} {kind}" + (", other codes" if named else "")
        yield Region(Traffic(protocol, None, kind, code), name if plain else f"{name}/{kind}/{code}", text)


def _ports(protocol: int, rules: list[Rule]) -> Iterator[Region]:
    named = list(named_ranges(tuple(rule.ports for rule in rules if rule.protocol == protocol)))
    name = PROTOCOL_NAMES[protocol]
    for ports in named:
        traffic = Traffic(protocol, port=ports.first)
        called = service(traffic) if ports.first == ports.last else None
        yield Region(traffic, f"{name}/{ports.first}", f"{name} {ports}" + (f" ({called})" if called else ""))
    if any(rule.protocol in (None, protocol) and not rule.ports for rule in rules):
        free = first_free(named)
        if free is not None:
            yield Region(Traffic(protocol, port=free), f"{name}/{free}", f"{name}, {'other' if named else 'any'} port")


def named_ranges(written: tuple[tuple[PortRange, ...], ...]) -> Iterator[PortRange]:
    """Yield, in order, the runs of ports that the same rules name; `written` has the ports of each rule."""
    change: defaultdict[int, int] = defaultdict(int)  # how many more rules speak of a port than of the one before it
    borders: set[int] = set()
    for ranges in written:
        for first, last in _joined(ranges):
            change[first] += 1
            change[last + 1] -= 1
            borders |= {first, last + 1}
    speaking = begin = 0
    for port in sorted(borders):
        if speaking:
            yield PortRange(begin, port - 1)
        speaking += change[port]
        begin = port


def _joined(ranges: tuple[PortRange, ...]) -> list[PortRange]:
    """Return the ports of one rule as few ranges: where it says 22-24,25, nothing changes at 25."""
    joined: list[PortRange] = []
    for ports in sorted(ranges):
        if joined and ports.first <= joined[-1].last + 1:
            joined[-1] = PortRange(joined[-1].first, max(joined[-1].last, ports.last))
        else:
            joined.append(ports)
    return joined


def first_free(named: list[PortRange]) -> int | None:
    """Return the lowest port that is in none of the ranges, which are in order; None where they are all ports."""
    free = 1
    for ports in named:
        if ports.first > free:
            break
        free = ports.last + 1
    return free if free <= EVERY_PORT.last else None


def _others(rules: list[Rule]) -> Iterator[Region]:
    for number in sorted({rule.protocol for rule in rules if rule.protocol is not None} - {ICMP, ICMPV6, TCP, UDP}):
        word = PROTOCOL_NAMES.get(number, str(number))
        yield Region(Traffic(number), word, word if number in PROTOCOL_NAMES else f"protocol {number}")
