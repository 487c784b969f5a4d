"""One machine for all tests of this directory: it boots once, and is provisioned as the documentation says.

Vagrant's own tests are deselected, and the summary says so, where there is no Vagrant: Ubuntu has none.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from machine import Machine, machine

WITHOUT = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    without = [item for item in items if item.path.name == "test_vagrant.py" and shutil.which("vagrant") is None]
    if without:
        config.stash[WITHOUT] = len(without)
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if item not in without]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if count := config.stash.get(WITHOUT, 0):
        terminalreporter.write_line(f"{count} tests deselected: no Vagrant here", yellow=True)


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A Debian with nothing of ours."""
    with machine(tmp_path_factory.mktemp("machine")) as running:
        yield running


@pytest.fixture(scope="session")
def host(bare: Machine) -> Machine:
    """A host whose two instances are filtered: `web`, and `visitor`, who may see its port 80 and nothing else."""
    bare.run("vagrant/provision")
    return bare
