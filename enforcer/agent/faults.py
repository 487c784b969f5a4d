"""Where a test lets the daemon die: steps with names, and SIGKILL at the one that the environment names.

    ENFORCER_DIE_AT=switched          dies when it first passes that step after it was ready
    ENFORCER_DIE_AT=start:switched    … when it first passes it at all

Without the variable, and that is always outside of tests, passing a step does nothing.
"""

from __future__ import annotations

import os
import signal
from typing import Final

VARIABLE: Final = "ENFORCER_DIE_AT"

STEPS: Final = (
    "taken",  # revisions were taken from the store, nothing has been done about them
    "compiled",
    "observed",  # the kernel was read
    "prepared",  # new objects are there, nothing refers to them
    "switched",  # the new policy is in force
    "replaced",  # the same, by a whole replacement
    "ended",  # the conversations of addresses that left are deleted
    "swept",  # what nothing refers to is deleted
    "committed",  # every namespace has it
    "settled",  # and so says the store
    "published",
)


class Faults:
    """The step at which to die, if any."""

    def __init__(self, wanted: str = "") -> None:
        at_start, _, self._step = wanted.rpartition(":")
        self._armed = bool(at_start)

    @classmethod
    def from_environment(cls) -> Faults:
        """Return what the environment asks for."""
        return cls(os.environ.get(VARIABLE, ""))

    def ready(self) -> None:
        """The start is over."""
        self._armed = True

    def passed(self, step: str) -> None:
        """Die here, if that is asked for."""
        if self._armed and step == self._step:
            os.kill(os.getpid(), signal.SIGKILL)
