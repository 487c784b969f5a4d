"""Starts `blast.py`: packets at a steady rate from a process of its own, whatever happens to this one.

with blasting(host.netns("a"), host.netns("b"), "2000") as blast:
    blast.say("denied")             # from now on, what the policy denies must not arrive
    report = blast.stop()
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


class Blast:
    """The sender's process."""

    def __init__(self, client: str, server: str, *words: str) -> None:
        tests = Path(__file__).parents[1]
        command = [sys.executable, str(Path(__file__).with_name("blast.py"))]
        self._process = subprocess.Popen(
            [*command, client, server, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{tests}:{tests.parent}"},
        )
        self.begun = json.loads(self._process.stdout.readline())["begun"]

    def say(self, word: str) -> None:
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def open(self) -> None:
        """Let what is denied arrive from now on, until `denied` is said."""
        self.say("open")
        self._process.stdout.readline()

    def stop(self) -> dict[str, Any]:
        self.say("stop")
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


@contextmanager
def blasting(client: str, server: str, *words: str) -> Iterator[Blast]:
    """Send for the length of the block."""
    blast = Blast(client, server, *words)
    try:
        yield blast
    finally:
        blast.end()
