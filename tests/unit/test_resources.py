"""A policy file taken apart and joined again means the same, and a difference is what lies between two of them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from regions import regions

from enforcer.agent.resources import canonical, changed, difference, document_of, resources_of
from enforcer.agent.store import Change
from enforcer.model import Policy, parse_policy, parse_with_data
from enforcer.model.parse import SECTIONS


def resources(text: str) -> dict[str, str]:
    return resources_of(parse_with_data(text)[1])


def in_order(policy: Policy) -> Policy:
    """Return a policy with its items in the order of their names; the order in a file says nothing."""
    sections = {
        section: tuple(
            sorted(getattr(policy, section), key=lambda item: str(getattr(item, "name", "") or item.address))
        )
        for section in SECTIONS
    }
    return policy.model_copy(update=sections)


@settings(max_examples=100)
@given(document=regions())
def test_resources_join_to_a_file_that_means_the_same(document: dict[str, Any]):
    taken_apart = resources_of(document)
    joined = json.dumps(document_of(taken_apart))
    assert in_order(parse_policy(joined)) == in_order(parse_policy(json.dumps(document)))
    assert resources(joined) == taken_apart


@settings(max_examples=50)
@given(one=regions(), other=regions())
def test_a_difference_leads_from_one_to_the_other_and_names_nothing_else(one: dict[str, Any], other: dict[str, Any]):
    old, new = resources_of(one), resources_of(other)
    between = difference(old, new)
    assert changed(old, between) == new
    assert all(old.get(change.key) != change.value for change in between)
    assert difference(old, old) == ()


def test_each_item_has_its_key_and_each_nic_its_own():
    assert list(
        resources("""
        version: 1
        vpcs: [{name: x, subnets: [{name: s, cidr: 10.0.0.0/24}]}]
        security_groups: [{name: web}]
        address_groups: [{name: office}]
        ecs:
          - {name: flat, subnet: s, addresses: [10.0.0.1], type: s6.large}
          - name: two
            nics: [{name: b, subnet: s, addresses: [10.0.0.2]}, {name: a, subnet: s, addresses: [10.0.0.3]}]
        eips: [{address: 192.0.2.1, ecs: flat}]
        """)
    ) == [
        "address_groups/office",
        "ecs/flat",
        "ecs/two",
        "eips/192.0.2.1",
        "nics/flat/eth0",
        "nics/two/a",
        "nics/two/b",
        "security_groups/web",
        "settings",
        "vpcs/x",
    ]


def test_the_order_of_nics_is_kept_for_the_first_is_the_one_that_the_ecs_names():
    document = document_of(
        resources("""
        version: 1
        vpcs: [{name: x, subnets: [{name: s, cidr: 10.0.0.0/24}]}]
        ecs:
          - name: e
            nics: [{name: b, subnet: s, addresses: [10.0.0.2]}, {name: a, subnet: s, addresses: [10.0.0.3]}]
        """)
    )
    assert [nic["name"] for nic in document["ecs"][0]["nics"]] == ["b", "a"]


def test_two_ways_to_write_a_letter_are_one_name():
    letters = ("\u00e9", "e\u0301")
    one, other = (f"version: 1\nsecurity_groups: [{{name: {text}, description: {text}}}]" for text in letters)
    assert one != other
    assert resources(one) == resources(other)
    assert "security_groups/\u00e9" in resources(one)


def test_an_empty_store_is_the_smallest_policy():
    assert parse_policy(json.dumps(document_of({}))) == parse_policy("version: 1")


@given(value=st.dictionaries(st.text(max_size=3), st.text(max_size=3) | st.integers(), max_size=3))
def test_a_canonical_text_does_not_depend_on_the_order_of_keys(value: dict[str, Any]):
    assert canonical(value) == canonical(dict(reversed(list(value.items()))))


def test_items_to_be_blamed_stand_last():
    joined = document_of(resources("version: 1\nsecurity_groups: [{name: a}, {name: b}]"), last=["security_groups/a"])
    assert [group["name"] for group in joined["security_groups"]] == ["b", "a"]
    assert changed({"a": "1", "b": "2"}, [Change("a", None), Change("c", "3")]) == {"b": "2", "c": "3"}
