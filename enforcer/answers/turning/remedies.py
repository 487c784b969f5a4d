"""What would have to change for the opposite verdict? Proposals that were tried on a copy of the policy.

A denied conversation has one remedy with a step for everything in its way, found from the outside in:

1. The route: peer the VPCs, or bind an EIP. After it, the oracle is asked again, for the sides may see other peers.
2. Each side that denies: the smallest rule that allows this traffic with this peer, asked before the rule that denies –
   at a smaller priority number, or in an earlier group (S7). Where there is no such place, that rule must go first.
3. A step without a change names what no security group can change: that the packet begins no conversation (S13), say.

An allowed conversation has several remedies, each enough by itself: on each side a deny for this peer and traffic, or
the rules away that allow it – all of them, for a runner-up may allow it still.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from enforcer.answers.turning.changes import AddRule, Change, RemoveRule, after
from enforcer.answers.turning.routes import ROUTE, opened_route
from enforcer.answers.turning.sides import Asked, asked
from enforcer.model import ICMP, ICMPV6, Action, Endpoint, Rule, Traffic
from enforcer.semantics import Explanation, Oracle, SideVerdict, explain

MOST_STEPS = 8  # of one side; who has more rules to take away should think of something else


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to change, and where; `change` None where it is nothing that a policy's rules could say.

    `blocking` is the deciding rule that an addition comes before, `earlier` the groups that come before its group.
    """

    where: str
    change: Change | None
    reason: str = ""
    blocking: Rule | None = None
    earlier: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Remedy:
    """Steps that turn the verdict together; `works` if the oracle says so with all of them made."""

    steps: tuple[Step, ...]
    works: bool

    @property
    def changes(self) -> tuple[Change, ...]:
        return tuple(step.change for step in self.steps if step.change is not None)


def remedies(oracle: Oracle, src: Endpoint, dst: Endpoint, traffic: Traffic, answer: Explanation) -> tuple[Remedy, ...]:
    """Return what turns the verdict: one remedy for a denied conversation, alternatives for an allowed one."""
    if not answer.allowed:
        return (_opening(oracle, src, dst, traffic, answer),)
    return tuple(
        Remedy(steps, not explain(turned, src, dst, traffic, answer.family).allowed)
        for one in asked(oracle, src, dst, traffic, answer)
        for steps in _closing(oracle, one)
        for turned in (after(oracle, *(step.change for step in steps if step.change is not None)),)
    )


def _opening(oracle: Oracle, src: Endpoint, dst: Endpoint, traffic: Traffic, answer: Explanation) -> Remedy:
    steps: list[Step] = []
    if not answer.route.exists:
        change = opened_route(oracle.policy, src, dst, answer.family)
        steps.append(Step(ROUTE, change, answer.route.reason))
        if change is not None:
            oracle = after(oracle, change)
            answer = explain(oracle, src, dst, traffic, answer.family)
    for one in asked(oracle, src, dst, traffic, answer):
        found = _opened_side(oracle, one)
        steps += found
        oracle = after(oracle, *(step.change for step in found if step.change is not None))
    turned = explain(oracle, src, dst, traffic, answer.family)
    if not turned.allowed and all(step.change is not None for step in steps):
        steps.append(Step("backends" if turned.backends else ROUTE, None, turned.reason))
    return Remedy(tuple(steps), turned.allowed)


def _opened_side(oracle: Oracle, one: Asked) -> list[Step]:
    """Return the steps after which the NIC allows what it is asked; none if it does already."""
    steps: list[Step] = []
    for _ in range(MOST_STEPS):
        side = one.ask(oracle)
        if side.allowed:
            return steps
        for step in _allowances(one, side):
            assert step.change is not None
            if one.ask(after(oracle, step.change)).allowed:
                return [*steps, step]
        if side.rule is None or side.group is None:
            return [*steps, Step(one.where, None, side.reason)]
        removal = RemoveRule(side.group, side.rule)
        steps.append(Step(one.where, removal, side.reason))
        oracle = after(oracle, removal)
    return [*steps, Step(one.where, None, "too many rules deny this")]


def _allowances(one: Asked, side: SideVerdict) -> Iterator[Step]:
    """Yield allow rules that may come before what denies, the nearest place first."""
    groups = one.nic.nic.security_groups
    if side.rule is None or side.group is None:
        places = [(group, 1) for group in groups]
        earlier = groups[1:]
    else:
        earlier = groups[: groups.index(side.group)]
        before = side.rule.priority - 1
        places = [*([(side.group, before)] if before else []), *((group, 1) for group in reversed(earlier))]
    for group, priority in places:
        for first in (False, True):
            rule = rule_for(one, Action.ALLOW, priority)
            yield Step(one.where, AddRule(group, rule, first), side.reason, side.rule, earlier)


def _closing(oracle: Oracle, one: Asked) -> Iterator[tuple[Step, ...]]:
    """Yield ways to have the NIC deny what it allows: one rule more, or every rule that allows it away."""
    side = one.ask(oracle)
    if side.rule is None or side.group is None:
        return  # allowed without being asked (S15, S16): no rule changes that
    for first in (False, True):
        # At the same priority, deny is asked before allow (S7).
        addition = AddRule(side.group, rule_for(one, Action.DENY, side.rule.priority), first)
        if not one.ask(after(oracle, addition)).allowed:
            yield (Step(one.where, addition, side.reason, side.rule),)
            break
    steps: list[Step] = []
    while side.allowed and side.rule is not None and side.group is not None:
        if len(steps) == MOST_STEPS:
            return
        steps.append(Step(one.where, RemoveRule(side.group, side.rule), side.reason))
        oracle = after(oracle, RemoveRule(side.group, side.rule))
        side = one.ask(oracle)
    yield tuple(steps)


def rule_for(one: Asked, action: Action, priority: int) -> Rule:
    """Return the smallest rule that speaks of what a NIC is asked: this protocol, this port, this peer."""
    traffic = one.traffic
    fields: dict[str, object] = {
        "id": "new",
        "direction": one.direction.value,
        "action": action.value,
        "priority": priority,
        "ethertype": f"IPv{one.peer.version}",
        "protocol": traffic.protocol,
        "remote_ip_prefix": str(one.peer),
    }
    if traffic.port is not None:
        fields["multiport"] = traffic.port
    if traffic.protocol in (ICMP, ICMPV6):
        fields |= {"icmp_type": traffic.icmp_type, "icmp_code": traffic.icmp_code}
    return Rule.model_validate(fields)
