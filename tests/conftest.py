"""What all tests share: the option that rewrites golden files, and root for those that change a kernel.

Modules beside this file (`policies`, `first_match`, `judge`, `tracer`, …) can be imported by every test.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from enforcer.dataplane import namespaces

settings.register_profile("enforcer", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("enforcer")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a skipped test fails the run: the gate's rule")
    parser.addoption("--bad-input", default=3000, type=int, metavar="N", help="how many mutated inputs to try")
    parser.addoption("--update-golden", action="store_true", help="rewrite program.txt and ruleset.nft of golden cases")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("--no-skips") and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line("skipped tests are failures here (--no-skips)", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--no-skips") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("kernel") or item.get_closest_marker("traffic"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


class Scratch:
    """A network namespace of a test's own, with the interfaces that the test wants in it."""

    def __init__(self) -> None:
        self.name = f"t-{uuid.uuid4().hex[:10]}"

    def ip(self, *words: str) -> str:
        return self.run("ip", *words)

    def run(self, *words: str) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, *words], capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    def add(self, *interfaces: str) -> None:
        """Make veths; their other ends get names that nobody asks for."""
        for interface in interfaces:
            self.ip("link", "add", interface, "type", "veth", "peer", "name", f"p-{uuid.uuid4().hex[:10]}")
            self.ip("link", "set", interface, "up")


def scratch_namespace() -> Iterator[Scratch]:
    scratch = Scratch()
    namespaces.create(scratch.name)
    try:
        yield scratch
    finally:
        namespaces.delete(scratch.name)


@pytest.fixture
def scratch() -> Iterator[Scratch]:
    yield from scratch_namespace()


@pytest.fixture
def other_scratch() -> Iterator[Scratch]:
    yield from scratch_namespace()
