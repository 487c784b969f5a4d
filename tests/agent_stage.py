"""A stage for the enforcing loop without a kernel: the real store and loop, a fake dataplane, and eyes that see it.

    stage = Stage(tmp_path, interfaces=["tap-a"])
    stage.propose("Sg-A", rules=[…])
    stage.rounds()                      # until there is nothing to do
    stage.kernel.in_force[""]           # the Ruleset that is there

Nothing of ours is replaced but what touches the kernel; time is the real one.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from enforcer.agent.desired import Desired
from enforcer.agent.events.mailbox import LinksChanged, Mailbox, NamespaceChanged, Proposed, TablesTouched
from enforcer.agent.loop import Loop
from enforcer.agent.status import KEY
from enforcer.agent.store import Author, Change, Revision, SqliteStore
from enforcer.compiler import NamespaceProgram
from enforcer.dataplane import Committed
from enforcer.dataplane.fake import FakeDataplane
from enforcer.dataplane.notices import Generation, Link
from enforcer.errors import SystemRefused, TransactionRefused


class World(FakeDataplane):
    """The fake kernel with what the loop needs besides: eyes, and a memory of whose transactions were whose.

    `refusing` interfaces cannot be programmed; `broken` namespaces refuse everything. `moved` is what the last commit
    was told of interfaces.
    """

    def __init__(self, interfaces: Mapping[str, Iterable[str]]) -> None:
        super().__init__({netns: tuple(names) for netns, names in interfaces.items()})
        self.indexes: dict[tuple[str, str], int] = {}
        self.numbers = itertools.count()
        self.refusing: set[str] = set()
        self.broken: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        self.moved: frozenset[str] = frozenset()
        self.foreign: set[int] = set()

    # the kernel's verbs
    def commit(
        self,
        program: NamespaceProgram,
        *,
        closed: Collection[str] = (),
        whole: bool = False,
        anew: bool = False,
        moved: Collection[str] = (),
    ) -> Committed:
        self.moved = frozenset(moved)
        if refused := self.refusal(program, closed):
            raise TransactionRefused(refused)
        self.calls.append((program.name, "whole" if whole else "anew" if anew else "difference"))
        return self.replace(program, closed=closed, whole=whole, anew=anew)

    def refusal(self, program: NamespaceProgram, closed: Collection[str]) -> str:
        if program.name not in self.interfaces:
            raise SystemRefused(f"network namespace {program.name}: cannot be opened")
        if program.name in self.broken:
            return "this namespace takes nothing"
        present = {nic.interface for nic in program.nics} & self.interfaces[program.name]
        return ", ".join(f"{name} takes no chain" for name in sorted(self.refusing & (present - set(closed))))

    def clear(self, netns: str) -> bool:
        if netns not in self.interfaces:
            raise SystemRefused(f"network namespace {netns}: cannot be opened")
        return super().clear(netns)

    def tidy(self) -> None:
        """Nothing is left behind here."""

    def is_ours(self, netns: str, notice: Generation) -> bool:
        return notice.number not in self.foreign

    def is_last_ours(self, netns: str) -> bool:
        return True

    # the eyes
    def look(self, netns: str) -> Mapping[str, Link] | None:
        return self.links(netns)

    def links(self, netns: str) -> Mapping[str, Link] | None:
        if netns not in self.interfaces:
            return None
        names = sorted(self.interfaces[netns] | set(self.ports.values()))
        number = {name: self.indexes.setdefault((netns, name), 10 + next(self.numbers)) for name in names}
        return {
            name: Link(
                name, number[name], number.get(self.ports.get(name, ""), 0), "bridge" if "br" in name else "veth"
            )
            for name in names
        }

    def keep(self, names: Collection[str]) -> None:
        pass


@dataclass
class Notes:
    """An observer that keeps what it is told."""

    told: list[tuple[Any, ...]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *words: self.told.append((name, *words))

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [each[1:] for each in self.told if each[0] == name]


class Stage:
    """A store, a loop and a world."""

    def __init__(self, directory: Path, world: World) -> None:
        self.world, self.file = world, directory / "store.db"
        self.store = SqliteStore(self.file)
        self.born()

    def born(self) -> None:
        """Begin a life of the loop; the store and the kernel are as an earlier one left them."""
        self.mailbox, self.notes = Mailbox(), Notes()
        self.loop = Loop(self.store, self.world, self.world, self.mailbox, self.notes, desired=Desired.of)
        self.loop.begin()

    def dies(self) -> None:
        """Let the process end: another life opens the store."""
        self.store.close()
        self.store = SqliteStore(self.file)

    def propose(self, *items: tuple[str, Mapping[str, Any] | None], heard: bool = True) -> int:
        """Propose `("security_groups/Sg-A", {...})`, None deletes; the loop hears of it."""
        changes = [Change(key, None if item is None else json.dumps(item)) for key, item in items]
        revision = self.store.propose(changes, author=Author(0))
        if heard:
            self.mailbox.put(Proposed(revision))
        return revision.number

    def rounds(self, most: int = 3) -> None:
        """Let the loop do what there is to do."""
        for _ in range(most):
            assert self.loop.round(0.0)

    def outcome(self, number: int) -> Revision:
        return self.store.settled(number, 0.0)

    def touched(self, netns: str, number: int = 99, *, foreign: bool = True, program: str = "nft") -> None:
        """Tell of a transaction of nftables."""
        if foreign:
            self.world.foreign.add(number)
        self.mailbox.put(TablesTouched(netns, Generation(number, 4711, program, True)))

    def links_changed(self, netns: str, *away: str) -> None:
        self.mailbox.put(LinksChanged(netns, frozenset(away)))

    def namespace_changed(self, netns: str) -> None:
        self.mailbox.put(NamespaceChanged(netns))

    def status(self) -> dict[str, Any]:
        return json.loads(self.store.published(KEY) or "{}")

    def nic(self, name: str) -> tuple[str, str]:
        """Return the state of a NIC, and why."""
        return next((each["state"], each["why"]) for each in self.status()["nics"] if each["nic"] == name)


NETWORK = ("vpcs/vpc-x", {"name": "vpc-x", "subnets": [{"name": "subnet-a", "cidr": "10.0.0.0/24"}]})


def group(name: str, *rules: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return f"security_groups/{name}", {"name": name, "rules": list(rules)}


def ecs(
    name: str, last: int, interface: str, netns: str = "", groups: Iterable[str] = ("Sg-A",)
) -> tuple[tuple[str, dict[str, Any]], ...]:
    """The two resources of an instance with one NIC."""
    nic = {"name": "eth0", "subnet": "subnet-a", "addresses": [f"10.0.0.{last}"], "security_groups": list(groups)}
    place = {"interface": interface, "netns": netns}
    return (f"ecs/{name}", {"name": name, "nics": ["eth0"]}), (f"nics/{name}/eth0", {**nic, **place})


SSH = {"direction": "ingress", "protocol": "tcp", "multiport": 22}
WEB = {"direction": "ingress", "protocol": "tcp", "multiport": 80}
