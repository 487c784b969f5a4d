"""docs/operations.md tells the truth: its commands run with the output shown, its events and tests exist.

So do the daemon's commands in the README.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import PATIENCE
from harness import until
from patience import patient
from scratch import Scratch

from enforcer.agent.config import Config
from enforcer.agent.observer import Log

pytestmark = pytest.mark.traffic

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.M | re.S)
REST = "…"


def told(document: str) -> list[tuple[str, list[str]]]:
    """Return every command of a document with the output that is shown."""
    found: list[tuple[str, list[str]]] = []
    for line in "".join(CONSOLE.findall((ROOT / document).read_text(encoding="utf-8"))).splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            found[-1][1].append(line)
    return found


@pytest.fixture
def host(scratch: Scratch, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A host with the interfaces of the example and a running daemon; yields the environment for commands."""
    scratch.ip("link", "set", "lo", "up")
    scratch.add("veth-web", "veth-worker")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "enforcer.toml").write_text("")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "STATE": str(tmp_path / "state"),
        "ENFORCER_SOCKET": str(tmp_path / "socket"),
    }
    words = ["--state-dir", "state", "--socket", "socket", "--config", "enforcer.toml"]
    inside = ["ip", "netns", "exec", scratch.name]
    with (tmp_path / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [*inside, sys.executable, "-m", "enforcer", "daemon", *words], cwd=tmp_path, env=environment, stderr=log
        )
        try:
            until((tmp_path / "socket").exists, "it takes requests", PATIENCE)
            yield {**environment, "NETNS": scratch.name, "PWD": str(tmp_path)}
        finally:
            daemon.terminate()
            daemon.wait(PATIENCE)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", ["README.md", "docs/operations.md"])
def test_every_command_runs_and_prints_what_is_shown(host: dict[str, str], document: str) -> None:
    assert told(document)
    for command, shown in told(document):
        done = subprocess.run(
            ["ip", "netns", "exec", host["NETNS"], "bash", "-c", command],
            cwd=host["PWD"],
            env=host,
            capture_output=True,
            text=True,
            timeout=patient(60),
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        lines = iter(done.stdout.splitlines())
        for line in shown:
            if line != REST:
                assert line in lines, f"{command}: never printed {line!r}, but\n{done.stdout}"
        if shown and REST not in shown:
            assert done.stdout.splitlines() == shown


def test_every_way_to_install_is_tried_on_a_machine_of_its_own() -> None:
    """They change the host that they run on, so they stand in no block that `test_docs` would run here."""
    section = TEXT.partition("## Install")[2].partition("\n## ")[0]
    (block,) = re.findall(r"^```text\n(.*?)^```", section, re.M | re.S)
    tried = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests/system").glob("*.py"))
    for line in block.splitlines():
        words = line.partition("#")[0].split()
        assert ", ".join(f'"{word}"' for word in words) in tried, line


def test_every_event_of_the_log_is_explained_and_no_other() -> None:
    section = TEXT.partition("## Log events")[2].partition("\n## ")[0]
    explained = re.findall(r"^\| `(\w+)` \|", section, re.M)
    events = [name for name in vars(Log) if not name.startswith("_")]
    assert explained == events


def test_the_configuration_is_the_one_that_is_read() -> None:
    (block,) = re.findall(r"^```toml\n(.*?)^```", TEXT, re.M | re.S)
    assert Config(**tomllib.loads(block)) == Config()
    assert tomllib.loads(block).keys() == Config.model_fields.keys()


def test_every_row_of_faults_has_its_test() -> None:
    section = TEXT.partition("## Faults")[2].partition("\n## ")[0]
    rows = [
        line for line in section.splitlines() if line.startswith("| ") and not line.startswith(("| fault", "| ---"))
    ]
    named = [re.search(r"`([\w/]+\.py)::(\w+)` \|$", row) for row in rows]
    assert len(rows) > 15
    assert None not in named, rows[named.index(None)]
    missing = [found[0] for found in named if found and found[2] not in _tests(found[1])]
    assert missing == []


def _tests(path: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
