"""Compiling what differs leads to the Program that compiling everything leads to, whatever was compiled before."""

from __future__ import annotations

import json
from typing import Any

from first_match import first_match
from hypothesis import given, settings
from hypothesis import strategies as st
from judge import judge, nic_of
from policies import borders, documents, probes

from enforcer.compiler import NamespaceProgram, compile_policy, verify
from enforcer.compiler.incremental import Compiler
from enforcer.model import Direction, Ecs, Policy, host_layout, parse_policy

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "vpcs": [{"name": "v", "subnets": [{"name": "s", "cidr": "10.0.0.0/16", "ipv6_cidr": "2001:db8::/64"}]}],
    "security_groups": [
        {
            "name": "web",
            "rules": [
                {"id": "in", "direction": "ingress", "protocol": "tcp", "multiport": "80", "remote_group": "app"},
                {"id": "db", "direction": "ingress", "protocol": "tcp", "multiport": "5432", "remote_group": "ops"},
                {"id": "net", "direction": "ingress", "protocol": "udp", "remote_ip_prefix": "10.0.0.0/24"},
                {"id": "six", "direction": "ingress", "ethertype": "IPv6", "remote_group": "app"},
                {"id": "out", "direction": "egress"},
            ],
        },
        {"name": "app", "rules": []},
        {"name": "ops", "rules": [{"id": "all", "direction": "ingress", "remote_group": "ops"}]},
    ],
    "ecs": [
        {"name": "here", "subnet": "s", "addresses": ["10.0.0.1", "2001:db8::1"], "interface": "v1",
         "security_groups": ["web"]},
        {"name": "there", "subnet": "s", "addresses": ["10.0.1.1"], "interface": "v2", "security_groups": ["ops"]},
    ],
}  # fmt: skip
ADDRESSES = ("10.0.0.9", "10.0.0.10", "10.0.0.255", "10.0.1.0", "10.0.7.7", "2001:db8::9", "2001:db8::77")
"""Two of them at the border of the prefix that a rule names."""
GROUPS = ("web", "app", "ops")


def policy_of(document: dict[str, Any]) -> Policy:
    return parse_policy(json.dumps(document))


def far(number: int, address: str, groups: list[str]) -> Ecs:
    """An instance of some other host: an address that is a member."""
    text = {**DOCUMENT, "ecs": [{"name": f"far-{number}", "subnet": "s", "addresses": [address],
                                 "security_groups": groups}]}  # fmt: skip
    return policy_of(text).ecs[0]


def agree(found: NamespaceProgram, expected: NamespaceProgram) -> None:
    """Hold two programs against each other; side policies of the first may know classes that nobody has any more."""
    assert found.addresses == expected.addresses
    assert [(nic.label, nic.interface, nic.addresses) for nic in found.nics] == [
        (nic.label, nic.interface, nic.addresses) for nic in expected.nics
    ]
    classes = {addresses.family: {entry.number for entry in addresses.classes} for addresses in expected.addresses}
    for one, other in zip(found.nics, expected.nics, strict=True):
        for here, there in zip(found.sides_of(one), expected.sides_of(other), strict=True):
            assert here.profile == there.profile
            in_use = classes[here.family]
            for mine, whole in ((here.ingress, there.ingress), (here.egress, there.egress)):
                ours, theirs = found.policy(mine), expected.policy(whole)
                regions, wanted = ({e.number: e.regions for e in p.classes} for p in (ours, theirs))
                local, expected_local = dict(ours.locals), dict(theirs.locals)
                assert {n: regions[local[n]] for n in in_use & local.keys()} == {
                    n: wanted[expected_local[n]] for n in expected_local
                }
                assert regions[0] == wanted[0]


MOVES = st.lists(
    st.tuples(st.sampled_from(range(6)), st.sampled_from(ADDRESSES), st.sets(st.sampled_from(GROUPS), min_size=1)),
    min_size=1,
    max_size=8,
)


@given(MOVES, st.data())
@settings(max_examples=25)
def test_members_that_come_and_go_lead_to_the_same_program(moves: list[tuple[int, str, set[str]]], data: st.DataObject):
    policy = policy_of(DOCUMENT)
    compiler = Compiler()
    compiler.compile(policy)
    others: dict[int, Ecs] = {}
    for number, address, groups in moves:
        if number in others and data.draw(st.booleans()):
            del others[number]
        elif all(str(nic.addresses[0]) != address for n, e in others.items() if n != number for nic in e.nics):
            others[number] = far(number, address, sorted(groups))
        later = policy.model_copy(update={"ecs": (*policy.ecs, *(others[n] for n in sorted(others)))})
        found = compiler.compile(later)
        assert [each for each in verify(found) if "global class" not in each] == [], "but for classes that are gone"
        expected = compile_policy(later, host_layout(later))
        for one, other in zip(found.namespaces, expected.namespaces, strict=True):
            agree(one, other)


def test_many_members_that_change_at_once_lead_to_the_same_program():
    policy = policy_of(DOCUMENT)
    compiler = Compiler()
    crowd = [far(n, f"10.0.{n // 200 + 2}.{n % 200 + 1}", [("app", "ops", "web")[n % 3]]) for n in range(300)]
    moved = [far(n, f"10.0.{n // 200 + 2}.{n % 200 + 1}", [("ops", "web", "app")[n % 3]]) for n in range(150, 300)]
    for others in ([], crowd, [*crowd[:150], *moved], moved[:10], [*crowd[:100], *moved]):
        later = policy.model_copy(update={"ecs": (*policy.ecs, *others)})
        found, expected = compiler.compile(later), compile_policy(later, host_layout(later))
        for one, other in zip(found.namespaces, expected.namespaces, strict=True):
            agree(one, other)


def test_changes_of_two_kinds_at_once_lead_to_the_same_program():
    rules = {
        **DOCUMENT,
        "security_groups": [
            DOCUMENT["security_groups"][0],
            *({**group, "rules": []} for group in DOCUMENT["security_groups"][1:]),
        ],
    }
    one, other = policy_of(DOCUMENT), policy_of(rules)
    near, member, newer = one.ecs[1], far(1, "10.0.7.7", ["app"]), far(2, "10.0.7.8", ["app"])
    steps = (
        (one, (*one.ecs, member)),
        (other, one.ecs),  # rules, and a member that is gone
        (one, (*one.ecs, newer)),  # rules, and a member that has come
        (one, one.ecs[:1]),  # a member and an instance of this host are gone
        (one, (one.ecs[0], near, member)),
    )
    compiler = Compiler()
    for policy, ecs in steps:
        later = policy.model_copy(update={"ecs": ecs})
        found, expected = compiler.compile(later), compile_policy(later, host_layout(later))
        assert len(found.namespaces) == len(expected.namespaces)
        for mine, whole in zip(found.namespaces, expected.namespaces, strict=True):
            agree(mine, whole)


def lead_to_the_same(*steps: Policy) -> None:
    """Compile one policy after the other, and hold each Program against one that is compiled anew."""
    compiler = Compiler()
    for policy in steps:
        found, expected = compiler.compile(policy), compile_policy(policy, host_layout(policy))
        for mine, whole in zip(found.namespaces, expected.namespaces, strict=True):
            agree(mine, whole)


def test_instances_of_this_host_that_change_places_are_in_their_new_order():
    policy = policy_of(DOCUMENT)
    lead_to_the_same(policy, policy.model_copy(update={"ecs": policy.ecs[::-1]}))


def test_a_member_that_stays_between_others_is_counted_once():
    policy = policy_of(DOCUMENT)
    first, stays, last = (far(n, f"10.0.7.{n}", ["app"]) for n in (1, 2, 3))
    lead_to_the_same(
        *(
            policy.model_copy(update={"ecs": (*policy.ecs, *others)})
            for others in ((first, stays, last), (far(4, "10.0.7.4", ["ops"]), stays), (stays,), (), (stays,))
        )
    )


def test_a_member_at_an_address_that_an_address_group_lists_is_in_both():
    listed = {
        **DOCUMENT,
        "address_groups": [{"name": "few", "entries": ["10.0.7.7", "10.0.7.9"]}],
        "security_groups": [
            {
                "name": "web",
                "rules": [
                    {"id": "few", "direction": "ingress", "action": "deny", "remote_address_group": "few"},
                    *DOCUMENT["security_groups"][0]["rules"],
                ],
            },
            *DOCUMENT["security_groups"][1:],
        ],
    }
    policy = policy_of(listed)
    member = far(1, "10.0.7.7", ["app", "ops"])
    lead_to_the_same(policy, policy.model_copy(update={"ecs": (*policy.ecs, member)}), policy)


def test_what_rules_no_longer_speak_of_is_no_class_any_more():
    def with_rules(*ids: str) -> Policy:
        web, *others = DOCUMENT["security_groups"]
        kept = {**web, "rules": [each for each in web["rules"] if each["id"] in ids]}
        return policy_of({**DOCUMENT, "security_groups": [kept, *others]})

    every, fewer, none = with_rules("in", "db", "net", "out"), with_rules("db", "out"), with_rules("out")
    web = {policy: policy.group("web") for policy in (every, fewer, none)}
    ecs = (*every.ecs, far(1, "10.0.7.7", ["app"]), far(2, "10.0.7.8", ["ops"]))
    base = every.model_copy(update={"ecs": ecs})
    lead_to_the_same(
        *(
            base.model_copy(update={"security_groups": (web[one], *base.security_groups[1:])})
            for one in (every, fewer, none, every)
        )
    )


@given(documents(), documents(), st.data())
@settings(max_examples=30)
def test_groups_that_get_other_rules_lead_to_what_the_rules_say(
    one: dict[str, Any], other: dict[str, Any], data: st.DataObject
):
    for document in (one, other):
        for number, ecs in enumerate(document["ecs"]):
            ecs.pop("nics", None)
            ecs["interface"] = f"v{number}"
    before, after = policy_of({**one, "ecs": one["ecs"][:1]}), policy_of({**other, "ecs": one["ecs"][:1]})
    groups = {group.name: group for group in before.security_groups}
    changed = data.draw(st.sets(st.sampled_from(sorted(groups))))
    groups |= {group.name: group for group in after.security_groups if group.name in changed}
    later = before.model_copy(update={"security_groups": tuple(groups.values())})
    compiler = Compiler()
    compiler.compile(before)
    program = compiler.compile(later).namespaces[0]
    nic = program.nics[0]
    for sides in program.sides_of(nic):
        for peer in borders(later, sides.family)[::3]:
            for protocol, subkey in probes(sides.family)[::4]:
                for direction in Direction:
                    expected = first_match(later, later.nic_ref(nic.label), direction, peer, protocol, subkey)
                    assert judge(program, nic_of(program, nic.label), direction, peer, protocol, subkey) == expected


def test_what_has_not_changed_is_the_very_same_object():
    policy = policy_of(DOCUMENT)
    compiler = Compiler()
    one = compiler.compile(policy.model_copy(update={"ecs": (*policy.ecs, far(1, "10.0.7.7", ["app"]))})).namespaces[0]
    more = (*policy.ecs, far(1, "10.0.7.7", ["app"]), far(2, "10.0.7.8", ["app"]))
    two = compiler.compile(policy.model_copy(update={"ecs": more})).namespaces[0]
    assert two.policies is one.policies
    assert two.nics is one.nics
    assert len(two.addresses[0].hosts) == len(one.addresses[0].hosts) + 1


def test_a_new_class_that_decides_like_a_known_one_is_added_to_what_is_there():
    web = {
        "name": "web",
        "rules": [
            {"id": "db", "direction": "ingress", "protocol": "tcp", "multiport": "5432", "remote_group": "ops"},
            {"id": "too", "direction": "ingress", "protocol": "tcp", "multiport": "5432", "remote_group": "app"},
        ],
    }
    policy = policy_of({**DOCUMENT, "security_groups": [web, *DOCUMENT["security_groups"][1:]]})
    later = policy.model_copy(update={"ecs": (*policy.ecs, far(1, "10.0.7.7", ["app", "ops"]))})
    lead_to_the_same(policy, later)
    compiler = Compiler()
    one, two = (compiler.compile(each).namespaces[0] for each in (policy, later))
    assert two.nics is one.nics, "nothing was compiled anew"
    assert len(two.addresses[0].classes) == len(one.addresses[0].classes) + 1
