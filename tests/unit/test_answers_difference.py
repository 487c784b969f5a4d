"""What a new policy opens and closes: the cells that differ, with the reason of each."""

from __future__ import annotations

from answers_asking import policy

from enforcer.answers import differences, regions

BEFORE = """
security_groups:
  - {name: all, rules: [{id: in, direction: ingress, protocol: tcp, multiport: 22}, {id: out, direction: egress}]}
ecs:
  - {name: a, subnet: subnet-a, addresses: [10.0.0.11], security_groups: [all]}
  - {name: b, subnet: subnet-a, addresses: [10.0.0.12], security_groups: [all]}
"""


def changes(before: str, after: str) -> list[tuple[str, str, str, str]]:
    old, new = policy(before), policy(after)
    found = differences(old, new, [region.traffic for region in regions(old, new)])
    return [(each.word, each.src, each.dst, str(each.traffic)) for each in found]


def test_a_policy_opens_and_closes_nothing_against_itself():
    assert changes(BEFORE, BEFORE) == []
    assert changes(BEFORE, BEFORE.replace("id: in", "id: renamed")) == []


def test_a_moved_port_opens_and_closes():
    assert changes(BEFORE, BEFORE.replace("multiport: 22", "multiport: 2222")) == [
        ("closes", "a", "b", "tcp/22"),
        ("opens", "a", "b", "tcp/2222"),
        ("closes", "b", "a", "tcp/22"),
        ("opens", "b", "a", "tcp/2222"),
    ]


def test_a_range_that_grows_opens_what_was_not_in_it():
    assert changes(BEFORE, BEFORE.replace("multiport: 22", 'multiport: "20-30"'))[:2] == [
        ("opens", "a", "b", "tcp/20"),
        ("opens", "a", "b", "tcp/23"),
    ]


def test_what_comes_or_goes_with_a_host_is_said():
    smaller = BEFORE.replace("name: b,", "name: c,")
    old, new = policy(BEFORE), policy(smaller)
    found = differences(old, new, [region.traffic for region in regions(old, new)])
    assert [(each.word, each.src, each.dst) for each in found] == [
        ("opens", "a", "c"), ("opens", "c", "a"), ("closes", "a", "b"), ("closes", "b", "a"),
    ]  # fmt: skip
    assert found[0].reason.startswith("a host is new; ")
    assert found[-1].reason.startswith("a host is gone; before: ")
