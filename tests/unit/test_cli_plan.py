"""`enforcer plan --against`: exit statuses, JSON and words, without privilege and without a daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from enforcer.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"
OLD, NEW = str(EXAMPLES / "figure-4.yaml"), str(EXAMPLES / "figure-4-without-peering.yaml")


@pytest.fixture(autouse=True)
def no_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)


def enforcer(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_a_plan_is_one_json_document():
    result = enforcer("plan", NEW, "--against", OLD, "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 0, "nothing is known to be cut"
    assert (told["cells"]["opens"], told["cells"]["closes"]) == (0, 12)
    assert [(each["kind"], each["name"], each["change"]) for each in told["objects"]] == [
        ("peering", "peering-AB", "removed")
    ]
    assert told["live"] is None
    assert "needs root" in told["live_unseen"]


def test_in_words_the_answer_comes_first():
    lines = enforcer("plan", NEW, "--against", OLD).stdout.splitlines()
    assert lines[0] == "0 rules added, 0 removed; 3 NICs affected; 0 cells opened, 12 closed."
    assert "  - peering peering-AB" in lines
    assert "  closes: icmp (ping) from ecs-a01 to ecs-b01 – vpc-a and vpc-b are not peered" in lines
    assert enforcer("plan", OLD, "--against", OLD).stdout == "Nothing changes.\n"


def test_no_control_characters_without_a_terminal():
    assert "\x1b" not in enforcer("plan", NEW, "--against", OLD).stdout


def test_an_invalid_policy_has_the_status_of_invalid_policies(tmp_path: Path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("version: 2\n", encoding="utf-8")
    assert enforcer("plan", str(wrong), "--against", OLD).exit_code == 3
    assert enforcer("plan", OLD, "--against", str(wrong)).exit_code == 3
