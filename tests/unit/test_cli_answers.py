"""`enforcer explain` and `enforcer matrix` beyond what the interface promises: words, lists, pages and differences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from enforcer.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"
FIGURE_1, FIGURE_2, FIGURE_4, UNPEERED = (
    str(EXAMPLES / f"figure-{name}.yaml") for name in ("1", "2", "4", "4-without-peering")
)


def enforcer(*arguments: str, text: str | None = None) -> Result:
    result = CliRunner().invoke(main, arguments, input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def document(*arguments: str, status: int = 0) -> Any:
    result = enforcer(*arguments, "--json")
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


def test_explain_takes_a_service_and_names_the_line_of_the_rule() -> None:
    result = enforcer("explain", FIGURE_1, "my-pc", "ecs-a", "ping")
    assert result.exit_code == 0
    assert result.stdout.startswith("Yes: icmp/8/0 (ping) from my-pc")
    assert f"A01 of Sg-A ({FIGURE_1}:16)" in result.stdout
    found = document("explain", FIGURE_1, "my-pc", "ecs-a", "ping")
    assert (found["src"], found["dst"], found["proto"], found["ingress"]["line"]) == ("my-pc", "ecs-a", "ping", 16)
    assert document("explain", FIGURE_1, "my-pc", "ecs-a", "ssh", status=1)["service"] == "ssh"


def test_explain_of_standard_input_names_bare_lines() -> None:
    text = Path(FIGURE_1).read_text(encoding="utf-8")
    assert "A01 of Sg-A (line 16)" in enforcer("explain", "-", "my-pc", "ecs-a", "icmp", text=text).stdout


def test_explain_understands_a_nic_and_an_address() -> None:
    assert document("explain", FIGURE_1, "ecs-a:eth0", "203.0.113.80", "https")["source"] == "198.51.100.11"


def test_explain_reply_has_the_status_of_the_conversation() -> None:
    assert document("explain", FIGURE_1, "ecs-a", "website", "https", "--reply")["ingress"]["rule"] is None
    result = enforcer("explain", FIGURE_1, "my-pc", "ecs-a", "ssh", "--reply")
    assert (result.exit_code, result.stdout.startswith("No: there is no answer")) == (1, True)


def test_explain_all_lists_what_may_reach_a_host() -> None:
    found = document("explain", FIGURE_2, "--all", "ecs-b01")
    reached = {(way["src"], way["proto"]) for way in found["reached_by"]}
    assert ("ecs-a01", "tcp/22") in reached
    assert ("ecs-a01", "icmp") not in reached
    assert [rule["rule"] for rule in found["rules"]] == ["B01", "B02"]
    text = enforcer("explain", "--all", FIGURE_2, "ecs-b01").stdout
    assert "1. B01 of Sg-B" in text
    assert [way["proto"] for way in document("explain", FIGURE_2, "--all", "ecs-b02", "ssh")["reached_by"]] == [
        "ssh"
    ] * 3
    nobody = enforcer("explain", FIGURE_2, "--all", "admin-pc", "gre")
    assert (nobody.exit_code, "visitor" in nobody.stdout) == (0, True)
    assert "No host of the policy reaches ecs-a" in enforcer("explain", FIGURE_1, "--all", "ecs-a", "ssh").stdout


@pytest.mark.parametrize(
    "words",
    [
        ("explain", FIGURE_1, "ecs-a"),
        ("explain", FIGURE_1, "ecs-a", "website"),
        ("explain", FIGURE_1, "ecs-a", "website", "ssh", "--all"),
        ("explain", FIGURE_1, "ecs-a", "--all", "--reply"),
        ("explain", FIGURE_1, "--all", "nobody"),
        ("explain", FIGURE_1, "--all", "192.0.2.1"),
        ("matrix",),
        ("matrix", FIGURE_1, "--proto", "sssh"),
        ("matrix", FIGURE_1, "--diff", FIGURE_1, FIGURE_2),
        ("matrix", "--html", "page.html", "--diff", FIGURE_1, FIGURE_2),
    ],
)
def test_what_makes_no_sense_has_status_2(words: tuple[str, ...]) -> None:
    result = enforcer(*words)
    assert result.exit_code == 2, result.output
    assert "rror: " in result.stderr


def test_the_matrix_is_a_grid_of_what_gets_through() -> None:
    lines = enforcer("matrix", FIGURE_2, "--proto", "ssh", "--proto", "icmp").stdout.splitlines()
    assert lines[0].split() == [
        "from",
        "↓",
        "to",
        "→",
        "ecs-a01",
        "ecs-a02",
        "ecs-b01",
        "ecs-b02",
        "admin-pc",
        "visitor",
    ]
    assert lines[1].split() == ["ecs-a01", "all", "ssh", "ssh", "–", "–"]
    only = enforcer("matrix", FIGURE_2, "--proto", "ssh").stdout.splitlines()
    assert only[1].split() == ["ecs-a01", "allow", "allow", "allow", "deny", "deny"]


def test_the_matrix_says_what_was_asked() -> None:
    asked = "asked: icmp (ping); tcp 22 (ssh); tcp, other port; udp, any port\n"
    assert enforcer("matrix", FIGURE_2).stderr == asked


def test_the_matrix_says_why_when_asked() -> None:
    assert "rule A01 of Sg-A allows icmp" in enforcer("matrix", FIGURE_1, "--proto", "icmp", "--why").stdout


def test_the_matrix_asks_for_what_a_service_means_once() -> None:
    cells = document("matrix", FIGURE_1, "--proto", "ssh", "--proto", "tcp/22", "--proto", "icmp")["cells"]
    assert [cell["proto"] for cell in cells][:2] == ["ssh", "icmp"]


def test_the_matrix_names_the_region_of_each_cell() -> None:
    cells = document("matrix", FIGURE_2)["cells"]
    assert {(cell["proto"], cell["region"]) for cell in cells} == {
        ("icmp", "icmp (ping)"), ("tcp/22", "tcp 22 (ssh)"), ("tcp/1", "tcp, other port"), ("udp/1", "udp, any port"),
    }  # fmt: skip


def test_the_difference_of_two_policies_is_what_opens_and_closes() -> None:
    found = document("matrix", "--diff", FIGURE_4, UNPEERED, "--proto", "ssh", "--proto", "icmp")
    assert (found["opens"], found["closes"]) == (0, 8)
    assert found["cells"][0] == {
        "src": "ecs-a01",
        "dst": "ecs-b01",
        "proto": "ssh",
        "region": "ssh",
        "change": "closes",
        "verdict": "deny",
        "before": "allow",
        "after": "deny",
        "reason": "vpc-a and vpc-b are not peered",
    }
    assert (
        "8 opened, 0 closed"
        in enforcer("matrix", "--diff", UNPEERED, FIGURE_4, "--proto", "ssh", "--proto", "icmp").stdout
    )
    assert enforcer("matrix", "--diff", FIGURE_4, FIGURE_4).stdout == "0 opened, 0 closed\n"


def test_the_page_is_written_whole_or_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = enforcer("matrix", FIGURE_2, "--html", str(page))
    assert (result.exit_code, result.stdout) == (0, "")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert document("matrix", FIGURE_2, "--html", str(page))["cells"]
    assert enforcer("matrix", FIGURE_2, "--html", str(tmp_path / "absent" / "page.html")).exit_code == 4


def test_a_grid_that_nobody_could_read_is_refused_with_the_mend(tmp_path: Path) -> None:
    hosts = "\n".join(f"  - {{name: h{n}, subnet: s, addresses: [10.0.{n // 250}.{n % 250 + 2}]}}" for n in range(300))
    path = tmp_path / "large.yaml"
    path.write_text(f"version: 1\nvpcs: [{{name: v, subnets: [{{name: s, cidr: 10.0.0.0/16}}]}}]\necs:\n{hosts}\n")
    result = enforcer("matrix", str(path), "--html", str(tmp_path / "page.html"))
    assert (result.exit_code, "--proto" in result.stderr) == (2, True)
