"""The errors a user can meet, as a tree; each class says whose fault it is and which exit status it has.

    EnforcerError
    ├── UsageError        2  the command line is wrong
    ├── PolicyError       3  the policy file is wrong: carries every problem found, not only the first
    ├── SystemRefused     4  the kernel or the system refused
    │   ├── TransactionRefused   nftables rejected a transaction; nothing of it is in force
    │   └── AttachmentRefused    an interface cannot be filtered (missing, a bridge port …)
    └── DaemonUnreachable 5  no daemon answers

Messages read *where: what is wrong (the value); what would be right.*
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class EnforcerError(Exception):
    """Root of all errors that are meant for a user; anything else that escapes is a bug of ours."""

    exit_status: ClassVar[int] = 4


class UsageError(EnforcerError):
    """The command line asks for something that does not exist or makes no sense."""

    exit_status = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or worth a warning, in a policy file.

    `where` is a path such as `security_groups[Sg-A].rules[A01].remote_group`; `line` is 1-based, 0 if unknown.
    """

    where: str
    message: str
    line: int = 0
    code: str = ""

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.where}: {self.message}" if self.where else f"{place}{self.message}"


class PolicyError(EnforcerError):
    """The policy is invalid and rejected whole (S19); `problems` has every reason, in file order."""

    exit_status = 3

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class SystemRefused(EnforcerError):
    """The kernel, or the system around it, refused what was asked."""

    exit_status = 4


class TransactionRefused(SystemRefused):
    """nftables rejected a transaction whole: what was in force still is."""


class AttachmentRefused(SystemRefused):
    """An interface cannot be enforced as the policy says, so nothing was changed."""


class DaemonUnreachable(EnforcerError):
    """No daemon answers on its socket."""

    exit_status = 5
