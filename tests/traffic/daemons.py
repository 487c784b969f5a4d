"""Daemons as systemd starts them: real processes that say when they are ready, with a state directory of their own.

with by_hand("a", "b") as host, living(tmp_path) as daemon:
    daemon.apply(host.policy(groups(...)))     # returns once it is in force
    daemon.kill()
    daemon.start()
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from enforcer.agent.faults import VARIABLE
from enforcer.agent.resources import resources_of

PATIENCE = 30.0
ROOT = Path(__file__).parents[2]


class Refused(Exception):
    """A revision was refused."""


class Daemon:
    """One daemon after the other on one state directory."""

    def __init__(
        self, directory: Path, *, program: str = "line_api", config: str = "", state: Path | None = None
    ) -> None:
        self.directory, self.state = directory, state or directory / "state"
        self.socket, self.log = directory / "socket", directory / "log"
        self._config = directory / "enforcer.toml"
        self._config.write_text(config)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(directory / "notify"))
        self._program = program
        self.before: tuple[str, ...] = ()
        """What the next process is started with: words before its own (`ip netns exec …`)."""
        self._resources: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self, *, die_at: str = "", environment: Mapping[str, str] | None = None) -> Daemon:
        """Start a process and wait until it is ready."""
        self.spawn(die_at=die_at, environment=environment)
        self.until_it_says("READY=1")
        return self

    def spawn(self, *, die_at: str = "", environment: Mapping[str, str] | None = None) -> None:
        """Start a process."""
        words = [str(ROOT / "tests/traffic/line_api.py"), str(self.state), str(self.socket), str(self._config)]
        if self._program == "enforcer":
            options = ["--state-dir", str(self.state), "--socket", str(self.socket), "--config", str(self._config)]
            words = ["-m", "enforcer", "daemon", *options]
        address = {"NOTIFY_SOCKET": str(self.directory / "notify"), "PYTHONPATH": str(ROOT), VARIABLE: die_at}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.before, sys.executable, *words], stderr=log, env={**os.environ, **address, **(environment or {})}
            )

    def until_it_says(self, word: str) -> list[str]:
        """Wait for a word to the service manager; return all that was said until then."""
        said: list[str] = []
        deadline = time.monotonic() + PATIENCE
        while word not in said:
            assert time.monotonic() < deadline, f"{word} was never said, but {said}; the log: {self.logged()}"
            if select.select([self._notify], [], [], 0.05)[0]:
                said += self._notify.recv(4096).decode().split("\n")
            elif self.process.poll() is not None:
                raise AssertionError(f"it ended with {self.process.returncode}: {self.log.read_text()}")
        return said

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.send_signal(signal.SIGKILL)
        self.died()

    def stop(self) -> int:
        """End it as systemd does; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.died()

    def died(self) -> int:
        """Wait for its end, and forget what it said before."""
        status = self.process.wait(PATIENCE)
        while select.select([self._notify], [], [], 0)[0]:
            self._notify.recv(4096)
        return status

    def end(self) -> None:
        if self.process and self.process.poll() is None:
            self.kill()
        self._notify.close()

    # --- requests ----------------------------------------------------------------------------------------------------

    def apply(self, text: str) -> int:
        """Have a policy put in force; return its revision. Raises Refused, and ConnectionError if it dies meanwhile."""
        wanted = resources_of(yaml.safe_load(text))
        keys = self._resources.keys() | wanted.keys()
        changes = {key: wanted.get(key) for key in keys if wanted.get(key) != self._resources.get(key)}
        number, outcome, reason = self.ask(changes or {"settings": wanted["settings"]})
        if outcome != "in_force":
            raise Refused(reason)
        self._resources = wanted
        return number

    def know(self, text: str) -> None:
        """Take a policy for what the daemon has, for it died before it could say so."""
        self._resources = resources_of(yaml.safe_load(text))

    def ask(self, changes: Mapping[str, str | None]) -> Any:
        """Send resources, return the answer."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(PATIENCE)
            asking.connect(str(self.socket))
            asking.sendall(json.dumps(changes).encode() + b"\n")
            with asking.makefile() as answers:
                answer = answers.readline()
        if not answer:
            raise ConnectionError("the daemon died")
        return json.loads(answer)

    def status(self) -> dict[str, Any]:
        """Return what it published last."""
        return self.ask({})

    def nic(self, name: str) -> str:
        """Return the state of a NIC, as it was published last."""
        return next((each["state"] for each in self.status()["nics"] if each["nic"] == name), "unknown")

    def logged(self, event: str = "") -> list[dict[str, Any]]:
        """Return the whole lines of its log, of all its lives; of the last one, only a part may be there yet."""
        whole, _, _ = self.log.read_text().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [line for line in lines if event in ("", line["event"])]


@contextmanager
def living(directory: Path, **how: Any) -> Iterator[Daemon]:
    """Start a daemon; end it after the block, whatever happens."""
    daemon = Daemon(directory, **how)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.end()
