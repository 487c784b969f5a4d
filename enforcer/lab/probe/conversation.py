"""What is attempted, what came of it, and the attempts under way.

An `Attempt` is fully resolved: namespaces, addresses, ports. It knows neither policies nor sockets.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field

from enforcer.lab.probe.packets import ICMP_ANSWERS, ICMPV6_ANSWERS, KERNEL_ANSWERS
from enforcer.model import GRE, ICMP, ICMPV6, TCP, UDP, Family, IPAddress


@dataclass(frozen=True, slots=True)
class Observation:
    """Whether the answer came back, and in words how it went, or which half failed where that can be known."""

    reached: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Answerer:
    """A host that answers if the request gets there; `port` is its own, a balancer's may be another."""

    netns: str
    port: int | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One new connection from `source` in `netns` to `destination`.

    `aliases` are further addresses that the two ends have in connection tracking somewhere on the way (EIPs), and
    `routers` the namespaces that track it; `translated` tells that an EIP stands for one of the two. `problem` says why
    nothing can be sent at all.
    """

    netns: str
    source: IPAddress | None
    destination: IPAddress | None
    protocol: int
    port: int | None = None
    icmp_type: int = 0
    icmp_code: int = 0
    answerers: tuple[Answerer, ...] = ()
    aliases: tuple[IPAddress, ...] = ()
    routers: tuple[str, ...] = ()
    translated: bool = False
    problem: str = ""

    @property
    def family(self) -> Family:
        """The IP version of the packets between the hosts."""
        return 6 if self.destination is not None and self.destination.version == 6 else 4

    @property
    def tracked_by_address_alone(self) -> bool:
        """Tell whether both directions, and all repetitions, are one flow to connection tracking (S13)."""
        return self.protocol not in (TCP, UDP, ICMP, ICMPV6)

    @property
    def answer_type(self) -> int | None:
        """The ICMP type that answers, None if there is none; a tunnel is tried by an echo inside it."""
        if self.protocol == ICMPV6:
            return ICMPV6_ANSWERS.get(self.icmp_type)
        return ICMP_ANSWERS.get(self.request_type)

    @property
    def request_type(self) -> int:
        """The ICMP type of the request; an echo inside a tunnel."""
        return 8 if self.protocol == GRE else self.icmp_type

    @property
    def kernel_answers(self) -> bool:
        """Tell whether the destination's kernel answers the ICMP request by itself."""
        return self.request_type in KERNEL_ANSWERS


@dataclass(slots=True)
class Conversation:
    """One attempt under way; `carrier` says by what its packets travel, where that is not plain."""

    attempt: Attempt
    nonce: bytes
    answered: asyncio.Future[str]
    arrived: bool = False
    carrier: str = ""

    def answers_at(self, netns: str) -> bool:
        """Tell whether the host is one that is to answer."""
        return any(answerer.netns == netns for answerer in self.attempt.answerers)

    def resolve(self, words: str) -> None:
        """Note that the attempt succeeded; the first time counts."""
        if not self.answered.done():
            self.answered.set_result(words)


@dataclass(slots=True)
class Board:
    """All conversations, by what their packets carry."""

    _by_nonce: dict[bytes, Conversation] = field(default_factory=dict)
    _by_key: dict[bytes, Conversation] = field(default_factory=dict)

    def begin(self, attempt: Attempt) -> Conversation:
        """Open a conversation under a nonce that nobody else has."""
        nonce = os.urandom(12)
        while nonce[:4] in self._by_key:
            nonce = os.urandom(12)
        conversation = Conversation(attempt, nonce, asyncio.get_running_loop().create_future())
        self._by_nonce[nonce] = self._by_key[nonce[:4]] = conversation
        return conversation

    def end(self, conversation: Conversation) -> None:
        """Forget the conversation; what still comes of it is nobody's."""
        self._by_nonce.pop(conversation.nonce, None)
        self._by_key.pop(conversation.nonce[:4], None)

    def of_nonce(self, nonce: bytes) -> Conversation | None:
        """Find the conversation of a message."""
        return self._by_nonce.get(nonce)

    def of_key(self, key: bytes) -> Conversation | None:
        """Find the conversation of an ICMP identifier and sequence number."""
        return self._by_key.get(key)
