"""What YAML and JSON texts say before anybody asks whether it is a policy: values, lines, and refusals."""

from __future__ import annotations

import json
import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from parse_asking import errors, parsed

from enforcer.errors import PolicyError
from enforcer.model import parse_policy
from enforcer.model.reading import document
from enforcer.model.reading.document import read


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("22", 22),
        ("-7", -7),
        ("+7", 7),
        ("0", 0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("-.inf", -math.inf),
        ("null", None),
        ("~", None),
        ("", None),
        ("true", True),
        ("False", False),
        # What YAML 1.1 would turn into something else stays text.
        ("22:30", "22:30"),
        ("on", "on"),
        ("yes", "yes"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("2026-03-06", "2026-03-06"),
        ("fa:16:3e:00:00:12", "fa:16:3e:00:00:12"),
        ("'22'", "22"),
        ('"null"', "null"),
        ("9" * 60, "9" * 60),
        ("tRuE", "tRuE"),
    ],
)
def test_a_plain_value_means_what_yaml_1_2_says(written: str, value: object):
    found = read(f"key: {written}").value["key"]
    assert (found, type(found)) == (value, type(value))


def test_not_a_number_is_a_float_and_no_trap():
    assert math.isnan(read("key: .nan").value["key"])


def test_every_value_knows_its_line():
    found = read("a: 1\nb:\n  - x\n  -\n    c: 2\nd: {e: [1,\n 2]}\n")
    places = [("a",), ("b",), ("b", 0), ("b", 1), ("b", 1, "c"), ("d", "e", 1)]
    assert [found.position(place)[0] for place in places] == [1, 2, 3, 5, 5, 7]


def test_a_place_that_is_not_written_has_the_line_around_it():
    assert read("a:\n  b: 1").position(("a", "missing", 3)) == (1, 0)


def test_an_alias_is_its_value_with_the_lines_of_where_that_is_written():
    found = read("a: &x\n  k: 1\nb: *x")
    assert found.value == {"a": {"k": 1}, "b": {"k": 1}}
    assert (found.position(("b",))[0], found.position(("b", "k"))[0]) == (3, 2)


def test_an_anchor_may_be_set_again():
    assert read("a: &x 1\nb: &x 2\nc: *x").value["c"] == 2


@pytest.mark.parametrize("dump", [json.dumps, lambda value: json.dumps(value, indent="\t"), yaml.safe_dump])
def test_json_is_read_by_the_same_code(dump):
    value = {"version": 1, "a": ["x/y", 'q"', "é", "😀", "\\ud83d\\ude00", 1.5, None, True, {"b": []}]}
    assert read(dump(value)).value == value


def test_a_byte_order_mark_is_no_part_of_the_text():
    assert read("\ufeffversion: 1").value == {"version": 1}
    assert parse_policy(b"\xef\xbb\xbfversion: 1").version == 1


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("version: 1\nversion: 2", "line 2: version: the key is written twice, on lines 1 and 2; keep one"),
        (
            "version: 1\necs:\n - {name: a}\n - name: b\n   name: c",
            "line 5: ecs[b].name: the key is written twice, on lines 4 and 5; keep one",
        ),
        ("version: !!int 1", "line 1: version: the tag 'tag:yaml.org,2002:int' is not supported; leave it out"),
        ("version: ! 1", "line 1: version: the tag '!' is not supported; leave it out"),
        ("--- {version: 1}\n--- {}", "line 2: a second document begins after '---'; write one policy to a file"),
        (
            "a: &a {}\n<<: *a",
            "line 2: merge keys ('<<') are not supported; write the keys out, or alias a whole value",
        ),
        ("version: *v", "line 1: the alias *v stands for nothing before it; write the value out"),
        ("vpcs: &v [*v]", "line 1: the alias *v stands for nothing before it; write the value out"),
        ("a: &a k\n*a : 1", "line 2: a key is the alias *a; write the key out"),
        ("{[a]: 1}", "line 1: a key is a list or a mapping; keys are words, put braces and brackets in quotes"),
        ("a: 1\nb\x07: 2", "line 2: the text has the control character U+0007; remove it"),
        ("a: 1\n\ud800", "line 2: the text has the control character U+D800; remove it"),
        (b"a: 1\n\xff\xfe", "line 2: this is not UTF-8 text (byte 0xff); save the file as UTF-8"),
        (
            "version: 1\n\tecs: []",
            "line 2: this is neither YAML nor JSON (found a tab character that violates indentation); mend the line or "
            "the one before it: indent with spaces, put text with special characters in quotes",
        ),
        ("", "line 1: policy: the file is empty; a policy has at least 'version: 1'"),
        ("# nothing\n", "line 1: policy: the file is empty; a policy has at least 'version: 1'"),
        ("- version: 1", "line 1: policy: the file is a list, not a mapping; a policy has at least 'version: 1'"),
        ("policy.yaml", "line 1: policy: the file is 'policy.yaml', not a mapping; a policy has at least 'version: 1'"),
    ],
)
def test_what_is_refused_and_where(text: str | bytes, error: str):
    assert error in errors(text)


def test_a_mistake_that_ends_the_reading_does_not_hide_the_ones_before_it():
    assert errors("a: 1\na: 2\nb: *c") == [
        "line 2: the key is written twice, on lines 1 and 2; keep one",
        "line 3: the alias *c stands for nothing before it; write the value out",
    ]


def test_thirty_two_levels_are_read_and_thirty_three_are_not():
    assert read("[" * 32 + "]" * 32).value
    with pytest.raises(PolicyError, match="nested more than 32 deep"):
        read("[" * 33 + "]" * 33)


def test_an_alias_counts_as_much_as_what_it_stands_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(document, "MOST_VALUES", 11)
    # Two lists of four and one of two: 5 + 5 + 1 around them.
    assert read("[&a [1, 2, 3, 4], *a]").value == [[1, 2, 3, 4]] * 2
    with pytest.raises(PolicyError, match="more than 11 values, aliases counted each time"):
        read("[&a [1, 2, 3, 4], *a, 1]")


def test_the_slower_parser_of_a_system_without_libyaml_reads_the_same(monkeypatch: pytest.MonkeyPatch):
    text = 'a: &x [1, "2", ~]\nb: *x\n"c": {d: on, e: -1.5}\n'
    quick = read(text)
    monkeypatch.setattr(document, "LOADER", yaml.SafeLoader)
    slow = read(text)
    assert (slow.value, slow.root, slow.faults) == (quick.value, quick.root, quick.faults)


def test_the_policy_of_the_whole_is_found_behind_a_yaml_directive():
    assert parsed("%YAML 1.2\n---\nversion: 1\n...\n").version == 1


NUMBERS = st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
@settings(deadline=None)
def test_whatever_json_can_say_is_read_as_json_reads_it(value: object):
    text = json.dumps(value)
    if "\\u00" in text or "\\ufff" in text or "\\ud" in text:  # controls and lone surrogates: other tests
        return
    assert read(text).value == json.loads(text)
