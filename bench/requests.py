"""How long a request takes from its first byte to its answer, by the real daemon, over its socket, change in force.

    unshare --net python -m bench.requests --nics 2000 --lists 100

One request after the other first: a member more and less, an entry of an address group, and an answer that changes
nothing, for what HTTP alone takes, in turns; then a rule switched on and off. Beside the answer, which waits for the
disk, stands when the change was in force: when this process heard the kernel tell of the last transaction before the
answer. The daemon's own figure for its commit, and what a flush of this disk takes by itself, say where the time goes.

Then a crowd (`bench.crowd`): eight connections that together aim at 1,000 edits a second, then 8, 32 and 64 as fast as
they can. Each must learn its revision, none may be lost, and the history must have them in the order in which each
connection asked. Milliseconds; memory of the daemon with all that it has loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cold import links
from bench.crowd import Crowd, groups_of
from bench.edits import with_addresses
from bench.estate import REMOTES, document, far
from bench.kept import keep, with_place
from bench.living import Caller, Living, daemon, request
from bench.spread import Figures, spread
from enforcer.dataplane.notices import TableSocket

CROWDS = (8, 32, 64)
"""How many connections ask at once."""

WANTED = 1000
FLUSHED = 12 << 10
Change = Callable[[int], tuple[str, str, object]]
"""What turn N asks for: method, path, body."""


def changes(lists: int) -> dict[str, Change]:
    """Return the changes by their names; what one turn does, the next undoes."""
    entries, entry = "/v1/address_groups/hosts/entries", "198.51.100.7"
    rules = f"/v1/security_groups/g-{lists - 1}-0/rules/r0"

    def an_entry(turn: int) -> tuple[str, str, object]:
        return ("DELETE", f"{entries}?entry={entry}", None) if turn % 2 else ("POST", entries, {"entries": [entry]})

    return {
        "a member": lambda turn: groups_of(0, turn),
        "address-group entry": an_entry,
        RULE: lambda turn: ("POST", f"{rules}/{'enable' if turn % 2 else 'disable'}", None),
        "nothing to change": lambda _: ("PUT", "/v1/nics/far-1-1/security_groups", {"security_groups": ["m-0", "m-2"]}),
    }


RULE, EVERY = "a rule, on or off", 10
"""What has turns of its own, and fewer: whatever follows it within a grace period of the kernel waits for that."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one request took: milliseconds to the answer, to the last transaction before it, and of the daemon's CPU."""

    answered: float
    in_force: float
    cpu: float
    answer: dict[str, Any]


def alone(living: Living, lists: int, turns: int) -> dict[str, Any]:
    """Ask for one change after the other, each kind in turns."""
    taken: dict[str, list[Taken]] = {}
    with Caller(living.socket) as caller, TableSocket("") as tables:
        wanted = changes(lists)
        rule = wanted.pop(RULE)
        for turn in range(turns):
            for name, change in wanted.items():
                taken.setdefault(name, []).append(timed(living, caller, tables, change(turn)))
        for turn in range(-(-turns // EVERY)):
            taken.setdefault(RULE, []).append(timed(living, caller, tables, rule(turn)))
    commits = living.commits()
    return {name: _figures(each, commits) for name, each in taken.items()}


def timed(living: Living, caller: Caller, tables: TableSocket, asked: tuple[str, str, object]) -> Taken:
    """Ask once, and hear meanwhile what the kernel tells of its tables."""
    wanted = request(*asked)
    poll = select.poll()
    poll.register(caller, select.POLLIN)
    poll.register(tables, select.POLLIN)
    tables.read()
    cpu, begun, heard = living.cpu(), time.perf_counter(), 0.0
    caller.send(wanted)
    while caller.fileno() not in (ready := [descriptor for descriptor, _ in poll.poll()]):
        heard = time.perf_counter()
        tables.read()
    if tables.fileno() in ready and not heard:
        heard = time.perf_counter()
    answer = caller.answer()
    took = time.perf_counter() - begun
    used = sum(living.cpu().values()) - sum(cpu.values())
    assert answer["outcome"] == "in_force", answer
    return Taken(took * 1e3, max(0.0, heard - begun) * 1e3, used * 1e3, answer)


def _figures(taken: list[Taken], commits: dict[int, float]) -> dict[str, Any]:
    found: dict[str, Any] = {"request to answer": spread([each.answered for each in taken])}
    of = [each for each in taken if each.answer["changed"]]
    if of:
        found["request to in force"] = spread([each.in_force for each in of])
        found["commit"] = spread([commits[each.answer["revision"]] for each in of])
    return found | {"cpu": round(sorted(each.cpu for each in taken)[len(taken) // 2], 3)}


def flushes(directory: Path, turns: int = 200) -> Figures:
    """Return what it takes to flush some kilobytes to this disk, as the store does before it answers."""
    taken: list[float] = []
    with (directory / "flushed").open("w+b", buffering=0) as file:
        for turn in range(turns):
            file.seek(turn % 64 * FLUSHED)
            file.write(os.urandom(FLUSHED))
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - begun) * 1e3)
    return spread(taken)


# --- one size ---------------------------------------------------------------------------------------------------------


def requests(nics: int, lists: int, members: int, turns: int, edits: int) -> dict[str, Any]:
    """Measure in the current network namespace, which must be empty; return the document."""
    links(nics)
    written = with_addresses(document(nics, lists, members=members, most=nics // 2))
    written["ecs"] += [far(number, [f"m-{1 + number}"], net=2) for number in range(REMOTES - 1)]
    text = json.dumps(written).encode()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        living = stack.enter_context(daemon(directory))
        memory = {"nothing loaded": living.resident()}
        with Caller(living.socket) as caller:
            begun = time.perf_counter()
            caller.ask("PUT", "/v1/policy", text)
            applied = time.perf_counter() - begun
        memory["in force"] = living.resident()
        flushed = flushes(directory)
        one = alone(living, lists, turns)
        crowds = {f"{CROWDS[0]} connections, {WANTED} edits/s aimed at": Crowd(living, CROWDS[0], edits, WANTED).run()}
        for many in CROWDS:
            crowds[f"{many} connections, as fast as they can"] = Crowd(living, many, edits).run()
        memory["after all edits"] = living.resident()
    return {
        "nics": nics,
        "lists": lists,
        "members": members,
        "apply, s": round(applied, 2),
        "milliseconds": one,
        "flush": flushed,
        **crowds,
        "resident, MB": memory,
    }


def main() -> None:
    """Print the document of one size, and keep it."""
    parser = argparse.ArgumentParser(prog="python -m bench.requests", description="Measure requests to the daemon.")
    for name, default in (("nics", 2000), ("lists", 100), ("members", 6000), ("turns", 300), ("edits", 4000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    wanted = with_place(parser).parse_args()
    found = requests(wanted.nics, wanted.lists, wanted.members, wanted.turns, wanted.edits)
    keep(wanted.into, "requests", f"{wanted.nics} NICs", found)


if __name__ == "__main__":
    main()
