"""Labs and hosts for traffic tests: each under a name of its own, and gone after the test whatever happened."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from textwrap import dedent

import pytest
from byhand import Host, by_hand
from harness import ANSWER
from patience import patient

from enforcer.dataplane.namespaces import entered
from enforcer.errors import UsageError
from enforcer.lab import lifecycle
from enforcer.lab.lifecycle import Lab
from enforcer.lab.probe import Observation, probe
from enforcer.model import Policy, parse_policy
from enforcer.model.routes import endpoints
from enforcer.model.traffic import parse_traffic

Enforcement = Callable[[Policy, str], Callable[[], None]]


def nothing(policy: Policy, lab: str) -> Callable[[], None]:
    """Enforce nothing: what does not get through then has no way."""
    return lambda: None


@dataclass
class TestLab:
    """A running lab and the questions a test asks of it."""

    __test__ = False
    name: str
    lab: Lab
    enforcement: Enforcement = nothing

    def probe(self, src: str, dst: str, traffic: str) -> Observation:
        return self.probe_all((src, dst, traffic))[0]

    def probe_all(self, *questions: tuple[str, str, str]) -> tuple[Observation, ...]:
        asked = [(*endpoints(self.lab.policy, src, dst), parse_traffic(traffic)) for src, dst, traffic in questions]
        return probe(self.lab, asked, ANSWER)

    def blocked(self, *questions: tuple[str, str, str]) -> set[tuple[str, str, str]]:
        """Return which of the questions are not answered."""
        observed = self.probe_all(*questions)
        return {question for question, seen in zip(questions, observed, strict=True) if not seen.reached}

    def run(self, host: str, *command: str) -> str:
        """Run a command inside a host; it must succeed."""
        with entered(self.lab.netns(host)):
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patient(30))
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def apply(self, text: str) -> tuple[str, ...]:
        policy = parse_policy(dedent(text))
        changed = lifecycle.apply(policy, self.name, dedent(text), self.enforcement(policy, self.name), unseen)
        self.lab = lifecycle.running(self.name)
        return changed


def unseen(what: str, done: int, total: int) -> None:
    """Show no progress."""


@dataclass
class Labs:
    """Starts labs, and knows all that it started."""

    started: list[str] = field(default_factory=list)

    def name(self) -> str:
        self.started.append(f"t{uuid.uuid4().hex[:8]}")
        return self.started[-1]

    def up(self, text: str, enforcement: Enforcement = nothing) -> TestLab:
        name, policy = self.name(), parse_policy(dedent(text))
        lab = lifecycle.up(policy, name, dedent(text), enforcement(policy, name), unseen)
        return TestLab(name, lab, enforcement)


@pytest.fixture
def labs() -> Iterator[Labs]:
    labs = Labs()
    try:
        yield labs
    finally:
        for name in labs.started:
            with suppress(UsageError):  # the test removed it itself
                lifecycle.down(name)


@pytest.fixture
def host() -> Iterator[Host]:
    """A host with two instances, `a` and `b`, and `o`, whom no policy knows."""
    with by_hand("a", "b", "o") as built:
        yield built
