"""Which tests run which lines, and how long each test takes: a map, made by one run of the unit tests.

The map is good for one content of the modules and the tests, and is made anew when that changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test, settings

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
ENFORCER = ROOT / "enforcer"
PACKAGES = ("compiler", "ruleset", "semantics")
CACHE = ROOT / ".cache"
PATTERNS = ("test_compiler_*", "test_ruleset_*", "test_semantics_*", "test_examples")
"""The unit tests that are about these packages, with the golden files."""
OTHERS = ("unit/test_fake_*", "unit/test_seeing_hits", "unit/test_answers_*", "unit/test_page", "kernel/test_netlink")
OTHERS += ("kernel/test_session", "kernel/test_dataplane_contract")
"""Tests that come near these packages from outside, the kernel's among them: what survives is tried with them again."""
FEW = 15
"""How many examples of a property show which lines it runs."""
BEFORE_TESTS = ""
"""The context of lines that run when a module is imported."""


def modules() -> list[Path]:
    """Return the modules that mutants are made of."""
    return sorted(path for package in PACKAGES for path in (ENFORCER / package).rglob("*.py"))


def tests() -> list[str]:
    """Return the test modules that may kill a mutant."""
    found = [path for pattern in PATTERNS for path in (TESTS / "unit").glob(f"{pattern}.py")]
    return [str(path) for path in sorted(found)] + [str(TESTS / "golden")]


def others() -> list[str]:
    """Return the test modules for a second try."""
    return [str(path) for pattern in OTHERS for path in sorted(TESTS.glob(f"{pattern}.py"))]


class Cover:
    """Answers which tests run a line; make it with `cover()`."""

    def __init__(self, seconds: dict[str, float], lines: dict[str, dict[str, list[str]]]) -> None:
        self.seconds, self._lines = seconds, lines
        everywhere = (test for tests in lines.values() for running in tests.values() for test in running)
        self._breadth = Counter(everywhere)

    def of(self, path: Path, line: int) -> list[str]:
        """Return the tests that run a line, the golden files first, then the most particular.

        For lines that run at import: the tests that run any line of the module, or else of the package.
        """
        name = path.relative_to(ROOT).as_posix()
        running = set(self._lines.get(name, {}).get(str(line), ()))
        if BEFORE_TESTS in running or not running:
            package = f"{path.parent.relative_to(ROOT).as_posix()}/"
            running = self._running(name) or self._running(package)
        return sorted(running & self.seconds.keys(), key=lambda test: ("/golden/" not in test, self._breadth[test]))

    def _running(self, prefix: str) -> set[str]:
        of = [lines for name, lines in self._lines.items() if name.startswith(prefix)]
        return {test for lines in of for tests in lines.values() for test in tests} - {BEFORE_TESTS}


def cover() -> Cover:
    """Read the map, or run the tests once to make it."""
    path = CACHE / f"mutants-cover-{_content()}.json"
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        words = (sys.executable, "-m", "mutants.covering", str(path))
        subprocess.run(words, cwd=TESTS, check=True, env=os.environ | {"HYPOTHESIS_PROFILE": "mutants"})
    return Cover(**json.loads(path.read_text()))


def _content() -> str:
    content = hashlib.sha256()
    for path in sorted((*ENFORCER.rglob("*.py"), *(TESTS / "unit").glob("*.py"), *TESTS.glob("*.py"))):
        content.update(path.read_bytes())
    return content.hexdigest()[:12]


class _Watch:
    """A pytest plugin: name the test to coverage, and time it."""

    def __init__(self, measured: object) -> None:
        self._measured, self.seconds = measured, dict[str, float]()
        self._times = dict[str, float]()
        self.failed = set[str]()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if is_hypothesis_test(test := getattr(item, "obj", None)):
                wanted = test._hypothesis_internal_use_settings
                self._times[item.nodeid] = max(1.0, wanted.max_examples / FEW)
                few = settings(wanted, max_examples=min(FEW, wanted.max_examples))
                test._hypothesis_internal_use_settings = few

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._measured.switch_context(item.nodeid)  # type: ignore[attr-defined]
        begun = time.process_time()
        yield
        self.seconds[item.nodeid] = (time.process_time() - begun) * self._times.get(item.nodeid, 1.0)
        self._measured.switch_context(BEFORE_TESTS)  # type: ignore[attr-defined]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)


def _main() -> int:
    import coverage

    measured = coverage.Coverage(data_file=None, source=[str(ENFORCER / package) for package in PACKAGES])
    watch = _Watch(measured)
    measured.start()
    pytest.main(["-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}", *tests()], plugins=[watch])
    measured.stop()
    data = measured.get_data()
    lines = {
        Path(path).relative_to(ROOT).as_posix(): {str(n): names for n, names in data.contexts_by_lineno(path).items()}
        for path in data.measured_files()
    }
    # What fails while it is watched (a test of how long something takes) could not tell a mutant from none.
    seconds = {test: taken for test, taken in watch.seconds.items() if test not in watch.failed}
    Path(sys.argv[1]).write_text(json.dumps({"seconds": seconds, "lines": lines}))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
