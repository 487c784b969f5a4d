"""The tables of events and metrics in docs/seeing.md are what the code has: every one, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from enforcer.ruleset.denials import REASONS
from enforcer.ruleset.policies import NO_MATCH

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs/seeing.md").read_text()
AGENT = "\n".join(path.read_text() for path in (ROOT / "enforcer/agent").rglob("*.py"))


def first_cells(heading: str) -> set[str]:
    section = DOCS.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = (line.split("|")[1] for line in section.splitlines() if line.startswith("| `"))
    return {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}


def test_every_event_of_the_log_is_explained():
    assert first_cells("Log events") == set(re.findall(r'_log\.(?:info|warning|error)\(\s*"([a-z_]+)"', AGENT))


def test_every_reason_why_packets_are_dropped_is_explained_to_whoever_looks_at_hits():
    ruleset = "\n".join(path.read_text() for path in (ROOT / "enforcer/ruleset").rglob("*.py"))
    dropping = re.findall(r'DROP,\s*comment="([^"]+)"', ruleset)
    rows = (ROOT / "docs/operations.md").read_text().split("| what grows in `enforcer hits` |")[1].split("\n## ")[0]
    explained = re.findall(r"`([^`]+)`", "".join(line.split("|")[1] for line in rows.splitlines() if "|" in line))
    assert {*dropping, *REASONS.values(), NO_MATCH} <= set(explained)


def test_every_metric_is_explained():
    made = re.findall(r'(Counter|CounterMetricFamily|Histogram|GaugeMetricFamily)\(\s*"(enforcer_[a-z_]+)"', AGENT)
    assert first_cells("Metrics") == {name + "_total" * kind.startswith("Counter") for kind, name in made}
