"""Whatever stands in a policy file or on the command line: no traceback, no hang, bounded memory, and an error that
names the place, with exit status 2 or 3 (interface.md).

A normal run tries a few thousand inputs; `scripts/bad-input 100000` (pytest's `--bad-input`) as many as you like, and
says how they ended. A failure names the number of the input, and `bad_input.policy(number)` or
`bad_input.command(number, …)` makes it again.
"""

from __future__ import annotations

import io
import json
import re
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType

import bad_input
import pytest
from click.testing import CliRunner, Result
from examples_catalogue import EXAMPLES, NAMES

from enforcer.cli import host, main
from enforcer.compiler import compile_policy
from enforcer.errors import EnforcerError, PolicyError, SystemRefused
from enforcer.lab import lifecycle, state
from enforcer.model import Policy, advice, lab_layout, parse_policy, unsilenced
from enforcer.ruleset import lower, render
from enforcer.semantics import lint, not_in_effect

PARTS = 4
MOST_SECONDS = 20.0  # for one input; the slowest takes well under one where nothing else runs
MOST_GROWTH = 400 * 1024  # KiB, over all inputs of one part
OFFLINE = ("check", "explain", "matrix", "compile", "schema", "completion", "api-schema")
"""Commands that ask neither the kernel nor the daemon: only a file that cannot be written may give them status 4."""


PLACE = re.compile(r"error: (line \d+: .|[^ ].*?: .|\d+ more problems)")


@pytest.fixture(scope="module")
def ends(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """Count how inputs end, and the most processor milliseconds that one took; said at the end of a long run."""
    counted = Counter[str]()
    yield counted
    if int(request.config.getoption("--bad-input")) >= 10_000:
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        slowest = {kind: counted.pop(kind, 0) for kind in ("slowest policy file", "slowest command line")}
        lines = [f"{count:,} {end}" for end, count in sorted(counted.items())]
        lines += [f"{kind}: {taken:,} ms" for kind, taken in slowest.items()]
        lines.append(f"{counted.total():,} inputs; the process had at most {grown:,} MiB")
        capture = request.config.pluginmanager.get_plugin("capturemanager")
        assert capture is not None
        with capture.global_and_fixture_disabled():
            print("", *lines, sep="\n")


def numbers(request: pytest.FixtureRequest, part: int, share: float) -> range:
    """Return the numbers of the inputs of one part: `share` of all that were asked for, in PARTS parts."""
    count = int(int(request.config.getoption("--bad-input")) * share / PARTS)
    return range(part * 10_000_000, part * 10_000_000 + count)


@contextmanager
def bounded() -> Iterator[None]:
    """Fail if the block makes the process grow beyond bounds."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_GROWTH


@contextmanager
def prompt(what: str, kind: str, ends: Counter[str]) -> Iterator[None]:
    """Fail, naming the input, if the block raises anything or does not end."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"does not end within {MOST_SECONDS:.0f} s of processor time")

    before, begun = signal.signal(signal.SIGVTALRM, stop), time.process_time()
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)
    try:
        yield
    except Exception:
        pytest.fail(f"{what}:\n{traceback.format_exc(limit=-8)}")
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    ends[f"slowest {kind}"] = max(ends[f"slowest {kind}"], int(1000 * (time.process_time() - begun)))


@pytest.mark.parametrize("part", range(PARTS))
def test_any_policy_file_is_valid_or_has_errors_with_a_place(
    part: int, request: pytest.FixtureRequest, ends: Counter[str]
):
    valid = 0
    with bounded():
        for number in numbers(request, part, 0.7):
            with prompt(f"bad_input.policy({number})", "policy file", ends):
                text = bad_input.policy(number)
                try:
                    policy = parse_policy(text)
                except PolicyError as error:
                    says_what_and_where(error)
                    ends["policy files refused, each error with its place"] += 1
                else:
                    valid += 1
                    goes_all_the_way(policy)
                    ends["policy files valid in spite of it, reviewed, compiled and printed"] += 1
    assert valid > 0


def says_what_and_where(error: PolicyError) -> None:
    assert 1 <= len(error.problems) <= 1001
    for problem in error.problems:
        assert problem.message
        assert problem.line > 0 or problem.where or "more problems" in problem.message, str(problem)
        assert len(str(problem)) < 700, str(problem)
        assert str(problem).isprintable(), repr(str(problem))


def goes_all_the_way(policy: Policy) -> None:
    """A policy that is accepted can be reviewed, compiled and printed."""
    unsilenced(policy, (*not_in_effect(policy), *advice(policy), *lint(policy)))
    for namespace in compile_policy(policy, lab_layout(policy, "lab")).namespaces:
        assert render(lower(namespace, 1))


@pytest.fixture
def harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep command lines away from the kernel, from other labs and from this directory."""

    def refuse(*_: object, **__: object) -> None:
        raise SystemRefused("this test touches no kernel")

    for module, name in (
        (host, "clear"), (host, "replace_all"), (lifecycle, "up"), (lifecycle, "apply"), (lifecycle, "down"),
        (lifecycle, "move_virtual_ip"),
    ):  # fmt: skip
        assert isinstance(getattr(module, name), FunctionType)
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setenv("ENFORCER_SOCKET", str(tmp_path / "no-daemon.sock"))
    monkeypatch.setattr(state, "DIRECTORY", tmp_path / "labs")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.mark.parametrize("part", range(PARTS))
def test_any_command_line_has_an_answer_or_an_error(
    part: int, request: pytest.FixtureRequest, harmless: Path, ends: Counter[str]
):
    good = [str(EXAMPLES / f"{name}.yaml") for name in NAMES]
    bad = [str(harmless / "bad.yaml"), str(harmless), str(harmless / "absent.yaml"), "-"]
    runner = CliRunner()
    with bounded():
        for number in numbers(request, part, 0.3):
            words = bad_input.command(number, good, bad)
            text = bad_input.policy(number)
            Path(bad[0]).write_bytes(text)
            what = f"bad_input.command({number}, …): enforcer {' '.join(map(ascii, words))[:2000]}"
            with prompt(what, "command line", ends):
                result = runner.invoke(main, words, input=io.BytesIO(text))
                answers_or_refuses(result, offline=bool(words) and words[0] in OFFLINE)
                ends[f"command lines with exit status {result.exit_code}"] += 1


def answers_or_refuses(result: Result, *, offline: bool) -> None:
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in ((0, 1, 2, 3) if offline else (0, 1, 2, 3, 4, 5)), result.output
    if result.exit_code == 3:
        errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        if result.stdout.startswith("{"):
            errors += [f"error: {problem['text']}" for problem in json.loads(result.stdout)["errors"]]
        assert errors, result.output
        assert all(PLACE.match(error) for error in errors), errors
    if result.exit_code >= 2:
        said = result.stderr + result.stdout  # with --json the errors are the document, after any warnings
        assert "rror" in said or said.startswith("Usage:"), said
        assert "Traceback" not in said
        if not said.startswith("Usage:"):  # click repeats the words that it does not understand as they are
            assert not any(character in said for character in "\x00\x1b\u202e"), ascii(said)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_that_nothing_was_done_to_is_valid(name: str):
    """The other tests damage these: what they find is due to the damage."""
    try:
        goes_all_the_way(parse_policy((EXAMPLES / f"{name}.yaml").read_bytes()))
    except EnforcerError as error:
        pytest.fail(str(error))


def test_a_key_that_cannot_be_printed_is_shown_escaped_in_its_place():
    with pytest.raises(PolicyError) as raised:
        parse_policy("version: 1\nlimits: {\ufeffcostly_rules: 1}\n")
    (problem,) = raised.value.problems
    assert problem.where == r"limits.'\ufeffcostly_rules'"
