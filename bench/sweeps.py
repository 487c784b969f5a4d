"""Which figures are taken: one sweep per question of the project's bars, each with the ratios that answer it.

base        all cases, all measures, at the full size
ipv6        the same for IPv6, new flows and established packets
rules       new flows with 1, 10, 120 and 600 rules
match       new flows whose rule is the first, the last, or not there
nics        new flows with 2, 100 and 1,000 NICs in the router
members     new flows with 10, 1,000 and 6,000 members of the remote group
way         what each step of the packet's way costs (`way`)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bench import cases, measures
from bench.shape import PLACES, Shape
from bench.turns import Measure
from bench.way import cut_off


@dataclass(frozen=True, slots=True)
class Size:
    """How long a run is: turns, frames in a burst, and the largest router."""

    turns: int
    bursts: int
    flows: int
    most_nics: int
    peers: bool


FULL = Size(turns=5, bursts=8, flows=2000, most_nics=1000, peers=True)
QUICK = Size(turns=3, bursts=8, flows=1500, most_nics=100, peers=True)
TINY = Size(turns=1, bursts=2, flows=300, most_nics=3, peers=False)


@dataclass(frozen=True, slots=True)
class Sweep:
    """Cases and measures of one run of turns; `ratios` are pairs of case names."""

    name: str
    cases: Sequence[cases.Case]
    measures: Mapping[str, Measure]
    ratios: Sequence[tuple[str, str]]
    nics: int = 2


def rates(size: Size) -> dict[str, Measure]:
    """Return the measures of packets alone."""
    return {
        "new flows/s": partial(measures.new_flows, bursts=size.bursts, flows=size.flows),
        "established packets/s": partial(measures.established, bursts=size.bursts, flows=size.flows),
    }


def everything(size: Size) -> dict[str, Measure]:
    """Return every measure."""
    part = size.flows / 2000
    return {
        **rates(size),
        "first packet p50 µs": partial(measures.first_packet, at=50, count=max(100, int(1000 * part))),
        "first packet p99 µs": partial(measures.first_packet, at=99, count=max(100, int(1000 * part))),
        "connections/s": partial(measures.connections, count=max(20, int(1000 * part))),
        "requests/s": partial(measures.requests, count=max(100, int(5000 * part))),
        **({"TCP Gbit/s": measures.throughput, "UDP Gbit/s": measures.datagrams} if size.peers else {}),
    }


def base(size: Size) -> Sweep:
    """All cases at the full size, with every measure."""
    shape = Shape()
    listed = [cases.nothing(), cases.conntrack(), cases.ours(shape)]
    listed += [cases.ours(shape, "ours, host", owned=False), cases.nft_list(shape)]
    if size.peers:
        listed.append(cases.iptables(shape))
    return Sweep("base", listed, everything(size), _to_conntrack_and_peers(listed))


def ipv6(size: Size) -> Sweep:
    """All cases, over IPv6."""
    shape = Shape(family=6)
    listed = [cases.conntrack(6), cases.ours(shape), cases.nft_list(shape)]
    if size.peers:
        listed.append(cases.iptables(shape))
    return Sweep("ipv6", listed, rates(size), _to_conntrack_and_peers(listed))


def rules(size: Size) -> Sweep:
    """New flows, the more rules."""
    shapes = [(f"{count}", Shape(rules=count)) for count in (1, 10, 120, 600)]
    return _grown("rules", size, shapes, "1")


def match(size: Size) -> Sweep:
    """New flows whose rule is first, last, or not there."""
    shapes = [(where, Shape(match=where)) for where in PLACES]
    return _grown("match", size, shapes, "first")


def nics(size: Size) -> Sweep:
    """New flows, the more NICs are in the router."""
    counts = sorted({2, min(100, size.most_nics), size.most_nics})
    shapes = [(f"{count}", Shape(rules=10, nics=count)) for count in counts]
    return replace(_grown("nics", size, shapes, "2"), nics=size.most_nics)


def members(size: Size) -> Sweep:
    """New flows, the more members the remote group has."""
    counts = (10, 1000, 6000) if size.peers else (10, 50)
    shapes = [(f"{count}", Shape(rules=10, members=count)) for count in counts]
    return _grown("members", size, shapes, "10")


def way(size: Size) -> Sweep:
    """Our ruleset, cut off behind one step after another."""
    listed = [cases.conntrack(), *cut_off()]
    return Sweep("way", listed, rates(size), [(case.name, "conntrack") for case in listed[1:]])


SWEEPS: dict[str, Callable[[Size], Sweep]] = {
    "base": base, "ipv6": ipv6, "rules": rules, "match": match, "nics": nics, "members": members,
    "way": way,
}  # fmt: skip


def _grown(name: str, size: Size, shapes: Sequence[tuple[str, Shape]], first: str) -> Sweep:
    forms = [("ours", cases.ours), ("list", cases.nft_list)]
    if size.peers:
        forms.append(("iptables", cases.iptables))
    grown = [make(shape, f"{form} {label}") for form, make in forms for label, shape in shapes]
    ratios = [(f"{form} {label}", f"{form} {first}") for form, _ in forms for label, _ in shapes if label != first]
    ratios += [(f"ours {label}", "conntrack") for label, _ in shapes]
    ratios += [(f"ours {label}", f"{form} {label}") for form, _ in forms[1:] for label, _ in shapes]
    flows = {"new flows/s": rates(size)["new flows/s"]}
    return Sweep(name, [cases.conntrack(), *grown], flows, ratios)


def _to_conntrack_and_peers(listed: Sequence[cases.Case]) -> list[tuple[str, str]]:
    names = [case.name for case in listed]
    ratios = [(name, "conntrack") for name in names if name != "conntrack"]
    return ratios + [("ours", name) for name in names if name in ("list", "iptables")]
