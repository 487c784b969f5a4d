"""The API as the daemon has it: its parts made, started and ended together."""

from __future__ import annotations

from collections.abc import Callable

from enforcer.agent.api.context import Context
from enforcer.agent.api.server import Access, Server
from enforcer.agent.config import Config
from enforcer.agent.confirming import Confirming
from enforcer.agent.head import Head
from enforcer.agent.loop import Loop
from enforcer.agent.memory import keep_the_collector_away
from enforcer.agent.observer import Log
from enforcer.agent.plan import planned, summarised
from enforcer.agent.seeing.parts import Seeing
from enforcer.agent.store import Store
from enforcer.dataplane import namespaces, observe
from enforcer.errors import AttachmentRefused
from enforcer.model import Policy, host_layout


class Serving:
    """Serves requests while the daemon runs; `serve` of `agent.daemon`."""

    def __init__(
        self,
        store: Store,
        config: Config,
        loop: Loop,
        seeing: Seeing | None = None,
        failed: Callable[[str, str], None] | None = None,
    ) -> None:
        head = Head(store, lambda: loop.in_force)
        self._confirming = Confirming(store, head, failed=failed or Log().failed)
        context = Context(
            store,
            head,
            self._confirming,
            require=require,
            plan=planned,
            summary=summarised,
            seeing=seeing,
            grown=keep_the_collector_away,
            at_once=loop.at_once,
        )
        loop.gathering.coming = lambda: context.coming
        self._server = Server(context, Access(config.socket, config.group, config.others_read))

    def start(self) -> None:
        """Begin to serve; returns once requests are taken."""
        keep_the_collector_away()
        self._server.start()
        self._confirming.start()

    def end(self) -> None:
        """Take no more requests, and finish those that are there."""
        self._server.end()
        self._confirming.end()


def require(policy: Policy) -> None:
    """Raise AttachmentRefused, naming each, if an interface or a namespace that a policy names does not exist."""
    mend = "create it first, or apply without --require"
    missing: list[str] = []
    for space in host_layout(policy).namespaces:
        if not namespaces.exists(space.name):
            missing.append(f"network namespace {space.name}: does not exist; {mend}")
            continue
        found = observe.links(space.name, [each.interface for each in space.attachments])
        missing += [f"interface {name}: does not exist; {mend}" for name in sorted(found.absent)]
    if missing:
        raise AttachmentRefused("\n".join(missing))
