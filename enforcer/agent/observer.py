"""What the daemon says about itself while it works: one call for each thing that happened, one line in the log each.

Metrics and traces listen by the same calls. Names of events are stable: docs/operations.md explains each.
Durations are in seconds of the monotonic clock. An observer must not raise.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Protocol

import structlog

from enforcer.dataplane import Committed


class Observer(Protocol):
    """Hears what was done."""

    def loaded(self, revision: int, namespaces: int, seconds: float) -> None:
        """The daemon has started, and what it found in the store is in force."""

    def committed(self, revisions: Sequence[int], committed: Sequence[Committed], seconds: float) -> None:
        """Revisions are in force; the namespaces that they changed, and what that took: not the store, nor its disk."""

    def refused(self, revision: int, why: str) -> None:
        """A revision was refused; nothing has changed."""

    def attached(self, netns: str, came: Sequence[str], went: Sequence[str]) -> None:
        """Interfaces came and are in force, or went."""

    def closed(self, netns: str, interface: str, why: str) -> None:
        """A NIC cannot be in force and is closed."""

    def repaired(self, netns: str, what: str, program: str, pid: int, seconds: float) -> None:
        """Somebody else's change is undone; `program` empty: who it was is not known."""

    def failed(self, what: str, why: str) -> None:
        """Something did not work; it is tried again."""


class Log:
    """Writes a line for each: JSON in the journal, readable on a terminal."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("enforcer")

    def loaded(self, revision: int, namespaces: int, seconds: float) -> None:
        self._log.info("loaded", revision=revision, namespaces=namespaces, ms=_ms(seconds))

    def committed(self, revisions: Sequence[int], committed: Sequence[Committed], seconds: float) -> None:
        changed = [each.netns or "(own)" for each in committed]
        whole = [each.netns or "(own)" for each in committed if each.whole]
        span = {"revision": revisions[-1], "merged": len(revisions)}
        self._log.info("committed", **span, namespaces=changed, whole=whole, ms=_ms(seconds))

    def refused(self, revision: int, why: str) -> None:
        self._log.warning("refused", revision=revision, why=why)

    def attached(self, netns: str, came: Sequence[str], went: Sequence[str]) -> None:
        self._log.info("attached", netns=netns or "(own)", came=list(came), went=list(went))

    def closed(self, netns: str, interface: str, why: str) -> None:
        self._log.warning("closed", netns=netns or "(own)", interface=interface, why=why)

    def repaired(self, netns: str, what: str, program: str, pid: int, seconds: float) -> None:
        who = {"program": program, "pid": pid} if program else {}
        self._log.warning("repaired", netns=netns or "(own)", what=what, **who, ms=_ms(seconds))

    def failed(self, what: str, why: str) -> None:
        self._log.error("failed", what=what, why=why)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def configure(level: str) -> None:
    """Set up the log on standard error: JSON, or lines for people if that is a terminal."""
    readable = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer(ensure_ascii=False)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
