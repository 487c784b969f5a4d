"""From an ordered rule list to disjoint regions: the first rule wins (S7), ICMP answers follow requests (S13)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.compiler.effective import EffectiveRule
from enforcer.compiler.program import Region, Span
from enforcer.compiler.regions import Painted, above, differing, paint, painting, regions, stack
from enforcer.compiler.show import show_region
from enforcer.model import Family, Rule


def rule(name: str, **fields: Any) -> EffectiveRule:
    return EffectiveRule("Sg", Rule.model_validate({"id": name, "direction": "ingress", **fields}))


def shown(*rules: EffectiveRule, family: Family = 4) -> list[str]:
    return [show_region(region) for region in regions(rules, family)]


def test_no_rule_leaves_no_region():
    assert shown() == []


def test_one_rule_for_everything_is_one_region():
    assert regions([rule("a")], 4) == (Region(Span(0, 255), Span(0, 0xFFFF), regions([rule("a")], 4)[0].decider),)
    assert shown(rule("a")) == ["0–255 → allow Sg/a"]


def test_the_first_rule_that_covers_a_port_decides_it_s7():
    assert shown(
        rule("ssh", protocol="tcp", multiport="22", action="deny"),
        rule("low", protocol="tcp", multiport="20-30"),
        rule("tcp", protocol="tcp", action="deny"),
    ) == [
        "tcp 0–19 → deny Sg/tcp",
        "tcp 20–21 → allow Sg/low",
        "tcp 22 → deny Sg/ssh",
        "tcp 23–30 → allow Sg/low",
        "tcp 31–65535 → deny Sg/tcp",
    ]


def test_a_region_that_is_all_ports_of_a_rule_has_the_very_ports_of_the_rule():
    ssh, some = rule("ssh", protocol="tcp", multiport="22,70-80"), rule("some", protocol="tcp", multiport="75-90")
    first, second, cut = (region.subkeys for region in regions((ssh, some), 4))
    assert (first, second) == ssh.rule.ports
    assert first is ssh.rule.ports[0]
    assert second is ssh.rule.ports[1]
    assert cut == Span(81, 90)


def test_protocols_side_by_side_that_are_decided_alike_are_one_region():
    rules = (
        rule("ssh", protocol="tcp", multiport="22", action="deny"),
        rule("all"),
        rule("udp", protocol="udp", action="deny"),
        rule("gre", protocol="gre", action="deny"),
    )
    own, rest = painting(rules, (0, 1), 4), painting(rules, (2, 3), 4)
    assert [show_region(region) for region in stack(above(own, rest), rules)] == [
        "0–5 → allow Sg/all",
        "tcp 0–21 → allow Sg/all",
        "tcp 22 → deny Sg/ssh",
        "tcp 23–65535 → allow Sg/all",
        "7–255 → allow Sg/all",
    ]


def test_icmp_types_side_by_side_that_are_decided_alike_are_one_region():
    assert shown(rule("ping", protocol="icmp", icmp_type=8, action="deny"), rule("icmp", protocol="icmp")) == [
        "icmp types 0.0–0.255 → deny Sg/ping",
        "icmp types 1.0–7.255 → allow Sg/icmp",
        "icmp types 8.0–8.255 → deny Sg/ping",
        "icmp types 9.0–255.255 → allow Sg/icmp",
    ]


def test_a_rule_that_others_cover_decides_nothing():
    assert shown(
        rule("all-tcp", protocol="tcp"),
        rule("late", protocol="tcp", multiport="22", action="deny"),
    ) == ["tcp → allow Sg/all-tcp"]


def test_the_ends_of_the_port_range_are_ports_like_others():
    assert shown(rule("ends", protocol="udp", multiport="1,65535")) == [
        "udp 1 → allow Sg/ends",
        "udp 65535 → allow Sg/ends",
    ]


def test_adjacent_port_groups_of_one_rule_are_one_region():
    assert shown(rule("list", protocol="tcp", multiport="22-24,25,27")) == [
        "tcp 22–25 → allow Sg/list",
        "tcp 27 → allow Sg/list",
    ]


def test_all_protocols_are_cut_around_those_that_other_rules_name():
    assert shown(rule("web", protocol="tcp", multiport="80", action="deny"), rule("rest")) == [
        "0–5 → allow Sg/rest",
        "tcp 0–79 → allow Sg/rest",
        "tcp 80 → deny Sg/web",
        "tcp 81–65535 → allow Sg/rest",
        "7–255 → allow Sg/rest",
    ]


def test_neighbouring_protocols_that_are_judged_alike_are_one_region():
    assert shown(rule("gre", protocol="gre"), rule("next", protocol=48)) == ["gre → allow Sg/gre", "48 → allow Sg/next"]
    # A protocol that is named only after everything was decided is not cut out.
    assert shown(rule("all"), rule("gre", protocol="gre", action="deny")) == ["0–255 → allow Sg/all"]


def test_protocols_at_the_ends_of_their_space():
    assert shown(rule("zero", protocol=0, action="deny"), rule("last", protocol=255, action="deny"), rule("rest")) == [
        "0 → deny Sg/zero",
        "1–254 → allow Sg/rest",
        "255 → deny Sg/last",
    ]


def test_an_icmp_type_opens_that_request_and_the_answer_to_it_s13():
    assert shown(rule("ping", protocol="icmp", icmp_type=8)) == [
        "icmp types 0.0–0.255 → allow Sg/ping",
        "icmp types 8.0–8.255 → allow Sg/ping",
    ]
    assert shown(rule("ping", protocol="icmp", icmp_type=8, icmp_code=0)) == [
        "icmp type 0 code 0 → allow Sg/ping",
        "icmp type 8 code 0 → allow Sg/ping",
    ]
    assert shown(rule("ping", protocol="icmpv6", ethertype="IPv6", icmp_type=128), family=6) == [
        "icmpv6 types 128.0–129.255 → allow Sg/ping",
    ]


@pytest.mark.parametrize(("request_", "answer"), [(13, 14), (15, 16), (17, 18)])
def test_each_icmp_request_has_its_own_answer_s13(request_: int, answer: int):
    joined = f"icmp types {request_}.0–{answer}.255 → allow Sg/asks"
    assert shown(rule("asks", protocol="icmp", icmp_type=request_)) == [joined]
    joined = "icmpv6 types 139.0–140.255 → allow Sg/asks"
    assert shown(rule("asks", protocol="icmpv6", ethertype="IPv6", icmp_type=139), family=6) == [joined]


def test_a_rule_for_an_icmp_answer_opens_nothing_s13():
    assert shown(rule("reply", protocol="icmp", icmp_type=0)) == []
    # … and does not stop the answers to requests that are allowed.
    assert shown(rule("reply", protocol="icmp", icmp_type=0, action="deny"), rule("icmp", protocol="icmp")) == [
        "icmp → allow Sg/icmp"
    ]


SPANS = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(lambda pair: Span(min(pair), max(pair)))


@given(st.lists(SPANS, max_size=8))
def test_painting_gives_every_point_to_the_first_span_that_covers_it(spans: list[Span]):
    painted = paint([(span, place) for place, span in enumerate(spans)])
    for point in range(14):
        expected = next((place for place, span in enumerate(spans) if span.first <= point <= span.last), None)
        found = [place for span, place in painted if span.first <= point <= span.last]
        assert found == ([] if expected is None else [expected])
    assert list(painted) == sorted(painted)


def place_at(painted: Painted, point: int) -> int | None:
    return next((place for span, place in painted if span.first <= point <= span.last), None)


@given(st.lists(SPANS, max_size=4), st.lists(SPANS, max_size=4))
def test_two_paintings_differ_exactly_where_a_point_has_another_place(some: list[Span], others: list[Span]):
    one, other = (paint([(span, place) for place, span in enumerate(spans)]) for spans in (some, others))
    found = {point for span in differing(one, other) for point in range(span.first, span.last + 1)}
    assert found == {point for point in range(14) if place_at(one, point) != place_at(other, point)}
