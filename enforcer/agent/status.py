"""What the loop publishes about itself: which revision is in force, each NIC's state and why, repairs.

    {"revision": 12, "proposed": 0,
     "namespaces": [{"netns": "", "state": "in force", "generation": 3, "why": ""}],
     "repairs": {"count": 1, "last": {"at": …, "netns": "", "what": "…", "program": "nft", "pid": 4711, "ms": 2.1}},
     "nics": [{"nic": "ecs-a", "interface": "tap-a", "netns": "", "state": "pending", "why": "does not exist yet"}]}

A NIC is `in force`, `pending` (closed until its interface is there) or `failed` (closed, and somebody should look).
Times are wall-clock seconds, for people only.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from enforcer.agent.decide import Place
from enforcer.compiler import Program

KEY = "status"

IN_FORCE, PENDING, FAILED = "in force", "pending", "failed"


class Status:
    """Gathers what is to be published."""

    def __init__(self) -> None:
        self.changed = True
        self._repairs = 0
        self._last_repair: dict[str, Any] | None = None
        self._told: dict[str, tuple[tuple[object, ...], str]] = {}

    def repaired(self, netns: str, what: str, program: str, pid: int, seconds: float) -> None:
        """Count a repair."""
        self._repairs += 1
        told = {"netns": netns, "what": what, "program": program, "pid": pid, "ms": round(seconds * 1000, 3)}
        self._last_repair = {"at": time.time(), **told}
        self.changed = True

    def document(self, revision: int, proposed: int, program: Program, places: dict[str, Place]) -> str:
        """Return the JSON text; of a namespace whose NICs are as they were, it is known already."""
        here = [places[namespace.name] for namespace in program.namespaces]
        self._told = {place.netns: self._nics(place) for place in here}
        rest = _text(
            {
                "revision": revision,
                "proposed": proposed,
                "namespaces": [_place(place) for place in places.values()],
                "repairs": {"count": self._repairs, "last": self._last_repair},
            }
        )
        nics = ", ".join(text for _, text in self._told.values() if text)
        return f'{rest[:-1]}, "nics": [{nics}]}}'

    def _nics(self, place: Place) -> tuple[tuple[object, ...], str]:
        of = (place.program.nics, place.bound, place.closed, place_state(place))
        told = self._told.get(place.netns)
        return told if told and told[0] == of else (of, ", ".join(_text(row) for row in _nics(place)))


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _place(place: Place) -> dict[str, Any]:
    state, why = place_state(place)
    return {"netns": place.netns, "state": state, "generation": place.generation, "why": why}


def place_state(place: Place) -> tuple[str, str]:
    """Return the state of a namespace, and why it is not in force."""
    if place.links is None:
        return PENDING, f"network namespace {place.netns} does not exist yet"
    if place.error:
        return FAILED, place.error
    return (IN_FORCE, "") if place.loaded and not place.fault else (PENDING, place.fault or "not loaded yet")


def _nics(place: Place) -> Iterable[dict[str, Any]]:
    whole, why_whole = place_state(place)
    for nic in place.program.nics:
        state, why = whole, why_whole
        if nic.interface in place.closed:
            state, why = FAILED, place.closed[nic.interface]
        elif whole == IN_FORCE and nic.interface not in place.bound:
            state, why = PENDING, f"interface {nic.interface} does not exist yet"
        yield {"nic": nic.label, "interface": nic.interface, "netns": place.netns, "state": state, "why": why}


def closed_yet(places: Iterable[Place]) -> str:
    """Say which NICs a revision leaves closed for now; nothing if all are in force."""
    waiting = [
        f"{place.netns}/{interface}" if place.netns else interface
        for place in places
        if len(place.bound) < len(place.program.nics)
        for interface in place.interfaces
        if interface not in place.bound
    ]
    shown = ", ".join(waiting[:10]) + (" …" if len(waiting) > 10 else "")
    return f"closed for now: {shown}; `enforcer status` says why" if waiting else ""
