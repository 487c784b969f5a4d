"""Prometheus metrics: what the daemon did, by its own registry; and what is the case, read when it is asked.

`Measuring` is an observer that counts and passes on to the one that writes the log. `text()` is the whole page.

Cardinality is bounded: one series for each rule and some for each NIC, the first `MOST_SERIES` of them by name;
what is left is added up under the name `(others)`. No label ever holds an address, a port or a message.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from enforcer.agent.observer import Observer
from enforcer.agent.seeing.counting import BEGUN
from enforcer.agent.seeing.hits import RuleHits
from enforcer.dataplane import Committed
from enforcer.ruleset.names import DENIALS, REFUSALS, REVOKED

Labels = TypeVar("Labels", bound=tuple[str, ...])
MOST_SERIES = 10_000
MOST_FAILURES = 20
OTHERS = "(others)"
BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Source(Protocol):
    """What is the case: the answers of `seeing.parts`."""

    def status(self) -> dict[str, Any]:
        """Return the status document."""

    def hits_of_rules(self) -> tuple[RuleHits, ...]:
        """Return the hits of each rule."""

    def reasons(self) -> dict[str, int]:
        """Return packets that no rule decided about, by reason."""

    def of_nics(self, name: str) -> dict[str, int]:
        """Return what was counted for each NIC under a name; empty: it is not counted."""

    def flows_missed(self) -> int:
        """Return how often the kernel had no room to tell of new flows."""

    def traffic(self) -> dict[str, tuple[int, int]]:
        """Return packets from and to each NIC, as its interface counts them."""


class Measuring:
    """Counts what happens; passes it on."""

    def __init__(self, beyond: Observer) -> None:
        self._beyond = beyond
        self._lock = threading.Lock()
        self._last: dict[tuple[str, str], tuple[float, int]] = {}
        self.registry = CollectorRegistry()
        here = self.registry
        self._revisions = Counter("enforcer_revisions", "Revisions that were settled", ["outcome"], registry=here)
        self._commits = Counter(
            "enforcer_commits", "Commits to the kernel, one for each namespace", ["whole"], registry=here
        )
        self._seconds = Histogram(
            "enforcer_commit_seconds", "From taking revisions to their being in force", buckets=BUCKETS, registry=here
        )
        self._repairs = Counter("enforcer_repairs", "Foreign changes to our tables that were undone", registry=here)
        self._failures = Counter("enforcer_failures", "Things that did not work and are tried again", registry=here)

    def loaded(self, revision: int, namespaces: int, seconds: float) -> None:
        self._beyond.loaded(revision, namespaces, seconds)

    def committed(self, revisions: Sequence[int], committed: Sequence[Committed], seconds: float) -> None:
        self._revisions.labels("in_force").inc(len(revisions))
        self._seconds.observe(seconds)
        for each in committed:
            self._commits.labels(str(each.whole).lower()).inc()
        self._beyond.committed(revisions, committed, seconds)

    def refused(self, revision: int, why: str) -> None:
        self._revisions.labels("refused").inc()
        self._beyond.refused(revision, why)

    def attached(self, netns: str, came: Sequence[str], went: Sequence[str]) -> None:
        self._beyond.attached(netns, came, went)

    def closed(self, netns: str, interface: str, why: str) -> None:
        self._beyond.closed(netns, interface, why)

    def repaired(self, netns: str, what: str, program: str, pid: int, seconds: float) -> None:
        self._repairs.inc()
        self._beyond.repaired(netns, what, program, pid, seconds)

    def failed(self, what: str, why: str) -> None:
        self._failures.inc()
        with self._lock:
            _, times = self._last.pop((what, why), (0.0, 0))
            self._last[what, why] = (time.time(), times + 1)
            while len(self._last) > MOST_FAILURES:
                del self._last[next(iter(self._last))]
        self._beyond.failed(what, why)

    def last_failures(self) -> list[dict[str, Any]]:
        """Return what did not work, each thing once: when it was last (Unix time) and how often; the newest last."""
        with self._lock:
            return [
                {"at": at, "what": what, "why": why, "times": times} for (what, why), (at, times) in self._last.items()
            ]

    def show(self, source: Source) -> None:
        """Show what a source says, too."""
        self.registry.register(_Collector(source))

    def text(self) -> bytes:
        """Return the page."""
        return generate_latest(self.registry)


class _Collector:
    """Reads the source each time."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def describe(self) -> Iterable[Metric]:
        """Say nothing beforehand: a description would read everything once for nothing."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield what is the case."""
        status = self._source.status()
        yield GaugeMetricFamily("enforcer_revision", "The revision in force", value=status["revision"])
        states = GaugeMetricFamily("enforcer_nics", "NICs by state", labels=["state"])
        for state in ("in force", "pending", "failed"):
            states.add_metric([state], sum(nic["state"] == state for nic in status["nics"]))
        yield states
        yield from _conntrack(status["conntrack"])
        rules = CounterMetricFamily(
            "enforcer_rule_hits", "Flows that a rule let pass or denied", labels=["group", "rule"]
        )
        hits = {(row.group, row.rule): row.hits.hits for row in self._source.hits_of_rules()}
        yield _filled(rules, hits, (OTHERS, OTHERS))
        dropped = CounterMetricFamily("enforcer_dropped_packets", "Packets dropped by no rule", labels=["reason"])
        yield _filled(dropped, {(reason,): count for reason, count in self._source.reasons().items()}, (OTHERS,))
        yield from self._of_nics()
        passed = CounterMetricFamily(
            "enforcer_nic_packets", "Packets on the NIC's interface", labels=["nic", "direction"]
        )
        ways = (("egress", 0), ("ingress", 1))
        traffic = {(nic, way): both[at] for nic, both in self._source.traffic().items() for way, at in ways}
        yield _filled(passed, traffic, (OTHERS, OTHERS))

    def _of_nics(self) -> Iterator[Metric]:
        ask = self._source.of_nics
        denied = CounterMetricFamily("enforcer_nic_denied_packets", "Packets that policies denied", labels=["nic"])
        yield _by_nic(denied, ask(DENIALS))
        refused = CounterMetricFamily("enforcer_nic_refused_packets", "Packets that checks dropped", labels=["nic"])
        yield _by_nic(refused, ask(REFUSALS))
        revoked = CounterMetricFamily("enforcer_nic_revoked_flows", "Flows that a change has cut", labels=["nic"])
        yield _by_nic(revoked, ask(REVOKED))
        if begun := ask(BEGUN):
            accepted = CounterMetricFamily("enforcer_nic_accepted_flows", "New flows that passed", labels=["nic"])
            yield _by_nic(accepted, begun)
            missed = self._source.flows_missed()
            yield CounterMetricFamily("enforcer_flows_missed", "Times that flows were missed", value=missed)


def _by_nic(family: CounterMetricFamily, counts: Mapping[str, int]) -> CounterMetricFamily:
    return _filled(family, {(nic,): count for nic, count in counts.items()}, (OTHERS,))


def _conntrack(rows: Iterable[dict[str, Any]]) -> Iterator[Metric]:
    used = GaugeMetricFamily("enforcer_conntrack_entries", "Connections that are tracked", labels=["netns"])
    most = GaugeMetricFamily("enforcer_conntrack_max", "Connections that can be tracked", labels=["netns"])
    for row in rows:
        used.add_metric([row["netns"]], row["count"])
        most.add_metric([row["netns"]], row["max"])
    yield used
    yield most


def _filled(family: CounterMetricFamily, values: Mapping[Labels, int], others: tuple[str, ...]) -> CounterMetricFamily:
    shown = sorted(values)[:MOST_SERIES]
    for key in shown:
        family.add_metric(list(key), values[key])
    if rest := sum(values.values()) - sum(values[key] for key in shown):
        family.add_metric(list(others), rest)
    return family
