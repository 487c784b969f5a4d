"""The whole answer to one question, before it is put into words or JSON: what was asked, what holds, what turns it.

answer(policy, src, dst, traffic)   → Answer   one conversation
reply(answer)                       → Reply    the packets that come back in it
"""

from __future__ import annotations

from dataclasses import dataclass

from enforcer.answers.turning import Remedy, remedies
from enforcer.model import Action, Endpoint, IPAddress, Lines, Policy, Rule, Traffic, service
from enforcer.semantics import Explanation, Oracle, SideVerdict, explain

NOWHERE = Lines()


@dataclass(frozen=True, slots=True)
class Position:
    """Where rules stand: the file as people call it, and its lines; an empty name where there is no file."""

    source: str = ""
    lines: Lines = NOWHERE

    def of(self, group: str, rule: Rule) -> int:
        """Return the line of a rule, 0 if unknown."""
        return self.lines.of_rule(group, rule.id)

    def words(self, group: str, rule: Rule) -> str:
        """Return `policy.yaml:17`, or nothing where the place is unknown."""
        line = self.of(group, rule)
        return f"{self.source or 'line '}{':' if self.source else ''}{line}" if line else ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One question about a new conversation and all that there is to say to it."""

    src: Endpoint
    dst: Endpoint
    traffic: Traffic
    explanation: Explanation
    remedies: tuple[Remedy, ...]
    revoke: str  # which changes cut conversations in force: "inbound" or "both" (S14)

    @property
    def allowed(self) -> bool:
        return self.explanation.allowed

    @property
    def source(self) -> IPAddress | None:
        """The address that the sender has, or the one that the receiver sees."""
        return self.explanation.route.source or self.src.address(self.explanation.family)

    @property
    def destination(self) -> IPAddress | None:
        return self.explanation.route.destination or self.dst.address(self.explanation.family)

    @property
    def service(self) -> str | None:
        return service(self.traffic)


def answer(policy: Policy | Oracle, src: Endpoint, dst: Endpoint, traffic: Traffic) -> Answer:
    """Ask about a new conversation, and find out what would turn the verdict."""
    oracle = Oracle.of(policy)
    found = explain(oracle, src, dst, traffic)
    turned = remedies(oracle, src, dst, traffic, found)
    return Answer(src, dst, traffic, found, turned, oracle.policy.revoke)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the packets that DST sends back in a conversation meet; null where an end is no ECS.

    `after_change` says, for a policy that changes while they talk, whose rules are asked again (S14).
    """

    conversation: Answer
    verdict: Action
    egress: SideVerdict | None
    ingress: SideVerdict | None
    after_change: tuple[str, ...]


def reply(conversation: Answer) -> Reply:
    """Explain the answering direction of a conversation: it follows the first packet and no rule of its own (S13)."""
    src, dst = conversation.src, conversation.dst
    egress = ingress = None
    if conversation.allowed:
        verdict, said = Action.ALLOW, "belongs to a conversation that was let through: no rule is asked (S13)"
    else:
        verdict, said = Action.DENY, "no conversation, no answer: the first packet does not get through"
    if dst.nic is not None:
        egress = SideVerdict(verdict, said)
    if src.nic is not None:
        ingress = SideVerdict(verdict, said)
    return Reply(conversation, verdict, egress, ingress, _after_change(conversation))


def _after_change(conversation: Answer) -> tuple[str, ...]:
    """Say whose rules decide about an open conversation when the policy changes (S14)."""
    if not conversation.allowed:
        return ()
    src, dst = conversation.src, conversation.dst
    said = []
    if dst.nic is not None:
        said.append(
            f"ingress rules of {dst.label} are asked again at once, for {src.label} opened it: "
            "if they deny it then, no packet of it passes any more, in either direction (S14)"
        )
    if src.nic is not None and conversation.revoke == "both":
        said.append(f"egress rules of {src.label} are asked again at once too: the policy says revoke: both (S14)")
    elif src.nic is not None:
        said.append(f"egress rules of {src.label} are not asked again: what it opened goes on under the old ones (S14)")
    if dst.balancer is not None:
        said.append(f"the ingress rules of the backends of {dst.label} are asked again at once (S14)")
    return tuple(said)
