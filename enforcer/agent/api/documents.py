"""What requests and answers look like, for the checks at the door and for the OpenAPI document.

Of a policy's parts only the names are checked here; what a rule or a NIC may say is the policy format, which the model
knows. Example: `{"revision": 12, "outcome": "in_force", "changed": true, …}` answers every change.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from enforcer.agent.store import Outcome, Revision
from enforcer.errors import Problem
from enforcer.model.words.scalars import text

MOST_MESSAGE = 1000


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


Word = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_composed)]
"""A name, or `ecs:nic`, or an entry: what it may be is checked where it is looked up."""

Message = Annotated[
    str,
    Field(max_length=MOST_MESSAGE, description="why, for the history: one line of plain text"),
    AfterValidator(text),
]
Number = Annotated[int, Field(ge=0, le=2**53, description="a revision")]
Seconds = Annotated[
    float, Field(ge=1, le=86400, description="go back by itself unless confirmed within so many seconds")
]


class Asked(BaseModel):
    """What all bodies have in common: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")


class NewRule(Asked):
    """A rule as a policy file writes it, and the rule before which it is to stand (else it is the last)."""

    rule: dict[str, Any]
    before: Word | None = None


class NewGroup(BaseModel):
    """A security group as a policy file writes it."""

    model_config = ConfigDict(extra="allow")
    name: Word


class NewAddressGroup(BaseModel):
    """An address group as a policy file writes it."""

    model_config = ConfigDict(extra="allow")
    name: Word


class NewNic(Asked):
    """A NIC as a policy file writes it; `type` is that of an ECS which is new with it."""

    nic: dict[str, Any]
    type: Word | None = None


class Moved(Asked):
    """The rule before which a rule is to stand; none: at the end."""

    before: Word | None = None


class Entries(Asked):
    """Entries of an address group."""

    entries: Annotated[list[Word], Field(min_length=1, max_length=10_000)]


class GroupNames(Asked):
    """Security groups in the order in which they are matched."""

    security_groups: Annotated[list[Word], Field(max_length=1000)]


class Back(Asked):
    """The revision to go back to."""

    revision: Annotated[Number, Field(strict=True)]


class Said(BaseModel):
    """One thing that is wrong, or worth a warning."""

    where: str
    message: str
    line: int = 0
    code: str = ""
    text: str

    @classmethod
    def of(cls, problem: Problem) -> Said:
        """Return a problem as answers have it."""
        found = {"where": problem.where, "message": problem.message, "line": problem.line, "code": problem.code}
        return cls.model_validate({**found, "text": str(problem)})


class Refusal(BaseModel):
    """Why a request was not done, with the exit status that the command line gives for it."""

    valid: bool = False
    errors: list[Said]
    notes: list[str] = []
    exit_status: int


class Done(BaseModel):
    """What became of a change: the revision in which it is in force, or was in force already (`changed` false).

    `summary` says of a whole policy what it changed, live connections that were cut included.
    """

    revision: int
    outcome: Outcome
    reason: str = ""
    changed: bool
    said: str
    summary: str = ""
    warnings: list[Said] = []
    confirm_within: float | None = None


class Written(BaseModel):
    """One revision: who wrote it, when (Unix time), why, which resources it changed, and what became of it."""

    revision: int
    at: float
    uid: int
    by: str
    message: str
    outcome: Outcome
    reason: str
    keys: list[str]
    more: int = 0

    @classmethod
    def of(cls, revision: Revision, most: int = 20) -> Written:
        """Return a revision with at most so many of its keys; `more` counts the rest."""
        keys = [change.key for change in revision.changes]
        return cls(
            revision=revision.number,
            at=revision.at,
            uid=revision.author.uid,
            by=revision.author.by,
            message=revision.message,
            outcome=revision.outcome,
            reason=revision.reason,
            keys=keys[:most],
            more=len(keys[most:]),
        )


class History(BaseModel):
    """Revisions, newest first; `head` is the one that is wanted, `waiting` must be confirmed within `left` seconds."""

    head: int
    waiting: int | None = None
    left: float | None = None
    revisions: list[Written]


class WholePolicy(BaseModel):
    """The policy as of a revision, as plain data of a policy file."""

    revision: int
    policy: dict[str, Any]


class Changed(BaseModel):
    """One resource in two revisions; null: not there."""

    key: str
    old: dict[str, Any] | None
    new: dict[str, Any] | None


class Difference(BaseModel):
    """What lies between two revisions."""

    old: int
    new: int
    changes: list[Changed]
