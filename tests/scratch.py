"""Network namespaces of a test's own, for tests that change a kernel."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator

from patience import patient

from enforcer.dataplane import namespaces


class Scratch:
    """A network namespace of a test's own, with the interfaces that the test wants in it."""

    def __init__(self) -> None:
        self.name = f"t-{uuid.uuid4().hex[:10]}"

    def ip(self, *words: str) -> str:
        return self.run("ip", *words)

    def run(self, *words: str) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, *words], capture_output=True, text=True, check=False, timeout=patient(30)
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    def add(self, *interfaces: str) -> None:
        """Make veths; their other ends get names that nobody asks for."""
        for interface in interfaces:
            self.ip("link", "add", interface, "type", "veth", "peer", "name", f"p-{uuid.uuid4().hex[:10]}")
            self.ip("link", "set", interface, "up")

    def has(self, interface: str) -> bool:
        """Say whether an interface is there."""
        return f" {interface}@" in self.ip("link")

    def toggle(self, interface: str) -> None:
        """Take an interface away that is there, or make it."""
        if self.has(interface):
            self.ip("link", "del", interface)
        else:
            self.add(interface)


def scratch_namespace() -> Iterator[Scratch]:
    """Make a namespace and take it away, whatever comes; to delete one that was never made does no harm."""
    scratch = Scratch()
    try:
        namespaces.create(scratch.name)
        yield scratch
    finally:
        namespaces.delete(scratch.name)
