"""The offline commands, as the interface promises them: JSON keys, exit statuses, clear errors, no traceback."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from click.testing import CliRunner, Result

from enforcer.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"
POLICY = """
version: 1
vpcs: [{name: vpc-x, subnets: [{name: subnet-a, cidr: 192.168.0.0/24}]}]
security_groups:
  - {name: Sg-B, rules: [{id: B01, direction: egress}]}
  - name: Sg-A
    rules:
      - {id: A01, direction: ingress, protocol: tcp, multiport: "22,25,27", remote_group: Sg-B}
      - {id: A03, direction: egress}
ecs:
  - {name: ecs-a, subnet: subnet-a, addresses: [192.168.0.11], security_groups: [Sg-A]}
  - {name: ecs-b, subnet: subnet-a, addresses: [192.168.0.12], security_groups: [Sg-B]}
"""


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(dedent(POLICY), encoding="utf-8")
    return str(path)


def enforcer(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def document(*arguments: str, status: int = 0) -> Any:
    result = enforcer(*arguments, "--json")
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


def test_check_says_that_a_policy_is_valid(policy: str) -> None:
    assert document("check", policy) == {"valid": True, "errors": [], "warnings": []}
    assert "valid" in enforcer("check", policy).stdout


def test_check_names_every_error_with_its_place_and_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(POLICY.replace("remote_group: Sg-B", "remote_group: Sg-Q").replace("192.168.0.12", "10.0.0.1"))
    found = document("check", str(path), status=3)
    assert not found["valid"]
    texts = "\n".join(error["text"] for error in found["errors"])
    assert "security_groups[Sg-A].rules[A01].remote_group: 'Sg-Q' is not defined; did you mean" in texts
    assert "10.0.0.1" in texts
    result = enforcer("check", str(path))
    assert result.exit_code == 3
    assert result.stderr.count("error: ") == len(found["errors"])


def test_check_warns_of_rules_that_are_not_in_effect(tmp_path: Path) -> None:
    path = tmp_path / "quota.yaml"
    path.write_text("limits: {costly_rules: 0}\n" + POLICY)
    found = document("check", str(path))
    assert found["valid"]
    assert any("A01" in warning["text"] and "quota" in warning["text"] for warning in found["warnings"])


def test_check_says_on_which_line_a_warning_is_and_counts() -> None:
    shown = str(EXAMPLES / "deny-one-address.yaml")
    result = enforcer("check", shown)
    at = next(n for n, text in enumerate(Path(shown).read_text().splitlines(), 1) if "priority: 20" in text)
    assert f"warning: line {at}: security_groups[Blocked-Too-Late].rules[BLOCK]: never decides" in result.stderr
    assert result.stdout.endswith("4 security groups, 3 NICs, 1 warning\n")
    (warning,) = document("check", shown)["warnings"]
    assert (warning["line"], warning["code"]) == (at, "shadowed-rule")


WARNED = """version: 1
vpcs: [{name: vpc-x, subnets: [{name: subnet-a, cidr: 192.168.0.0/24}]}]
address_groups:
  - {name: used, entries: [192.0.2.1]}
  - {name: unused, entries: [192.0.2.2]}
security_groups:
  - name: Sg-A
    rules: [{id: A01, direction: ingress, remote_address_group: used}]
ecs:
  - name: old
    type: s1.large
    subnet: subnet-a
    addresses: [192.168.0.11]
    interface: veth-old
    security_groups: [Sg-A]
  - name: many
    nics:
      - {name: eth0, subnet: subnet-a, addresses: [192.168.0.12], mac: "fa:16:3e:00:00:12"}
      - name: eth1
        subnet: subnet-a
        addresses: [192.168.0.13]
        security_groups: [a, b, c, d, e, f]
"""


def test_warnings_of_an_ecs_a_nic_and_an_address_group_have_their_lines_too(tmp_path: Path) -> None:
    """S10, S11, S16: in the text and in JSON."""
    path = tmp_path / "warned.yaml"
    more = "".join(f"  - {{name: {name}, rules: [], silence: [unused-group]}}\n" for name in "abcdef")
    path.write_text(WARNED.replace("ecs:\n", f"{more}ecs:\n"))
    lines = path.read_text().splitlines()
    wanted = {
        ("unused-address-group", next(n for n, text in enumerate(lines, 1) if "unused, entries" in text)),
        ("ecs-type", lines.index("  - name: old") + 1),
        ("no-mac", lines.index("  - name: old") + 1),
        ("S11-groups", lines.index("        security_groups: [a, b, c, d, e, f]") + 1),
    }
    assert {(each["code"], each["line"]) for each in document("check", str(path))["warnings"]} == wanted
    told = enforcer("check", str(path)).stderr
    assert all(f"warning: line {line}: " in told for _, line in wanted)
    assert told.count("warning: line ") == told.count("warning: ") == len(wanted)


def test_errors_name_the_file_that_they_are_in(tmp_path: Path) -> None:
    wrong, good = tmp_path / "wrong.yaml", str(EXAMPLES / "figure-1.yaml")
    wrong.write_text("version: 1\nvpc: []\nx: 1\n")
    for pair in ((str(wrong), good), (good, str(wrong))):
        result = enforcer("matrix", "--diff", *pair)
        assert result.exit_code == 3
        assert result.stderr.endswith(f"note: {wrong} is rejected whole, for these 2 errors\n")
    assert document("check", str(wrong), status=3)["warnings"] == []
    assert enforcer("check", "").stderr == "error: '': cannot be read (No such file or directory)\n"


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"[" * 100_000, b"version: 1\nversion: 1\n", b"version: .nan"]
)
def test_hostile_files_get_an_error_and_status_3(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_bytes(content)
    result = enforcer("check", str(path))
    assert result.exit_code == 3
    assert result.stderr.startswith("error: ")


def test_a_directory_and_a_missing_file_are_no_policies(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.yaml"):
        result = enforcer("check", str(path))
        assert (result.exit_code, "cannot be read" in result.stderr) == (3, True)


def test_wrong_usage_has_status_2(policy: str) -> None:
    assert enforcer("check").exit_code == 2
    assert enforcer("nonsense").exit_code == 2
    assert enforcer("explain", policy, "ecs-a", "ecs-z", "tcp/22").exit_code == 2
    assert enforcer("explain", policy, "ecs-a", "ecs-b", "tcp/70000").exit_code == 2
    assert enforcer("compile", policy, "--vpc", "vpc-z").exit_code == 2


def test_compile_prints_one_script_per_namespace(policy: str) -> None:
    scripts = document("compile", policy)["scripts"]
    assert list(scripts) == ["lab-vpc-vpc-x"]
    assert "table inet enforcer" in scripts["lab-vpc-vpc-x"]
    assert enforcer("compile", policy).stdout == scripts["lab-vpc-vpc-x"]
    assert enforcer("compile", policy, "--vpc", "vpc-x", "--lab", "mine").stdout == scripts["lab-vpc-vpc-x"]


def test_compile_prints_the_program_with_its_regions(policy: str) -> None:
    told = enforcer("compile", policy, "--program").stdout
    assert "tcp 22 → allow Sg-A/A01" in told
    assert document("compile", policy, "--program")["programs"] == {"lab-vpc-vpc-x": told}


def test_compile_prints_the_program_of_one_vpc_alone() -> None:
    figure = str(EXAMPLES / "figure-4.yaml")
    every = document("compile", figure, "--program")["programs"]
    assert len(every) == 2
    assert enforcer("compile", figure, "--program").stdout == "".join(every.values())
    (chosen,) = document("compile", figure, "--program", "--vpc", "vpc-a")["programs"].items()
    assert chosen in every.items()


def test_compile_takes_the_hosts_layout_when_a_nic_names_its_interface(tmp_path: Path) -> None:
    path = tmp_path / "host.yaml"
    path.write_text(POLICY.replace("[192.168.0.11]", "[192.168.0.11], interface: tap0, netns: guests"))
    scripts = document("compile", str(path))["scripts"]
    assert list(scripts) == ["guests"]
    assert 'device "tap0"' in scripts["guests"]


def test_explain_names_the_deciding_rule_on_each_side(policy: str) -> None:
    found = document("explain", policy, "ecs-b", "ecs-a", "tcp/22")
    assert (found["verdict"], found["route"]) == ("allow", True)
    assert (found["egress"]["group"], found["egress"]["rule"]) == ("Sg-B", "B01")
    assert (found["ingress"]["group"], found["ingress"]["rule"]) == ("Sg-A", "A01")


def test_explain_has_status_1_for_denied_traffic(policy: str) -> None:
    found = document("explain", policy, "ecs-a", "ecs-b", "tcp/22", status=1)
    assert found["verdict"] == "deny"
    assert found["egress"]["verdict"] == "allow"
    assert (found["ingress"]["verdict"], found["ingress"]["group"], found["ingress"]["rule"]) == ("deny", None, None)
    assert found["ingress"]["reason"]


def test_explain_has_null_where_an_end_is_no_ecs(policy: str) -> None:
    assert document("explain", policy, "192.0.2.1", "ecs-a", "tcp/80", status=1)["egress"] is None


def test_matrix_has_a_cell_for_every_pair_and_traffic_as_it_was_asked_for(policy: str) -> None:
    cells = document("matrix", policy, "--proto", "tcp/22", "--proto", "icmp")["cells"]
    assert [(c["src"], c["dst"], c["proto"], c["verdict"]) for c in cells] == [
        ("ecs-a", "ecs-b", "tcp/22", "deny"),
        ("ecs-a", "ecs-b", "icmp", "deny"),
        ("ecs-b", "ecs-a", "tcp/22", "allow"),
        ("ecs-b", "ecs-a", "icmp", "deny"),
    ]


def test_matrix_asks_by_default_for_every_region_that_the_rules_name(policy: str) -> None:
    cells = document("matrix", policy)["cells"]
    assert {cell["proto"] for cell in cells} == {"icmp", "tcp/22", "tcp/25", "tcp/27", "tcp/1", "udp/1"}


def test_schema_is_a_json_schema_that_knows_the_sections() -> None:
    schema = json.loads(enforcer("schema").stdout)
    assert {"version", "security_groups", "ecs"} <= set(schema["properties"])


def test_every_command_has_help_with_an_example() -> None:
    for words in (["check"], ["compile"], ["explain"], ["matrix"], ["schema"], ["apply"], ["clear"], ["completion"]):
        text = enforcer(*words, "--help").stdout
        assert "Example:" in text, words
    for word in ("up", "apply", "show", "probe", "matrix", "exec", "vip", "down"):
        assert "Example:" in enforcer("lab", word, "--help").stdout, word


def test_completion_knows_the_shells() -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_ENFORCER_COMPLETE" in enforcer("completion", shell).stdout
    assert enforcer("completion", "csh").exit_code == 2


def test_a_policy_without_interfaces_has_nothing_to_apply(policy: str) -> None:
    result = enforcer("apply", "--without-daemon", "--socket", f"{policy}.sock", policy)
    assert (result.exit_code, "interface" in result.stderr) == (2, True)


def test_json_is_one_document_for_errors_too(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("")
    found = document("explain", str(path), "a", "b", "icmp", status=3)
    assert found["valid"] is False
    assert found["errors"]


def test_a_generation_that_does_not_fit_the_mark_is_refused_with_the_largest():
    words = ["compile", str(Path(__file__).parents[2] / "examples/figure-1.yaml"), "--generation"]
    assert CliRunner().invoke(main, [*words, str(0x3FFFFE)]).exit_code == 0
    refused = CliRunner().invoke(main, [*words, str(0x3FFFFF)])
    assert refused.exit_code == 2
    assert "4194302 is the largest" in refused.stderr
