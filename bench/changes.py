"""How long a change takes, from the changed policy to the kernel's acknowledgement, beside other ways of changing it.

    unshare --net python -m bench.changes --nics 2000 --lists 100

Every figure is taken in turns over the same kernel state: a member more, a rule changed in the list of few NICs and in
that of half of all NICs, NICs attached and detached, address groups (`bench.edits`); beside them one element
as a bare netlink message, through libnftables in this process and through a process of `nft`. Milliseconds; p50 and p99
of the wall clock, p50 of this process's CPU. What a change leaves behind is swept between the turns, as in the daemon.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

from bench.edits import edits, with_addresses
from bench.estate import document, far
from enforcer.compiler.incremental import Compiler
from enforcer.dataplane import Session, Step, libnftables
from enforcer.dataplane.netlink import Channel, encode
from enforcer.model import Policy, parse_policy
from enforcer.model.words.protocols import PortRange
from enforcer.ruleset.changes import AddElements, DeleteElements
from enforcer.ruleset.nft import Element, Field, Set

HOST_MAP = "host4_1"


def figures(taken: list[tuple[float, float]]) -> dict[str, float]:
    """Return p50 and p99 of the wall clock and p50 of the CPU, in milliseconds."""
    wall, cpu = (sorted(each[at] for each in taken) for at in (0, 1))
    return {
        "p50": round(wall[len(wall) // 2], 3),
        "p99": round(wall[int(len(wall) * 0.99)], 3),
        "cpu": round(cpu[len(cpu) // 2], 3),
    }


def clocked(change: Callable[[int], None], turn: int) -> tuple[float, float]:
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
        self.compiler, self.session = Compiler(), Session("")
        program = self.compiler.compile(self.policy).namespaces[0]
        compiled = time.perf_counter()
        self.session.replace(program)
        loaded = time.perf_counter()
        self.cold = {"parse": parsed - begun, "compile": compiled - parsed, "commit": loaded - compiled}
        more = {**document(0, 0, members=0), "ecs": [far(n, ["m-0", "m-3"], net=2) for n in range(2000)]}
        self.far = parse_policy(json.dumps(more)).ecs
        self.nics = nics
        self.channel = Channel("")

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

    def member(self, turn: int) -> None:
        """Add a member to a group of thousands."""
        self.commit(ecs=(*self.policy.ecs, self.far[turn]))

    def rule_of(self, name: str) -> Callable[[int], None]:
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

    def bare(self, turn: int) -> None:
        """Change one element by one message, and back."""
        hosts = Set(HOST_MAP, (Field.IPV4_SOURCE,), (), "classid")
        element = (Element((0x0A03_0000 + turn // 2,), 0x8000_0001),)
        operation = DeleteElements("inet", hosts, element) if turn % 2 else AddElements("inet", hosts, element)
        self.channel.commit(encode([operation], {}, {}))

    def in_process(self, turn: int) -> None:
        """The same through libnftables."""
        libnftables.run("", _script(turn, 4))

    def process(self, turn: int) -> None:
        """The same through a process of nft."""
        subprocess.run(["nft", _script(turn, 5)], check=True)


def _script(turn: int, net: int) -> str:
    verb, value = ("delete", "") if turn % 2 else ("add", " : 8000:1")
    return f"{verb} element inet enforcer {HOST_MAP} {{ 10.{net}.{turn // 2 // 250}.{turn // 2 % 250}{value} }}\n"


def in_turns(
    estate: Estate, ways: dict[str, tuple[Callable[[int], None], int]], turns: int
) -> dict[str, list[tuple[float, float]]]:
    """Make each change every so many turns; what it leaves behind is swept before the next."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(turns):
        for name, (change, every) in ways.items():
            if turn % every == 0:
                estate.talk()
                taken[name].append(clocked(change, turn // every))
                estate.session.tidy()
    return taken


def changes(nics: int, lists: int, members: int, turns: int) -> dict[str, Any]:
    """Measure in the current network namespace, which must be empty; return the document."""
    estate = Estate(nics, lists, members, most=nics // 2)
    gc.collect()
    gc.freeze()
    ways: dict[str, tuple[Callable[[int], None], int]] = {
        "member": (estate.member, 1),
        "bare message": (estate.bare, 1),
        "libnftables in process": (estate.in_process, 10),
        "nft process": (estate.process, 10),
        "rule, list of few NICs": (estate.rule_of(f"g-{lists - 1}-0"), 10),
        "rule, list of half the NICs": (estate.rule_of("g-0-0"), 10),
    }
    taken = in_turns(estate, ways, turns)
    # These take another edition of the map that the bare messages change, so they have turns of their own.
    taken |= in_turns(estate, {name: (change, 10) for name, change in edits(estate, lists).items()}, turns)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        "nics": nics,
        "lists": lists,
        "members": members,
        "cold start, s": {name: round(seconds, 2) for name, seconds in estate.cold.items()},
        "milliseconds": {name: figures(each) for name, each in taken.items()},
        "resident, MB": used,
    }


def main() -> None:
    """Print the document of one size."""
    parser = argparse.ArgumentParser(prog="python -m bench.changes", description="Measure changes.")
    for name, default in (("nics", 2000), ("lists", 100), ("members", 6000), ("turns", 400)):
        parser.add_argument(f"--{name}", type=int, default=default)
    wanted = parser.parse_args()
    print(json.dumps(changes(wanted.nics, wanted.lists, wanted.members, wanted.turns), indent=1))


if __name__ == "__main__":
    main()
