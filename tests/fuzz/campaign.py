"""Policy after policy: new flows, replies, errors, and flows judged again after a change (S7–S10, S13, S14, S16).

A chain is a random scene and some changes of it. In each scene, in this order:

1. flows that earlier scenes let through are judged again: one packet in each direction, in a random order;
2. new flows, each with a tuple of its own;
3. answers, packets after answers, and ICMP errors of flows that were let through.

A frame that comes out where the oracle says it must not, or does not where it must, ends its chain: see `cases`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields
from random import Random

from enforcer.model import TCP, UDP, parse_policy
from enforcer.semantics import Oracle
from fuzz.aim import Aim, Keys
from fuzz.cases import Case, Step
from fuzz.expect import goes_on, passes
from fuzz.rig import Rig
from fuzz.scenes import Scene, changed, random_scene, str_of
from fuzz.shots import SCTP, Flow, Turn, backwards
from fuzz.stage import ADDRESSES, OUTSIDE

FRESH = 20.0
"""For how many seconds a flow is sure to be tracked still: the shortest timeout is 30 s (S13)."""


@dataclass
class Live:
    """A flow that was let through, with all that was sent of it; `stands`: the policy before let it go on."""

    flow: Flow
    history: list[Step]
    answered: bool = False
    stands: bool = True
    begun: float = field(default_factory=time.monotonic)


@dataclass
class Tally:
    """What was sent, and what came of it."""

    packets: int = 0
    policies: int = 0
    passed: int = 0
    turns: dict[str, int] = field(default_factory=dict)
    kept: int = 0
    cut: int = 0
    healed: int = 0
    mismatches: int = 0

    def count(self, turn: str, *, passed: bool) -> None:
        """Count a packet."""
        self.packets += 1
        self.passed += passed
        self.turns[turn] = self.turns.get(turn, 0) + 1

    def __add__(self, other: Tally) -> Tally:
        turns = {turn: self.turns.get(turn, 0) + other.turns.get(turn, 0) for turn in {*self.turns, *other.turns}}
        numbers = [each.name for each in fields(self) if each.name != "turns"]
        return Tally(turns=turns, **{name: getattr(self, name) + getattr(other, name) for name in numbers})

    def __str__(self) -> str:
        turns = ", ".join(f"{count:,} {turn}" for turn, count in sorted(self.turns.items()))
        judged = f"after a change {self.kept:,} flows went on, {self.cut:,} were cut, {self.healed:,} came back"
        return (
            f"{self.packets:,} packets ({turns}) over {self.policies:,} policies, {self.passed:,} passed; {judged}; "
            f"{self.mismatches} mismatches"
        )


class Campaign:
    """Chains of one seed, on one rig."""

    def __init__(self, rig: Rig, seed: int, draws: int = 700, length: int = 4) -> None:
        self._rig, self._rng = rig, Random(seed)
        self._draws, self._length = draws, length
        self.tally = Tally()

    def chain(self) -> Case | None:
        """Run one chain; return its first mismatch."""
        rng = Random(self._rng.getrandbits(64))
        self._rig.forget()
        keys, live = Keys(), list[Live]()
        scenes = list[Scene]()
        for _ in range(self._length):
            scenes.append(changed(rng, scenes[-1]) if scenes else random_scene(rng))
            # What is still tracked depends on the time that has passed: draws about it must not move later ones.
            stage = _Stage(self._rig, Random(rng.getrandbits(64)), scenes, self.tally)
            mismatch = stage.run(keys, live, self._draws)
            if mismatch is not None:
                self.tally.mismatches += 1
                return mismatch
        return None


class _Stage:
    """One scene of a chain, in force."""

    def __init__(self, rig: Rig, rng: Random, scenes: list[Scene], tally: Tally) -> None:
        self._rig, self._rng, self._tally = rig, rng, tally
        self._scenes, self._number = scenes, len(scenes) - 1
        policy = parse_policy(str_of(scenes[-1]))
        rig.enforce(policy)
        self._oracle, self._policy = Oracle(policy), policy
        tally.policies += 1

    def run(self, keys: Keys, live: list[Live], draws: int) -> Case | None:
        """Send everything of this scene; `live` gets the flows that begin in it."""
        again = Random(self._rng.getrandbits(64))
        live[:] = [one for one in live if time.monotonic() - one.begun < FRESH]
        mismatch = self._judged_again(again, live)
        if mismatch is not None:
            return mismatch
        aim = Aim(self._rng, self._policy, keys)
        fresh = [Live(flow, []) for flow in (aim.flow() for _ in range(draws)) if flow is not None]
        passed, mismatch = self._sent([(one, "open") for one in fresh], begun=False)
        if mismatch is not None:
            return mismatch
        passed = [one for one in passed if goes_on(one.flow)]
        live += passed
        return self._conversation(passed)

    def _judged_again(self, rng: Random, live: list[Live]) -> Case | None:
        """Send one packet of each flow in each direction: every flow goes on in both or is cut in both (S14)."""
        first, second = list[tuple[Live, Turn]](), list[tuple[Live, Turn]]()
        for one in live:
            ways: list[Turn] = ["onward", "talk"] if one.answered else ["open", "answer"]
            rng.shuffle(ways)
            # A SYN after its answer would be another connection's; an acknowledgement is not.
            if ways[0] == "answer" and one.flow.protocol == TCP:
                ways[1] = "onward"
            if one.flow.protocol == SCTP:
                ways = ["open", "answer"]
            first.append((one, ways[0]))
            second.append((one, ways[1]))
            one.answered |= one.flow.protocol != SCTP
        _, mismatch = self._sent(first, begun=True)
        if mismatch is not None:
            return mismatch
        passed, mismatch = self._sent(second, begun=True)
        standing = {id(one) for one in passed}
        for one in live:
            stood, one.stands = one.stands, id(one) in standing
            self._tally.kept += stood and one.stands
            self._tally.cut += stood and not one.stands
            self._tally.healed += one.stands and not stood
        # Of a handshake that was cut, one router has seen more than the other: TCP would begin again, with a SYN.
        half = {id(one) for one, turn in first if one.flow.protocol == TCP and turn in ("open", "answer")}
        live[:] = [one for one in live if one.stands or (id(one) not in half and _stays(one.flow))]
        return mismatch

    def _conversation(self, fresh: list[Live]) -> Case | None:
        """Let half of the flows be answered: answers pass whatever the rules say, and so do errors (S13)."""
        answered = [one for one in fresh if one.flow.protocol != SCTP and self._rng.random() < 0.5]
        for one in answered:
            one.answered = True
        turns: tuple[tuple[Turn, list[Live]], ...] = (
            ("answer", answered),
            ("onward", answered),
            ("error", [one for one in answered if one.flow.protocol in (TCP, UDP)][:20]),
        )
        for turn, flows in turns:
            _, mismatch = self._sent([(one, turn) for one in flows], begun=True)
            if mismatch is not None:
                return mismatch
        return None

    def _sent(self, shots: list[tuple[Live, Turn]], *, begun: bool) -> tuple[list[Live], Case | None]:
        """Send, and compare with the oracle; return the flows that passed, or the first mismatch."""
        expected = [passes(self._oracle, one.flow, turn, begun=begun) for one, turn in shots]
        arrived = self._rig.send([(one.flow, turn) for one, turn in shots])
        through = []
        for (one, turn), wanted, where in zip(shots, expected, arrived, strict=True):
            one.history.append(Step(self._number, turn))
            self._tally.count("again" if begun and turn == "open" else turn, passed=wanted)
            if where != place(one.flow, turn, wanted):
                words = (
                    f"{turn} came out at {sorted(where) or 'no NIC'}, expected to {'pass' if wanted else 'be dropped'}"
                )
                return [], Case(list(self._scenes), one.flow, tuple(one.history), words)
            if wanted:
                through.append(one)
        return through, None


def place(flow: Flow, turn: Turn, wanted: bool) -> frozenset[str]:
    """Return where a turn must come out: at the other end, and nowhere else."""
    return frozenset([flow.sender if backwards(turn) else flow.receiver]) if wanted else frozenset()


def _stays(flow: Flow) -> bool:
    """Say whether a flow that was cut may come back: with an address that a NIC may lose its flows end (S14)."""
    ends = ((flow.sender, flow.source), (flow.receiver, flow.destination))
    return all(nic in OUTSIDE.values() or str(address) in ADDRESSES[nic] for nic, address in ends)
