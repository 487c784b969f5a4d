"""Program → Ruleset: what becomes an object, what is shared, and in which order (design §2, §3)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policies import compiled, random_policies, three_hosts

from enforcer.compiler import compile_policy
from enforcer.model import Policy, host_layout, parse_policy
from enforcer.ruleset import lower, names
from enforcer.ruleset.changes import Changes, changes
from enforcer.ruleset.classify import classifier, spliced_hosts
from enforcer.ruleset.lower import Lowering
from enforcer.ruleset.nft import (
    DROP,
    Chain,
    Dispatch,
    InSet,
    Interval,
    Load,
    Match,
    Ruleset,
    Set,
    SetMark,
    UseTimeout,
    Verdict,
)
from enforcer.ruleset.nics import link_local
from enforcer.ruleset.stamps import (
    cut_bits,
    generation_mask,
    last_generation,
    reached_bits,
    stamp_bits,
    through_bits,
)
from enforcer.ruleset.verdicts import Verdicts

RULES = """
security_groups:
  - name: Sg-A
    rules:
      - {id: ssh, direction: ingress, protocol: tcp, multiport: 22, remote_group: Sg-B}
      - {id: out, direction: egress}
"""


def sets_of(ruleset: Ruleset, *prefixes: str) -> dict[str, Set]:
    return {
        entry.name: entry for table in ruleset.tables for entry in table.sets if entry.name.startswith(prefixes or "")
    }


@given(random_policies())
def test_every_name_that_is_used_was_created_before_it(policy: Policy):
    for place in range(3):
        for table in lower(compiled(policy, place)).tables:
            sets, chains = [entry.name for entry in table.sets], [chain.name for chain in table.chains]
            assert len(set(sets)) == len(sets)
            assert len(set(chains)) == len(chains)
            for entry in table.sets:
                for element in entry.elements:
                    if isinstance(element.value, Verdict) and element.value.chain:
                        assert element.value.chain in chains
            for at, chain in enumerate(table.chains):
                for statement in (s for one in chain.rules for s in one.statements):
                    match statement:
                        case InSet(_, name) | Dispatch(_, name) | Load(_, name):
                            assert name in sets
                        case Verdict(_, target) if target:
                            assert target in chains[:at] or target in chains, "nft creates chains before their rules"
                        case UseTimeout(name):
                            assert name in [timeout.name for timeout in table.timeouts]


@given(random_policies())
def test_no_interval_set_has_overlapping_elements(policy: Policy):
    for entry in sets_of(lower(compiled(policy))).values():
        if not entry.interval:
            assert len({element.key for element in entry.elements}) == len(entry.elements)
            continue
        spans = [[p if isinstance(p, Interval) else (p, p) for p in element.key] for element in entry.elements]
        for at, one in enumerate(spans):
            for other in spans[at + 1 :]:
                apart = any(
                    a[1] < b[0] or b[1] < a[0] if isinstance(a[0], int) else a != b
                    for a, b in zip(one, other, strict=True)
                )
                assert apart, (entry.name, one, other)


def test_a_prefix_of_all_addresses_needs_no_map_to_be_known():
    # Found by a random policy: one piece, no host, and a chain that loaded from a map that was never created.
    program = compiled(
        three_hosts("""
            address_groups: [{name: ag, entries: [0.0.0.0/0]}]
            security_groups:
              - {name: Sg-A, rules: [{id: z, direction: ingress, protocol: tcp, remote_ip_prefix: 0.0.0.0/0}]}
              - {name: Sg-B, rules: [{id: g, direction: ingress, protocol: tcp, remote_address_group: ag}]}
        """)
    )
    assert not sets_of(lower(program), "piece4", "host4")


def test_allowed_prefixes_inside_others_are_one_interval_s16():
    allowed = """
        ecs:
          - name: ecs-a
            subnet: subnet-a
            addresses: [10.0.0.11]
            allowed_addresses: [172.16.0.0/12, 172.16.5.0/24, 172.17.0.0/16, 172.16.5.9]
            security_groups: [Sg-A]
    """
    ruleset = lower(compiled(three_hosts(RULES, allowed, "security_groups: [{name: Sg-A}, {name: Sg-B}]")))
    assert [len(entry.elements) for entry in sets_of(ruleset, "source_net4", "to_net4").values()] == [1, 1]


def test_nics_with_equal_rules_share_every_object_of_the_policy():
    one = lower(compiled(three_hosts(RULES)))
    twice = """
        ecs:
          - {name: ecs-a, subnet: subnet-a, addresses: [10.0.0.11], security_groups: [Sg-A]}
          - {name: ecs-d, subnet: subnet-a, addresses: [10.0.0.14], security_groups: [Sg-A]}
          - {name: ecs-b, subnet: subnet-a, addresses: [10.0.0.12], security_groups: [Sg-B]}
    """
    two = lower(compiled(three_hosts(RULES, twice)))
    policy_objects = ("verdict_", "local_", "policy_", "from4_", "to4_")
    assert sets_of(one, *policy_objects).keys() >= sets_of(two, *policy_objects).keys()
    chain_of = {element.key: element.value for element in sets_of(two, "from4")["from4"].elements}
    assert chain_of[("v-ecs-a",)] == chain_of[("v-ecs-d",)] != chain_of[("v-ecs-b",)]


def test_an_absent_interface_is_named_but_never_bound_s19():
    program = compiled(three_hosts(RULES))
    ruleset = lower(program, absent=("v-ecs-a",))
    bound = {
        part
        for entry in sets_of(ruleset).values()
        if entry.name not in (names.NICS, names.DECLARED)
        for element in entry.elements
        for part in element.key
    }
    assert "v-ecs-a" not in bound
    assert ("v-ecs-a",) in [element.key for element in sets_of(ruleset)[names.NICS].elements]
    assert all(chain.hook is None or chain.hook.device != "v-ecs-a" for t in ruleset.tables for chain in t.chains)


def test_every_hook_is_where_the_design_says():
    hooks = {
        chain.name: (table.family, chain.hook.hook, chain.hook.priority)
        for table in lower(compiled(three_hosts())).tables
        for chain in table.chains
        if chain.hook
    }
    assert hooks == {
        "nic_v-ecs-a": ("netdev", "ingress", -300),
        "nic_v-ecs-b": ("netdev", "ingress", -300),
        "nic_v-ecs-c": ("netdev", "ingress", -300),
        "prerouting": ("inet", "prerouting", -190),
        "to_host": ("inet", "input", 150),
        "postrouting": ("inet", "postrouting", 150),
    }


def test_a_device_is_closed_before_anything_else_sees_its_frames_s19():
    closed = {
        chain.name: (chain.hook.hook, chain.hook.priority, chain.rules[0].statements[-1], chain.fixed)
        for chain in lower(compiled(three_hosts()), absent=("v-ecs-a",), closed=("v-ecs-a",)).table("netdev").chains
        if chain.hook and chain.name.startswith("closed")
    }
    assert closed == {
        "closed_in_v-ecs-a": ("ingress", -300, DROP, True),
        "closed_out_v-ecs-a": ("egress", -300, DROP, True),
    }


def test_idle_timeouts_are_those_of_the_cloud_s13():
    tcp, udp = (("established", 600), ("fin_wait", 30)), (("unreplied", 30), ("replied", 180))
    timeouts = lower(replace(compiled(three_hosts()), owned=False)).table("inet").timeouts
    assert [(each.l3proto, each.protocol, each.policy) for each in timeouts] == [
        ("ip", "tcp", tcp), ("ip", "udp", udp), ("ip6", "tcp", tcp), ("ip6", "udp", udp),
    ]  # fmt: skip
    assert [each.name for each in timeouts] == [
        names.TIMEOUT.format(protocol, family) for family in ("ip", "ip6") for protocol in ("tcp", "udp")
    ]


def test_addresses_in_two_halves_are_asked_in_their_pieces():
    half = "{id: half, direction: ingress, remote_ip_prefix: 128.0.0.0/1}"
    ruleset = lower(compiled(three_hosts(f"security_groups: [{{name: Sg-A, rules: [{half}]}}]")))
    (pieces,) = sets_of(ruleset, "piece4").values()
    assert [element.key for element in pieces.elements] == [
        (Interval(0, 2**31 - 1),), (Interval(2**31, 2**32 - 1),),
    ]  # fmt: skip


def test_what_the_name_stands_for_has_one_name():
    # Same text, other numbers: an object whose content changed must not keep its name, or it would never be replaced.
    before = sets_of(lower(compiled(three_hosts(RULES))), "verdict_", "local_", "piece")
    after = sets_of(lower(compiled(three_hosts(RULES.replace("22", "23")))), "verdict_", "local_", "piece")
    for name in before.keys() & after.keys():
        assert before[name] == after[name]
    assert before.keys() != after.keys()


@given(random_policies(), random_policies())
def test_two_rulesets_that_share_a_name_share_the_object(one: Policy, other: Policy):
    # The difference between what is there and what shall be is computed from names alone.
    for first, second in zip(lower(compiled(one)).tables, lower(compiled(other), 2, edition=2).tables, strict=True):
        for kind in ("sets", "chains"):
            left = {entry.name: entry for entry in getattr(first, kind) if not entry.fixed}
            right = {entry.name: entry for entry in getattr(second, kind) if not entry.fixed}
            for name in left.keys() & right.keys():
                if kind == "sets" and left[name].grows:
                    here, there = ({e.key: e.value for e in each[name].elements} for each in (left, right))
                    assert {here[key] == there[key] for key in here.keys() & there.keys()} <= {True}, name
                else:
                    assert left[name] == right[name], name


def test_what_changes_in_place_has_the_edition_in_its_name():
    one, two = (lower(compiled(three_hosts(RULES)), 1, edition=edition).table("inet") for edition in (1, 2))
    names_of = [{entry.name for kind in (table.sets, table.chains) for entry in kind} for table in (one, two)]
    changed = names_of[0] - names_of[1]
    assert changed == {name for name in names_of[0] if names.EDITION.fullmatch(name)}
    assert "host4_1" in changed
    of_profiles = 6 * 5
    assert len(changed) == 3 + of_profiles, "a host map, the two chains that ask it, and those of profiles"


@given(random_policies(), random_policies())
def test_what_a_profile_leads_to_does_not_change_under_a_packet_in_flight(one: Policy, other: Policy):
    # A packet may come to a new profile while it still sees the old rules of chains that change in place: of these it
    # must meet none on its way, or it would be judged by the new policy with the classes of the old one. But for the
    # stamp, which is the old one then; and what a balancer's conversations are is told by maps, before and after.
    may = {
        *names.MARKS,
        *names.BEGUN.values(),
        names.ENDED,
        names.ANSWERING,
        names.DENIAL_LOG,
        *(names.BALANCED.format(way) for way in (names.TO_BACKEND, names.FROM_BACKEND)),
    }
    for old, new in ((one, other), (other, one)):
        rulesets = lower(compiled(old)), lower(compiled(new), 2, edition=2)
        before, after = ({c.name: c for c in ruleset.table("inet").chains} for ruleset in rulesets)
        profiles = [name for name in after if names.EDITION.fullmatch(name)]
        met = reachable(after, profiles) & before.keys()
        assert {name for name in met if before[name].rules != after[name].rules} <= may
        assert names.STAMP in met or not profiles


def reachable(chains: Mapping[str, Chain], found: Iterable[str]) -> set[str]:
    seen, ahead = set(), list(found)
    while ahead:
        if (name := ahead.pop()) not in seen:
            seen.add(name)
            statements = [statement for each in chains[name].rules for statement in each.statements]
            ahead += [each.chain for each in statements if isinstance(each, Verdict) and each.chain]
    return seen


def test_the_generation_is_shifted_into_the_mask_and_must_fit_it():
    program = compiled(three_hosts("marks: {connection_mask: 0x00ff0000}"))
    assert stamp_bits(program.marks, 1) == 0x0004_0000
    assert stamp_bits(program.marks, 62) == 0x00F8_0000, "the lowest two bits are for flows that are half judged"
    for generation in (0, 63, 64, -1):  # all bits set: a flow that was revoked
        with pytest.raises(ValueError, match="does not fit"):
            stamp_bits(program.marks, generation)


@pytest.mark.parametrize("mask", ["0xffffff00", "0x00ff0000", "0x0000ff00"])
def test_marks_of_flows_that_meet_a_forwarder_are_in_the_mask_and_no_stamp_whole_or_half(mask: str):
    marks = compiled(three_hosts(f"marks: {{connection_mask: {mask}}}")).marks
    low = marks.connection_mask & -marks.connection_mask
    special = [reached_bits(marks), through_bits(marks), cut_bits(marks), marks.connection_mask]
    assert len({*special}) == 4
    assert all(each & ~marks.connection_mask == 0 for each in special)
    stamp = stamp_bits(marks, last_generation(marks))
    assert not {stamp, stamp | low, stamp | low << 1} & {*special}
    assert {each & generation_mask(marks) for each in special} == {generation_mask(marks)}


def test_a_link_local_address_is_made_of_the_mac():
    assert link_local("fa:16:3e:00:00:0a") == 0xFE80_0000_0000_0000_F816_3EFF_FE00_000A


def test_a_program_lowered_for_another_generation_differs_in_the_stamp_alone():
    program = compiled(three_hosts(RULES))
    one, two = lower(program, 1), lower(program, 2)
    changed = [
        chain.name
        for before, after in zip(one.tables, two.tables, strict=True)
        for chain, other in zip(before.chains, after.chains, strict=True)
        if chain != replace(other, name=chain.name)
    ]
    assert changed == ["mark_flow", "mark_answering", "mark_answered"]
    sets = [
        entry.name
        for before, after in zip(one.tables, two.tables, strict=True)
        for entry, other in zip(before.sets, after.sets, strict=True)
        if entry != other
    ]
    assert sets == ["in_force"]


def test_a_change_of_generation_does_not_make_the_kernel_walk_every_map():
    # It does so for a rule that ends in a verdict or asks a set, and looks into each verdict map on its way: these are
    # about NICs, and the maps of the policies are none.
    table = lower(compiled(three_hosts("revoke: both\n" + RULES))).table("inet")
    marking = {chain.name: chain for chain in table.chains if chain.name in names.MARKS}
    assert marking.keys() == {*names.MARKS}
    assert {type(s) for one in marking.values() for r in one.rules for s in r.statements} == {Match, SetMark}
    verdicts = {entry.name for entry in table.sets if entry.value == "verdict"}
    assert not {name for name in verdicts if name.startswith(("verdict_", "local_", "host", "piece"))}


INTERFACES = ("v-1", "v-2", "v-3", "v-4")
LISTS = (["Sg-A"], ["Sg-A", "Sg-B"], ["Sg-B"])
SITES = st.dictionaries(
    st.sampled_from(INTERFACES),
    st.tuples(st.sampled_from(LISTS), st.sampled_from(({}, {"mac": "fa:16:3e:00:00:0"}, {"source_dest_check": False},
                                                       {"allowed_addresses": ["10.8.0.0/24"]}))),
    min_size=1,
)  # fmt: skip


@given(st.lists(st.tuples(SITES, st.sets(st.sampled_from(INTERFACES))), min_size=2, max_size=4))
@settings(max_examples=60)
def test_nics_that_come_and_go_lead_to_the_elements_and_chains_that_lowering_all_leads_to(
    steps: list[tuple[dict[str, tuple[list[str], dict[str, Any]]], set[str]]],
):
    remembered = Lowering()
    for generation, (sites, absent) in enumerate(steps, 1):
        ecs = [
            {"name": name, "subnet": "s", "addresses": [f"10.0.0.{name[2:]}"], "interface": name,
             "security_groups": groups, **{key: f"{value}{name[2:]}" if key == "mac" else value
                                           for key, value in more.items()}}
            for name, (groups, more) in sites.items()
        ]  # fmt: skip
        document = {
            "version": 1,
            "vpcs": [{"name": "v", "subnets": [{"name": "s", "cidr": "10.0.0.0/16"}]}],
            "security_groups": [{"name": "Sg-A"}, {"name": "Sg-B"}],
            "ecs": ecs,
        }
        policy = parse_policy(json.dumps(document))
        program = compile_policy(policy, host_layout(policy)).namespaces[0]
        found = remembered.lower(program, generation, absent)
        expected = lower(program, generation, absent)
        for one, other in zip(found.tables, expected.tables, strict=True):
            assert {entry.name: set(entry.elements) for entry in one.sets} == {
                entry.name: set(entry.elements) for entry in other.sets
            }
            assert {chain.name: chain for chain in one.chains} == {chain.name: chain for chain in other.chains}


def weight(ruleset: Ruleset) -> int:
    """Count the local classes whose entries are held."""
    maps = (entry.elements for entry in ruleset.tables[0].sets if isinstance(entry.elements, Verdicts))
    return sum(each._levels is not None for elements in maps for each in elements.said)


@settings(max_examples=25, deadline=None)
@given(one=random_policies(), other=random_policies())
def test_what_verdict_maps_weigh_can_be_let_go_and_every_change_is_as_before(one: Policy, other: Policy):
    lighter, heavier = Lowering(), Lowering()
    first, later = compiled(one), compiled(other)
    heavy = weight(lighter.begin(first, 1))
    lighter.let_go()
    before = lighter.lower(first, 1)
    assert weight(before) == 0 <= heavy, "they are in the kernel"
    assert changes(before, lighter.lower(first, 1)) == Changes(), "nothing differs"
    found = changes(before, lighter.lower(later, 2, edition=2))
    assert found == changes(heavier.begin(first, 1), heavier.lower(later, 2, edition=2))


def test_hosts_that_begin_and_cease_to_be_are_lowered_as_if_there_had_been_nothing_before():
    some = compiled(three_hosts(RULES)).addresses[0]
    none, one = replace(some, hosts=()), replace(some, hosts=some.hosts[:1])
    assert some.hosts
    for before in (some, one, none):
        for after in (some, one, none):
            assert spliced_hosts(classifier(before, 1), before, after) == classifier(after, 1)
