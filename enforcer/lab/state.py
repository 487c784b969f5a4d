"""What is remembered of a lab while no process of ours runs: one JSON file and one lock file below /run/enforcer/labs.

The file is written before anything is built and removed after everything is gone, so `down` finds its way after any
crash. It holds policies as they were written; everything else follows from them:

- `applied`: what the lab is, None until it stands;
- `pending`: what it is being changed to, None when nothing is under way or was cut off.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from enforcer.errors import SystemRefused, UsageError

DIRECTORY: Final = Path("/run/enforcer/labs")


@dataclass(frozen=True, slots=True)
class LabState:
    """One lab's file."""

    name: str
    applied: str | None = None
    pending: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The policies that the namespaces may follow, wholly or in part."""
        return tuple(text for text in (self.applied, self.pending) if text is not None)


def checked_name(name: str) -> str:
    """Return the lab's name if it is one; namespaces are named after it."""
    if not re.fullmatch(r"[a-z0-9]{1,12}", name):
        raise UsageError(f"lab {name!r}: not a name for a lab; write 1 to 12 lower-case letters and digits")
    return name


def _path(name: str) -> Path:
    return DIRECTORY / f"{checked_name(name)}.json"


def load(name: str) -> LabState | None:
    """Return what is remembered of a lab, None if there is none."""
    try:
        fields = json.loads(_path(name).read_text(encoding="utf-8"))
        return LabState(**fields)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise SystemRefused(f"{_path(name)}: not a lab's state ({error}); remove the lab with `lab down`") from error


def save(state: LabState) -> None:
    """Write the file in one step, readable for root alone: policies tell much about a site."""
    path = _path(state.name)
    _make_directory()
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(state), file)
    draft.replace(path)


def forget(name: str) -> None:
    """Remove the file; absent is fine."""
    _path(name).unlink(missing_ok=True)
    _path(name).with_suffix(".new").unlink(missing_ok=True)


def known() -> tuple[str, ...]:
    """List the names of the labs there are."""
    return tuple(sorted(path.stem for path in DIRECTORY.glob("*.json")))


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lab for the length of the block; a second command on the same lab is refused, not queued."""
    _make_directory()
    path = _path(name).with_suffix(".lock")
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise SystemRefused(f"lab {name}: another command is changing it; wait until it has ended") from error
        if _is_current(descriptor, path):
            break
        os.close(descriptor)  # its last holder removed it between our open and our lock
    try:
        yield
    finally:
        if not _path(name).exists():
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _is_current(descriptor: int, path: Path) -> bool:
    try:
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _make_directory() -> None:
    try:
        DIRECTORY.mkdir(mode=0o700, parents=True, exist_ok=True)
        DIRECTORY.chmod(0o700)
    except OSError as error:
        raise SystemRefused(f"{DIRECTORY}: cannot be made ({error.strerror}); are you root?") from error
