"""Probes: real packets between the hosts of a lab, and what came of them.

    Endpoints ──attempt──▶ Attempt ──observe──▶ Observation

Nothing here knows what the policy allows; whoever asks compares.
"""

from __future__ import annotations

from collections.abc import Sequence

from enforcer.lab.floating import follow
from enforcer.lab.lifecycle import Lab
from enforcer.lab.probe.conversation import Answerer, Attempt, Observation
from enforcer.lab.probe.engine import DEFAULT_TIMEOUT, Reported, observe, silent
from enforcer.lab.probe.targets import Targets, family_of
from enforcer.model import Endpoint, Traffic

__all__ = ["DEFAULT_TIMEOUT", "Answerer", "Attempt", "Observation", "Targets", "family_of", "observe", "probe"]


def probe(
    lab: Lab,
    questions: Sequence[tuple[Endpoint, Endpoint, Traffic]],
    timeout: float = DEFAULT_TIMEOUT,
    reported: Reported = silent,
) -> tuple[Observation, ...]:
    """Try each (source, destination, traffic) with real packets, all at once, and return what came of each.

    Virtual IPs are followed to their holders first, so a fail-over inside the hosts counts.
    """
    follow(lab.plan)
    targets = Targets(lab)
    return observe([targets.attempt(*question) for question in questions], timeout, reported)
