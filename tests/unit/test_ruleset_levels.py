"""Regions sorted into levels: what the first level that answers says is what the one region of the packet says."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.compiler.effective import EffectiveRule
from enforcer.compiler.program import Decider, Region
from enforcer.compiler.regions import regions
from enforcer.model import Rule
from enforcer.ruleset.levels import FEW, Levels, levels_above, levels_of_rest, rows_of

EDGES = sorted({0, 1, 2, 21, 22, 23, 37, 38, 39, 40, 79, 80, 81, 96, 97, 443, 444, 65534, 65535})


def rule(name: str, **fields: Any) -> EffectiveRule:
    return EffectiveRule("Sg", Rule.model_validate({"id": name, "direction": "ingress", **fields}))


def sorted_out(*rules: EffectiveRule) -> Levels:
    return levels_of_rest(regions(rules, 4))


def ask(found: Levels, protocol: int, subkey: int) -> Decider | None:
    """Ask the levels in their order, as the kernel does."""
    for proto, sub, decider in found.points:
        if (proto, sub) == (protocol, subkey):
            return decider
    inside = [d for proto, span, d in found.ranges if proto == protocol and span.first <= subkey <= span.last]
    assert len(inside) <= 1, "ranges overlap"
    if inside:
        return inside[0]
    for proto, decider in found.protocols:
        if proto == protocol:
            return decider
    return found.classes[0][0] if found.classes else None


def region_of(found: tuple[Region, ...], protocol: int, subkey: int) -> Decider | None:
    for region in found:
        here = region.protocols.first <= protocol <= region.protocols.last
        if here and region.subkeys.first <= subkey <= region.subkeys.last:
            return region.decider
    return None


@st.composite
def rule_lists(draw: st.DrawFn) -> list[EffectiveRule]:
    found = []
    for place in range(draw(st.integers(0, 7))):
        fields: dict[str, Any] = {
            "action": draw(st.sampled_from(("allow", "deny"))),
            "protocol": draw(st.sampled_from(("tcp", "tcp", "tcp", "udp", "icmp", "gre", "all"))),
        }
        if fields["protocol"] in ("tcp", "udp") and draw(st.booleans()):
            ends = draw(st.lists(st.sampled_from(EDGES[1:]), min_size=2, max_size=2))
            fields["multiport"] = f"{min(ends)}-{max(ends)}"
        if fields["protocol"] == "icmp" and draw(st.booleans()):
            fields["icmp_type"] = draw(st.sampled_from((0, 3, 8, 13)))
        found.append(rule(f"r{place}", **fields))
    return found


@given(rule_lists())
@settings(max_examples=100)
def test_levels_and_regions_agree_at_every_edge(rules: list[EffectiveRule]):
    found, whole = sorted_out(*rules), regions(rules, 4)
    edges = {e for r in whole for s in (r.subkeys,) for e in (s.first - 1, s.first, s.last, s.last + 1)}
    for protocol in (0, 1, 5, 6, 7, 16, 17, 18, 46, 47, 48, 255):
        for subkey in {*EDGES, *edges} & set(range(65536)):
            assert ask(found, protocol, subkey) == region_of(whole, protocol, subkey), (protocol, subkey)


@given(rule_lists(), rule_lists())
@settings(max_examples=100)
def test_a_class_is_asked_first_and_then_the_rest(above: list[EffectiveRule], below: list[EffectiveRule]):
    upper, rest = regions(above, 4), regions(below, 4)
    own, common = levels_above(upper, rows_of(rest)), levels_of_rest(rest)
    edges = {e for r in (*upper, *rest) for e in (r.subkeys.first - 1, r.subkeys.first, r.subkeys.last + 1)}
    for protocol in (0, 1, 5, 6, 7, 16, 17, 18, 46, 47, 48, 255):
        for subkey in {*EDGES, *edges} & set(range(65536)):
            expected = region_of(upper, protocol, subkey) or region_of(rest, protocol, subkey)
            assert (ask(own, protocol, subkey) or ask(common, protocol, subkey)) == expected, (protocol, subkey)


@given(rule_lists(), rule_lists(), rule_lists())
@settings(max_examples=100)
def test_what_does_not_lean_on_the_rest_is_the_same_whatever_that_is(
    above: list[EffectiveRule], below: list[EffectiveRule], others: list[EffectiveRule]
):
    found = levels_above(regions(above, 4), rows_of(regions(below, 4)))
    if not found.leans:
        assert found == levels_above(regions(above, 4), rows_of(regions(others, 4)))


def test_ports_named_one_by_one_need_no_interval():
    found = sorted_out(rule("a", protocol="tcp", multiport="22,80,443"), rule("b", protocol="udp"))
    assert [(protocol, port) for protocol, port, _ in found.points] == [(6, 22), (6, 80), (6, 443)]
    assert [protocol for protocol, _ in found.protocols] == [17]
    assert found.ranges == []
    assert found.classes == []


def test_a_short_range_is_points_and_a_long_one_is_not():
    assert len(sorted_out(rule("a", protocol="tcp", multiport=f"100-{99 + FEW}")).points) == FEW
    assert len(sorted_out(rule("a", protocol="tcp", multiport=f"100-{100 + FEW}")).ranges) == 1


def test_exceptions_from_everything_are_points_and_the_rest_is_the_class_default():
    found = sorted_out(rule("no-ssh", protocol="tcp", multiport=22, action="deny"), rule("all"))
    assert [port for _, port, _ in found.points] == [22]
    assert [str(decider) for (decider,) in found.classes] == ["Sg/all"]
    assert found.ranges == found.protocols == []


def test_a_range_swallows_the_points_inside_it():
    found = sorted_out(
        rule("hole", protocol="tcp", multiport=500, action="deny"), rule("wide", protocol="tcp", multiport="100-900")
    )
    assert [tuple(span) for _, span, _ in found.ranges] == [(100, 900)]
    assert [(port, decider.rule) for _, port, decider in found.points] == [(500, "hole")]


def test_a_range_never_swallows_what_no_rule_decides():
    found = sorted_out(rule("a", protocol="tcp", multiport="100-200,202-300"))
    assert [tuple(span) for _, span, _ in found.ranges] == [(100, 200), (202, 300)]


def test_an_empty_list_has_no_default_s7():
    assert sorted_out() == Levels()
