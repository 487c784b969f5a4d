"""A plan on this host: the only part that looks at a kernel. Changes nothing.

seen(old, new)         the conversations of each namespace, and the generation in force there
planned(old, new)      the whole plan as the daemon answers it: host layout, live connections, one JSON document
summarised(old, new)   its summary alone, for who changes something and did not ask before
"""

from __future__ import annotations

from collections.abc import Iterator

from enforcer.agent.plan.connections import Ends, Seen, Views
from enforcer.agent.plan.document import Document, document
from enforcer.agent.plan.plan import plan
from enforcer.agent.plan.words import summary
from enforcer.dataplane import conntrack, namespaces, observe
from enforcer.dataplane.ways import ways
from enforcer.errors import SystemRefused
from enforcer.model import Policy, host_layout


def seen(old: Views | None, new: Views) -> Iterator[Seen]:
    """Read every namespace that the old layout or the new one has and that exists.

    Raises PermissionError or SystemRefused where that is not allowed.
    """
    spaces = [*new.layout.namespaces, *(old.layout.namespaces if old is not None else ())]
    for netns in dict.fromkeys(space.name for space in spaces):
        if namespaces.exists(netns):
            yield _seen(netns, Ends(old.space(netns) if old is not None else None, new.space(netns)))


def _seen(netns: str, ends: Ends) -> Seen:
    tracked = tuple(conntrack.conversations(netns))
    addresses = {end.source for one in tracked for end in (one.original, one.reply)}
    generation = observe.generation(observe.present(netns))
    return Seen(netns, tracked, generation, ways(netns, list(ends.unclear(addresses))))


def planned(old: Policy | None, new: Policy, *, brief: bool = False) -> Document:
    """Say what a policy would change here; where connections cannot be read, the rest is said all the same."""
    try:
        return document(plan(old, new, host_layout, seen, brief=brief))
    except (PermissionError, SystemRefused) as error:
        unseen = f"connection tracking cannot be read ({error})"
        return document(plan(old, new, host_layout, unseen=unseen, brief=brief))


def summarised(old: Policy | None, new: Policy) -> str:
    """Return the summary of a plan."""
    return summary(planned(old, new, brief=True))
