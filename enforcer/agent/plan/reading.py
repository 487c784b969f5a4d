"""What a plan has to read: the conversations of each namespace, and the generation in force there. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from enforcer.agent.plan.connections import Ends, Seen, Views
from enforcer.dataplane import conntrack, namespaces, observe
from enforcer.dataplane.ways import ways


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
