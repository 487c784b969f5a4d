"""Tests in a real browser run wherever there is one.

The rule: where no program of Chromium's family runs, these tests are deselected – not skipped – and the summary says
so. `scripts/test` installs Chromium where the distribution packages it (Debian); Ubuntu has it only as a snap, which
containers cannot run, so there it takes a browser that somebody installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Page, browser, program

HERE = Path(__file__).parent
WITHOUT = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    mine = [item for item in items if item.path.is_relative_to(HERE)]
    if not mine or program() is not None:
        return
    config.stash[WITHOUT] = len(mine)
    config.hook.pytest_deselected(items=mine)
    items[:] = [item for item in items if item not in mine]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if count := config.stash.get(WITHOUT, 0):
        terminalreporter.write_line(f"{count} browser tests deselected: no chromium or chrome runs here", yellow=True)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("browser")) as page:
        yield page
