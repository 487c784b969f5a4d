"""docs/policy.md tells the truth: its policies are valid, and its errors are what the program says, word for word."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enforcer.errors import PolicyError
from enforcer.model import CODES, host_layout, parse_policy, policy_schema
from enforcer.model.reading.document import read

DOCS = (Path(__file__).parents[2] / "docs" / "policy.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
WHOLE = read(EXAMPLES[0]).value
TABLE = r"<!-- in: (.*?) -->\n\| written \| error \|\n\| --- \| --- \|\n((?:\|.*\n)+)"


def within_the_whole(sections: dict[str, Any]) -> str:
    """Return the whole policy of the documentation with some sections replaced."""
    return json.dumps({**WHOLE, **sections})


def documented_errors() -> Iterator[tuple[str, str, str]]:
    """Yield template, what is written, and the error, of every row of every table of errors."""
    for template, table in re.findall(
        r"<!-- in: (.*?) -->\n\| written \| error \|\n\| --- \| --- \|\n((?:\|.*\n)+)", DOCS
    ):
        for row in table.splitlines():
            found = re.fullmatch(r"\| (no )?`(.*?)` \| `(.*)` \|", row)
            assert found, f"not a row of a table of errors: {row}"
            yield template, ("no " if found[1] else "") + found[2], found[3]


def written_into(template: str, written: str) -> dict[str, Any]:
    """Return the template with `written` in the place of its `…` key."""
    data = read(template).value

    def fill(value: Any) -> Any:
        if isinstance(value, list):
            return [fill(item) for item in value]
        if not isinstance(value, dict):
            return value
        filled = {key: fill(item) for key, item in value.items() if key != "…"}
        if "…" in value:
            if written.startswith("no "):
                return {key: item for key, item in filled.items() if key != written[3:]} | {"…": None}
            filled |= read(f"{{{written}}}" if ", " in written else written).value
        return filled

    filled = fill(data)
    assert isinstance(filled, dict)
    return filled


def without_mark(value: Any) -> Any:
    if isinstance(value, list):
        return [without_mark(item) for item in value]
    if isinstance(value, dict):
        return {key: without_mark(item) for key, item in value.items() if key != "…"}
    return value


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: " ".join(text.split())[:40])
def test_every_example_is_valid(example: str):
    text = example if example.startswith("version:") else within_the_whole(read(example).value)
    assert parse_policy(text).version == 1


@pytest.mark.parametrize(
    ("template", "written", "error"),
    [pytest.param(*row, id=f"{row[1]} → {row[2][:40]}") for row in documented_errors()],
)
def test_every_documented_error_is_what_the_program_says(template: str, written: str, error: str):
    sections = written_into(template, written)
    whole = {**WHOLE, **without_mark(sections)}
    if written == "no version":
        del whole["version"]
    with pytest.raises(PolicyError) as raised:
        parse_policy(json.dumps(whole))
    said = [f"{problem.where}: {problem.message}" for problem in raised.value.problems]
    assert any(one == error or one.endswith(f".{error}") for one in said), "\n".join(said)


def test_the_documented_error_of_a_shared_namespace_is_what_the_program_says_s18():
    sections = read("""
        peerings: []
        load_balancers: []
        ecs:
          - {name: ecs-a, subnet: subnet-a, addresses: [192.168.0.11], interface: veth-a}
          - {name: ecs-b, subnet: subnet-y, addresses: [10.1.0.12], interface: veth-b}
    """).value
    with pytest.raises(PolicyError) as raised:
        host_layout(parse_policy(within_the_whole(sections)))
    assert f"`{raised.value}`" in DOCS


def test_every_key_of_the_format_is_documented():
    schema = policy_schema()
    keys = {key for kind in (schema, *schema["$defs"].values()) for key in kind["properties"]}
    assert {key for key in keys if not re.search(rf"\b{key}\b", DOCS)} == set()


def test_the_codes_of_warnings_are_documented_and_never_change():
    table = DOCS.partition("## Warnings")[2].partition("*Never*")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE) == list(CODES)
    assert set(CODES) >= {
        "shadowed-rule", "duplicate-rule", "contradicting-rules", "empty-remote-group", "world-open-management",
        "quota", "unused-group", "S11-instances", "unused-address-group", "ecs-type", "S11-groups", "no-mac",
    }  # fmt: skip


def test_the_tables_of_errors_were_found():
    assert DOCS.count("| written | error |") == len({template for template, _, _ in documented_errors()})
    assert len(list(documented_errors())) > 100
