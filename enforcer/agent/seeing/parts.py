"""Seeing as the daemon has it: its parts made, started and ended together, and what they answer to people.

status     revision, NICs and why they are not in force, warnings, conntrack use, repairs, errors; `well` sums it up
hits       rules with their hits, and reasons why packets were dropped that no rule decided about
metrics    the page of Prometheus
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import start_http_server

from enforcer.agent.config import Config
from enforcer.agent.observer import Observer
from enforcer.agent.seeing.counting import BEGUN, Counting
from enforcer.agent.seeing.hits import RuleHits
from enforcer.agent.seeing.metrics import Measuring
from enforcer.agent.seeing.tracing import Following, Traces, nic_of, protocol_of
from enforcer.agent.seeing.watching import Watching
from enforcer.agent.status import IN_FORCE, KEY
from enforcer.agent.store import Store
from enforcer.dataplane import counters, namespaces, observe
from enforcer.errors import EnforcerError
from enforcer.model import Policy, advice, unsilenced
from enforcer.semantics import not_in_effect
from enforcer.semantics.effect import QUOTA, beyond_quota


class Seeing:
    """All that can be seen of a daemon; `in_force` tells revision and policy."""

    def __init__(self, store: Store, observer: Observer) -> None:
        self.measuring = Measuring(observer)
        self.traces = Traces()
        self.counting = Counting(store, self.measuring.failed)
        self._store = store
        self._in_force: Callable[[], Policy] = _nothing_yet
        self._watching: Watching | None = None
        self._server: WSGIServer | None = None
        self._count_flows = False
        self._warned: tuple[Policy | None, list[dict[str, str]]] = (None, [])

    def start(self, in_force: Callable[[], Policy], where: Callable[[], tuple[str, ...]], config: Config) -> None:
        """Begin to see, once there is a policy in force, in the namespaces where it has NICs.

        Show the metrics at `metrics_listen`, too, if that is given.
        An address that cannot be had is reported, and hinders nothing.
        """
        self._count_flows, metrics_listen = config.count_flows, config.metrics_listen
        self._in_force = in_force
        self._watching = Watching(
            in_force, where, self.counting, self.traces, self.measuring.failed, count_flows=self._count_flows
        )
        self.measuring.show(self)
        self._watching.start()
        if metrics_listen:
            address, _, port = metrics_listen.rpartition(":")
            try:
                self._server, _ = start_http_server(int(port), address.strip("[]"), self.measuring.registry)
            except (OSError, OverflowError) as error:
                self.measuring.failed("metrics", f"{metrics_listen}: cannot listen there ({error})")

    def end(self) -> None:
        """End, and keep what was counted."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        if self._watching is not None:
            self._watching.end()

    def status(self) -> dict[str, Any]:
        """Return what is the case, and whether all is as wanted."""
        published = json.loads(self._store.published(KEY) or "{}")
        found: dict[str, Any] = {
            "revision": published.get("revision", 0),
            "proposed": published.get("proposed", 0),
            "namespaces": published.get("namespaces", []),
            "nics": published.get("nics", []),
            "warnings": [*self._warnings()],
            "conntrack": [row for space in published.get("namespaces", []) if (row := _use(space["netns"]))],
            "repairs": published.get("repairs", {"count": 0, "last": None}),
            "errors": self.measuring.last_failures(),
        }
        places = (*found["namespaces"], *found["nics"])
        left = [] if found["revision"] else _left_over()
        found["warnings"] += left
        return {"well": bool(published) and not left and all(each["state"] == IN_FORCE for each in places), **found}

    def follow(self, nic: str, protocol: str) -> AbstractContextManager[Following]:
        """Follow new flows as they are judged, of a NIC and a protocol if given; UsageError if there are none such."""
        return self.traces.follow(nic=nic_of(self._in_force(), nic), protocol=protocol_of(protocol))

    def hits(self, *, unused: bool = False) -> dict[str, Any]:
        """Return hits, read anew."""
        if self._watching is not None:
            self._watching.read_now()
        rows = [row for row in self.hits_of_rules() if not unused or (row.enabled and not row.hits.hits)]
        policy = self._in_force()
        beyond = {each.name: beyond_quota(each, policy.limits.costly_rules) for each in policy.security_groups}
        return {
            "since": self.counting.since,
            "rules": [
                {
                    "group": row.group,
                    "rule": row.rule,
                    "words": row.words,
                    "enabled": row.enabled,
                    "not_in_effect": QUOTA if row.rule in beyond.get(row.group, ()) else "",
                    **row.hits._asdict(),
                }
                for row in rows
            ],
            "reasons": {} if unused else self.reasons(),
        }

    def hits_of_rules(self) -> tuple[RuleHits, ...]:
        """Return the hits of each rule, as they were read last."""
        return self.counting.rules(self._in_force())

    def reasons(self) -> dict[str, int]:
        """Return packets that no rule decided about, by reason."""
        return {reason: hits.hits for reason, hits in self.counting.reasons().items()}

    def of_nics(self, name: str) -> dict[str, int]:
        """Return what was counted for each NIC, 0 for those with nothing; empty: it is not counted."""
        if name == BEGUN and not self._count_flows:
            return {}
        nics = {ref.label: 0 for ref in self._in_force().nics() if ref.nic.interface}
        return {**nics, **self.counting.of_nics(name)}

    def flows_missed(self) -> int:
        """Return how often the kernel had no room to tell of new flows."""
        return self._watching.flows_missed if self._watching is not None else 0

    def traffic(self) -> dict[str, tuple[int, int]]:
        """Return the packets from and to each NIC, as its interface counts them."""
        found: dict[str, tuple[int, int]] = {}
        if self._watching is not None:
            for netns, nics in self._watching.nics().items():
                try:
                    counted = counters.interfaces(netns)
                except (EnforcerError, OSError):
                    continue
                found |= {nic: counted[interface] for interface, nic in nics.items() if interface in counted}
        return found

    def metrics(self) -> bytes:
        """Return the page of Prometheus."""
        return self.measuring.text()

    def _warnings(self) -> list[dict[str, str]]:
        policy = self._in_force()
        known, found = self._warned
        if known is not policy:
            told = unsilenced(policy, (*advice(policy), *not_in_effect(policy)))
            found = [{"where": each.where, "message": each.message, "code": each.code} for each in told]
            self._warned = (policy, found)
        return found


def _left_over() -> list[dict[str, str]]:
    """Warn of tables of ours here that no revision is about: an earlier life's, whose store is gone."""
    what = "has rules of an earlier life, of which the store knows nothing; they stay until a policy is applied"
    with suppress(EnforcerError, OSError):
        if observe.present(""):
            return [{"where": namespaces.called(""), "message": what, "code": "left-over"}]
    return []


def _use(netns: str) -> dict[str, Any] | None:
    """Return how many connections a namespace tracks, and can track."""
    if not namespaces.exists(netns):
        return None
    try:
        count, most = counters.used_conntrack(netns)
    except (EnforcerError, OSError):
        return None
    return {"netns": netns, "count": count, "max": most}


def _nothing_yet() -> Policy:
    raise EnforcerError("nothing is in force yet")
