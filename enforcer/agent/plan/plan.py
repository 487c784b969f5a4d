"""What would happen if this policy took the place of that one? Everything at once, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from enforcer.agent.plan.affected import Affected, affected
from enforcer.agent.plan.cells import Cells, cells
from enforcer.agent.plan.connections import Live, Seen, Views, live
from enforcer.agent.plan.declared import Declared, declared
from enforcer.agent.plan.written import Written, written
from enforcer.compiler import NamespaceProgram, compile_policy
from enforcer.model import Layout, Policy, parse_policy
from enforcer.ruleset.lower import Lowering
from enforcer.semantics import Oracle

NOTHING = "version: 1"
"""The policy before the first one: only the group `default` is there."""
NOWHERE = "none of the policy's network namespaces is here"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a change does. `cells` None: nothing is in force yet, so nothing can be compared.

    `live` None: connections were not looked at, `unseen` says why.
    """

    first: bool
    declared: Declared
    affected: tuple[Affected, ...]
    cells: Cells | None
    written: tuple[Written, ...]
    live: Live | None
    unseen: str

    @property
    def changes(self) -> bool:
        """Whether anything is different."""
        return self.first or bool(self.declared.rules or self.declared.objects or any(self.written))


def plan(
    old: Policy | None,
    new: Policy,
    layout_of: Callable[[Policy], Layout],
    look: Callable[[Views | None, Views], Iterable[Seen]] | None = None,
    unseen: str = "",
    *,
    brief: bool = False,
) -> Plan:
    """Compare two policies; `old` None: nothing is in force. `look` reads the kernel; without it, `unseen` says why.

    `brief` leaves out what takes long and a summary does without: cells and kernel objects.
    """
    before = Views.of(old, layout_of(old)) if old is not None else None
    after = Views.of(new, layout_of(new))
    was = before.judge.oracle if before is not None else Oracle(parse_policy(NOTHING))
    found = affected(was, after.judge.oracle)
    looked = tuple(look(before, after)) if look is not None else ()
    return Plan(
        first=old is None,
        declared=declared(was.policy, new),
        affected=found,
        cells=cells(before.judge, after.judge, found) if before is not None and not brief else None,
        written=() if brief else tuple(_written(before, after)),
        live=live(before, after, looked) if looked else None,
        unseen=unseen if look is None else NOWHERE,
    )


def _written(before: Views | None, after: Views) -> Iterator[Written]:
    """Compare the rulesets of every namespace, both of one generation: the commit raises it whatever changes.

    They are lowered one after the other, as a session does: what changes in place is not written anew.
    """
    old, new = _programs(before), _programs(after)
    for netns in dict.fromkeys((*new, *old)):
        lowering = Lowering()
        was = lowering.begin(old[netns], 1) if netns in old else None
        then = (lowering.lower if was else lowering.begin)(new[netns], 1) if netns in new else None
        if found := written(netns, was, then):
            yield found


def _programs(views: Views | None) -> dict[str, NamespaceProgram]:
    if views is None:
        return {}
    program = compile_policy(views.judge.policy, views.layout)
    return {namespace.name: namespace for namespace in program.namespaces}
