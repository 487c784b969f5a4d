"""The commands that ask the daemon: each prints the revision in which it is in force, or why it is not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from serving import REGION, Served, served

from enforcer.agent.store import Revision
from enforcer.cli import main
from enforcer.model import parse_policy


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    def refuses(revision: Revision) -> str:
        return "interface tap-b: is a port of the bridge br0" if revision.message == "bridge" else ""

    with served(tmp_path, refuses) as running:
        monkeypatch.setenv("ENFORCER_SOCKET", str(running.socket))
        monkeypatch.chdir(tmp_path)
        Path("policy.yaml").write_text(REGION)
        running.apply()
        yield running


def enforcer(*words: str, status: int = 0, given: str | None = None) -> Result:
    result = CliRunner().invoke(main, words, input=given)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == status, result.output
    return result


def said(*words: str) -> str:
    return enforcer(*words).stdout.strip()


def document(*words: str, status: int = 0) -> Any:
    return json.loads(enforcer(*words, "--json", status=status).stdout)


# --- whole policies ---


def test_apply_prints_the_revision_and_a_second_time_that_nothing_changes(daemon: Served):
    Path("policy.yaml").write_text(REGION.replace("10.9.0.0", "10.8.0.0"))
    assert said("apply", "policy.yaml", "-m", "moved") == "policy applied, 1 resource changed; revision 2 is in force"
    assert said("apply", "policy.yaml") == "nothing to change; revision 2 is in force"
    assert enforcer("apply", "-", given=REGION).stdout.strip().endswith("revision 3 is in force")


def test_apply_shows_all_that_is_wrong_with_a_policy_and_has_exit_status_3(daemon: Served):
    Path("policy.yaml").write_text("version: 1\nsecurity_groups:\n  - {name: a b}\n  - {name: c, rulez: []}\n")
    found = enforcer("apply", "policy.yaml", status=3).stderr
    assert "error: line 3: security_groups[a b].name: 'a b' has the character ' '" in found
    assert "error: line 4: security_groups[c].rulez: is not a known key here; did you mean 'rules'?" in found
    errors = document("apply", "policy.yaml", status=3)["errors"]
    assert [each["line"] for each in errors] == [3, 4]
    enforcer("apply", "absent.yaml", status=3)


def test_what_is_wrong_with_a_policy_names_the_file_as_check_does(daemon: Served):
    Path("policy.yaml").write_text("version: 1\nvpc: []\n")
    for words in (("apply", "policy.yaml"), ("plan", "policy.yaml"), ("check", "policy.yaml")):
        found = enforcer(*words, status=3).stderr.splitlines()
        assert found[-1] == "note: policy.yaml is rejected whole, for this error"
        assert len(found) == 2
        assert document(*words, status=3)["notes"] == ["policy.yaml is rejected whole, for this error"]


COSTLY = "limits: {costly_rules: 1}\n" + REGION.replace("{name: a, subnet", "{name: a, type: S1.x, subnet").replace(
    "remote_address_group: office}", "remote_address_group: office}, {id: C, direction: ingress, remote_group: db}"
)


def test_warnings_of_apply_have_the_form_that_check_gives_them(daemon: Served):
    """S9, S10: with the line and the code, also where no daemon is asked, and in a lab."""
    for text in (COSTLY, json.dumps(yaml.safe_load(COSTLY), indent=1)):
        Path("policy.yaml").write_text(text)
        found = enforcer("check", "policy.yaml").stderr.splitlines()
        wanted = [line for line in found if line.endswith(("[quota]", "[ecs-type]"))]
        assert {line.split()[-1] for line in wanted} == {"[quota]", "[ecs-type]"}
        assert all(line.startswith("warning: line ") for line in wanted)
        for status, words in (
            (0, ("apply", "policy.yaml")),
            (2, ("apply", "policy.yaml", "--without-daemon", "--socket", "nowhere")),
            (2, ("lab", "up", "policy.yaml", "--name", "no lab")),
        ):
            assert enforcer(*words, status=status).stderr.splitlines()[: len(wanted)] == wanted
        told = document("apply", "policy.yaml")["warnings"]
        assert [f"warning: {each['text']} [{each['code']}]" for each in told] == wanted


def test_a_rule_that_is_beyond_the_quota_is_said_to_be_so(daemon: Served):
    """S9: it is written down, and does not take effect."""
    Path("policy.yaml").write_text(f"limits: {{costly_rules: 1}}\n{REGION}")
    said("apply", "policy.yaml")
    beyond = "but not in effect: quota, see `enforcer status`; revision"
    assert beyond in said("rule", "add", "web", "ingress", "--remote-group", "db", "--id", "C")
    assert beyond not in said("rule", "add", "web", "egress", "--remote-group", "db", "--id", "D")
    assert beyond not in said("rule", "move", "web", "C", "--before", "B")
    assert beyond in said("rule", "move", "web", "C")
    assert beyond not in said("rule", "disable", "web", "C")
    assert beyond in said("rule", "enable", "web", "C")
    assert document("show", "2")["policy"] != document("show")["policy"]


def test_a_nic_is_attached_without_its_checks_if_so_wished(daemon: Served):
    """S16."""
    words = ("nic", "attach", "c", "--subnet", "s", "--address", "10.0.0.9")
    said(*words, "--no-source-dest-check", "--no-port-security")
    said("nic", "attach", "d", *words[3:-1], "10.0.0.8")
    found = {each["name"]: each["nics"][0] for each in document("show")["policy"]["ecs"]}
    assert (found["c"]["source_dest_check"], found["c"]["port_security"]) == (False, False)
    assert not found["d"].keys() & {"source_dest_check", "port_security"}


def test_an_empty_option_is_refused_for_it_might_mean_anybody(daemon: Served):
    for words in (
        ("rule", "add", "web", "ingress", "--protocol", "tcp", "--ports", ""),
        ("rule", "add", "web", "ingress", "--id", ""),
        ("rule", "move", "web", "A", "--before", ""),
        ("group", "create", "new", "--template", ""),
        ("nic", "attach", "c", "--subnet", "s", "--address", "10.0.0.9", "--interface", ""),
        ("nic", "attach", "c", "--subnet", "s", "--address", "10.0.0.9", "--group", "web", "--group", ""),
    ):
        assert enforcer(*words, status=2).stderr == f"error: {words[-2]}: is empty; write something, or leave it out\n"
    said("nic", "attach", "c", "--subnet", "s", "--address", "10.0.0.9", "--netns", "", "-m", "")


def test_what_the_kernel_refuses_has_exit_status_4_and_its_reason(daemon: Served):
    found = enforcer("nic", "groups", "a", "db", "-m", "bridge", status=4).stderr
    assert "revision 2 was refused, nothing has changed: interface tap-b: is a port of the bridge br0" in found


def test_somebody_elses_change_has_exit_status_1(daemon: Served):
    said("group", "create", "new")
    assert "the head is revision 2, not 1" in enforcer("group", "create", "two", "--if-revision", "1", status=1).stderr


def test_history_says_who_changed_what_and_what_became_of_it(daemon: Served):
    said("group", "create", "new", "-m", "for the shop")
    enforcer("nic", "detach", "a", "-m", "bridge", status=4)
    lines = [line.rstrip() for line in said("history").splitlines()]
    assert [line.split()[0] for line in lines] == ["revision", "3", "2", "1"]
    assert "in force" in lines[2]
    assert lines[2].endswith("for the shop")
    assert "refused" in lines[1]
    assert lines[1].endswith("bridge (interface tap-b: is a port of the bridge br0)")
    assert [each["revision"] for each in document("history", "-n", "1", "--before", "3")["revisions"]] == [2]


def test_a_message_is_one_line_of_plain_text_for_others_read_it_on_their_terminals(daemon: Served):
    for message, named in (("two\nlines", "U+000A"), ("\x1b[2Jgone", "U+001B")):
        found = enforcer("group", "create", "new", "-m", message, status=2).stderr
        assert f"has the control character {named}; write one line of plain text" in found
    said("group", "create", "new", "-m", "für den Laden [bold]")
    assert said("history", "-n", "1").endswith("für den Laden [bold]")


def test_history_says_that_there_is_nothing(daemon: Served):
    assert enforcer("history", "--before", "1").stderr == "note: there are none before that\n"
    assert document("history", "--before", "1")["revisions"] == []


def test_what_show_prints_can_be_applied_again(daemon: Served):
    said("rule", "add", "web", "egress")
    Path("before.yaml").write_text(enforcer("show", "1").stdout)
    assert parse_policy(Path("before.yaml").read_text()).group("web").rules[-1].id == "B"
    assert said("apply", "before.yaml") == "policy applied, 1 resource changed; revision 3 is in force"
    assert document("show", "1")["policy"] == document("show")["policy"]
    enforcer("show", "9", status=2)


def test_diff_prints_resource_by_resource_what_differs(daemon: Served):
    said("address-group", "add", "office", "10.8.0.1")
    said("group", "create", "new", "--empty")
    lines = said("diff", "1", "3").splitlines()
    assert lines[:2] == ["--- address_groups/office in 1", "+++ address_groups/office in 3"]
    assert "+- 10.8.0.1" in lines
    assert "+name: new" in lines
    assert said("diff", "2", "2") == "revisions 2 and 2 say the same"


def test_rollback_goes_back_as_a_new_revision(daemon: Served):
    said("nic", "detach", "b")
    assert said("rollback", "1", "-m", "too early") == "back to revision 1; revision 3 is in force"
    assert document("show", "1")["policy"] == document("show")["policy"]
    enforcer("rollback", "7", status=2)


def test_a_policy_applied_for_a_while_is_kept_by_confirm(daemon: Served):
    Path("policy.yaml").write_text(REGION.replace("10.9.0.0", "10.8.0.0"))
    result = enforcer("apply", "policy.yaml", "--confirm", "60")
    assert "it goes back in 60 s, unless you run `enforcer confirm`" in result.stderr
    assert "revision 2 goes back by itself" in enforcer("history").stderr
    assert "waits to be confirmed" in enforcer("group", "create", "new", status=1).stderr
    assert said("confirm") == "revision 2 stays; revision 2 is in force"
    enforcer("confirm", status=1)


# --- edits ---


def test_every_edit_prints_its_revision(daemon: Served):
    for number, (words, expected) in enumerate(
        (
            ("group create new --empty", "group new created"),
            (
                "rule add web ingress --id HTTP --protocol tcp --ports 80,443",
                "rule HTTP added to web",
            ),
            ("rule add new egress --protocol 47 --remote-group web", "rule rule-1 added to new"),
            ("rule disable web A", "rule A of web disabled"),
            ("rule enable web A", "rule A of web enabled"),
            ("rule move web HTTP --before A", "rule HTTP of web moved before A"),
            ("rule remove web B", "rule B removed from web"),
            ("address-group create home 10.1.0.0/16", "address group home created"),
            ("address-group add home 10.2.0.5 10.3.0.1-10.3.0.9", "10.2.0.5, 10.3.0.1-10.3.0.9 added to home"),
            ("address-group remove home 10.2.0.5", "10.2.0.5 removed from home"),
            ("address-group delete home", "address group home deleted"),
            (
                "nic attach c --subnet s --address 10.0.0.9 --group web --group new --type s6.large",
                "NIC c:eth0 attached",
            ),
            ("nic groups c new", "NIC c:eth0 has the groups new"),
            ("nic detach c", "NIC c:eth0 detached"),
            ("group delete new", "group new deleted"),
        ),
        start=2,
    ):
        assert said(*words.split()) == f"{expected}; revision {number} is in force"
    policy = parse_policy(enforcer("show").stdout)
    assert [rule.text() for rule in policy.group("web").rules] == [
        "allow ingress IPv4 tcp 80,443 from anywhere (priority 1)",
        "allow ingress IPv4 all from anywhere (priority 1)",
    ]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("group delete default", 3, "security_groups[default]: cannot be deleted (S2)"),
        ("group delete web", 3, "is in use by NIC a:eth0, NIC b:eth0; take it from there first"),
        ("rule add wbe ingress", 3, "'wbe' is not defined; did you mean 'web'?"),
        ("rule add web ingress --ports 80", 3, "'80' needs ports, protocol 'all' has none; write protocol tcp or udp"),
        ("rule remove a/b c", 2, "'a/b' is not a name"),
        ("nic attach d --subnet s --address 10.0.0.1", 3, "'10.0.0.1' is already an address of a:eth0 in x"),
        ("nic groups a wbe", 3, "'wbe' is not defined; did you mean 'web'?"),
        ("address-group add office 10.1.2.3/8", 3, "'10.1.2.3/8' has host bits set; write '10.0.0.0/8'"),
        ("rule add web sideways", 2, "'sideways' is not one of 'ingress', 'egress'"),
    ],
)
def test_an_edit_that_cannot_be_says_what_would_be_right(daemon: Served, words: str, status: int, said: str):
    assert said in enforcer(*words.split(), status=status).stderr


# --- no daemon ---


def test_a_daemon_that_cannot_be_reached_has_exit_status_5_and_how_to_start_it(tmp_path: Path):
    path = str(tmp_path / "none.sock")
    result = enforcer("history", "--socket", path, status=5)
    assert f"{path}: the daemon cannot be reached (No such file or directory); start it with" in result.stderr
    assert document("show", "--socket", path, status=5)["errors"]


def test_without_the_daemon_is_refused_where_one_runs(daemon: Served):
    found = enforcer("apply", "--without-daemon", "policy.yaml", status=4).stderr
    assert "a daemon runs on this host, and would undo what is done behind its back; leave out" in found
    assert "stop the daemon first, or apply a policy without" in enforcer("clear", status=4).stderr
    assert "keeps no revisions" in enforcer("apply", "--without-daemon", "policy.yaml", "-m", "x", status=2).stderr


def test_the_api_is_described_without_a_daemon():
    paths = json.loads(said("api-schema"))["paths"]
    assert {"/v1/policy", "/v1/security_groups", "/v1/status", "/v1/trace"} <= set(paths)


def test_the_description_is_the_one_that_the_daemon_gives(daemon: Served):
    assert json.loads(said("api-schema")) == daemon.http.get("/v1/openapi.json").json()


def test_names_are_completed_from_what_the_daemon_has(daemon: Served):
    def completed(line: str) -> list[str]:
        words = line.split(" ")
        script = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_ENFORCER_COMPLETE": "bash_complete"}
        result = CliRunner(env=script).invoke(main, prog_name="enforcer")
        return [each.partition(",")[2] for each in result.output.splitlines()]

    assert completed("enforcer group delete w") == ["web"]
    assert completed("enforcer rule remove web ") == ["A", "B"]
    assert completed("enforcer nic groups ") == ["a", "b"]
    assert completed("enforcer address-group add of") == ["office"]
    assert completed("enforcer rule move web A --before ") == ["A", "B"]
    assert completed("enforcer rule add web ingress --before B") == ["B"]
    assert completed("enforcer rule add web ingress --remote-group d") == ["db"]
    assert completed("enforcer rule add web ingress --address-group ") == ["office"]
    assert completed("enforcer rule add web ingress --protocol icm") == ["icmp", "icmpv6"]
    assert completed("enforcer nic attach c --subnet ") == ["s"]
    assert completed("enforcer nic attach c --group w") == ["web"]
    assert completed("enforcer address-group remove office 1") == ["10.9.0.0/16"]
    assert completed("enforcer trace --nic ") == ["a", "b"]
    assert completed("enforcer group create x --template g") == ["general-purpose-web-server"]
    assert completed("enforcer explain policy.yaml ") == completed("enforcer explain policy.yaml a ") == ["a", "b"]
    assert completed("enforcer explain absent.yaml ") == [""]


def test_commands_that_ask_no_daemon_do_not_load_its_client():
    script = "import sys, enforcer.cli; print(sorted({'httpx', 'fastapi', 'uvicorn', 'structlog'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_only_commands_of_the_lab_load_its_library():
    script = (
        "import sys, enforcer.agent.daemon, enforcer.agent.serving; from enforcer.cli import main\n"
        "try: main([{!r}, '--help'])\nexcept SystemExit: print('pyroute2' in sys.modules)"
    )
    for command, loads in (("daemon", "False"), ("lab", "True")):
        ran = [sys.executable, "-c", script.format(command)]
        said = subprocess.run(ran, capture_output=True, text=True, check=True).stdout
        assert (said.splitlines()[-1], "Usage:" in said) == (loads, True)
