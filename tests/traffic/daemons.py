"""Daemons as systemd starts them: real processes that say when they are ready, with a state directory of their own.

with by_hand("a", "b") as host, living(tmp_path) as daemon:
    daemon.apply(host.policy(groups(...)))     # returns once it is in force
    daemon.kill()
    daemon.start()
"""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from patience import patient

from enforcer.agent.faults import VARIABLE

PATIENCE = patient(30.0)
ROOT = Path(__file__).parents[2]


class Refused(Exception):
    """A revision was refused."""


class Daemon:
    """One daemon after the other on one state directory."""

    def __init__(self, directory: Path, *, config: str = "", state: Path | None = None) -> None:
        self.directory, self.state = directory, state or directory / "state"
        self.socket, self.log = directory / "socket", directory / "log"
        self._config = directory / "enforcer.toml"
        self._config.write_text(config)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(directory / "notify"))
        self.before: tuple[str, ...] = ()
        """What the next process is started with: words before its own (`ip netns exec …`)."""
        self.process: subprocess.Popen[bytes] | None = None

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self, *, die_at: str = "", environment: Mapping[str, str] | None = None) -> Daemon:
        """Start a process and wait until it is ready."""
        self.spawn(die_at=die_at, environment=environment)
        self.until_it_says("READY=1")
        return self

    def spawn(self, *, die_at: str = "", environment: Mapping[str, str] | None = None) -> None:
        """Start a process."""
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
        status, answer = self.ask("PUT", "/v1/policy", text)
        if status != 200:
            raise Refused("\n".join(each["text"] for each in answer["errors"]))
        assert answer["outcome"] == "in_force", answer
        return answer["revision"]

    def ask(self, method: str, path: str, body: str = "") -> tuple[int, Any]:
        """Ask at its socket, over a connection of its own; return the status and the answer."""
        asking = http.client.HTTPConnection("enforcer")
        with closing(asking), socket.socket(socket.AF_UNIX) as asking.sock:
            asking.sock.settimeout(PATIENCE)
            asking.sock.connect(str(self.socket))
            asking.request(method, path, body.encode())
            answer = asking.getresponse()
            return answer.status, json.loads(answer.read())

    def status(self) -> dict[str, Any]:
        """Return what it published last."""
        return self.ask("GET", "/v1/status")[1]

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
