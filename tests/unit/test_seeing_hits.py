"""Hits per rule: each packet once, whatever happened to the counter that saw it (issue: Seeing)."""

from __future__ import annotations

import json

import pytest
from policies import three_hosts

from enforcer.agent.seeing.hits import Ledger, label_of
from enforcer.dataplane.counters import Last, Origin, Reading

SSH = Origin("verdict_port_0123456789", 7, "Sg-A/ssh")
POLICY = three_hosts(
    "security_groups: [{name: Sg-A, rules: [{id: ssh, direction: ingress, protocol: tcp, multiport: 22},"
    " {id: web, direction: ingress, protocol: tcp, multiport: 80, enabled: false}]}]"
)


def reading(counts: dict[Origin, int], world: str = "boot/1") -> Reading:
    return Reading(world, counts)


def hits(ledger: Ledger) -> dict[str, int]:
    return {row.rule: row.hits.hits for row in ledger.rules(POLICY) if row.group == "Sg-A"}


def test_a_counter_that_is_seen_again_adds_what_it_grew_by():
    ledger = Ledger(0.0)
    for count in (3, 3, 10):
        ledger.take("", reading({SSH: count}), 1.0)
    assert hits(ledger) == {"ssh": 10, "web": 0}


def test_the_maps_and_namespaces_that_a_rule_is_in_add_up():
    ledger = Ledger(0.0)
    ledger.take("", reading({SSH: 3, SSH._replace(object="verdict_class_0123456789", handle=8): 4}), 1.0)
    ledger.take("router", reading({SSH: 5}, "boot/2"), 1.0)
    assert hits(ledger)["ssh"] == 12


def test_a_map_that_was_read_before_it_was_replaced_loses_nothing():
    ledger = Ledger(0.0)
    other = SSH._replace(handle=30)
    ledger.take("", reading({SSH: 3}), 1.0)
    ledger.take("", reading({SSH: 9}), 2.0, whole=False)
    ledger.take("", reading({other: 2}), 3.0)
    ledger.take("", reading({other: 4}), 4.0)
    assert hits(ledger)["ssh"] == 13


def test_a_reading_of_some_objects_forgets_none_of_the_others():
    ledger = Ledger(0.0)
    web = Origin("verdict_port_9876543210", 9, "Sg-A/web")
    ledger.take("", reading({SSH: 3, web: 5}), 1.0)
    ledger.take("", reading({SSH: 4}), 2.0, whole=False)
    ledger.take("", reading({web: 6}), 3.0)
    assert hits(ledger) == {"ssh": 4, "web": 6}


def test_an_element_that_goes_alone_is_counted_to_its_end_and_its_successor_from_0():
    ledger = Ledger(0.0)
    one, other = SSH._replace(part=22), SSH._replace(part=23)
    gone = Last(SSH.object, SSH.label, 22, 9)
    ledger.take("", reading({one: 5, other: 2}), 1.0)
    ledger.last("", [gone], 2.0)
    assert hits(ledger)["ssh"] == 11
    ledger.take("", reading({one: 7, other: 3}), 3.0)  # another one of the same key
    assert hits(ledger)["ssh"] == 19
    ledger.take("", reading({other: 3}), 4.0)  # it has gone before this reading, and that is told behind it
    ledger.last("", [gone._replace(packets=8)], 5.0)
    assert hits(ledger)["ssh"] == 20


def test_an_element_of_which_nothing_was_read_counts_what_it_had():
    ledger = Ledger(0.0)
    ledger.last("", [Last(SSH.object, SSH.label, 22, 4), Last(SSH.object, SSH.label, 23, 1)], 1.0)
    ledger.last("", [Last(SSH.object, SSH.label, 22, 2)], 2.0)
    assert hits(ledger)["ssh"] == 7


@pytest.mark.parametrize("world", ["boot/2", "another boot/1"])
def test_the_same_handle_in_another_life_of_the_namespace_is_another_counter(world: str):
    ledger = Ledger(0.0)
    ledger.take("", reading({SSH: 3}), 1.0)
    ledger.take("", reading({SSH: 5}, world), 2.0)
    assert hits(ledger)["ssh"] == 8


def test_a_counter_that_has_fallen_was_reset_and_adds_what_it_shows():
    ledger = Ledger(0.0)
    ledger.take("", reading({SSH: 7}), 1.0)
    ledger.take("", reading({SSH: 2}), 2.0)
    assert hits(ledger)["ssh"] == 9


def test_the_sums_go_on_in_a_next_life_of_the_daemon():
    """While no daemon ran the kernel went on counting: nothing of that is lost or counted twice."""
    first = Ledger(5.0)
    first.know(POLICY, 5.0)
    first.take("", reading({SSH: 7}), 6.0)
    second = Ledger.read(first.document(), 100.0)
    second.take("", reading({SSH: 9}), 101.0)
    (row,) = (row for row in second.rules(POLICY) if row.rule == "ssh")
    assert row.hits == (9, 5.0, 101.0)


@pytest.mark.parametrize("text", [None, "", "{}", "[]", "null", '{"version": 99}', '{"version": 1, "seen": 3}', "\x00"])
def test_what_cannot_be_read_begins_anew(text: str | None):
    ledger = Ledger.read(text, 9.0)
    assert ledger.since == 9.0
    assert hits(ledger) == {"ssh": 0, "web": 0}


def test_a_new_rule_is_counted_since_it_came_and_one_that_is_gone_is_forgotten():
    ledger = Ledger(1.0)
    ledger.know(three_hosts(), 1.0)
    ledger.take("", reading({Origin("verdict_class_0123456789", 3, "Sg-X/gone"): 4}), 2.0)
    ledger.know(POLICY, 3.0)
    (row,) = (row for row in ledger.rules(POLICY) if row.rule == "ssh")
    assert row.hits == (0, 3.0, 0.0)
    assert "Sg-X/gone" not in json.loads(ledger.document())["sums"]


def test_what_a_rule_that_is_gone_has_counted_late_is_forgotten_too():
    ledger = Ledger(1.0)
    ledger.know(POLICY, 1.0)
    ledger.take("", reading({Origin("verdict_class_0123456789", 3, "Sg-X/gone"): 4}), 2.0)
    assert "Sg-X/gone" in json.loads(ledger.document())["sums"]
    ledger.know(POLICY, 3.0)
    assert "Sg-X/gone" not in json.loads(ledger.document())["sums"]


def test_reasons_are_apart_from_rules_and_the_most_common_one_is_always_there():
    ledger = Ledger(0.0)
    ledger.take("", reading({SSH: 7, Origin("source", 3, "spoofed source"): 2}), 1.0)
    assert {reason: found.hits for reason, found in ledger.reasons().items()} == {
        "no rule matches": 0,
        "spoofed source": 2,
    }


def test_a_rule_whose_name_is_too_long_for_a_comment_is_found_by_what_nft_kept_of_it():
    group = "安" * 64
    assert len(label_of(group, "ssh").encode()) <= 120
    policy = three_hosts(f"security_groups: [{{name: {group}, rules: [{{id: ssh, direction: ingress}}]}}]")
    ledger = Ledger(0.0)
    ledger.take("", reading({Origin("policy_0123456789", 3, label_of(group, "ssh")): 4}), 1.0)
    assert [row.hits.hits for row in ledger.rules(policy) if row.group == group] == [4]
