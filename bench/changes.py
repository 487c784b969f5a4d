"""How long a change takes, from the changed policy to the kernel's acknowledgement, beside other ways of changing it.

    unshare --net python -m bench.changes --nics 2000 --lists 100

Every figure is taken in turns over the same kernel state: a member more, a rule changed in the list of few NICs and in
that of half of all NICs, NICs attached and detached, address groups (`bench.edits`). Beside each the same transactions
as bare messages, through libnftables in this process and through a process of `nft`, without what comes before them
(`bench.beside`). Milliseconds; p50 and p99 of the wall clock, p50 of this process's CPU. What a change leaves behind is
swept between the turns, as in the daemon.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from bench.beside import Compared
from bench.edits import edits, with_addresses
from bench.estate import document, far
from bench.kept import keep, with_place
from bench.spread import spread
from enforcer.compiler.incremental import Compiler
from enforcer.dataplane import Step
from enforcer.model import Policy, parse_policy
from enforcer.model.runs import Runs
from enforcer.model.words.protocols import PortRange

OTHERS_EVERY = 5
"""How many members come between two of the same change of another kind."""

BESIDE_EVERY = 4
"""How many of a change are ours between two that each of the others commits."""

BESIDE = {
    "bare messages": Compared.bare,
    "libnftables in process": Compared.in_process,
    "nft process": Compared.process,
}

Change = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Way:
    """A change, how many members come between two of it, and what is done before each, unclocked.

    `beside` are those who can commit it, too: text cannot name an interface that is gone.
    """

    change: Change
    every: int = OTHERS_EVERY
    ready: Change = lambda _: None
    beside: Collection[str] = tuple(BESIDE)


Taken = tuple[float, float]
"""Milliseconds of wall clock and of CPU."""


def figures(taken: list[Taken]) -> dict[str, float]:
    """Return p50 and p99 of the wall clock and p50 of the CPU, in milliseconds."""
    return {**spread([wall for wall, _ in taken]), "cpu": spread([cpu for _, cpu in taken])["p50"]}


def clocked(change: Change, turn: int) -> Taken:
    """Make one change; return milliseconds of wall clock and of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    change(turn)
    return (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3


class Estate:
    """A policy in force in the current namespace, and the changes that are made to it."""

    def __init__(self, nics: int, lists: int, members: int, most: int) -> None:
        links = "\n".join(f"link add n{number} type veth peer name p{number}" for number in range(nics + 2))
        subprocess.run(["ip", "-batch", "-"], input=f"{links}\nlink set lo up", text=True, check=True)
        self.talking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.talking.bind(("127.0.0.1", 0))
        begun = time.perf_counter()
        self.policy: Policy = parse_policy(
            json.dumps(with_addresses(document(nics, lists, members=members, most=most)))
        )
        parsed = time.perf_counter()
        self.compiler, self.session = Compiler(), Compared("")
        program = self.compiler.compile(self.policy).namespaces[0]
        compiled = time.perf_counter()
        self.session.replace(program)
        loaded = time.perf_counter()
        self.cold = {"parse": parsed - begun, "compile": compiled - parsed, "commit": loaded - compiled}
        more = {**document(0, 0, members=0), "ecs": [far(n, ["m-0", "m-3"], net=2) for n in range(2000)]}
        self.far = iter(parse_policy(json.dumps(more)).ecs)
        self.nics = nics

    def commit(self, **changes: Any) -> None:
        """Put a changed policy in force."""
        self.policy = self.policy.model_copy(update=changes)
        steps: list[Step] = []
        self.session.replace(self.compiler.compile(self.policy).namespaces[0], passed=steps.append)
        assert Step.OBSERVED not in steps, "it went the long way"

    def talk(self) -> None:
        """Let the namespace track a conversation: where there is none, a NIC's addresses have none to be ended."""
        self.talking.sendto(b"?", self.talking.getsockname())
        self.talking.recv(1)

    def clocked(self, who: str, way: Way, turn: int) -> Taken:
        """Make a change, whose transactions are committed by `who`: all of ours is clocked, of others these alone."""
        way.ready(turn)
        self.talk()
        self.session.way, self.session.took = BESIDE.get(who), 0.0
        taken = clocked(way.change, turn)
        self.session.tidy()
        return taken if who == "ours" else (self.session.took * 1e3, 0.0)

    def toggle(self, turn: int) -> None:
        """Let the interface of a NIC go, and come back."""
        words = ["add", "n1", "type", "veth", "peer", "name", "p1"] if turn % 2 else ["del", "n1"]
        subprocess.run(["ip", "link", *words], check=True)

    def moved(self, _: int) -> None:
        """Put in force what has become of that interface."""
        self.session.replace(self.compiler.compile(self.policy).namespaces[0], moved=["n1"])

    def member(self, _: int) -> None:
        """Add a member to a group of thousands."""
        ecs = Runs.of(self.policy.ecs)
        self.commit(ecs=ecs.spliced(len(ecs), len(ecs), (next(self.far),)))

    def rule_of(self, name: str) -> Change:
        """Change a port of a rule of one group."""
        group = self.policy.group(name)
        others = [
            group.model_copy(update={"rules": (rule.model_copy(update={"ports": (port,)}), *group.rules[1:])})
            for rule in group.rules[:1]
            for port in (PortRange(7000, 7000), PortRange(7001, 7001))
        ]

        def change(turn: int) -> None:
            groups = (others[turn % 2] if each.name == name else each for each in self.policy.security_groups)
            self.commit(security_groups=tuple(groups))

        return change


def in_turns(estate: Estate, ways: dict[str, Way], turns: int) -> dict[str, dict[str, list[Taken]]]:
    """Make each change and undo it every so many turns; return what was taken, by the change and by who committed.

    What a change leaves behind is swept before the next.
    """
    taken: dict[str, dict[str, list[Taken]]] = {name: {who: [] for who in ("ours", *BESIDE)} for name in ways}
    for turn in range(turns // 2):
        for name, way in ways.items():
            if turn % way.every:
                continue
            others = way.beside if turn % (BESIDE_EVERY * way.every) == 0 else ()
            for who in ("ours", *others):
                taken[name][who] += [estate.clocked(who, way, half) for half in (0, 1)]
    return taken


def changes(nics: int, lists: int, members: int, turns: int) -> dict[str, Any]:
    """Measure in the current network namespace, which must be empty; return the document."""
    estate = Estate(nics, lists, members, most=nics // 2)
    gc.collect()
    gc.freeze()
    ways = {
        "member": Way(estate.member, every=1),
        "rule, list of few NICs": Way(estate.rule_of(f"g-{lists - 1}-0")),
        "rule, list of half the NICs": Way(estate.rule_of("g-0-0")),
        **{name: Way(change) for name, change in edits(estate, lists).items()},
        "interface gone, back": Way(estate.moved, ready=estate.toggle, beside=("bare messages",)),
    }
    taken = in_turns(estate, ways, turns)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        "nics": nics,
        "lists": lists,
        "members": members,
        "cold start, s": {name: round(seconds, 2) for name, seconds in estate.cold.items()},
        "milliseconds": {name: {who: figures(of) for who, of in each.items() if of} for name, each in taken.items()},
        "resident, MB": used,
    }


def table(found: dict[str, Any]) -> Iterator[str]:
    """Print the milliseconds as a Markdown table, ready for docs/performance.md."""
    yield f"| change, {found['nics']:,} NICs | ours, p50 / p99 | CPU | {' | '.join(BESIDE)} |"
    yield f"| --- | --- | --- {'| --- ' * len(BESIDE)}|"
    for name, of in found["milliseconds"].items():
        beside = " | ".join(_pair(of[who]) if who in of else "" for who in BESIDE)
        yield f"| {name} | {_pair(of['ours'])} | {of['ours']['cpu']:.3g} | {beside} |"


def _pair(of: dict[str, float]) -> str:
    return f"{of['p50']:.3g} / {of['p99']:.3g}"


def main() -> None:
    """Print the document of one size and a table of it, and keep it."""
    parser = argparse.ArgumentParser(prog="python -m bench.changes", description="Measure changes.")
    for name, default in (("nics", 2000), ("lists", 100), ("members", 6000), ("turns", 400)):
        parser.add_argument(f"--{name}", type=int, default=default)
    wanted = with_place(parser).parse_args()
    found = changes(wanted.nics, wanted.lists, wanted.members, wanted.turns)
    keep(wanted.into, "changes", f"{wanted.nics} NICs", found)
    print("\n".join(table(found)), file=sys.stderr)


if __name__ == "__main__":
    main()
