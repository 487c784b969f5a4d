"""Random policies and packets reach every edge at which a compiler goes wrong: Hypothesis's and the fuzzer's alike.

An agreement over policies that never overflow a quota says nothing about quotas, so what is drawn is counted here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from ipaddress import ip_address, ip_network
from itertools import permutations
from random import Random
from typing import Any

import pytest
from fuzz.aim import Aim, Keys
from fuzz.scenes import changed, random_scene, str_of
from fuzz.shots import SYN
from hypothesis import given, settings
from policies import borders, documents, probes

from enforcer.model import parse_policy
from enforcer.semantics import not_in_effect

Document = dict[str, Any]
MANY = 250
TYPES = ("s1", "c1", "c2", "m1", "h1", "d1", "g1", "g2", "e1", "e2", "et2", "kai1")


@cache
def hypothesis_draws() -> tuple[Document, ...]:
    found = list[Document]()

    @settings(max_examples=MANY, derandomize=True, database=None)
    @given(documents())
    def draw(document: Document) -> None:
        found.append(document)

    draw()
    return tuple(found)


@cache
def fuzzer_draws() -> tuple[Document, ...]:
    return tuple(json.loads(str_of(random_scene(Random(seed)))) for seed in range(MANY))


DRAWS = pytest.mark.parametrize("draws", [hypothesis_draws, fuzzer_draws], ids=["hypothesis", "fuzzer"])


def rules(document: Document) -> Iterator[tuple[Document, Document]]:
    for group in document["security_groups"]:
        for rule in group.get("rules", ()):
            yield group, rule


def pairs(document: Document) -> Iterator[tuple[Document, Document]]:
    """Yield two rules of one group that may speak of the same packets."""
    for group in document["security_groups"]:
        for one, other in permutations(group.get("rules", ()), 2):
            if all(one.get(key, "IPv4") == other.get(key, "IPv4") for key in ("direction", "ethertype")):
                yield one, other


def ports(document: Document) -> Iterator[tuple[int, int]]:
    for _, rule in rules(document):
        for part in filter(None, str(rule.get("multiport", "")).split(",")):
            first, _, last = part.partition("-")
            yield int(first), int(last or first)


def prefixes(document: Document) -> list[Any]:
    return [ip_network(rule["remote_ip_prefix"]) for _, rule in rules(document) if "remote_ip_prefix" in rule]


def adjacent(networks: list[Any]) -> bool:
    starts = {int(n.network_address) for n in networks}
    return any(int(n.broadcast_address) + 1 in starts for n in networks)


def nested(networks: list[Any]) -> bool:
    return any(a != b and a.version == b.version and a.subnet_of(b) for a, b in permutations(networks, 2))


def nics(document: Document) -> list[Document]:
    return list(document["ecs"])


def unused_groups(document: Document) -> set[str]:
    """Return the groups that nobody is in."""
    used = {name for nic in nics(document) for name in nic.get("security_groups", ())}
    return {group["name"] for group in document["security_groups"]} - used


def lapsed(document: Document, why: str) -> bool:
    return any(why in warning for warning in lapses(json.dumps(document)))


@cache
def lapses(text: str) -> tuple[str, ...]:
    return tuple(map(str, not_in_effect(parse_policy(text))))


def kinds(document: Document) -> set[str]:
    names = {str(rule.get("protocol", "all")) for _, rule in rules(document)}
    return {"number" if name.isdigit() else name for name in names}


EDGES: dict[str, Callable[[Document], bool]] = {
    "port 1": lambda d: any(first == 1 for first, _ in ports(d)),
    "port 65535": lambda d: any(last == 65535 for _, last in ports(d)),
    "port intervals that touch": lambda d: bool({last + 1 for _, last in ports(d)} & {first for first, _ in ports(d)}),
    "adjacent prefixes": lambda d: adjacent(prefixes(d)),
    "nested prefixes": lambda d: nested(prefixes(d)),
    "0.0.0.0/0 beside /32": lambda d: {0, 32} <= {p.prefixlen for p in prefixes(d) if p.version == 4},
    "::/0 beside /128": lambda d: {0, 128} <= {p.prefixlen for p in prefixes(d) if p.version == 6},
    "a range in an address group": lambda d: any("-" in e for g in d["address_groups"] for e in g["entries"]),
    "an empty address group that a rule names": lambda d: any(
        r.get("remote_address_group") in [g["name"] for g in d["address_groups"] if not g["entries"]]
        for _, r in rules(d)
    ),
    "a remote group that nobody is in": lambda d: any(r.get("remote_group") in unused_groups(d) for _, r in rules(d)),
    "a group that names itself": lambda d: any(r.get("remote_group") == g["name"] for g, r in rules(d)),
    "a group without a rule": lambda d: any(
        g.get("rules") == [] and not g.get("template") for g in d["security_groups"]
    ),
    "three groups on a NIC": lambda d: any(len(nic.get("security_groups", ())) == 3 for nic in nics(d)),
    "equal priorities with both actions": lambda d: any(
        a.get("priority", 1) == b.get("priority", 1) and a.get("action", "allow") != b.get("action", "allow")
        for a, b in pairs(d)
    ),
    "a disabled rule": lambda d: any(not r.get("enabled", True) for _, r in rules(d)),
    "more costly rules than the quota": lambda d: lapsed(d, "quota"),
    "a rule that an ECS type does not apply": lambda d: lapsed(d, "ECS type"),
    "an ICMP type with a code": lambda d: any("icmp_code" in r for _, r in rules(d)),
    "revoke: both": lambda d: d["revoke"] == "both",
}


@DRAWS
@pytest.mark.parametrize("edge", EDGES)
def test_every_edge_is_drawn_again_and_again(draws: Callable[[], tuple[Document, ...]], edge: str) -> None:
    count = sum(map(EDGES[edge], draws()))
    assert count >= MANY // 80, f"{edge}: {count} of {MANY} policies"


@DRAWS
def test_every_ecs_type_is_drawn_s10(draws: Callable[[], tuple[Document, ...]]) -> None:
    drawn = {nic["type"].partition(".")[0].lower() for document in draws() for nic in nics(document) if "type" in nic}
    assert drawn >= {*TYPES, "s6"}


@DRAWS
@pytest.mark.parametrize("ethertype", ["IPv4", "IPv6"])
def test_every_kind_of_protocol_is_drawn_in_both_families_s4(
    draws: Callable[[], tuple[Document, ...]], ethertype: str
) -> None:
    drawn = set()
    for document in draws():
        for group in document["security_groups"]:
            same = [rule for rule in group.get("rules", ()) if rule.get("ethertype") == ethertype]
            drawn |= kinds({"security_groups": [{"rules": same}]})
    assert drawn >= {"tcp", "udp", "gre", "all", "number", "icmp" if ethertype == "IPv4" else "icmpv6"}


@DRAWS
def test_groups_are_drawn_in_every_order_s7(draws: Callable[[], tuple[Document, ...]]) -> None:
    drawn = {tuple(nic.get("security_groups", ())) for document in draws() for nic in nics(document)}
    assert drawn >= {*permutations(("Sg-A", "Sg-B", "Sg-C"), 3), *permutations(("Sg-A", "Sg-B", "Sg-C"), 2)}


def test_packets_are_sent_to_both_sides_of_every_border() -> None:
    """Hypothesis's tests ask all of these about every policy."""
    for document in hypothesis_draws()[:50]:
        policy = parse_policy(json.dumps(document))
        asked = {family: set(borders(policy, family)) for family in (4, 6)}
        for network in prefixes(document):
            beside = int(network.broadcast_address) + 1
            assert network.network_address in asked[network.version]
            assert (
                beside == 1 << network.max_prefixlen
                or type(network.broadcast_address)(beside) in asked[network.version]
            )
        ends = {port for protocol, port in probes(4) if protocol == 6}
        assert {1, 65535} <= ends
        assert all(first in ends and last in ends for first, last in ports(document))


def test_the_fuzzer_aims_at_the_borders_and_at_everything_else() -> None:
    seen = set[str]()
    for seed in range(30):
        rng = Random(seed)
        policy = parse_policy(str_of(changed(rng, random_scene(rng))))
        named = {port for g in policy.security_groups for r in g.rules for p in r.ports for port in (p.first, p.last)}
        aim = Aim(rng, policy, Keys())
        for flow in filter(None, (aim.flow() for _ in range(200))):
            seen.add(f"family {flow.source.version}")
            seen.add({6: "tcp", 17: "udp", 47: "gre"}.get(flow.protocol, "icmp" if flow.is_icmp else "other"))
            if flow.protocol in (6, 17):
                seen |= {f"port {flow.port}"} if flow.port in (1, 65535) else set()
                seen |= {"a border of ports"} if flow.port in named else set()
                seen |= {"beside a border of ports"} if {flow.port - 1, flow.port + 1} & named else set()
            seen |= {"a segment that begins nothing"} if flow.flags != SYN else set()
            seen |= {"another's MAC"} if flow.stranger else set()
            seen |= {"a virtual IP"} if flow.source == ip_address("10.0.0.40") else set()
    assert seen >= {
        *("family 4", "family 6", "tcp", "udp", "gre", "icmp", "other", "port 1", "port 65535", "a border of ports"),
        *("beside a border of ports", "a segment that begins nothing", "another's MAC", "a virtual IP"),
    }  # fmt: skip
