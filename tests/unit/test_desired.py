"""A change is judged as the whole policy would be, though only what it touches is looked at."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regions import changes, regions

from enforcer.agent.desired import Desired
from enforcer.agent.indexes import Indexes
from enforcer.agent.resources import canonical, changed, document_of, resources_of
from enforcer.agent.store import Change
from enforcer.agent.touched import vouched_for
from enforcer.errors import PolicyError
from enforcer.model import Policy, host_layout, parse_policy, parse_with_data


def whole(resources: dict[str, str], keys: set[str]) -> Policy | set[tuple[str, str]]:
    """Return the policy of a whole file, or what is wrong with it, place and message."""
    try:
        policy = parse_policy(json.dumps(document_of(resources, last=keys | owners(keys))))
        host_layout(policy)
    except PolicyError as error:
        return {(problem.where, problem.message) for problem in error.problems}
    return parse_policy(json.dumps(document_of(resources)))


def owners(keys: set[str]) -> set[str]:
    return {f"ecs/{key.split('/')[1]}" for key in keys if key.startswith("nics/")}


@settings(max_examples=120)
@given(data=st.data())
def test_a_change_is_accepted_or_refused_as_the_whole_file_would_be(data: st.DataObject):
    resources = resources_of(data.draw(regions()))
    desired, unasked = Desired.of(resources), Desired.of(resources)
    for _ in range(3):
        drawn = data.draw(changes(dict(desired.resources)))
        keys = {change.key for change in drawn}
        expected = whole(changed(desired.resources, drawn), keys)
        try:
            after = desired.with_changes(drawn)
        except PolicyError as error:
            said = {(problem.where, problem.message) for problem in error.problems}
            assert not isinstance(expected, Policy), said
            assert {message for _, message in said} == {message for _, message in expected}
            continue
        assert after.policy == expected
        assert after.resources == changed(desired.resources, drawn)
        fresh = Indexes.of(after.policy)
        assert set(after.indexes.taken) == set(fresh.taken)
        assert after.indexes.named == fresh.named
        desired, unasked = after, unasked.with_changes(drawn)
    assert unasked.policy == desired.policy, "whether or not it was asked for after each change"


@settings(max_examples=80)
@given(data=st.data())
def test_what_is_vouched_for_the_whole_file_would_accept(data: st.DataObject):
    """The short way alone: it may be silent, it may never be wrong."""
    before = Desired.of(resources_of(data.draw(regions())))
    drawn = data.draw(changes(dict(before.resources)))
    after = changed(before.resources, drawn)
    keys = {change.key for change in drawn}
    found = vouched_for(before.items, before.indexes, before.resources, after, keys)
    if found is not None:
        assert Desired(after, found.items, found.indexes).policy == whole(after, keys)


REGION = """
version: 1
vpcs: [{name: x, subnets: [{name: s, cidr: 10.0.0.0/24}]}]
address_groups: [{name: office, entries: [10.9.0.0/16]}]
security_groups:
  - {name: web, rules: [{id: A, direction: ingress}, {id: B, direction: ingress, remote_address_group: office}]}
  - {name: db, rules: []}
ecs:
  - {name: a, subnet: s, addresses: [10.0.0.1], security_groups: [web]}
  - {name: b, subnet: s, addresses: [10.0.0.2], security_groups: [web, db]}
"""


@pytest.fixture
def desired() -> Desired:
    return Desired.of(resources_of(parse_with_data(REGION)[1]))


def changed_item(desired: Desired, key: str, **fields: Any) -> Change:
    return Change(key, canonical({**json.loads(desired.resources[key]), **fields}))


@pytest.mark.parametrize(
    ("key", "fields"),
    [
        ("nics/a/eth0", {"security_groups": ["db"]}),
        ("nics/a/eth0", {"addresses": ["10.0.0.9"]}),
        ("address_groups/office", {"entries": ["10.8.0.0/16"]}),
        ("security_groups/web", {"description": "changed"}),
        ("vpcs/x", {"subnets": [{"name": "s", "cidr": "10.0.0.0/16"}]}),
    ],
)
def test_what_a_change_does_not_touch_is_the_very_same_object_afterwards(
    desired: Desired, key: str, fields: dict[str, Any]
):
    after = desired.with_changes([changed_item(desired, key, **fields)])
    for section in ("vpcs", "address_groups", "security_groups", "ecs"):
        for old, new in zip(getattr(desired.policy, section), getattr(after.policy, section), strict=True):
            is_touched = key in (f"{section}/{old.name}", f"nics/{old.name}/eth0")
            assert (old is new) is not is_touched, f"{section}/{old.name}"
    assert desired.policy.group("default") is after.policy.group("default")


@pytest.mark.parametrize("groups", [["db"], ["db", "web"], ["default"], ["db", "db"], ["nobody"], [], [7], "db", None])
@pytest.mark.parametrize("more", [{}, {"source_dest_check": False}, {"name": "other"}, {"unheard": 1}])
def test_a_nic_with_other_groups_is_what_it_would_be_if_it_were_read_anew(
    desired: Desired, groups: object, more: dict[str, Any]
):
    changes = [changed_item(desired, "nics/b/eth0", security_groups=groups, **more)]
    expected = whole(changed(desired.resources, changes), {"nics/b/eth0"})
    if desired.vouches_for(changes):
        assert desired.with_changes(changes).policy == expected
    else:
        assert not isinstance(expected, Policy) or groups in ([], [7]) or more


def test_a_changed_group_keeps_the_rules_that_are_as_they_were(desired: Desired):
    rules = json.loads(desired.resources["security_groups/web"])["rules"]
    moved = [{"id": "C", "direction": "egress"}, *rules]
    after = desired.with_changes([changed_item(desired, "security_groups/web", rules=moved)])
    old, new = desired.policy.group("web").rules, after.policy.group("web").rules
    assert [rule.id for rule in new] == ["C", "A", "B"]
    assert new[1] is old[0]
    assert new[2] is old[1]


def test_a_file_that_is_applied_again_keeps_the_objects_of_what_is_the_same(desired: Desired):
    policy = parse_policy(REGION.replace("10.9.0.0", "10.8.0.0"))
    document = {**document_of(desired.resources)}
    document["address_groups"] = [{"name": "office", "entries": ["10.8.0.0/16"]}]
    changes, after = desired.becoming(resources_of(document), policy)
    assert [change.key for change in changes] == ["address_groups/office"]
    assert desired.with_changes(changes) is after, "whoever asks next need not read it again"
    assert after.policy.group("web") is desired.policy.group("web")
    assert after.policy.find_ecs("a") is desired.policy.find_ecs("a")
    assert after.policy.address_group("office") is not desired.policy.address_group("office")


def test_everything_that_is_wrong_is_said_at_once(desired: Desired):
    wrong = [
        changed_item(desired, "nics/a/eth0", addresses=["10.0.0.2"], security_groups=["wed"]),
        Change("address_groups/office", None),
    ]
    with pytest.raises(PolicyError) as raised:
        desired.with_changes(wrong)
    assert sorted(str(problem) for problem in raised.value.problems) == [
        "ecs[a].nics[eth0].addresses[0]: '10.0.0.2' is already an address of b:eth0 in x; write each address once",
        "ecs[a].nics[eth0].security_groups[0]: 'wed' is not defined; did you mean 'web'?",
        "security_groups[web].rules[B].remote_address_group: 'office' is not defined; define it under address_groups",
    ]
    assert desired.policy.find_ecs("a").nics[0].security_groups == ("web",)


def test_a_nic_without_its_ecs_is_a_bug_of_the_caller(desired: Desired):
    with pytest.raises(ValueError, match="do not belong together: nics/a/eth0"):
        desired.with_changes([Change("nics/a/eth0", None)])
