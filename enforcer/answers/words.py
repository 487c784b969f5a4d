"""Answers in words, as a colleague would give them: each paragraph is a list of lines.

No: tcp/22 (ssh) from my-pc to ecs-a is denied.
Route: over the Internet with the EIP 198.51.100.11.
Ingress of ecs-a: denied. No rule of Sg-A matches: denied by default (S7).
To let it through: in Sg-A, add at any priority: allow ingress IPv4 tcp 22 from 203.0.113.10.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from enforcer.answers.answer import Answer, Position, Reply
from enforcer.answers.turning import AddPeering, AddRule, BindEip, Remedy, RemoveRule, Step
from enforcer.model import Action, Endpoint, Rule
from enforcer.model.groups import TEMPLATE_ID
from enforcer.semantics import SideVerdict

Paragraph = list[str]
MOST_PASSED_OVER = 5
DONE = {Action.ALLOW: "allowed", Action.DENY: "denied"}


def paragraphs(answer: Answer, position: Position) -> list[Paragraph]:
    """Return the answer: what was asked and the verdict, the route, each side, and what would turn the verdict."""
    found = answer.explanation
    yes_or_no = "Yes" if answer.allowed else "No"
    verdict = [f"{yes_or_no}: {question(answer)} is {DONE[found.verdict]}."]
    sides = [_route(answer)]
    sides += _end("Egress", answer.src, found.egress, position)
    for forwarder in found.forwarders:
        title = f"On the way, {forwarder.direction} of {forwarder.nic}"
        sides += _side(title, forwarder.side, position)
    if answer.dst.balancer is None:
        sides += _end("Ingress", answer.dst, found.ingress, position)
    for backend in found.backends:
        sides += _side(f"Ingress of the backend {backend.ecs}, port {backend.port}", backend.side, position)
    return [verdict, sides, _turning(answer, position)]


def reply_paragraphs(reply: Reply) -> list[Paragraph]:
    """Return what holds for the answering direction, now and after a change."""
    conversation = reply.conversation
    who = f"from {_named(conversation.dst)} back to {_named(conversation.src)}"
    if reply.verdict == Action.DENY:
        first = f"No: there is no answer {who}, for {question(conversation)} is denied."
        return [[first, f"Because: {conversation.explanation.reason}."]]
    told = [f"Yes: the answer {who} passes."]
    told.append(f"It belongs to {question(conversation)}, which is allowed: no rule is asked for it (S13).")
    told.append("ICMP errors that belong to the conversation pass as well (S13).")
    other = f"A new conversation {who.replace(' back', '')} is another question, with rules of its own."
    return [
        told,
        ["When the policy changes while they talk:", *(f"  - {said}" for said in reply.after_change)],
        [other],
    ]


def question(answer: Answer) -> str:
    """Return what was asked: `tcp/22 (ssh) from my-pc (203.0.113.10) to ecs-a (192.168.0.11)`."""
    service = f" ({answer.service})" if answer.service else ""
    ends = f"from {_named(answer.src, answer.source)} to {_named(answer.dst, answer.destination)}"
    return f"{answer.traffic}{service} {ends}"


def _named(end: Endpoint, address: object = None) -> str:
    """Return how an end is called, with the address that it shows in this conversation and whose that is."""
    owner = end.nic.label if end.nic is not None else end.external.name if end.external is not None else end.label
    owner = end.balancer.name if end.balancer is not None else owner
    if owner != end.label and end.label not in (str(address), owner.partition(":")[0]):
        return f"{end.label} ({owner})"
    return owner if address is None or str(address) == owner else f"{owner} ({address})"


def _route(answer: Answer) -> str:
    route = answer.explanation.route
    return f"Route: {'' if route.exists else 'there is none, '}{route.reason}."


def _end(title: str, end: Endpoint, side: SideVerdict | None, position: Position) -> list[str]:
    if side is None:
        return [f"{title}: {end.label} is no ECS of the policy, nothing is filtered there."]
    return list(_side(f"{title} of {end.nic.label if end.nic else end.label}", side, position))


def _side(title: str, side: SideVerdict, position: Position) -> Iterator[str]:
    if side.rule is None or side.group is None:
        yield f"{title}: {DONE[side.verdict]} – {side.reason}."
    else:
        yield f"{title}: {DONE[side.verdict]} by {rule_words(side.group, side.rule, position)}."
    over = side.passed_over
    if side.runner_up is not None:
        group, rule = side.runner_up.group, side.runner_up.rule
        too = " too" if rule.action == side.verdict else ""
        reason = next((one.reason for one in over if one.rule is rule and one.group == group), "")
        yield f"  Runner-up, would {rule.action}{too}: {rule_words(group, rule, position)}; {reason}."
        over = tuple(one for one in over if one.rule is not rule or one.group != group)
    for one in over[:MOST_PASSED_OVER]:
        yield f"  Passed over: {rule_words(one.group, one.rule, position)}; {one.reason}."
    if len(over) > MOST_PASSED_OVER:
        yield f"  … and {len(over) - MOST_PASSED_OVER} more that match."


def rule_words(group: str, rule: Rule, position: Position) -> str:
    """Return a rule with its place and text: `A01 of Sg-A (figure-1.yaml:17): allow ingress …, “ping”`."""
    place = position.words(group, rule)
    description = f", “{rule.description}”" if rule.description else ""
    return f"{rule.id} of {group}{f' ({place})' if place else ''}: {rule.text()}{description}"


def _turning(answer: Answer, position: Position) -> Paragraph:
    if not answer.allowed:
        remedy = answer.remedies[0]
        if not remedy.works and not remedy.changes:
            reasons = dict.fromkeys(step.reason for step in remedy.steps)
            return [f"No rule can change that: {'; '.join(reasons)}."]
        title = "To let it through:" if len(remedy.steps) == 1 else "To let it through, all of these:"
        return [title, *(f"  - {step_words(step, position)}" for step in remedy.steps)]
    if not answer.remedies:
        return ["No rule can deny it: nothing is asked about it."]
    title = "To deny it:" if len(answer.remedies) == 1 else "To deny it, any one of these:"
    return [title, *(f"  - {remedy_words(remedy, position)}" for remedy in answer.remedies)]


def remedy_words(remedy: Remedy, position: Position) -> str:
    """Return one alternative in one sentence; says so when a runner-up would allow it still."""
    said = [step_words(step, position) for step in remedy.steps]
    removed = [step.change for step in remedy.steps if isinstance(step.change, RemoveRule)]
    if len(said) == 1:
        alone = " (which takes away all else that it allows)" if removed else ""
        return f"{said[0]}{alone}"
    still = ", then ".join(f"{change.rule.id} of {change.group}" for change in removed[1:])
    return f"{'; and '.join(said)} – all of them, for without the first {still} would still allow it"


def step_words(step: Step, position: Position) -> str:
    """Return what to do in one step."""
    match step.change:
        case None:
            return f"{step.where}: {step.reason}; no rule of a group changes that"
        case AddRule(group, rule, first):
            beginning = ", before its other rules" if first else ""
            text = rule.text().rpartition(" (priority")[0]
            return f"in {group}, add {_when(step, rule)}{beginning}: {text}"
        case RemoveRule(group, rule) if rule.id.startswith(TEMPLATE_ID):
            return f"in {group}, write out the rules that its template gives it, without this one: {rule.text()}"
        case RemoveRule(group, rule):
            place = position.words(group, rule)
            return f"from {group}, remove {rule.id}{f' ({place})' if place else ''}: {rule.text()}"
        case AddPeering(vpcs):
            return f"peer {vpcs[0]} and {vpcs[1]}"
        case BindEip(nic, _):
            return f"bind an EIP to {nic}"
    assert_never(step.change)


def _when(step: Step, rule: Rule) -> str:
    """Say at which priorities the new rule is asked in time, and in which other groups it would be as well."""
    others = f" (or to {', '.join(step.earlier)})" if step.earlier else ""
    if step.blocking is None:
        return f"at any priority{others}"
    if rule.action == Action.DENY:
        return f"at priority {rule.priority}{' or a smaller one' if rule.priority > 1 else ''}"
    if step.blocking.priority > rule.priority and rule.priority == step.blocking.priority - 1:
        smaller = " or a smaller one" if rule.priority > 1 else ""
        return f"at priority {rule.priority}{smaller}{', or to an earlier group' if step.earlier else ''}"
    return "at any priority"
