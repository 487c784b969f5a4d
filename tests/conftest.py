"""What all tests share: the option that rewrites golden files, and root for those that change a kernel.

Modules beside this file (`policies`, `first_match`, `judge`, `tracer`, …) can be imported by every test.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from patience import SLOWNESS, patient
from scratch import Scratch, scratch_namespace

settings.register_profile("enforcer", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
# A mutant is dead at the first failure; what failed is nobody's question, so nothing is shrunk or remembered.
settings.register_profile("mutants", settings.get_profile("enforcer"), derandomize=True, database=None)
settings.register_profile("mutants", settings.get_profile("mutants"), phases=(Phase.explicit, Phase.generate))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "enforcer"))

# What a shell starts in the background is told to ignore Ctrl-C, and so would be all that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


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
    for item in items:
        if (limit := item.get_closest_marker("timeout")) and SLOWNESS != 1:
            item.add_marker(pytest.mark.timeout(patient(limit.args[0])), append=False)
    if os.geteuid() == 0:
        return
    for item in items:
        if any(item.get_closest_marker(marker) for marker in ("kernel", "traffic", "system")):
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture
def scratch() -> Iterator[Scratch]:
    yield from scratch_namespace()


@pytest.fixture
def other_scratch() -> Iterator[Scratch]:
    yield from scratch_namespace()
