"""The policies of `examples/` and what is expected of them, for every test that asks.

An expectation is one line of `examples/expectations/<name>.yaml`: who tries to reach whom, the verdict, the rule that
decides at each end as `group/rule` (null: that end is no ECS, or no rule decides) and why. `route: false` says that
there is no way between the two, whatever the rules are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from enforcer.model import Policy, Traffic, parse_policy, parse_traffic

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = tuple(sorted(path.stem for path in EXAMPLES.glob("*.yaml")))


@dataclass(frozen=True, slots=True)
class Expectation:
    """Would a new conversation pass, and which rules say so?"""

    src: str
    dst: str
    proto: str
    verdict: str
    egress: str | None
    ingress: str | None
    why: str
    route: bool = True

    @property
    def question(self) -> str:
        return f"{self.src} → {self.dst} {self.proto}"


def text_of(name: str) -> str:
    """Return the example as it is written."""
    return (EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8")


def policy_of(name: str) -> Policy:
    """Return the example as a policy."""
    return parse_policy(text_of(name), source=f"{name}.yaml")


def expectations_of(name: str) -> tuple[Expectation, ...]:
    """Return what is expected of the example, in the order of the file."""
    written = (EXAMPLES / "expectations" / f"{name}.yaml").read_text(encoding="utf-8")
    return tuple(Expectation(**entry) for entry in yaml.safe_load(written))


def traffics_of(name: str) -> tuple[Traffic, ...]:
    """Return every traffic that the expectations speak of, each once."""
    return tuple(dict.fromkeys(parse_traffic(expected.proto) for expected in expectations_of(name)))
