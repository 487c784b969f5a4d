"""What it takes to come up, to be put back, and to stay: cold starts, restarts, whole replacements, memory.

    unshare --net python -m bench.cold start --nics 2000 --lists 100      one size
    unshare --net python -m bench.cold curve                              compile alone, more and more lists
    unshare --net python -m bench.cold shape                              2,000 sets × 100 members, as many chains
    unshare --net python -m bench.cold growth --changes 100000            memory, change after change

Each prints a document, each in a network namespace and a process of its own. Seconds of the wall clock, with those of
this process's CPU beside them: on a machine that does other things too, the second say more. `nft -f` gets the very
script that `enforcer compile` prints, in the same namespace.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from bench.changes import clocked, figures
from bench.estate import document, far
from bench.kept import keep, with_place
from enforcer.agent.desired import Desired
from enforcer.agent.resources import resources_of
from enforcer.compiler import compile_policy
from enforcer.compiler.incremental import Compiler
from enforcer.dataplane import Session, libnftables
from enforcer.dataplane.netlink import Channel, encode
from enforcer.model import Policy, host_layout, parse_policy
from enforcer.ruleset import lower, render
from enforcer.ruleset.changes import AddElements, DeleteElements
from enforcer.ruleset.nft import Element, Field, Set

T = TypeVar("T")
LISTS = (1, 10, 100, 1000)


class Times:
    """Seconds of each step, of the wall clock and of this process's CPU."""

    def __init__(self) -> None:
        self.seconds: dict[str, dict[str, float]] = {}

    def take(self, name: str, step: Callable[[], T]) -> T:
        """Do one step."""
        wall, cpu = time.perf_counter(), time.process_time()
        found = step()
        took = time.perf_counter() - wall, time.process_time() - cpu
        self.seconds[name] = {"wall": round(took[0], 3), "cpu": round(took[1], 3)}
        return found


def resident() -> int:
    """Return how many megabytes of this process are in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20


def slab() -> int:
    """Return the megabytes that the kernel has given out in small pieces and per CPU, for whomever."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(words[1]) for words in lines if words[0] in ("Slab:", "Percpu:")) >> 10


def links(nics: int) -> None:
    """Make the interfaces that the policies of `estate` name."""
    made = "\n".join(f"link add n{number} type veth peer name p{number}" for number in range(nics))
    subprocess.run(["ip", "-batch", "-"], input=made, text=True, check=True)


def by_nft(script: str) -> dict[str, float]:
    """Load a script through a process of nft."""
    with tempfile.NamedTemporaryFile("w", suffix=".nft") as file:
        file.write(script)
        file.flush()
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(["nft", "-f", file.name], check=True)
        took, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": round(took, 3), "cpu": round(cpu, 3)}


def start(nics: int, lists: int, members: int, rules: int) -> dict[str, Any]:
    """Come up from a file, be repaired, start again over what is there, and take another policy whole."""
    links(nics)
    data = document(nics, lists, rules, members)
    times, bare = Times(), slab()
    memory = {"before": resident()}
    text = json.dumps(data)
    gc.disable()  # as the daemon does while it comes up
    policy = times.take("parse", lambda: parse_policy(text))
    compiler, session = Compiler(), Session("")
    program = times.take("compile", lambda: compiler.compile(policy)).namespaces[0]
    times.take("commit", lambda: session.replace(program))
    gc.enable()
    gc.collect()
    memory["in force"] = resident()
    kernel = slab() - bare
    nft("flush ruleset")
    times.take("repair after a flush", lambda: session.replace(program, whole=True))
    memory["repaired"] = resident()
    resources = resources_of(data)
    data, text = {}, ""
    times.take("restart, resources to a policy", lambda: Desired.of(resources).policy)
    times.take("restart, what is there put there anew", lambda: Session("").replace(program, anew=True))
    memory["restarted"] = resident()
    other = parse_policy(json.dumps(document(nics, lists, rules, members, shift=1)))
    times.take("another policy, compile", lambda: compiler.compile(other))
    again = compiler.compile(other).namespaces[0]
    session.replace(program)  # another session was at work meanwhile: look, and know again
    done = times.take("another policy, commit", lambda: session.replace(again))
    memory["another policy"] = resident()
    script = render(lower(program))
    session.close()
    nft("flush ruleset")
    times.seconds["nft -f of the same script"] = by_nft(script)
    return {
        "nics": nics,
        "lists": lists,
        "rules": lists * 5 * rules,
        "members": members,
        "seconds": times.seconds,
        "resident, MB": memory,
        "kernel slab and per CPU, MB": kernel,
        "another policy was a difference": not done.whole,
    }


def nft(command: str) -> None:
    """Run one command of nft."""
    subprocess.run(["nft", command], check=True)


def curve(most: int, rules: int, members: int) -> dict[str, Any]:
    """Compile policies of 1, 10, 100 … distinct lists."""
    rows = []
    for lists in (each for each in LISTS if each <= most):
        policy = parse_policy(json.dumps(document(max(2, lists), lists, rules, members)))
        layout, times = host_layout(policy), Times()
        gc.collect()
        times.take("compile", lambda policy=policy, layout=layout: compile_policy(policy, layout))
        took = times.seconds["compile"]
        rows.append({"lists": lists, **took, "cpu ms a list": round(took["cpu"] * 1e3 / lists, 2)})
    return {"rules of a list": 5 * rules, "members": members, "compile": rows}


# --- one member, in the shape that Calico has published ---------------------------------------------------------------


def shape(sets: int, members: int, turns: int) -> dict[str, Any]:
    """Change one member where there are many sets and as many chains of ten rules: ours, and theirs by hand."""
    document_ = _shaped(sets, members)
    links(sets)
    policy = parse_policy(json.dumps(document_))
    compiler, session = Compiler(), Session("")
    session.replace(compiler.compile(policy).namespaces[0])
    extra = [
        policy.ecs[-1].model_copy(update={"name": f"more-{n}", "nics": parse_policy(json.dumps(_one(n))).ecs[0].nics})
        for n in range(2)
    ]
    gc.collect()
    gc.freeze()

    def ours(turn: int) -> None:
        there = policy if turn % 2 else policy.model_copy(update={"ecs": (*policy.ecs, extra[turn // 2 % 2])})
        session.replace(compiler.compile(there).namespaces[0])

    taken = [clocked(ours, turn) for turn in range(turns)]
    session.close()
    nft("flush ruleset")
    libnftables.run("", _by_hand(sets, members))
    channel = Channel("")
    entry = Set("s0", (Field.IPV4_SOURCE,), ())

    def bare(turn: int) -> None:
        element = (Element((0x0B00_0000 + turn // 2,)),)
        make = DeleteElements if turn % 2 else AddElements
        channel.commit(encode([make("inet", entry, element)], {}, {}))

    def text(turn: int) -> str:
        return f"{'delete' if turn % 2 else 'add'} element inet enforcer s0 {{ 11.1.0.{turn // 2 % 250} }}\n"

    some = max(4, turns // 10)
    return {
        "sets": sets,
        "members of each": members,
        "milliseconds": {
            "ours, one member": figures(taken),
            "their tables, a bare message": figures([clocked(bare, turn) for turn in range(turns)]),
            "their tables, libnftables": figures(
                [clocked(lambda turn: libnftables.run("", text(turn)), turn) for turn in range(some)]
            ),
            "their tables, a process of nft": figures(
                [clocked(lambda turn: nft(text(turn)), turn) for turn in range(some)]
            ),
        },
    }


def _shaped(sets: int, members: int) -> dict[str, Any]:
    """Build groups of so many members, ten groups to the same members, each group with ten rules and one NIC here."""
    policy = document(0, 0, members=0)
    names = [f"g-{number}" for number in range(sets)]
    policy["security_groups"] = [
        {
            "name": name,
            "rules": [
                {
                    "direction": "ingress",
                    "protocol": "tcp",
                    "multiport": str(1000 + n),
                    "remote_group": names[(at + n * 7) % sets],
                }
                for n in range(10)
            ],
        }
        for at, name in enumerate(names)
    ]
    tens = [names[at : at + 10] for at in range(0, sets, 10)]
    policy["ecs"] = [
        {
            "name": f"local-{number}",
            "subnet": "s",
            "addresses": [f"10.3.{number // 250}.{number % 250 + 1}"],
            "mac": f"fa:16:3e:00:{number >> 8:02x}:{number & 255:02x}",
            "interface": f"n{number}",
            "security_groups": [name],
        }
        for number, name in enumerate(names)
    ]
    policy["ecs"] += [far(at * members + n, ten) for at, ten in enumerate(tens) for n in range(members)]
    return policy


def _one(number: int) -> dict[str, Any]:
    policy = document(0, 0, members=0)
    groups = [f"g-{n}" for n in range(10)]
    policy["security_groups"] = [{"name": name, "rules": []} for name in groups]
    return {**policy, "ecs": [far(number, groups, net=2)]}


def _by_hand(sets: int, members: int) -> str:
    """Write what a person would: a set for each group, a chain for each NIC."""
    lines = ["table inet enforcer {"]
    for at in range(sets):
        elements = ", ".join(f"10.{at >> 8}.{at & 255}.{n + 1}" for n in range(members))
        lines.append(f"set s{at} {{ type ipv4_addr; elements = {{ {elements} }}\n}}")
    for at in range(sets):
        rules = (f"tcp dport {1000 + n} ip saddr @s{(at + n * 7) % sets} accept" for n in range(10))
        lines.append(f"chain c{at} {{\n" + "\n".join(rules) + "\n}")
    return "\n".join([*lines, "}\n"])


# --- growth -----------------------------------------------------------------------------------------------------------


def growth(nics: int, lists: int, members: int, changes: int) -> dict[str, Any]:
    """Add and remove members again and again; say how the memory of this process and of the kernel goes."""
    links(nics)
    policy = parse_policy(json.dumps(document(nics, lists, members=members)))
    compiler, session = Compiler(), Session("")
    session.replace(compiler.compile(policy).namespaces[0])
    more = parse_policy(
        json.dumps({**document(0, 0, members=0), "ecs": [far(n, ["m-0", "m-3"], 2) for n in range(200)]})
    ).ecs
    rows = []
    for turn in range(changes + 1):
        if turn % max(1, changes // 10) == 0:
            gc.collect()
            rows.append({"changes": turn, "resident, MB": resident(), "slab, MB": slab()})
        session.replace(compiler.compile(_with(policy, more, turn)).namespaces[0])
    return {"nics": nics, "lists": lists, "members": members, "growth": rows}


def _with(policy: Policy, more: tuple[Any, ...], turn: int) -> Policy:
    return policy if turn % 2 else policy.model_copy(update={"ecs": (*policy.ecs, more[turn // 2 % len(more)])})


# --- the command ------------------------------------------------------------------------------------------------------


def main() -> None:
    """Print the document of one measurement, and keep it."""
    parser = argparse.ArgumentParser(prog="python -m bench.cold", description="Measure starts, repairs and memory.")
    parser.add_argument("what", choices=("start", "curve", "shape", "growth"))
    sizes = {"nics": 2000, "lists": 100, "members": 6000, "rules": 120, "changes": 100_000, "sets": 2000, "each": 100}
    for name, default in (*sizes.items(), ("turns", 400), ("most", 1000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = with_place(parser).parse_args()
    name = f"{asked.what}, {asked.nics} NICs" if asked.what in ("start", "growth") else asked.what
    match asked.what:
        case "start":
            found = start(asked.nics, asked.lists, asked.members, asked.rules)
        case "curve":
            found = curve(asked.most, min(asked.rules, 20), asked.members)
        case "shape":
            found = shape(asked.sets, asked.each, asked.turns)
        case _:
            found = growth(asked.nics, asked.lists, asked.members, asked.changes)
    keep(asked.into, "cold", name, found)


if __name__ == "__main__":
    main()
