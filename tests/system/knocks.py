"""Packets between the two instances of a machine while something happens to it: what passed, what did not.

with knocks(host) as seen:
    host.run("systemctl", "kill", "--signal=KILL", "enforcer")
assert seen.lost == 0 and seen.through == 0
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from machine import CLONE, Machine, until

UNIT = """
[Unit]
DefaultDependencies=no
Requires=instances-plug.service
After=instances-plug.service
[Service]
ExecStartPre=/bin/mkdir -p /var/tmp/knocks
ExecStart=/usr/sbin/ip netns exec {name} /usr/bin/python3 {clone}/tests/system/knocking.py {role} /var/tmp/knocks/{role}
[Install]
WantedBy=sysinit.target
"""
ROLES = {"answer": "web", "knock": "visitor"}


@dataclass
class Seen:
    """What the instances counted."""

    host: Machine
    _kept: dict[str, int] = field(default_factory=dict)

    def count(self, name: str, role: str = "knock") -> int:
        if name in self._kept:
            return self._kept[name]
        done = self.host.try_run("cat", f"/var/tmp/knocks/{role}")
        return int(json.loads(done.stdout or "{}").get(name, 0))

    @property
    def answered(self) -> int:
        return self.count("stream-answered")

    @property
    def lost(self) -> int:
        """How many datagrams that the policy allows were not answered: of one flow that goes on, and of new ones."""
        return sum(self.count(f"{kind}-sent") - self.count(f"{kind}-answered") for kind in ("stream", "fresh"))

    @property
    def through(self) -> int:
        """How many datagrams that the policy denies came through."""
        return self.count("shut", "answer") + self.count("shut-answered")

    def goes_on(self, more: int = 100) -> None:
        """Wait until that many more datagrams of the flow are answered, and as many denied ones were sent."""
        wanted, shut = self.answered + more, self.count("shut-sent") + more
        until(lambda: self.answered >= wanted and self.count("shut-sent") >= shut, "the flow goes on")

    def keep(self) -> None:
        """Remember the counts: the knocking has ended."""
        for role in ROLES:
            self._kept |= json.loads(self.host.run("cat", f"/var/tmp/knocks/{role}"))


@contextmanager
def knocks(host: Machine) -> Iterator[Seen]:
    """Knock for the length of the block, from before its first line until after its last, reboots included."""
    host.run("rm", "-rf", "/var/tmp/knocks")
    for role, name in ROLES.items():
        unit = UNIT.format(name=name, role=role, clone=CLONE)
        host.run("tee", f"/etc/systemd/system/knocks-{role}.service", text=unit)
        host.run("systemctl", "enable", "--quiet", "--now", f"knocks-{role}")
    seen = Seen(host)
    try:
        seen.goes_on()
        yield seen
        seen.goes_on()
        host.run("systemctl", "stop", "knocks-knock")
        until(lambda: seen.count("shut-sent") > 0, "the last counts")
        seen.keep()
    finally:
        for role in ROLES:
            host.try_run("systemctl", "disable", "--quiet", "--now", f"knocks-{role}")
