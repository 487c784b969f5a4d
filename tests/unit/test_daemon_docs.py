"""docs/daemon.md tells the truth: its commands are run in their order, and print what it says."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from serving import Served, served

from enforcer.agent.api import limits, peers
from enforcer.agent.api.app import REFUSALS
from enforcer.agent.store import Keep
from enforcer.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "daemon.md"
TEXT = PAGE.read_text(encoding="utf-8")
WHEN = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|for \d+ s more")


def transcript() -> Iterator[tuple[str, list[str]]]:
    """Yield each command of the page with the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    inside = False
    for line in TEXT.splitlines():
        if line.startswith("    $ "):
            found.append((line[6:], []))
            inside = True
        elif inside and line.startswith("    "):
            found[-1][1].append(line[4:])
        elif line:
            inside = False
    return iter(found)


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with served(tmp_path) as running:
        monkeypatch.setenv("ENFORCER_SOCKET", str(running.socket))
        monkeypatch.chdir(tmp_path)
        policy = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
        assert policy
        Path("shop.yaml").write_text(policy[1])
        yield running


def printed(command: str) -> list[str]:
    words = shlex.split(command)
    assert words[0] == "enforcer"
    result = CliRunner().invoke(main, words[1:])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return [WHEN.sub("WHEN", line.rstrip()) for line in result.output.splitlines()]


@pytest.mark.skipif(os.geteuid() != 0, reason="the page says `root`")
def test_every_command_prints_what_the_page_says(daemon: Served):
    commands = list(transcript())
    assert len(commands) > 20
    for command, said in commands:
        assert printed(command) == [WHEN.sub("WHEN", line) for line in said], command


def test_every_status_of_the_api_is_on_the_page():
    table = "".join(re.findall(r"^\| [0-9, ]+ \|", TEXT, re.MULTILINE))
    assert set(map(int, re.findall(r"\d+", table))) == set(REFUSALS)


def test_every_bound_on_the_page_is_the_one_that_holds():
    assert (limits.MOST_POLICY >> 20, limits.MOST_EDIT >> 10) == (64, 256)
    assert (peers.MOST_CONNECTIONS, peers.MOST_OF_ONE, peers.HEADERS_WITHIN) == (256, 64, 10.0)
    assert limits.Limits.__init__.__defaults__ == (10.0, 30.0)
    assert (Keep().most, Keep().days, Keep().least) == (10_000, 90, 1_000)
