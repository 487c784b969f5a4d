"""What the command line says of itself and of wrong usage: whole help, one form of errors, colour only if wanted."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from enforcer.cli import main, seeing

ROOT = Path(__file__).parents[2]
EXAMPLE = str(ROOT / "examples" / "figure-1.yaml")


def enforcer(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments, prog_name="enforcer")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def every_command(group: click.Group = main, *above: str) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        yield (*above, name)
        if isinstance(command := group.get_command(context, name), click.Group):
            yield from every_command(command, *above, name)


def test_the_help_lists_every_command_once_with_a_whole_sentence():
    lines = enforcer("--help").stdout.splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  ") and not line.startswith("   ")]
    for name in main.list_commands(click.Context(main)):
        assert listed.count(name) == 1, f"{name} is not in one section of the help"
    for words in ((), ("lab",), ("rule",), ("group",), ("address-group",), ("nic",)):
        assert "..." not in enforcer(*words, "--help").stdout.replace("[ARGS]...", ""), words


@pytest.mark.parametrize("words", sorted(every_command()), ids=" ".join)
def test_help_fits_into_80_columns(words: tuple[str, ...]):
    shown = enforcer(*words, "--help").stdout
    examples = [line for line in shown.splitlines() if "enforcer " in line]
    assert [line for line in shown.splitlines() if len(line) > 80 and line not in examples] == []


WRONG = [("chek",), ("--wrong",), ("check",), ("check", "a", "b"), ("compile", EXAMPLE, "--generation", "0")]


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_usage_is_an_error_like_all_others(words: tuple[str, ...]):
    result = enforcer(*words)
    error, usage = result.stderr.splitlines()
    assert (result.exit_code, result.stdout) == (2, "")
    assert error.startswith("error: ")
    assert usage.startswith("note: usage: enforcer ")


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_usage_is_a_document_if_one_is_asked_for(words: tuple[str, ...]):
    result = enforcer(*words, "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (2, "")
    assert found["errors"][0]["text"]


def test_a_group_without_a_command_shows_its_help():
    result = enforcer("rule")
    assert result.exit_code == 2
    assert "Move a rule" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_file_that_may_not_be_read_is_like_one_that_is_not_there():
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        secret = Path(directory) / "secret.yaml"
        secret.touch(mode=0o000)
        code = "import os, sys; from enforcer.cli import main; os.setuid(65534); main(sys.argv[1:])"
        words = [sys.executable, "-c", code, "check", str(secret)]
        found = subprocess.run(words, check=False, capture_output=True, text=True, cwd=ROOT)
    assert found.returncode == 3
    assert found.stderr == f"error: {secret}: cannot be read (Permission denied)\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_may_not_enforce_is_told_so_by_a_name_for_his_own_namespace(tmp_path: Path):
    code = "import os, sys; from enforcer.cli import main; os.setuid(65534); main(sys.argv[1:])"
    words = ["apply", "--without-daemon", "--socket", "nowhere", "-"]
    policy = (ROOT / "examples/hosts.yaml").read_text().replace("netns: sandboxes", "")
    found = subprocess.run(
        [sys.executable, "-c", code, *words], input=policy, check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert found.returncode == 4
    assert (
        found.stderr
        == "error: this network namespace: notices cannot be had (Operation not permitted); are you root?\n"
    )


def test_a_time_that_is_no_number_is_wrong_usage():
    for words in (("apply", EXAMPLE, "--confirm", "nan"), ("lab", "probe", "a", "b", "icmp", "--timeout", "nan")):
        assert "'nan' is not a valid number of seconds" in enforcer(*words).stderr


def test_a_state_directory_that_is_a_file_is_said_to_be_none(tmp_path: Path):
    (tmp_path / "state").touch()
    for state in (tmp_path / "state", tmp_path / "state" / "below"):
        result = enforcer("boot", "--state-dir", str(state))
        assert result.exit_code == 4
        assert f"error: {state}: is not a directory; name one, or move what is there away\n" in result.stderr


def test_compile_says_when_there_is_nothing_to_enforce_on_a_host():
    result = enforcer("compile", EXAMPLE, "--host")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "note: no NIC names an `interface`, so there is nothing to enforce on a host\n"


def test_tables_end_where_their_words_do_when_nobody_watches():
    for words in (("matrix", EXAMPLE), ("matrix", EXAMPLE, "--why"), ("explain", EXAMPLE, "--all", "ecs-a")):
        lines = enforcer(*words).stdout.splitlines()
        assert lines == [line.rstrip() for line in lines]
        assert len(lines) > 2


def test_status_says_once_what_a_namespace_waits_for(capsys: pytest.CaptureFixture[str]):
    space = {"netns": "far", "state": "pending", "why": "network namespace far does not exist yet"}
    nic = {"nic": "x", "state": "pending", "why": "network namespace far does not exist yet"}
    rest: dict[str, Any] = {"revision": 1, "proposed": 0, "waiting": None, "repairs": {"count": 0, "last": None}}
    nothing: dict[str, Any] = {"conntrack": [], "warnings": [], "errors": []}
    seeing._show_status({**rest, **nothing, "namespaces": [space], "nics": [nic]})
    assert capsys.readouterr().out.splitlines()[1:] == [
        "network namespace far: pending: does not exist yet",
        "x: pending: network namespace far does not exist yet",
    ]


def on_a_terminal(*words: str, **environment: str) -> str:
    """Return what a command writes on a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "enforcer", *words]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**os.environ, **environment}) as process:
        os.close(theirs)
        parts: list[bytes] = []
        try:
            while part := os.read(ours, 65536):
                parts.append(part)
        except OSError:  # the other end of a terminal is closed
            pass
        process.wait()
    os.close(ours)
    return b"".join(parts).decode()


COLOURFUL = [
    ("explain", EXAMPLE, "my-pc", "ecs-a", "ssh"),
    ("plan", "--first", EXAMPLE),
    ("matrix", EXAMPLE, "--why", "--proto", "ssh"),
]


@pytest.mark.parametrize("words", COLOURFUL, ids=lambda words: words[0])
def test_colour_is_for_terminals_of_people_who_want_it(words: tuple[str, ...]):
    assert "\x1b[3" in on_a_terminal(*words, TERM="xterm", NO_COLOR="")
    assert "\x1b[3" not in on_a_terminal(*words, TERM="xterm", NO_COLOR="1")
