"""A copy of what is in force beside the store: what a boot loads when the store is damaged, so that nothing is open.

    Copying(path, in_force, failed).start()     written when it begins, every minute if it changed, and when it ends
    read(path)  ──▶  Copy(revision, resources)

One JSON file, written under another name and put in its place whole. It may be a minute old; the store is the truth
wherever that can be read. The daemon never begins from the copy: history is for the administrator to restore.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from enforcer.agent.store.interface import StoreFailed

EVERY: Final = 60.0
"""Seconds between two copies, if anything has changed."""


class Copy(NamedTuple):
    """The resources that were in force as of a revision."""

    revision: int
    resources: Mapping[str, str]


def place(store: Path) -> Path:
    """Return where the copy of a store's head is."""
    return store.with_name("in-force.json")


def write(path: Path, copy: Copy) -> None:
    """Put a copy in its place, on the disk; raises OSError, and then the earlier one is there."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"revision": copy.revision, "resources": dict(copy.resources)}, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


def read(path: Path) -> Copy:
    """Read a copy; raises StoreFailed where there is none that is whole."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Copy(int(found["revision"]), {str(key): str(value) for key, value in found["resources"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreFailed(f"{path}: there is no whole copy of what was in force ({error})") from error


class Copying(threading.Thread):
    """Keeps the copy."""

    def __init__(self, path: Path, in_force: Callable[[], Copy], failed: Callable[[str, str], None]) -> None:
        super().__init__(name="copying", daemon=True)
        self._path, self._in_force, self._failed = path, in_force, failed
        self._written = -1
        self._ending = threading.Event()

    def run(self) -> None:
        self.copy()
        while not self._ending.wait(EVERY):
            self.copy()

    def copy(self) -> None:
        """Write what is in force, unless that is what was written last."""
        copy = self._in_force()
        if copy.revision != self._written:
            try:
                write(self._path, copy)
                self._written = copy.revision
            except OSError as error:
                self._failed("copying", f"{self._path}: {error.strerror}")

    def end(self) -> None:
        """Write it once more, and end."""
        self._ending.set()
        self.join()
        self.copy()
