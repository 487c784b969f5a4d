"""The JSON Schema says what editors need: every key under its name in the file, and both forms of an ECS."""

from __future__ import annotations

import json
from typing import Any

import pytest

from enforcer.model import policy_schema

SCHEMA = policy_schema()


def keys(kind: str) -> set[str]:
    return set(SCHEMA["$defs"][kind]["properties"])


def test_it_is_plain_json_of_a_named_dialect():
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert SCHEMA["$schema"].endswith("2020-12/schema")


def test_the_keys_are_those_of_the_file_not_of_the_program():
    assert {"ethertype", "multiport", "remote_ip_prefix"} < keys("Rule")
    assert {"family", "ports"}.isdisjoint(keys("Rule"))
    assert "entries" in keys("AddressGroup")
    assert set(SCHEMA["required"]) == {"version"}
    assert set(SCHEMA["$defs"]["Rule"]["required"]) == {"direction"}


def test_unknown_keys_are_errors_everywhere():
    assert all(kind["additionalProperties"] is False for kind in (SCHEMA, *SCHEMA["$defs"].values()))


def test_an_ecs_may_have_the_keys_of_its_only_nic_s6():
    assert {"subnet", "addresses", "security_groups", "mac", "nics"} < keys("Ecs")
    assert SCHEMA["$defs"]["Ecs"]["required"] == ["name"]
    assert SCHEMA["$defs"]["Ecs"]["oneOf"][1]["required"] == ["subnet", "addresses"]


@pytest.mark.parametrize(
    ("kind", "key", "part"),
    [
        ("Rule", "priority", {"minimum": 1, "maximum": 100}),
        ("Rule", "direction", {"enum": ["ingress", "egress"]}),
        ("Rule", "action", {"enum": ["allow", "deny"], "default": "allow"}),
        ("AddressGroup", "max_capacity", {"default": 20}),
        ("Backend", "port", {"minimum": 1, "maximum": 65535}),
        ("Nic", "source_dest_check", {"type": "boolean", "default": True}),
    ],
)
def test_values_are_offered_and_bounded(kind: str, key: str, part: dict[str, Any]):
    assert part.items() <= SCHEMA["$defs"][kind]["properties"][key].items()


def test_null_is_offered_as_no_default_since_the_file_leaves_the_key_out():
    fields = [field for kind in SCHEMA["$defs"].values() for field in kind["properties"].values()]
    assert [field for field in fields if "default" in field and field["default"] is None] == []
