"""What the fuzzer once found stays mended: every case of tests/regressions, in the kernel and in the oracle.

And it would find more: a compiler that makes a mistake is noticed, and the case shrunk and kept.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz import cases
from fuzz.campaign import Campaign
from fuzz.cases import read, replay, shrink, write
from fuzz.rig import Rig, rigged

from enforcer.model import UDP, Action, Policy, Rule

pytestmark = pytest.mark.traffic

CASES = sorted((Path(__file__).parents[1] / "regressions").glob("*.yaml"))


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with rigged(f"r{uuid.uuid4().hex[:8]}", 0) as standing:
        yield standing


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_kernel_and_oracle_agree_where_they_once_did_not(rig: Rig, path: Path) -> None:
    assert replay(rig, read(path)) is None


def with_a_mistake(policy: Policy) -> Policy:
    """Return what a compiler would enforce that takes a deny of UDP for an allow."""

    def mistaken(rule: Rule) -> Rule:
        return rule.model_copy(update={"action": Action.ALLOW}) if rule.protocol == UDP else rule

    groups = (group.model_copy(update={"rules": tuple(map(mistaken, group.rules))}) for group in policy.security_groups)
    return policy.model_copy(update={"security_groups": tuple(groups)})


def test_a_mistake_of_the_compiler_is_found_shrunk_to_a_minimal_case_and_kept(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "REGRESSIONS", tmp_path)
    sound = rig.enforce
    with monkeypatch.context() as careless:
        careless.setattr(rig, "enforce", lambda policy: sound(with_a_mistake(policy)))
        campaign = Campaign(rig, seed=7, draws=200)
        found = next(filter(None, (campaign.chain() for _ in range(30))))
        case = shrink(rig, found)
        kept = read(write(case, "found"))
        assert replay(rig, kept) == kept.words
    rules = [rule for scene in case.scenes for group in scene["security_groups"] for rule in group["rules"]]
    denies = [rule for rule in rules if rule.get("action") == "deny"]
    assert len(case.scenes) == len(case.steps) == len(denies) == 1, case
    assert len(rules) <= 3, "the deny, and what lets the packet through on the other side"
    assert replay(rig, kept) is None, "where nobody makes a mistake, kernel and oracle agree"
