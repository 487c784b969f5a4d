"""Where a test lets the daemon die: steps with names, and SIGKILL at the one that the environment names.

    ENFORCER_DIE_AT=switched          dies when it first passes that step
    ENFORCER_DIE_AT=switched:3        … when it passes it for the third time

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
        self._step, _, count = wanted.partition(":")
        self._left = int(count or 1)

    @classmethod
    def from_environment(cls) -> Faults:
        """Return what the environment asks for."""
        return cls(os.environ.get(VARIABLE, ""))

    def passed(self, step: str) -> None:
        """Die here, if that is asked for."""
        if step == self._step:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
