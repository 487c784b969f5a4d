"""Every command in README and docs runs, and every line of nft in docs/ruleset.md is what the compiler prints."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from patience import patient

pytestmark = pytest.mark.traffic

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "examples/README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHELL = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
NFT = re.compile(r"^```nft\n(.*?)^```", re.M | re.S)
RUNS_THIS = "scripts/test"
"""The one command that is not run from here: it runs this test, and the gate runs it."""


def commands(document: Path) -> list[str]:
    blocks = SHELL.findall(document.read_text(encoding="utf-8"))
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what git knows of the tree, as a user's clone has it."""
    target = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    (target / ".venv").symlink_to(sys.prefix)  # the environment that we run in, made by scripts/environment
    return target


@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_of_a_document_runs(document: Path, clone: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in commands(document):
        if command == RUNS_THIS:
            continue
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=clone,
            env=environment,
            capture_output=True,
            text=True,
            timeout=patient(300),
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_nothing_that_changes_the_host_is_run_here() -> None:
    """`tests/system` tries those on machines of their own; in a document they stand in a block of `text`."""
    for document in DOCUMENTS:
        assert not [line for line in commands(document) if re.search(r"scripts/(un)?install|systemctl", line)], document


def test_the_gate_runs_the_readmes_test_command() -> None:
    assert RUNS_THIS in commands(ROOT / "README.md")
    assert f"exec {RUNS_THIS}\n" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"\t{RUNS_THIS}\n" in makefile
    assert "\tscripts/demo\n" in makefile


def test_every_line_of_nft_in_the_documents_is_what_the_compiler_prints() -> None:
    script = subprocess.run(
        [sys.executable, "-m", "enforcer", "compile", "examples/figure-2.yaml", "--vpc", "vpc-x"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    printed = {without_hashes(line) for line in script.splitlines()}
    shown = [
        line for block in NFT.findall((ROOT / "docs/ruleset.md").read_text("utf-8")) for line in block.splitlines()
    ]
    assert len(shown) > 40
    assert [line for line in shown if without_hashes(line) not in printed] == []


def without_hashes(line: str) -> str:
    """Names stand for content: they may change while what a reader learns from the line does not."""
    return re.sub(r"_[0-9a-f]{10}(?=_|\b)|\b[0-9a-f]{3,4}:[0-9a-f]{3,4}\b", "_HASH", line)
