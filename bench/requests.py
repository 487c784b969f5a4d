"""How long a request takes from its first byte to its answer, by the real daemon, over its socket, change in force.

    unshare --net python -m bench.requests --nics 2000 --lists 100

One caller after the other first: a member more and less, an entry of an address group, a rule switched on and off, in
turns; an answer that changes nothing, for what HTTP alone takes. Of each request the daemon's own figure for its commit
is told apart from the rest: HTTP, judging, the store and its disk, and the way between threads. Then eight callers, who
together aim at 1,000 edits a second: each must learn its revision, none may be lost, and the history must have them in
the order in which each caller asked. Milliseconds; memory of the daemon with all that it has loaded.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.cold import links
from bench.edits import with_addresses
from bench.estate import REMOTES, document, far
from bench.living import Caller, Living, daemon
from bench.report import host

CALLERS = 8
WANTED = 1000
PAGE = 1000
Figures = dict[str, float]
Change = Callable[[int], tuple[str, str, object]]
"""What turn N asks for: method, path, body."""


def spread(milliseconds: list[float]) -> Figures:
    """Return p50 and p99."""
    ordered = sorted(milliseconds)
    return {"p50": round(ordered[len(ordered) // 2], 3), "p99": round(ordered[int(len(ordered) * 0.99)], 3)}


def groups_of(number: int, turn: int) -> tuple[str, str, object]:
    """Let instance `number` of another host leave the group of thousands, or join it again."""
    rest = f"m-{1 + number % 11}"
    return "PUT", f"/v1/nics/far-1-{number}/security_groups", {"security_groups": [rest, "m-0"][: 1 + turn % 2]}


def changes(lists: int) -> dict[str, Change]:
    """Return the changes by their names; what one turn does, the next undoes."""
    entries, entry = "/v1/address_groups/hosts/entries", "198.51.100.7"
    rules = f"/v1/security_groups/g-{lists - 1}-0/rules/r0"

    def an_entry(turn: int) -> tuple[str, str, object]:
        return ("DELETE", f"{entries}?entry={entry}", None) if turn % 2 else ("POST", entries, {"entries": [entry]})

    return {
        "a member": lambda turn: groups_of(0, turn),
        "address-group entry": an_entry,
        "a rule, on or off": lambda turn: ("POST", f"{rules}/{'enable' if turn % 2 else 'disable'}", None),
        "nothing to change": lambda _: ("PUT", "/v1/nics/far-1-1/security_groups", {"security_groups": ["m-0", "m-2"]}),
    }


EVERY = {"a rule, on or off": 10}
"""How many turns there are to one of a change that takes longer."""


def alone(living: Living, lists: int, turns: int) -> dict[str, Any]:
    """Ask for one change after the other, each kind in turns; what HTTP and the store add is told apart."""
    taken: dict[str, list[tuple[float, float, dict[str, Any]]]] = {}
    with Caller(living.socket) as caller:
        for turn in range(turns):
            for name, change in changes(lists).items():
                every = EVERY.get(name, 1)
                if turn % every == 0:
                    taken.setdefault(name, []).append(timed(living, caller, change(turn // every)))
    commits = living.commits()
    return {name: _figures(each, commits) for name, each in taken.items()}


def timed(living: Living, caller: Caller, asked: tuple[str, str, object]) -> tuple[float, float, dict[str, Any]]:
    """Ask once; return milliseconds of wall clock and of the daemon's CPU, and the answer."""
    cpu, begun = living.cpu(), time.perf_counter()
    answer = caller.ask(*asked)
    took = (time.perf_counter() - begun) * 1e3
    used = (sum(living.cpu().values()) - sum(cpu.values())) * 1e3
    assert answer["outcome"] == "in_force", answer
    return took, used, answer


def _figures(taken: list[tuple[float, float, dict[str, Any]]], commits: dict[int, float]) -> dict[str, Any]:
    found: dict[str, Any] = {"request to answer": spread([took for took, _, _ in taken])}
    of = [(took, commits[answer["revision"]]) for took, _, answer in taken if answer["changed"]]
    if of:
        found["commit"] = spread([commit for _, commit in of])
        found["the rest"] = spread([took - commit for took, commit in of])
    return found | {"cpu": round(sorted(used for _, used, _ in taken)[len(taken) // 2], 3)}


# --- several callers at once ------------------------------------------------------------------------------------------


class Crowd:
    """Callers at once, each with an instance of its own; `rate` 0: as fast as answers come."""

    def __init__(self, living: Living, edits: int, rate: float) -> None:
        self._living, self._edits, self._rate = living, edits - edits % 2, rate  # what one edit does, the next undoes
        self.learned: list[list[int]] = [[] for _ in range(CALLERS)]
        self.waited: list[float] = []
        self._begun = 0.0

    def run(self) -> dict[str, Any]:
        """Let all ask, wait for all answers, and look whether they are what happened."""
        threads = [threading.Thread(target=self._asking, args=(who,)) for who in range(CALLERS)]
        cpu, self._begun = self._living.cpu(), time.perf_counter() + 0.1
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took, used = time.perf_counter() - self._begun, self._living.cpu()
        self._compare()
        done = CALLERS * self._edits
        commits = self._living.commits()
        merged = len({commits[number] for each in self.learned for number in each})
        busy = {name: round((used[name] - cpu.get(name, 0.0)) / done * 1e3, 3) for name in used}
        return {
            "edits": done,
            "edits/s": round(done / took),
            "edits of a commit": round(done / merged, 1),
            "request to answer": spread(self.waited),
            "cpu of an edit": {name: each for name, each in busy.items() if each >= 0.001},
        }

    def _asking(self, who: int) -> None:
        """Ask for one edit after the other, each at its time, or later if the one before is not answered yet."""
        with Caller(self._living.socket) as caller:
            for edit in range(self._edits):
                due = self._begun + (edit + who / CALLERS) * CALLERS / self._rate if self._rate else self._begun
                time.sleep(max(0.0, due - time.perf_counter()))
                method, path, body = groups_of(100 + who, edit)
                begun = time.perf_counter()
                answer = caller.ask(method, f"{path}?message={who}.{edit}", body)
                self.waited.append((time.perf_counter() - begun) * 1e3)
                assert answer["changed"], answer
                assert answer["outcome"] == "in_force", answer
                self.learned[who].append(answer["revision"])

    def _compare(self) -> None:
        """Hold what callers learned against the history: all are there, and in the order of each caller."""
        everything = sorted(number for each in self.learned for number in each)
        assert everything == list(range(everything[0], everything[0] + CALLERS * self._edits)), "none is lost"
        written = {each["revision"]: each for each in self._history(everything[0], everything[-1])}
        for who, numbers in enumerate(self.learned):
            assert numbers == sorted(numbers), "in order"
            said = [(written[number]["message"], written[number]["outcome"]) for number in numbers]
            assert said == [(f"{who}.{edit}", "in_force") for edit in range(self._edits)]

    def _history(self, first: int, last: int) -> Iterator[dict[str, Any]]:
        with Caller(self._living.socket) as caller:
            while last >= first:
                page = caller.ask("GET", f"/v1/revisions?most={PAGE}&before={last + 1}")["revisions"]
                yield from page
                last = page[-1]["revision"] - 1


# --- one size ---------------------------------------------------------------------------------------------------------


def requests(nics: int, lists: int, members: int, turns: int, edits: int) -> dict[str, Any]:
    """Measure in the current network namespace, which must be empty; return the document."""
    links(nics)
    written = with_addresses(document(nics, lists, members=members, most=nics // 2))
    written["ecs"] += [far(number, [f"m-{1 + number}"], net=2) for number in range(REMOTES - 1)]
    text = json.dumps(written).encode()
    with ExitStack() as stack:
        living = stack.enter_context(daemon(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        memory = {"nothing loaded": living.resident()}
        with Caller(living.socket) as caller:
            begun = time.perf_counter()
            caller.ask("PUT", "/v1/policy", text)
            applied = time.perf_counter() - begun
        memory["in force"] = living.resident()
        one = alone(living, lists, turns)
        aimed = Crowd(living, edits, WANTED).run()
        fastest = Crowd(living, edits, 0).run()
        memory["after all edits"] = living.resident()
    return {
        "nics": nics,
        "lists": lists,
        "members": members,
        "apply, s": round(applied, 2),
        "milliseconds": one,
        f"{CALLERS} callers, {WANTED} edits/s aimed at": aimed,
        f"{CALLERS} callers, as fast as they can": fastest,
        "resident, MB": memory,
    }


def main() -> None:
    """Print the document of one size; keep it in `--into` beside what is there."""
    parser = argparse.ArgumentParser(prog="python -m bench.requests", description="Measure requests to the daemon.")
    for name, default in (("nics", 2000), ("lists", 100), ("members", 6000), ("turns", 300), ("edits", 500)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--into", type=Path, help="a document to keep it in, under `requests` and the number of NICs")
    wanted = parser.parse_args()
    found = requests(wanted.nics, wanted.lists, wanted.members, wanted.turns, wanted.edits)
    print(json.dumps(found, indent=1))
    if wanted.into:
        kept = json.loads(wanted.into.read_text(encoding="utf-8")) if wanted.into.exists() else {}
        kept.setdefault("requests", {})[f"{wanted.nics} NICs"] = {"host": host(), **found}
        wanted.into.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
