"""The Vagrantfile as Vagrant itself reads it, for both providers. What it provisions, the machine beside it tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from machine import REPOSITORY

VAGRANT = REPOSITORY / "vagrant"


def validated(tmp_path: Path, provider: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    directory = tmp_path / "vagrant"
    shutil.copytree(VAGRANT, directory)
    if text is not None:
        (directory / "Vagrantfile").write_text(text)
    # VirtualBox itself is not there; Vagrant asks it for its version before it reads on.
    (tmp_path / "VBoxManage").write_text("#!/bin/sh\necho 6.1.38r153438\n")
    (tmp_path / "VBoxManage").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path), "VAGRANT_CHECKPOINT_DISABLE": "1"}
    return subprocess.run(
        ["vagrant", "validate"], cwd=directory, env=environment | {"VAGRANT_DEFAULT_PROVIDER": provider},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("provider", ["libvirt", "virtualbox"])
def test_the_vagrantfile_is_valid(tmp_path: Path, provider: str) -> None:
    done = validated(tmp_path, provider)
    assert done.returncode == 0, done.stderr
    assert "Vagrantfile validated successfully." in done.stdout


@pytest.mark.parametrize("provider", ["libvirt", "virtualbox"])
def test_a_mistake_in_a_provider_is_found(tmp_path: Path, provider: str) -> None:
    wrong = (VAGRANT / "Vagrantfile").read_text().replace("machine.cpus", "machine.cpuz")
    done = validated(tmp_path, provider, wrong)
    assert done.returncode != 0
    assert "cpuz" in done.stdout + done.stderr
