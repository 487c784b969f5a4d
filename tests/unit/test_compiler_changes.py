"""Whatever comes, goes or changes – NICs, their groups, rules, address groups, members – leads to the whole Program."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_compiler_incremental import agree, policy_of

from enforcer.compiler import compile_policy, verify
from enforcer.compiler.incremental import Compiler
from enforcer.model import AddressGroup, Ecs, Policy, SecurityGroup, host_layout

RULES: dict[str, dict[str, Any]] = {
    "web": {"direction": "ingress", "protocol": "tcp", "multiport": "80,443"},
    "deny": {"direction": "ingress", "protocol": "tcp", "multiport": "80-90", "action": "deny", "priority": 2},
    "ping": {"direction": "ingress", "protocol": "icmp", "icmp_type": 8},
    "all": {"direction": "ingress", "priority": 50},
    "app": {"direction": "ingress", "protocol": "tcp", "multiport": "80", "remote_group": "app", "priority": 3},
    "own": {"direction": "ingress", "remote_group": "web", "protocol": "udp"},
    "net": {"direction": "ingress", "protocol": "tcp", "remote_ip_prefix": "10.0.0.0/24", "multiport": "22-85"},
    "wide": {"direction": "ingress", "protocol": "udp", "remote_ip_prefix": "10.0.0.0/8", "action": "deny"},
    "host": {"direction": "ingress", "remote_ip_prefix": "10.0.0.9", "priority": 4},
    "list": {"direction": "ingress", "protocol": "tcp", "remote_address_group": "ag", "priority": 2},
    "other": {"direction": "egress", "remote_address_group": "more"},
    "six": {"direction": "ingress", "ethertype": "IPv6", "remote_group": "app"},
    "out": {"direction": "egress"},
}
ENTRIES = ("10.0.0.9", "10.0.0.10", "10.0.0.0/25", "10.0.0.128-10.0.1.3", "10.0.1.0", "192.0.2.0/24", "10.0.0.8/31")
GROUPS = ("web", "app", "default")
ADDRESSES = ("10.0.0.1", "10.0.0.9", "10.0.0.10", "10.0.1.0", "10.0.1.3")
POOL = {
    "version": 1,
    "vpcs": [{"name": "v", "subnets": [{"name": "s", "cidr": "10.0.0.0/16", "ipv6_cidr": "2001:db8::/64"}]}],
    "address_groups": [{"name": "ag"}, {"name": "more", "entries": ["10.0.0.10"]}],
}


def group(name: str, rules: list[str]) -> SecurityGroup:
    listed = [{"id": each, **RULES[each]} for each in rules]
    others = [{"name": each, "rules": []} for each in GROUPS if each not in (name, "default")]
    return policy_of({**POOL, "security_groups": [{"name": name, "rules": listed}, *others]}).group(name)


def entries(name: str, addresses: list[str]) -> AddressGroup:
    return policy_of({**POOL, "address_groups": [{"name": name, "entries": addresses}]}).address_group(name)


def ecs(address: str, groups: list[str], interface: str | None, **more: Any) -> Ecs:
    name = f"at-{ADDRESSES.index(address)}"
    written = {"name": name, "subnet": "s", "addresses": [address], "security_groups": groups, **more}
    written |= {"interface": interface} if interface else {}
    named = [{"name": each, "rules": []} for each in GROUPS if each != "default"]
    return policy_of({**POOL, "security_groups": named, "ecs": [written]}).ecs[0]


def start() -> Policy:
    there = {"name": "there", "subnet": "s", "addresses": ["10.0.0.77", "2001:db8::77"], "interface": "v-there",
             "security_groups": ["web"]}  # fmt: skip
    base = policy_of({**POOL, "security_groups": [{"name": g, "rules": []} for g in GROUPS], "ecs": [there]})
    return with_group(base, group("web", ["web", "app", "net"]))


def with_group(policy: Policy, changed: SecurityGroup) -> Policy:
    groups = tuple(changed if each.name == changed.name else each for each in policy.security_groups)
    return policy.model_copy(update={"security_groups": groups})


def with_entries(policy: Policy, changed: AddressGroup) -> Policy:
    groups = tuple(changed if each.name == changed.name else each for each in policy.address_groups)
    return policy.model_copy(update={"address_groups": groups})


def with_ecs(policy: Policy, changed: Ecs | None, name: str) -> Policy:
    """Put an ECS in its place, or take it away: they are in the order of their names, as the daemon has them."""
    others = {each.name: each for each in policy.ecs if each.name != name}
    if changed is not None:
        others[name] = changed
    return policy.model_copy(update={"ecs": tuple(others[each] for each in sorted(others))})


def compare(compiler: Compiler, policy: Policy) -> None:
    found, expected = compiler.compile(policy), compile_policy(policy, host_layout(policy))
    assert [each for each in verify(found) if "global class" not in each] == [], "but for classes that are gone"
    assert found.layout == expected.layout
    assert len(found.namespaces) == len(expected.namespaces)
    for one, other in zip(found.namespaces, expected.namespaces, strict=True):
        agree(one, other)
        assert [nic.profiles for nic in one.nics] == [nic.profiles for nic in other.nics]
        assert [(s.family, s.profile) for s in one.sides] == [(s.family, s.profile) for s in other.sides]
        assert {p.groups for p in one.policies} == {p.groups for p in other.policies}
        assert one.deny_log == other.deny_log
        assert all(policy.locals or len(policy.classes) == 1 for policy in one.policies), (
            "as `ruleset` takes for granted"
        )


SOME_GROUPS = st.lists(st.sampled_from(GROUPS), min_size=1, max_size=2, unique=True)
CHANGES = st.one_of(
    st.tuples(st.just("rules"), st.sampled_from(GROUPS), st.lists(st.sampled_from(sorted(RULES)), unique=True)),
    st.tuples(
        st.just("entries"),
        st.sampled_from(("ag", "more")),
        st.lists(st.sampled_from(ENTRIES), unique=True, max_size=4),
    ),
    st.tuples(st.just("here"), st.sampled_from(ADDRESSES), SOME_GROUPS),
    st.tuples(st.just("elsewhere"), st.sampled_from(ADDRESSES), SOME_GROUPS),
    st.tuples(st.just("old"), st.sampled_from(ADDRESSES), SOME_GROUPS),
    st.tuples(st.just("open"), st.sampled_from(ADDRESSES), SOME_GROUPS),
    st.tuples(st.just("gone"), st.sampled_from(ADDRESSES), st.just(["web"])),
)


def changed(policy: Policy, what: str, name: str, words: list[str]) -> Policy:
    match what:
        case "rules":
            return with_group(policy, group(name, words))
        case "entries":
            return with_entries(policy, entries(name, words))
    at = f"at-{ADDRESSES.index(name)}"
    more = {"old": {"type": "S1.large"}, "open": {"port_security": False}}.get(what, {})
    interface = None if what == "elsewhere" else f"v-{at}"
    return with_ecs(policy, None if what == "gone" else ecs(name, words, interface, **more), at)


@given(st.lists(st.lists(CHANGES, min_size=1, max_size=2), min_size=1, max_size=7))
@settings(max_examples=150)
def test_any_sequence_of_changes_leads_to_the_program_of_the_last_policy(steps: list[list[tuple[str, str, list[str]]]]):
    policy, compiler = start(), Compiler()
    compare(compiler, policy)
    for step in steps:
        for change in step:
            policy = changed(policy, *change)
        compare(compiler, policy)


NEAR = [
    ("a NIC with the groups of another", "here", "10.0.0.9", ["web"]),
    ("a NIC with groups that nobody has", "here", "10.0.0.9", ["app", "web"]),
    ("an address of an address group", "entries", "ag", ["10.0.0.9"]),
    ("a range of an address group", "entries", "ag", ["10.0.0.0/25"]),
    ("a rule with a new prefix", "rules", "web", ["web", "app", "net", "wide"]),
    ("a rule about a group that nobody spoke of", "rules", "web", ["web", "app", "net", "own"]),
    ("a rule about an address group that nobody spoke of", "rules", "web", ["web", "app", "net", "list"]),
    ("a term that nobody speaks of any more", "rules", "web", ["web"]),
]


@pytest.mark.parametrize(("what", "kind", "name", "words"), NEAR, ids=[each[0] for each in NEAR])
def test_what_is_not_touched_stays_the_very_same_object(what: str, kind: str, name: str, words: list[str]):
    lone = {"name": "lone", "subnet": "s", "addresses": ["10.0.7.1"], "interface": "v-lone"}
    base = start()
    other = policy_of({**POOL, "ecs": [lone]}).ecs[0]
    policy = with_ecs(base, other, "lone")
    compiler = Compiler()
    before = compiler.compile(policy).namespaces[0]
    after = compiler.compile(changed(policy, kind, name, words)).namespaces[0]
    kept = {id(each) for each in before.policies} & {id(each) for each in after.policies}
    assert {each.groups for each in after.policies if id(each) in kept} >= {("default",)}, what
    assert {id(nic) for nic in before.nics} <= {id(nic) for nic in after.nics}, what


def test_a_setting_that_all_rests_upon_is_in_the_next_program():
    policy, compiler = start(), Compiler()
    compiler.compile(policy)
    quiet = policy.model_copy(update={"deny_log": policy.deny_log.model_copy(update={"enabled": False})})
    compare(compiler, quiet)
