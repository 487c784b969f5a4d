"""How long somebody else's change lasts: from `nft flush ruleset` to the daemon's word that it is repaired.

    unshare --net python -m bench.repair --nics 2000 --lists 10 --flows 60000

A daemon in a process of its own, with a policy of `bench.estate` in force and so many live flows in connection
tracking, in a network namespace that must be empty. Milliseconds of the wall clock from the start of the foreign
process: *open* until our rules are in force again, as the kernel tells everybody, *repaired* until the log says so.
*logged* is what the line says itself, from when the daemon has heard of it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench.cold import nft
from bench.estate import document
from bench.kept import keep, with_place
from enforcer.dataplane.notices import Generation, TableSocket

PATIENCE = 300.0
FLOW = "-I -p udp -s 10.{}.{}.{} -d 10.0.0.1 --sport {} --dport 53 -t 3600 -u SEEN_REPLY --mark {}\n"


class Daemon:
    """A daemon and its log."""

    def __init__(self, directory: Path) -> None:
        self._socket, self._log = directory / "socket", directory / "log"
        (directory / "enforcer.toml").write_text("audit_seconds = 3600\n")
        words = ["daemon", "--state-dir", str(directory), "--socket", str(self._socket)]
        words += ["--config", str(directory / "enforcer.toml")]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "enforcer", *words], stderr=log)
        self._told = self._log.open("rb")
        self.hears("loaded")

    def apply(self, policy: Path) -> None:
        """Put a policy in force."""
        subprocess.run(
            [sys.executable, "-m", "enforcer", "apply", str(policy), "--socket", str(self._socket)],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def hears(self, event: str) -> dict[str, Any]:
        """Wait for the next line about an event."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            line = self._told.readline()
            if not line.endswith(b"\n"):
                self._told.seek(-len(line), os.SEEK_CUR)
                time.sleep(0.001)
            elif (found := json.loads(line))["event"] == event:
                return dict(found)
        raise TimeoutError(f"the daemon never said {event!r}")

    def end(self) -> None:
        self._told.close()
        self.process.terminate()
        self.process.wait(PATIENCE)


@contextmanager
def instances(nics: int) -> Iterator[None]:
    """Make the interfaces; as on a host, their other ends are in another namespace, which goes with its process."""
    home = os.stat("/proc/self/ns/net").st_ino
    with subprocess.Popen(["unshare", "--net", "sleep", "infinity"]) as away:
        try:
            while os.stat(f"/proc/{away.pid}/ns/net").st_ino == home:
                time.sleep(0.001)
            made = "\n".join(f"link add n{n} type veth peer name p{n} netns {away.pid}" for n in range(nics))
            subprocess.run(["ip", "-batch", "-"], input=made, text=True, check=True)
            yield
        finally:
            away.kill()


@contextmanager
def running(policy: dict[str, Any]) -> Iterator[Daemon]:
    """Start a daemon with a policy in force."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "policy.json"
        file.write_text(json.dumps(policy))
        daemon = Daemon(Path(name))
        try:
            daemon.apply(file)
            yield daemon
        finally:
            daemon.end()


def live(flows: int, mark: int) -> None:
    """Have connection tracking hold so many conversations, answered and with a mark."""
    with tempfile.NamedTemporaryFile("w") as file:
        for number in range(flows):
            file.write(FLOW.format(1, number // 250 % 250, number % 250 + 1, 1024 + number // 62500, mark))
        file.flush()
        if flows:
            subprocess.run(["conntrack", "--load-file", file.name], check=True, stdout=subprocess.DEVNULL)
    held = int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text())
    assert held >= flows, f"connection tracking holds {held}; write a larger net.netfilter.nf_conntrack_max"


def flushed(daemon: Daemon) -> dict[str, float]:
    """Have somebody flush everything; return the milliseconds until it is repaired."""
    with TableSocket("") as notices:
        begun = time.perf_counter()
        nft("flush ruleset")
        seen: list[Generation] = []
        while sum(each.ours_touched for each in seen) < 2:  # theirs, and the first of ours
            seen += notices.read()
            time.sleep(0.0005)
        there = time.perf_counter()
    told = daemon.hears("repaired")
    return {"open": (there - begun) * 1e3, "repaired": (time.perf_counter() - begun) * 1e3, "logged": told["ms"]}


def measure(nics: int, lists: int, rules: int, members: int, flows: int, turns: int) -> dict[str, Any]:
    """Flush again and again; return the document."""
    taken: list[dict[str, float]] = []
    with instances(nics), running(document(nics, lists, rules, members)) as daemon:
        live(flows, 0x100)
        for _ in range(turns):
            taken.append(flushed(daemon))
    return {
        "nics": nics,
        "lists": lists,
        "rules of a list": 5 * rules,
        "members": members,
        "flows": flows,
        "milliseconds": {
            name: {"median": round(median(each), 1), "worst": round(max(each), 1)}
            for name in ("open", "repaired", "logged")
            if (each := [one[name] for one in taken])
        },
    }


def main() -> None:
    """Print the document of one size, and keep it."""
    parser = argparse.ArgumentParser(prog="python -m bench.repair", description="Measure repairs after a flush.")
    sizes = {"nics": 2000, "lists": 10, "rules": 24, "members": 6000, "flows": 60_000, "turns": 10}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = with_place(parser).parse_args()
    found = measure(asked.nics, asked.lists, asked.rules, asked.members, asked.flows, asked.turns)
    keep(asked.into, "repair", f"{asked.nics} NICs, {asked.flows} flows", found)


if __name__ == "__main__":
    main()
