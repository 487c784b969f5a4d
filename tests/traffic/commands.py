"""The real daemon and the real commands, as an operator uses them, on a host made by hand.

with running(host, tmp_path) as daemon:     # RULES are in force
    send(host, 80, 3)
    assert hits(daemon)["Sg-B/web"] == 3
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from byhand import Host
from daemons import ROOT, Daemon, living
from harness import groups, reaches
from patience import patient

from enforcer.dataplane.namespaces import entered

RULES = groups(
    A="{id: out, direction: egress, protocol: udp}",
    B="{id: web, direction: ingress, protocol: udp, multiport: 80}, {id: idle, direction: ingress, protocol: gre},"
    " {id: off, direction: ingress, protocol: tcp, enabled: false}",
)


@contextmanager
def running(host: Host, directory: Path, rules: str = RULES, *, config: str = "", netns: str = "") -> Iterator[Daemon]:
    """Start a daemon, in another network namespace if need be, and put rules in force."""
    with entered(netns), living(directory, config=config) as daemon:
        apply(daemon, host, rules)
        yield daemon


def enforcer(daemon: Daemon, *words: str, status: int = 0) -> str:
    """Run a command; return what it prints, or says if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "enforcer", *words],
        cwd=daemon.directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ENFORCER_SOCKET": str(daemon.socket)},
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{daemon.logged()}"
    return done.stderr if status else done.stdout


def document(daemon: Daemon, *words: str) -> Any:
    """Run a command; return its JSON."""
    return json.loads(enforcer(daemon, *words, "--json"))


def apply(daemon: Daemon, host: Host, rules: str) -> None:
    """Put rules in force."""
    (daemon.directory / "policy.yaml").write_text(host.policy(rules))
    enforcer(daemon, "apply", "policy.yaml")


def send(host: Host, port: int, times: int = 1) -> int:
    """Send datagrams from a to b, each a flow of its own; return how many arrived."""
    arrived = 0
    with host.udp("b", port) as receiving:
        for _ in range(times):
            with host.udp("a") as sending:
                arrived += reaches(sending, receiving, (host.address("b"), port))
    return arrived


def hits(daemon: Daemon, *words: str) -> dict[str, int]:
    """Return how often each rule has decided, but for those of the default group."""
    rows = document(daemon, "hits", *words)["rules"]
    return {f"{row['group']}/{row['rule']}": row["hits"] for row in rows if row["group"] != "default"}
