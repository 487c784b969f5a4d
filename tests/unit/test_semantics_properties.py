"""What must hold of every policy and packet, tried with many (S7, S9, S19)."""

from __future__ import annotations

import json
from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.model import Action, Direction, Policy, Traffic, parse_policy
from enforcer.semantics import Oracle, SideVerdict, evaluate_side

ADDRESSES = ["192.168.0.11", "192.168.0.12", "192.168.0.21", "10.1.0.0", "10.1.2.3", "10.2.0.1"]
REMOTES = st.sampled_from(
    [
        {},
        {"remote_ip_prefix": "10.1.0.0/16"},
        {"remote_ip_prefix": "192.168.0.12"},
        {"remote_group": "Sg-0"},
        {"remote_group": "Sg-1"},
        {"remote_address_group": "ipGroup-A"},
    ]
)
KINDS = st.sampled_from(
    [
        {},
        {"protocol": "tcp"},
        {"protocol": "tcp", "multiport": "22"},
        {"protocol": "tcp", "multiport": "20-30,80"},
        {"protocol": "udp", "multiport": "22-80"},
        {"protocol": "icmp", "icmp_type": 8},
        {"protocol": "gre"},
    ]
)
RULES = st.builds(
    lambda direction, action, priority, kind, remote, enabled: {
        "direction": direction,
        "action": action,
        "priority": priority,
        "enabled": enabled,
        **kind,
        **remote,
    },
    st.sampled_from(["ingress", "egress"]),
    st.sampled_from(["allow", "deny"]),
    st.sampled_from([1, 2, 100]),
    KINDS,
    REMOTES,
    st.booleans(),
)
GROUPS = st.lists(st.lists(RULES, max_size=6), min_size=2, max_size=3)
PACKETS = st.tuples(
    st.sampled_from(list(Direction)),
    st.sampled_from(ADDRESSES).map(ip_address),
    st.one_of(
        st.builds(Traffic, st.sampled_from([6, 17]), st.sampled_from([1, 21, 22, 23, 30, 79, 80, 81])),
        st.sampled_from([Traffic(1, icmp_type=8, icmp_code=0), Traffic(47), Traffic(50)]),
    ),
)


def policy_of(groups: list[list[dict[str, object]]], **more: object) -> Policy:
    """Write a policy in which ecs-a has all the groups, in order, and ecs-b only the second."""
    names = [f"Sg-{n}" for n in range(len(groups))]
    subnet = {"name": "sub", "cidr": "192.168.0.0/24"}
    return parse_policy(
        json.dumps(
            {
                "version": 1,
                "vpcs": [{"name": "vpc", "subnets": [subnet]}],
                "address_groups": [{"name": "ipGroup-A", "entries": ["10.1.2.0-10.2.0.0"]}],
                "security_groups": [{"name": name, "rules": rules} for name, rules in zip(names, groups, strict=True)],
                "ecs": [
                    {"name": "ecs-a", "subnet": "sub", "addresses": ["192.168.0.11"], "security_groups": names},
                    {"name": "ecs-b", "subnet": "sub", "addresses": ["192.168.0.12"], "security_groups": ["Sg-1"]},
                ],
                **more,
            }
        )
    )


def ask(policy: Policy, packet: tuple) -> SideVerdict:
    return evaluate_side(policy, policy.nic_ref("ecs-a"), *packet)


@given(groups=GROUPS, packet=PACKETS, data=st.data())
@settings(max_examples=150, deadline=None)
def test_the_order_of_configuration_within_a_group_never_changes_an_answer_s7(groups, packet, data):
    shuffled = [data.draw(st.permutations(rules)) for rules in groups]
    assert ask(policy_of(groups), packet).verdict == ask(policy_of(shuffled), packet).verdict


@given(groups=GROUPS, packet=PACKETS)
@settings(max_examples=150, deadline=None)
def test_a_first_deny_of_everything_denies_everything_s7(groups, packet):
    wall = [{"direction": direction, "action": "deny", "priority": 1} for direction in ("ingress", "egress")]
    assert ask(policy_of([wall, *groups]), packet).verdict == Action.DENY
    # In the first group itself, deny comes before allow at priority 1.
    assert ask(policy_of([[*groups[0], *wall], *groups[1:]]), packet).verdict == Action.DENY


@given(groups=GROUPS, packet=PACKETS)
@settings(max_examples=150, deadline=None)
def test_without_the_deciding_rule_the_runner_up_decides_s7(groups, packet):
    policy = policy_of(groups)
    before = ask(policy, packet)
    if before.rule is None:
        return
    index = int(before.group.removeprefix("Sg-")), policy.group(before.group).rules.index(before.rule)
    disabled = [
        [rule | {"enabled": False} if (g, r) == index else rule for r, rule in enumerate(rules)]
        for g, rules in enumerate(groups)
    ]
    after = ask(policy_of(disabled), packet)
    if before.runner_up is None:
        assert (after.verdict, after.rule) == (Action.DENY, None)
    else:
        assert (after.group, after.rule) == (before.runner_up.group, before.runner_up.rule)


@given(groups=GROUPS, packet=PACKETS)
@settings(max_examples=100, deadline=None)
def test_a_later_group_never_changes_what_an_earlier_one_decided_s7(groups, packet):
    before = ask(policy_of(groups), packet)
    everything = [{"direction": "ingress"}, {"direction": "egress"}]
    after = ask(policy_of([*groups, everything]), packet)
    assert after.verdict == (before.verdict if before.rule is not None else Action.ALLOW)


@given(groups=GROUPS, packet=PACKETS, limit=st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_every_matching_rule_is_accounted_for_once_s9(groups, packet, limit):
    policy = policy_of(groups, limits={"costly_rules": limit})
    verdict = ask(policy, packet)
    named = [(one.group, one.rule.id) for one in verdict.passed_over]
    named += [(verdict.group, verdict.rule.id)] if verdict.rule is not None else []
    assert len(named) == len(set(named))
    # Whatever the quota says, the rules that match are the same ones.
    unlimited = ask(policy_of(groups), packet)
    also = [(one.group, one.rule.id) for one in unlimited.passed_over]
    also += [(unlimited.group, unlimited.rule.id)] if unlimited.rule is not None else []
    assert sorted(named) == sorted(also)


@given(groups=GROUPS, packets=st.lists(PACKETS, min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_an_oracle_remembers_nothing_wrong(groups, packets):
    policy = policy_of(groups)
    oracle = Oracle(policy)
    for ref in policy.nics():
        for packet in packets:
            assert evaluate_side(oracle, ref, *packet) == evaluate_side(policy, ref, *packet)
