"""Who follows new flows as they are judged: each with a filter, and with so many lines waiting for him at most.

    with traces.follow(nic="ecs-a") as following:
        following.take()     ──▶  lines since the last time, and how many were left out

A follower that is slow loses lines, and learns how many; he never makes anybody wait, and never costs memory.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from enforcer.agent.seeing.naming import Seen
from enforcer.errors import UsageError
from enforcer.model import Policy, parse_traffic
from enforcer.model.traffic import SERVICES
from enforcer.model.words.protocols import PROTOCOL_NAMES
from enforcer.model.words.wording import shown, suggestion

MEND = "; `enforcer status --json` lists them"
MOST_LINES = 1000
MOST_FOLLOWERS = 8


def nic_of(policy: Policy, word: str) -> str:
    """Return the NIC that `ecs` or `ecs:nic` stands for, as lines name it; raise UsageError if none does here."""
    if not word:
        return ""
    meant = [ref for ref in policy.nics() if word in (ref.ecs.name, f"{ref.ecs.name}:{ref.nic.name}")]
    if not meant:
        known = [ref.label for ref in policy.nics() if ref.nic.interface]
        raise UsageError(f"{shown(word)} is no NIC of the policy in force{suggestion(word, known) or MEND}")
    if len(meant) > 1:
        raise UsageError(f"{shown(word)} has the NICs {', '.join(ref.label for ref in meant)}; say which")
    if not meant[0].nic.interface:
        raise UsageError(f"{shown(word)} has no interface on this host, so nothing of it is seen here")
    return meant[0].label


def protocol_of(word: str) -> str:
    """Return how lines about `tcp`, `tcp/22`, `ssh`, `icmp`, `arp` … begin; raise UsageError if there are none such."""
    folded = SERVICES.get(word.casefold(), word.casefold())
    name, *numbers = folded.split("/")
    if folded in ("", "arp"):
        return folded
    if not numbers and name in ("tcp", "udp", "6", "17"):
        return PROTOCOL_NAMES.get(int(name), name) if name.isdecimal() else name
    return "/".join((PROTOCOL_NAMES.get(number := parse_traffic(word).protocol, str(number)), *numbers))


class Following:
    """One follower."""

    def __init__(self, nic: str, protocol: str) -> None:
        self._nic, self._protocol = nic, protocol
        self._lines: deque[Seen] = deque()
        self._left_out = 0
        self._lock = threading.Lock()

    def hear(self, lines: Iterable[Seen]) -> None:
        """Keep the lines that he wants, as far as there is room."""
        wanted = [each for each in lines if self._wants(each)]
        with self._lock:
            room = MOST_LINES - len(self._lines)
            self._lines.extend(wanted[:room])
            self._left_out += max(0, len(wanted) - room)

    def miss(self, count: int) -> None:
        """Count lines that were left out before they could be told."""
        with self._lock:
            self._left_out += count

    def take(self) -> tuple[list[Seen], int]:
        """Return what is there, and how many were left out since the last time."""
        with self._lock:
            lines, left_out = list(self._lines), self._left_out
            self._lines.clear()
            self._left_out = 0
        return lines, left_out

    def _wants(self, seen: Seen) -> bool:
        if self._nic and seen.nic != self._nic:
            return False
        return not self._protocol or seen.protocol == self._protocol or seen.protocol.startswith(f"{self._protocol}/")


class Traces:
    """All followers."""

    def __init__(self) -> None:
        self._followers: tuple[Following, ...] = ()
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._followers)

    @contextmanager
    def follow(self, *, nic: str = "", protocol: str = "") -> Iterator[Following]:
        """Follow until the block ends; raises UsageError if too many do."""
        following = Following(nic, protocol)
        with self._lock:
            if len(self._followers) >= MOST_FOLLOWERS:
                raise UsageError(f"{MOST_FOLLOWERS} traces are running already; end one of them first")
            self._followers = (*self._followers, following)
        try:
            yield following
        finally:
            with self._lock:
                self._followers = tuple(each for each in self._followers if each is not following)

    def tell(self, lines: Iterable[Seen]) -> None:
        """Tell all followers."""
        found = list(lines)
        for following in self._followers:
            following.hear(found)

    def miss(self, count: int) -> None:
        """Tell all followers that so many lines are missing."""
        for following in self._followers:
            following.miss(count)
