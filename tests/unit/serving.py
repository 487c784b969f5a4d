"""A served store without a kernel: the API on a real socket, and a thread that settles what is proposed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from enforcer.agent.api import Access, Context, Server
from enforcer.agent.confirming import Clocks, Confirming
from enforcer.agent.head import Head
from enforcer.agent.store import Outcome, Revision, SqliteStore

REGION = """
version: 1
vpcs: [{name: x, subnets: [{name: s, cidr: 10.0.0.0/24}]}]
address_groups: [{name: office, entries: [10.9.0.0/16]}]
security_groups:
  - {name: web, rules: [{id: A, direction: ingress}, {id: B, direction: ingress, remote_address_group: office}]}
  - {name: db, rules: []}
ecs:
  - {name: a, subnet: s, addresses: [10.0.0.1], security_groups: [web]}
  - {name: b, subnet: s, addresses: [10.0.0.2], security_groups: [web, db]}
"""


class Settler(threading.Thread):
    """What the enforcing loop is to the API: settles all in order; `refuses` says why one is refused, or nothing."""

    def __init__(self, store: SqliteStore, refuses: Callable[[Revision], str]) -> None:
        super().__init__(daemon=True)
        self._store, self._refuses = store, refuses
        self._proposed: queue.SimpleQueue[Revision | None] = queue.SimpleQueue()
        self._last = store.history(most=1)[0].number if store.history(most=1) else 0
        self.may = threading.Event()
        self.may.set()

    def run(self) -> None:
        self._store.follow(self._last, self._proposed.put)
        while (revision := self._proposed.get()) is not None:
            self.may.wait(20)
            why = self._refuses(revision)
            self._store.settle([revision.number], Outcome.REFUSED if why else Outcome.IN_FORCE, why)

    def end(self) -> None:
        self._proposed.put(None)
        self.may.set()
        self.join()


@dataclass
class Served:
    """The parts that a test asks and changes."""

    store: SqliteStore
    context: Context
    settler: Settler
    socket: Path
    clients: list[httpx.Client] = field(default_factory=list)

    @property
    def http(self) -> httpx.Client:
        if not self.clients:
            self.clients.append(self.client())
        return self.clients[0]

    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://enforcer", timeout=30)

    def apply(self, text: str = REGION, **query: Any) -> httpx.Response:
        return self.http.put("/v1/policy", content=text.encode(), params=query)


@contextmanager
def served(
    directory: Path,
    refuses: Callable[[Revision], str] = lambda _: "",
    *,
    clocks: Clocks | None = None,
    others_read: bool = False,
    **more: Any,
) -> Iterator[Served]:
    store = SqliteStore(directory / "store.db")
    head = Head(store)
    confirming = Confirming(store, head, clocks)
    context = Context(store, head, confirming, **more)
    settler = Settler(store, refuses)
    access = Access(directory / "enforcer.sock", group="no-such-group", others_read=others_read)
    server = Server(context, access)
    settler.start()
    confirming.start()
    server.start()
    running = Served(store, context, settler, access.path)
    try:
        yield running
    finally:
        for client in running.clients:
            client.close()
        server.end()
        confirming.end()
        settler.end()
        store.close()
