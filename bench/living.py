"""A real daemon for the measurements, and callers that cost little: a process of its own, asked over its socket.

    with daemon(directory) as living, Caller(living.socket) as caller:
        caller.ask("PUT", "/v1/policy", text)     # {"revision": 1, "outcome": "in_force", …}
        living.cpu(), living.resident()           # seconds so far, megabytes now
        living.commits()                          # milliseconds of each revision's commit, as the daemon logged them

A caller keeps its connection and writes HTTP by hand: what is measured is the daemon, not a client's library.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

PATIENCE = 120.0
KILOBYTE = 1024


def request(method: str, path: str, body: object = None) -> bytes:
    """Return the bytes of a request."""
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: enforcer\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


class Caller:
    """One connection to the daemon's socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(str(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Ask, and return the answer; anything but success is an error of the measurement."""
        self.send(request(method, path, body))
        return self.answer()

    def send(self, asked: bytes) -> None:
        """Send a whole request."""
        self._socket.sendall(asked)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def answer(self) -> dict[str, Any]:
        """Return the answer to what was sent."""
        said = b""
        while b"\r\n\r\n" not in said:
            said += self._more()
        lines, _, rest = said.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in lines.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(rest) < length:
            rest += self._more()
        assert lines.startswith(b"HTTP/1.1 200 "), (lines, rest)
        found: dict[str, Any] = json.loads(rest)
        return found

    def _more(self) -> bytes:
        part = self._socket.recv(64 * KILOBYTE)
        if not part:
            raise ConnectionError("the daemon closed the connection")
        return part


class Living:
    """A daemon that runs."""

    def __init__(self, directory: Path, process: subprocess.Popen[bytes]) -> None:
        self.socket = directory / "socket"
        self._log, self._process = directory / "log", process

    def cpu(self) -> dict[str, float]:
        """Return the seconds of CPU that each kind of its threads has used, by the kernel's clock."""
        found: dict[str, float] = {}
        for task in Path(f"/proc/{self._process.pid}/task").iterdir():
            name = (task / "comm").read_text().strip()
            used = int((task / "schedstat").read_text().split()[0]) / 1e9
            found[name] = found.get(name, 0.0) + used
        return found

    def resident(self) -> int:
        """Return how many megabytes of it are in memory now."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmRSS:"))) // KILOBYTE

    def commits(self) -> dict[int, float]:
        """Return the milliseconds of the commit that put each revision in force; merged ones have one together."""
        found: dict[int, float] = {}
        for line in self._log.read_text(encoding="utf-8").splitlines():
            told = json.loads(line) if line.startswith("{") else {}
            if told.get("event") == "committed":
                last = told["revision"]
                found |= dict.fromkeys(range(last - told["merged"] + 1, last + 1), told["ms"])
        return found


@contextmanager
def daemon(directory: Path) -> Iterator[Living]:
    """Start a daemon in the network namespace of the caller and wait until it is ready; stop it afterwards."""
    options = [f"--state-dir={directory / 'state'}", f"--socket={directory / 'socket'}"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, (directory / "log").open("wb") as log:
        notify.bind(str(directory / "notify"))
        notify.settimeout(PATIENCE)
        process = subprocess.Popen(
            [sys.executable, "-m", "enforcer", "daemon", *options],
            stderr=log,
            env={**os.environ, "NOTIFY_SOCKET": str(directory / "notify")},
        )
        try:
            while b"READY=1" not in notify.recv(4096):
                pass
            yield Living(directory, process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
