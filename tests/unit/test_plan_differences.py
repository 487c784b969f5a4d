"""What a plan says of rules, objects, NICs, cells and kernel objects, from two policies alone."""

from __future__ import annotations

import json
from random import Random
from textwrap import dedent
from typing import Any

import policies
import pytest
from answers_asking import policy
from fuzz.scenes import changed, random_scene, str_of
from hypothesis import given, settings

from enforcer.agent.plan import document, paragraphs, plan, summary
from enforcer.agent.plan.affected import affected
from enforcer.agent.plan.cells import cells
from enforcer.agent.plan.connections.alike import Judge
from enforcer.answers import differences, regions
from enforcer.model import Policy, lab_layout, parse_policy

BEFORE = """
address_groups: [{name: offices, entries: [192.0.2.0/24, 198.51.100.7]}]
security_groups:
  - name: web
    rules:
      - {id: http, direction: ingress, protocol: tcp, multiport: 80}
      - {id: ssh, direction: ingress, protocol: tcp, multiport: 22, remote_address_group: offices}
      - {id: out, direction: egress}
  - {name: db, rules: [{id: sql, direction: ingress, protocol: tcp, multiport: 3306, remote_group: web}]}
ecs:
  - {name: w1, subnet: subnet-a, addresses: [10.0.0.11], security_groups: [web]}
  - {name: w2, subnet: subnet-a, addresses: [10.0.0.12], security_groups: [web]}
  - {name: db1, subnet: subnet-a, addresses: [10.0.0.21], security_groups: [db]}
"""


def planned(after: str, before: str = BEFORE) -> dict[str, Any]:
    return document(plan(policy(before), policy(after), lab_layout, unseen="nobody looked"))


def changes(told: dict[str, Any], change: str) -> list[str]:
    return [f"{each['group']}/{each['rule']}" for each in told["rules"][change]]


def test_against_itself_nothing_changes():
    told = planned(BEFORE)
    assert (told["changes"], summary(told), paragraphs(told)) == (False, "Nothing changes.", [["Nothing changes."]])
    assert told["kernel"] == []
    assert planned(BEFORE.replace("id: http,", "id: http, description: the shop,"))["rules"]["added"] == []


def test_rules_beyond_the_quota_are_told_so_in_every_listing_s9():
    told = planned("limits: {costly_rules: 0}\n" + BEFORE.replace("port: 22, ", "port: 23, "))
    assert told["rules"]["removed"][0]["text"] == ("allow ingress IPv4 tcp 22 from address group offices (priority 1)")
    assert told["rules"]["added"][0]["text"] == (
        "allow ingress IPv4 tcp 23 from address group offices (priority 1) – not in effect: quota"
    )


def test_rules_are_told_by_group_with_their_text():
    told = planned(
        BEFORE.replace("multiport: 80", 'multiport: "80,443"').replace("      - {id: ssh", "      # {id: ssh")
    )
    assert changes(told, "removed") == ["web/http", "web/ssh"]
    assert told["rules"]["added"] == [
        {"group": "web", "rule": "http", "text": "allow ingress IPv4 tcp 80,443 from anywhere (priority 1)"}
    ]
    lines = [line for section in paragraphs(told) for line in section]
    assert "    - http: allow ingress IPv4 tcp 80 from anywhere (priority 1)" in lines
    assert "    + http: allow ingress IPv4 tcp 80,443 from anywhere (priority 1)" in lines


def test_a_rule_that_only_changes_its_place_is_moved():
    first, second, *rest = BEFORE.partition("rules:\n")[2].splitlines(keepends=True)
    told = planned(BEFORE.replace(first + second, second + first))
    assert (changes(told, "moved"), changes(told, "added"), changes(told, "removed")) == (["web/http"], [], [])
    assert rest


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("198.51.100.7]", "203.0.113.9]", ("address group", "offices", ["with 203.0.113.9", "without 198.51.100.7"])),
        ("10.0.0.21], security_groups: [db]", "10.0.0.21], security_groups: [db, web]",
         ("NIC", "db1", ["security_groups: db → db, web"])),
        ("address_groups:", "revoke: both\naddress_groups:", ("setting", "revoke", ["inbound → both"])),
        ("address_groups:", "limits: {costly_rules: 3}\naddress_groups:",
         ("setting", "limits", ["costly_rules: 120 → 3"])),
        ("{name: db1, ", "{name: db1, type: S1.small, ", ("NIC", "db1", ["type: none → S1.small"])),
    ],
)  # fmt: skip
def test_objects_are_told_with_what_is_different(old: str, new: str, expected: tuple[str, str, list[str]]):
    told = planned(BEFORE.replace(old, new))
    assert [(each["kind"], each["name"], each["details"]) for each in told["objects"]] == [expected]


def test_nics_are_affected_by_rules_by_members_and_by_entries():
    def judged_otherwise(old: str, new: str) -> dict[str, list[str]]:
        return {each["nic"]: each["directions"] for each in planned(BEFORE.replace(old, new))["nics"]["list"]}

    assert judged_otherwise("multiport: 80", "multiport: 81") == {"w1": ["ingress"], "w2": ["ingress"]}
    assert judged_otherwise("198.51.100.7]", "198.51.100.8]") == {"w1": ["ingress"], "w2": ["ingress"]}
    # w2 leaves web: its own rules change, and so does whom db1 lets in.
    assert judged_otherwise("10.0.0.12], security_groups: [web]", "10.0.0.12], security_groups: [db]") == {
        "w2": ["ingress", "egress"],
        "db1": ["ingress"],
    }


def test_cells_open_and_close_with_the_reason():
    told = planned(BEFORE.replace("remote_group: web", "remote_ip_prefix: 10.0.0.11"))
    assert [(each["change"], each["src"], each["dst"], each["region"]) for each in told["cells"]["list"]] == [
        ("closes", "w2", "db1", "tcp 3306 (mysql)")
    ]
    assert "no rule of db matches" in told["cells"]["list"][0]["reason"]


def test_kernel_objects_are_counted_by_namespace():
    told = planned(BEFORE.replace("198.51.100.7]", "198.51.100.7, 203.0.113.9]"))
    (written,) = told["kernel"]
    assert written["netns"] == "lab-vpc-vpc-a"
    assert written["elements"]["added"] > 0
    assert not written["first"]


def test_what_a_session_changes_in_place_is_not_counted_as_written_anew():
    (written,) = planned(BEFORE.replace("multiport: 80", "multiport: 81"))["kernel"]
    counted = {what: (written[what]["added"], written[what]["removed"]) for what in ("maps", "elements", "chains")}
    assert counted == {"maps": (0, 0), "elements": (1, 1), "chains": (0, 0)}


def test_before_the_first_policy_nothing_is_compared_and_connections_not_looked_at_are_said_so():
    told = document(plan(None, policy(BEFORE), lab_layout, unseen="that needs root"))
    assert (told["first"], told["cells"], told["live"], told["live_unseen"]) == (True, None, None, "that needs root")
    lines = [line for section in paragraphs(told) for line in section]
    assert "Live connections: not looked at – that needs root." in lines
    assert told["kernel"][0]["first"]


@settings(max_examples=25)
@given(policies.documents(), policies.documents())
def test_cells_are_those_of_the_whole_matrices(before: dict[str, Any], after: dict[str, Any]):
    """Only cells that can differ are explained; none that differs is missed."""
    old, new = (parse_policy(json.dumps(each)) for each in (before, after))
    found = cells(Judge(old), Judge(new), _affected(old, new))
    whole = differences(old, new, [region.traffic for region in regions(old, new)])
    assert {_cell(each) for each in found.found} == {_cell(each) for each in whole}
    assert found.left_out == 0


@pytest.mark.parametrize("seed", range(12))
def test_cells_after_a_small_change_are_those_of_the_whole_matrices(seed: int):
    """Of the kinds of traffic only those are asked about that the change can concern; none that differs is missed."""
    rng = Random(seed)
    scene = random_scene(rng)
    for _ in range(4):
        after = changed(rng, scene)
        old, new = (parse_policy(str_of(each)) for each in (scene, after))
        found = cells(Judge(old), Judge(new), _affected(old, new), most=10**9)
        whole = differences(old, new, [region.traffic for region in regions(old, new)])
        assert {_cell(each) for each in found.found} == {_cell(each) for each in whole}
        scene = after


def test_a_changed_port_is_the_only_traffic_that_is_asked_about():
    old, new = policy(BEFORE), policy(BEFORE.replace("multiport: 80", "multiport: 81"))
    found = cells(Judge(old), Judge(new), _affected(old, new))
    assert [region.text for region in found.regions] == ["tcp 80 (http)", "tcp 81"]
    two = policy(BEFORE.replace("offices, entries: [192.0.2.0/24,", "offices, entries: ["))
    assert [region.text for region in cells(Judge(old), Judge(two), _affected(old, two)).regions] == ["tcp 22 (ssh)"]


def test_cells_through_an_instance_that_forwards_are_asked_about_when_its_rules_change():
    text = """
    vpcs:
      - name: v
        subnets: [{name: sub-1, cidr: 10.0.0.0/24}, {name: sub-2, cidr: 10.0.1.0/24}]
        routes: [{destination: 0.0.0.0/0, next_hop: gate}]
    external_hosts: [{name: office, addresses: [192.0.2.9]}]
    eips: [{address: 203.0.113.1, ecs: gate}]
    security_groups:
      - {name: all, rules: [{id: in, direction: ingress}, {id: out, direction: egress}]}
      - name: gates
        rules: [{id: gin, direction: ingress, protocol: tcp, multiport: 80}, {id: gout, direction: egress}]
    ecs:
      - {name: a, subnet: sub-1, addresses: [10.0.0.11], security_groups: [all]}
      - {name: gate, subnet: sub-2, addresses: [10.0.1.1], source_dest_check: false, security_groups: [gates]}
    """
    texts = ("version: 1" + dedent(each) for each in (text, text.replace("multiport: 80", "multiport: 81")))
    before, after = map(parse_policy, texts)
    found = cells(Judge(before), Judge(after), _affected(before, after))
    whole = differences(before, after, [region.traffic for region in regions(before, after)])
    assert {_cell(each) for each in found.found} == {_cell(each) for each in whole}
    assert {(each.src, each.dst) for each in whole} >= {("a", "office"), ("office", "gate")}


def test_cells_beyond_the_bound_are_counted_and_not_asked_about():
    old, new = policy(BEFORE), policy(BEFORE.replace("multiport: 80", "multiport: 81"))
    found = cells(Judge(old), Judge(new), _affected(old, new), most=5)
    everything = cells(Judge(old), Judge(new), _affected(old, new))
    assert found.asked <= 5 < everything.asked
    assert found.asked + found.left_out == everything.asked


def _affected(old: Policy, new: Policy) -> tuple[Any, ...]:
    return affected(Judge(old).oracle, Judge(new).oracle)


def _cell(each: Any) -> tuple[str, str, str, str]:
    return each.word, each.src, each.dst, str(each.traffic)
