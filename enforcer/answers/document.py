"""Answers as JSON has them: the same content as the words, with keys that programs can rely on."""

from __future__ import annotations

from typing import Any, assert_never

from enforcer.answers.answer import Answer, Position, Reply
from enforcer.answers.turning import AddPeering, AddRule, BindEip, Change, Remedy, RemoveRule
from enforcer.answers.words import paragraphs, reply_paragraphs, step_words
from enforcer.model import Rule
from enforcer.semantics import SideVerdict

Document = dict[str, Any]


def answer_document(answer: Answer, position: Position) -> Document:
    """Return an answer; `egress` and `ingress` are null where that end is no ECS."""
    found = answer.explanation
    return {
        "verdict": str(found.verdict),
        "reason": found.reason,
        "family": found.family,
        "service": answer.service,
        "source": _text(answer.source),
        "destination": _text(answer.destination),
        "route": found.route.exists,
        "route_reason": found.route.reason,
        "egress": side_document(found.egress, position),
        "ingress": side_document(found.ingress, position),
        "forwarders": [
            {"nic": each.nic, "direction": str(each.direction), **(side_document(each.side, position) or {})}
            for each in found.forwarders
        ],
        "backends": [
            {"ecs": each.ecs, "port": each.port, **(side_document(each.side, position) or {})}
            for each in found.backends
        ],
        "to_change": [_remedy_document(remedy, position) for remedy in answer.remedies],
        "words": paragraphs(answer, position),
    }


def reply_document(reply: Reply, position: Position) -> Document:
    """Return what holds for the answering direction, and the conversation that it belongs to."""
    found = reply.conversation.explanation
    return {
        "verdict": str(reply.verdict),
        "direction": "reply",
        "family": found.family,
        "source": _text(reply.conversation.destination),
        "destination": _text(reply.conversation.source),
        "route": found.route.exists,
        "route_reason": found.route.reason,
        "egress": side_document(reply.egress, position),
        "ingress": side_document(reply.ingress, position),
        "after_change": list(reply.after_change),
        "conversation": answer_document(reply.conversation, position),
        "words": reply_paragraphs(reply),
    }


def side_document(side: SideVerdict | None, position: Position) -> Document | None:
    """Return one side's verdict; None where that end is no ECS."""
    if side is None:
        return None
    decides = rule_document(side.group, side.rule, position) if side.group and side.rule else None
    runner_up = side.runner_up
    return {
        "verdict": str(side.verdict),
        "group": side.group,
        "rule": side.rule.id if side.rule else None,
        "reason": side.reason,
        "text": decides["text"] if decides else None,
        "description": decides["description"] if decides else None,
        "line": decides["line"] if decides else None,
        "runner_up": rule_document(runner_up.group, runner_up.rule, position) if runner_up else None,
        "passed_over": [
            {**rule_document(over.group, over.rule, position), "reason": over.reason} for over in side.passed_over
        ],
    }


def rule_document(group: str, rule: Rule, position: Position) -> Document:
    """Return a rule with its text and its line; the line is null where no file says it."""
    return {
        "group": group,
        "rule": rule.id,
        "verdict": str(rule.action),
        "text": rule.text(),
        "description": rule.description,
        "line": position.of(group, rule) or None,
    }


def _remedy_document(remedy: Remedy, position: Position) -> Document:
    return {
        "works": remedy.works,
        "steps": [
            {
                "where": step.where,
                "text": step_words(step, position),
                "change": None if step.change is None else _change_document(step.change, position),
            }
            for step in remedy.steps
        ],
    }


def _change_document(change: Change, position: Position) -> Document:
    match change:
        case AddRule(group, rule, first):
            return {"kind": "add-rule", "group": group, "first": first, "add": rule_fields(rule)}
        case RemoveRule(group, rule):
            return {"kind": "remove-rule", **rule_document(group, rule, position)}
        case AddPeering(vpcs):
            return {"kind": "peer", "vpcs": list(vpcs)}
        case BindEip(nic, _):
            return {"kind": "bind-eip", "ecs": nic}
    assert_never(change)


def rule_fields(rule: Rule) -> Document:
    """Return a proposed rule as the policy file has it."""
    fields = {
        "direction": str(rule.direction),
        "action": str(rule.action),
        "priority": rule.priority,
        "ethertype": f"IPv{rule.family}",
        "protocol": rule.protocol,
        "multiport": ",".join(map(str, rule.ports)) or None,
        "icmp_type": rule.icmp_type,
        "icmp_code": rule.icmp_code,
        "remote_ip_prefix": _text(rule.remote_ip_prefix),
    }
    return {key: value for key, value in fields.items() if value is not None}


def _text(value: object) -> str | None:
    return None if value is None else str(value)
