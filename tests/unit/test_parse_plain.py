"""JSON that is read the quick way says what the long way would have said, and whatever is odd goes the long way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enforcer.errors import PolicyError
from enforcer.model import parse_policy, parse_with_lines
from enforcer.model.reading.document import MOST_VALUES, _read, read
from enforcer.model.reading.plain import plain

SCALARS = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text("abc <>#:&*!%@`'-_,[]{}é日", max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab<é-", max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abc<~é", max_size=5), VALUES, max_size=5), st.sampled_from((None, 1)))
@example({"a": {"<<": {"b": 1}}, "~": "null", "": ["on", "010", "22:30", -0]}, None)
def test_what_is_read_the_quick_way_is_what_the_long_way_reads(value: dict[str, Any], indent: int | None):
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    assert plain(text, MOST_VALUES) == value
    assert _read(text).value == value


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a": {"b": 1, "b": 1}}',
        '{"a": "\\u00e9"}',
        '{"a": 1.5}',
        '{"a": 1e3}',
        '{"a": NaN}',
        '{"a": ' + "1" * 41 + "}",
        '{"a": 1} x',
        '{"a": 1',
        '{"a": "line\nbreak"}',
        "[1]",
        "a: 1",
        '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"a": [' + "1," * MOST_VALUES + "1]}",
    ],
    ids=lambda text: text[:20],
)
def test_what_the_two_may_see_differently_goes_the_long_way(text: str):
    assert plain(text, MOST_VALUES) is None


def test_errors_of_json_have_their_lines():
    policy = {
        "version": 1,
        "security_groups": [{"name": "a", "rules": [{"direction": "ingress"}, {"direction": "up"}]}],
    }
    with pytest.raises(PolicyError) as caught:
        parse_policy(json.dumps(policy, indent=1))
    (problem,) = caught.value.problems
    assert (problem.where, problem.line) == ("security_groups[a].rules[1].direction", 11)


def test_rules_of_json_have_their_lines():
    policy = {"version": 1, "security_groups": [{"name": "a", "rules": [{"id": "x", "direction": "ingress"}]}]}
    assert parse_with_lines(json.dumps(policy, indent=1))[1].of_rule("a", "x") == 7


def test_json_that_is_nested_too_deep_says_so_as_ever():
    with pytest.raises(PolicyError, match="nested more than 32 deep"):
        parse_policy('{"version": 1, "x": ' + "[" * 40 + "]" * 40 + "}")


def test_json_of_too_many_values_says_so_as_ever():
    with pytest.raises(PolicyError, match="more than 1,000,000 values"):
        read('{"a": [' + "1," * MOST_VALUES + "1]}")


def test_objects_that_say_the_same_keys_share_the_note_of_them():
    one, other = parse_policy(
        '{"version": 1, "address_groups": [{"name": "a", "entries": []}, {"entries": [], "name": "b"}]}'
    ).address_groups
    assert one.model_fields_set is other.model_fields_set
    changed = one.model_copy(update={"max_capacity": 7})
    assert changed.model_fields_set == {"name", "ranges", "max_capacity"}
    assert one.model_fields_set == {"name", "ranges"}
