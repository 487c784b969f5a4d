"""What would have to change: every proposal is made to the policy and the oracle asked again."""

from __future__ import annotations

from itertools import permutations

import pytest
from answers_asking import policy
from hypothesis import given, settings
from policies import random_policies

from enforcer.answers import Answer, Position, answer, paragraphs
from enforcer.answers.turning import AddPeering, AddRule, BindEip, RemoveRule, changed
from enforcer.model import Policy, endpoint, endpoints, parse_traffic
from enforcer.semantics import explain

TRAFFICS = [parse_traffic(word) for word in ("tcp/22", "udp/1", "icmp", "icmpv6", "gre", "tcp/65535")]


def asked(found: Policy, src: str, dst: str, proto: str) -> Answer:
    return answer(found, *endpoints(found, src, dst), parse_traffic(proto))


def turning(found: Policy, src: str, dst: str, proto: str) -> list[str]:
    """Return the last paragraph of the answer, without its first line."""
    return [line.removeprefix("  - ") for line in paragraphs(asked(found, src, dst, proto), Position())[-1][1:]]


@settings(max_examples=60)
@given(random_policies())
def test_a_proposal_turns_the_verdict_whatever_the_policy(found: Policy):
    ends = [endpoint(found, name) for name in ("ecs-a", "ecs-b", "ecs-d", "ecs-e")]
    for src, dst in permutations(ends, 2):
        for traffic in TRAFFICS:
            told = answer(found, src, dst, traffic)
            for remedy in told.remedies:
                after = explain(changed(found, *remedy.changes), src, dst, traffic, told.explanation.family)
                assert (after.allowed != told.allowed) == remedy.works
                if all(step.change is not None for step in remedy.steps):
                    assert remedy.works, remedy
            if told.explanation.route.exists and not told.allowed and traffic.icmp_type in (None, 8, 128):
                assert told.remedies[0].works


SMALL = """
security_groups:
  - {name: clients, rules: [{id: out, direction: egress}]}
  - {name: closed, rules: []}
  - name: servers
    rules:
      - {id: no-ssh, direction: ingress, action: deny, priority: PRIORITY, protocol: tcp, multiport: 22}
      - {id: any, direction: ingress, priority: 50}
ecs:
  - {name: client, subnet: subnet-a, addresses: [10.0.0.11], security_groups: [clients]}
  - {name: server, subnet: subnet-a, addresses: [10.0.0.12], security_groups: GROUPS}
  - {name: mute, subnet: subnet-a, addresses: [10.0.0.13], security_groups: [closed]}
  - {name: far, subnet: subnet-b, addresses: [10.0.1.11], security_groups: [clients]}
  - {name: twin, subnet: subnet-c, addresses: [10.0.0.11], security_groups: [clients]}
external_hosts: [{name: pc, addresses: [203.0.113.10]}]
"""


def small(priority: int = 5, groups: str = "[servers]") -> Policy:
    return policy(SMALL.replace("PRIORITY", str(priority)).replace("GROUPS", groups))


def test_a_deny_is_turned_by_an_allow_before_it():
    assert turning(small(), "client", "server", "ssh") == [
        "in servers, add at priority 4 or a smaller one: allow ingress IPv4 tcp 22 from 10.0.0.11/32"
    ]
    assert turning(small(2, "[closed, servers]"), "client", "server", "ssh") == [
        "in servers, add at priority 1, or to an earlier group: allow ingress IPv4 tcp 22 from 10.0.0.11/32"
    ]


def test_a_deny_at_priority_1_is_turned_in_an_earlier_group_else_it_must_go():
    assert turning(small(1, "[closed, servers]"), "client", "server", "ssh") == [
        "in closed, add at any priority: allow ingress IPv4 tcp 22 from 10.0.0.11/32"
    ]
    # Without the deny, the runner-up allows: nothing needs to be added.
    assert turning(small(1), "client", "server", "ssh") == [
        "from servers, remove no-ssh: deny ingress IPv4 tcp 22 from anywhere (priority 1)"
    ]


def test_a_rule_of_a_template_goes_when_the_others_are_written_out_s3():
    assert turning(small(groups="[default]"), "server", "8.8.8.8", "dns") == [
        "in default, add at priority 100 or a smaller one: deny egress IPv4 udp 53 to 8.8.8.8/32",
        "in default, write out the rules that its template gives it, without this one: "
        "allow egress IPv4 all to anywhere (priority 100) (which takes away all else that it allows)",
    ]


def test_every_denying_side_has_its_step():
    found = asked(small(), "mute", "server", "ssh")
    assert [step.where for step in found.remedies[0].steps] == ["egress of mute", "ingress of server"]
    assert paragraphs(found, Position())[-1][0] == "To let it through, all of these:"


def test_without_a_rule_that_denies_any_priority_and_any_of_the_groups_will_do():
    assert turning(small(5, "[closed, clients]"), "client", "server", "ssh") == [
        "in closed, add at any priority (or to clients): allow ingress IPv4 tcp 22 from 10.0.0.11/32"
    ]


def test_what_is_allowed_is_turned_by_a_deny_or_by_taking_rules_away():
    assert turning(small(), "client", "server", "https") == [
        "in clients, add at priority 1: deny egress IPv4 tcp 443 to 10.0.0.12/32",
        "from clients, remove out: allow egress IPv4 all to anywhere (priority 1) "
        "(which takes away all else that it allows)",
        "in servers, add at priority 50 or a smaller one: deny ingress IPv4 tcp 443 from 10.0.0.11/32",
        "from servers, remove any: allow ingress IPv4 all from anywhere (priority 50) "
        "(which takes away all else that it allows)",
    ]


def test_a_runner_up_that_would_allow_it_still_is_said():
    rules = "[{id: a, direction: ingress}, {id: b, direction: ingress, priority: 2, protocol: tcp}]"
    found = policy(SMALL.replace("rules: []", f"rules: {rules}").replace("PRIORITY", "5").replace("GROUPS", "[closed]"))
    assert turning(found, "client", "server", "ssh")[-1] == (
        "from closed, remove a: allow ingress IPv4 all from anywhere (priority 1); "
        "and from closed, remove b: allow ingress IPv4 tcp from anywhere (priority 2) "
        "– all of them, for without the first b of closed would still allow it"
    )


def test_where_there_is_no_way_one_is_proposed():
    found = small()
    steps = asked(found, "client", "far", "ssh").remedies[0].steps
    assert isinstance(steps[0].change, AddPeering)
    assert steps[0].reason == "vpc-a and vpc-b are not peered"
    steps = asked(found, "client", "pc", "https").remedies[0].steps
    assert [type(step.change) for step in steps] == [BindEip]
    assert turning(found, "client", "pc", "https") == ["bind an EIP to client"]
    assert turning(found, "pc", "far", "https")[0] == "bind an EIP to far"


def test_vpcs_that_overlap_are_not_proposed_to_be_peered():
    found = asked(small(), "client", "twin", "ssh")
    assert not found.remedies[0].works
    assert found.remedies[0].steps[0].change is None
    assert "no rule of a group changes that" in turning(small(), "client", "twin", "ssh")[0]


def test_what_begins_no_conversation_is_changed_by_no_rule():
    told = paragraphs(asked(small(), "client", "server", "icmp/0"), Position())
    assert told[-1][0].startswith("No rule can change that: icmp 0/0 begins no conversation")


def test_on_a_kai1_a_new_rule_stands_before_the_one_that_stops_the_others():
    kai = SMALL.replace("rules: []", 'rules: [{id: n, direction: ingress, protocol: tcp, multiport: "1,2"}]')
    kai = kai.replace("PRIORITY", "5").replace("GROUPS", "[closed], type: kai1.large")
    assert turning(policy(kai), "client", "server", "ssh") == [
        "in closed, add at any priority, before its other rules: allow ingress IPv4 tcp 22 from 10.0.0.11/32"
    ]


def test_nothing_is_proposed_where_nothing_is_asked():
    found = policy(SMALL.replace("PRIORITY", "5").replace("GROUPS", "[servers], port_security: false"))
    changes = [step.change for remedy in asked(found, "client", "server", "ssh").remedies for step in remedy.steps]
    assert {type(change) for change in changes} == {AddRule, RemoveRule}
    assert {change.group for change in changes if isinstance(change, AddRule)} == {"clients"}


BALANCED = """
security_groups:
  - {name: clients, rules: [{id: out, direction: egress}]}
  - {name: backends, rules: []}
ecs:
  - {name: client, subnet: subnet-a, addresses: [10.0.0.11], security_groups: [clients]}
  - {name: one, subnet: subnet-a, addresses: [10.0.0.21], security_groups: [backends]}
  - {name: two, subnet: subnet-a, addresses: [10.0.0.22], security_groups: [backends]}
load_balancers:
  - name: elb
    subnet: subnet-a
    address: 10.0.0.100
    listeners: [{protocol: tcp, port: 80, backends: [{ecs: one, port: 8080}, {ecs: two, port: 8081}]}]
"""


def test_each_backend_of_a_balancer_has_its_step():
    assert turning(policy(BALANCED), "client", "elb", "http") == [
        "in backends, add at any priority: allow ingress IPv4 tcp 8080 from 100.125.0.1/32",
        "in backends, add at any priority: allow ingress IPv4 tcp 8081 from 100.125.0.1/32",
    ]


@pytest.mark.parametrize("proto", ["tcp/81", "udp/80"])
def test_a_listener_that_is_not_there_is_no_matter_of_rules(proto: str):
    told = paragraphs(asked(policy(BALANCED), "client", "elb", proto), Position())
    assert "does not listen" in told[-1][0]
