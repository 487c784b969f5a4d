"""What becomes of the conversations that one namespace tracks, when a new policy takes the place of the old? Pure.

1. *Is it ours?* A conversation with no filtered NIC at either end, before and after, is nobody's business here.
2. *Is it live?* It bears the stamp of the generation in force, or the policy in force would let it go on. One that an
   earlier change cut is still remembered by connection tracking for a while, and is not cut again; a TCP connection
   that was closed is not live either.
3. *Does it go on?* Asked of the new policy as `side` has it. Where a NIC loses or gets an address, the commit makes the
   kernel forget the conversations of that address: what is left of them begins anew, as TCP cannot in mid-stream (S13).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from enforcer.agent.plan.connections.alike import Judge
from enforcer.agent.plan.connections.ends import Ends, ended
from enforcer.agent.plan.connections.side import Refusal, Side
from enforcer.dataplane.conntrack import Tracked
from enforcer.model import TCP, Direction, IPAddress, Layout, Namespace, Policy
from enforcer.ruleset.stamps import stamp_bits

SCTP, DCCP = 132, 33
_SYN_SENT, _TIME_WAIT, _CLOSED = 1, 7, 8
_Key = tuple[object, ...]


class Fate(StrEnum):
    """What becomes of a connection at the commit."""

    GOES_ON = "goes on"
    CUT = "cut"
    RESUMES = "resumes"
    """An earlier change cut it; if its ends still try, their packets pass again."""
    ANEW = "begins anew"
    """The commit makes the kernel forget it, with an address that comes or goes; its next packet is judged as new."""
    STAYS_CUT = "stays cut"
    NOT_OURS = "not ours"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the kernel knows of a namespace. `generation` is the one in force, 0 for none.

    `ways` has the interfaces by which packets to addresses leave, for those that `Ends.unclear` names.
    """

    netns: str
    tracked: Sequence[Tracked]
    generation: int
    ways: Mapping[IPAddress, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Leg:
    """A connection as one namespace tracks it; `opener` and `target` name NICs, null where that end is none there."""

    netns: str
    tracked: Tracked
    opener: str | None
    target: str | None
    fate: Fate


@dataclass(frozen=True, slots=True)
class Views:
    """A policy with its layout; `judge` remembers what the oracle said."""

    judge: Judge
    layout: Layout

    @classmethod
    def of(cls, policy: Policy, layout: Layout) -> Views:
        return cls(Judge(policy), layout)

    def space(self, netns: str) -> Namespace | None:
        """Return the layout of a namespace."""
        return next((space for space in self.layout.namespaces if space.name == netns), None)


class Court:
    """Judges the conversations of one namespace."""

    def __init__(self, old: Views | None, new: Views, seen: Seen) -> None:
        before = old.space(seen.netns) if old is not None else None
        after = new.space(seen.netns)
        self._seen = seen
        self._old = Side(old.judge, before) if old is not None and before is not None else None
        self._new = Side(new.judge, after) if after is not None else None
        self._owned = before is not None and before.owned
        self._ends = Ends(before, after)
        self._ends.learn_ways(seen.ways)
        self._ended = ended(before, after) if seen.generation else frozenset()
        self._mask = self._stamp = 0
        if self._old is not None and seen.generation:
            marks = self._old.marks
            self._mask, self._stamp = marks.connection_mask, stamp_bits(marks, seen.generation)
        self._known: dict[_Key, tuple[str | None, str | None, Fate]] = {}
        self.closing = 0

    def legs(self) -> Iterator[Leg]:
        """Yield every conversation with its fate; closed TCP connections are only counted."""
        for tracked in self._seen.tracked:
            if tracked.protocol == TCP and tracked.tcp_state in (_TIME_WAIT, _CLOSED):
                self.closing += 1
                continue
            key = self._key(tracked)
            found = self._known.get(key)
            if found is None:
                found = self._known[key] = self._judged(tracked)
            yield Leg(self._seen.netns, tracked, *found)

    def _key(self, tracked: Tracked) -> _Key:
        """Name all that a verdict depends on: not the port that a client happens to have."""
        first, answer = tracked.original, tracked.reply
        return (
            first.source,
            first.destination,
            first.destination_port,
            answer.source,
            answer.destination,
            answer.source_port,
            tracked.protocol,
            tracked.icmp[:2] if tracked.icmp else None,
            tracked.mark,
            tracked.redirected,
            tracked.tcp_state == _SYN_SENT,
        )

    def _judged(self, tracked: Tracked) -> tuple[str | None, str | None, Fate]:
        sender, receiver = self._interfaces(tracked)
        return self._label(sender), self._label(receiver), self._fate(tracked, sender, receiver)

    def _fate(self, tracked: Tracked, sender: str | None, receiver: str | None) -> Fate:
        if not self._is_ours(sender) and not self._is_ours(receiver):
            return Fate.NOT_OURS
        before = self._old is None or self._is_stamped(tracked) or self._old.allows(tracked, sender, receiver)
        after = self._after(tracked, sender, receiver)
        if before:
            return after
        return Fate.STAYS_CUT if after is Fate.CUT else Fate.RESUMES

    def _is_ours(self, interface: str | None) -> bool:
        if interface is None:
            return False
        return any(side is not None and side.guarded(interface) for side in (self._old, self._new))

    def _is_stamped(self, tracked: Tracked) -> bool:
        return bool(self._stamp) and tracked.mark & self._mask == self._stamp

    def _after(self, tracked: Tracked, sender: str | None, receiver: str | None) -> Fate:
        if self._new is None:
            return Fate.CUT if self._owned else Fate.GOES_ON  # a router of ours goes with its VPC
        if not self._is_forgotten(tracked):
            return Fate.GOES_ON if self._new.allows(tracked, sender, receiver) else Fate.CUT
        if _needs_beginning(tracked) and (self._new.guarded(sender) or self._new.guarded(receiver)):
            return Fate.CUT
        begins = self._new.allows(tracked, sender, receiver, anew=True)
        if tracked.icmp is None and not begins:  # nor does the other end begin it
            turned = tracked._replace(original=tracked.reply, reply=tracked.original)
            begins = self._new.allows(turned, receiver, sender, anew=True)
        return Fate.ANEW if begins else Fate.CUT

    def _is_forgotten(self, tracked: Tracked) -> bool:
        if not self._ended:
            return False
        first, answer = tracked.original, tracked.reply
        return not self._ended.isdisjoint((first.source, first.destination, answer.source, answer.destination))

    def refusal(self, tracked: Tracked) -> Refusal:
        """Say who cuts a conversation."""
        sender, receiver = self._interfaces(tracked)
        if self._new is not None and not self._new.allows(tracked, sender, receiver, anew=self._is_forgotten(tracked)):
            return self._new.refusal(tracked, sender, receiver, anew=self._is_forgotten(tracked))
        label = self._label(sender) or self._label(receiver) or ""
        direction = Direction.EGRESS if self._label(sender) else Direction.INGRESS
        if self._new is None:
            return Refusal(label, direction, "its VPC is gone")
        lost = sorted(map(str, self._ended.intersection((*tracked.original[:2], *tracked.reply[:2]))))
        ends = f"the commit ends the conversations of {', '.join(lost)}, which comes to its NIC or leaves it"
        reason = f"{ends}, and none begins in mid-stream (S13, S14)"
        return Refusal(label, direction, reason)

    def _interfaces(self, tracked: Tracked) -> tuple[str | None, str | None]:
        return self._ends.interface(tracked.original.source), self._ends.interface(tracked.reply.source)

    def _label(self, interface: str | None) -> str | None:
        for side in (self._old, self._new):
            if side is not None and interface is not None and interface in side.nics:
                return side.nics[interface].label
        return None


def _needs_beginning(tracked: Tracked) -> bool:
    """Say whether packets in mid-stream begin nothing (S13); a SYN that nobody answered is sent again."""
    return tracked.protocol in (TCP, SCTP, DCCP) and tracked.tcp_state != _SYN_SENT
