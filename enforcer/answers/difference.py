"""What does a new policy open and close? The cells of both matrices side by side, those that differ.

A host that only one policy has reaches nobody in the other: what it may do opens, or closes, with it.
Example: `differences(old, new, regions(old, new))`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from enforcer.model import Action, Policy, Traffic
from enforcer.semantics import Cell, Oracle, matrix


@dataclass(frozen=True, slots=True)
class Difference:
    """One cell whose verdict changes; `before` and `after` are null where a policy does not have both hosts."""

    src: str
    dst: str
    traffic: Traffic
    before: Cell | None
    after: Cell | None

    @property
    def opens(self) -> bool:
        return self.after is not None and self.after.verdict == Action.ALLOW

    @property
    def word(self) -> str:
        return "opens" if self.opens else "closes"

    @property
    def reason(self) -> str:
        """Why it is as it is now; for what opens or closes with a host, that it does."""
        if self.after is None:
            return "a host is gone; before: " + (self.before.explanation.reason if self.before else "")
        new = "" if self.before is not None else "a host is new; "
        return new + self.after.explanation.reason


def differences(old: Policy | Oracle, new: Policy | Oracle, traffics: Sequence[Traffic]) -> tuple[Difference, ...]:
    """Return what changes between two policies, in the order of the new one's matrix; what is gone comes last."""
    before = {(cell.src, cell.dst, cell.traffic): cell for cell in matrix(old, traffics)}
    after = {(cell.src, cell.dst, cell.traffic): cell for cell in matrix(new, traffics)}
    return tuple(
        Difference(*key, before.get(key), after.get(key))
        for key in dict.fromkeys((*after, *before))
        if _allowed(before.get(key)) != _allowed(after.get(key))
    )


def _allowed(cell: Cell | None) -> bool:
    return cell is not None and cell.verdict == Action.ALLOW
