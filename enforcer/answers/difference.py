"""What does a new policy open and close? The cells of both matrices side by side, those that differ.

A host that only one policy has reaches nobody in the other: what it may do opens, or closes, with it.
Example: `differences(old, new, regions(old, new))`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from enforcer.model import Action, Policy, Traffic, endpoint
from enforcer.semantics import Cell, Oracle, explain, matrix

Question = tuple[str, str, Traffic]


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
    return _differing(matrix(old, traffics), matrix(new, traffics))


def differences_among(
    old: Policy | Oracle, new: Policy | Oracle, questions: Collection[Question]
) -> tuple[Difference, ...]:
    """Return what changes of some cells: source, destination and traffic each, by the names of the matrix."""
    return _differing(_cells(Oracle.of(old), questions), _cells(Oracle.of(new), questions))


def _differing(old: Iterable[Cell], new: Iterable[Cell]) -> tuple[Difference, ...]:
    before = {(cell.src, cell.dst, cell.traffic): cell for cell in old}
    after = {(cell.src, cell.dst, cell.traffic): cell for cell in new}
    return tuple(
        Difference(*key, before.get(key), after.get(key))
        for key in dict.fromkeys((*after, *before))
        if _allowed(before.get(key)) != _allowed(after.get(key))
    )


def _cells(oracle: Oracle, questions: Collection[Question]) -> Iterator[Cell]:
    known = set(hosts(oracle.policy))
    ends = {name: endpoint(oracle.policy, name) for src, dst, _ in questions for name in (src, dst) if name in known}
    for src, dst, traffic in questions:
        if src in ends and dst in ends:
            yield Cell(src, dst, traffic, explain(oracle, ends[src], ends[dst], traffic))


def hosts(policy: Policy) -> tuple[str, ...]:
    """Return the names of the matrix: ECSs, then external hosts, each in file order."""
    return (*(ecs.name for ecs in policy.ecs), *(host.name for host in policy.external_hosts))


def _allowed(cell: Cell | None) -> bool:
    return cell is not None and cell.verdict == Action.ALLOW
