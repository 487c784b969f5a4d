"""The checker sees each kind of damage: every Program here is sound but for one thing."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from policies import compiled, three_hosts

from enforcer.compiler import Program, verify
from enforcer.compiler.program import UNCLASSED, LocalClass, NamespaceProgram, Span
from enforcer.model import Layout

SOUND = compiled(
    three_hosts("""
        security_groups:
          - name: Sg-A
            rules:
              - {id: hosts, direction: ingress, remote_group: Sg-B}
              - {id: net, direction: ingress, protocol: tcp, multiport: "22,80", remote_ip_prefix: 10.1.0.0/16}
              - {id: gre, direction: ingress, protocol: gre, remote_ip_prefix: 10.1.0.0/16}
    """)
)
WITH_RULES = next(policy for policy in SOUND.policies if policy.locals and policy.family == 4)
AT = SOUND.policies.index(WITH_RULES)
TWO_ROWS = next(entry for entry in WITH_RULES.classes if len(entry.regions) == 3)


def violations(**changes: Any) -> list[str]:
    return verify(Program((replace(SOUND, **changes),), Layout(())))


def with_addresses(**changes: Any) -> list[str]:
    return violations(addresses=(replace(SOUND.addresses[0], **changes), SOUND.addresses[1]))


def with_policy(**changes: Any) -> list[str]:
    policies = list(SOUND.policies)
    policies[AT] = replace(WITH_RULES, **changes)
    return violations(policies=tuple(policies))


def with_regions(*spans: tuple[tuple[int, int], tuple[int, int]]) -> list[str]:
    decider = TWO_ROWS.regions[0].decider
    found = tuple(
        replace(TWO_ROWS.regions[0], protocols=Span(*protocols), subkeys=Span(*subkeys), decider=decider)
        for protocols, subkeys in spans
    )
    classes = tuple(replace(e, regions=found) if e is TWO_ROWS else e for e in WITH_RULES.classes)
    return with_policy(classes=classes)


def test_a_program_of_the_compiler_is_sound():
    assert violations() == []


def test_two_policies_must_not_have_one_key():
    assert violations(policies=(*SOUND.policies, SOUND.policies[0])) == [
        f"{SOUND.name}: two side policies have one key"
    ]


def test_two_nics_must_not_share_an_interface():
    same = replace(SOUND.nics[1], interface=SOUND.nics[0].interface)
    assert violations(nics=(SOUND.nics[0], same)) == [f"{SOUND.name}: two NICs share an interface"]


def test_a_nic_must_name_policies_that_exist():
    assert "side policy" in violations(policies=SOUND.policies[1:])[0]


def test_a_nic_must_name_profiles_that_exist():
    gone = SOUND.sides_of(SOUND.nics[0])[0]
    assert violations(sides=tuple(sides for sides in SOUND.sides if sides is not gone)) == [
        f"{SOUND.name}: NIC {SOUND.nics[0].label}: IPv{gone.family} profile {gone.profile} does not exist"
    ]


@pytest.mark.parametrize(
    ("pieces", "complaint"),
    [
        ((((1, 2**32 - 1), UNCLASSED),), "the pieces do not cover the space"),
        ((((0, 2**32 - 2), UNCLASSED),), "the pieces do not cover the space"),
        ((((0, 5), UNCLASSED), ((7, 2**32 - 1), UNCLASSED)), "a gap or an overlap after 5"),
        ((((0, 7), UNCLASSED), ((7, 2**32 - 1), UNCLASSED)), "a gap or an overlap after 7"),
        ((((0, 2**32 - 1), UNCLASSED + 77),), f"class {UNCLASSED + 77} is not described"),
    ],
)
def test_pieces_must_cover_the_space_without_gap_or_overlap(pieces: tuple[Any, ...], complaint: str):
    found = with_addresses(pieces=tuple((Span(*span), number) for span, number in pieces))
    assert any(complaint in line for line in found), found


def test_hosts_must_be_sorted_and_unique_and_of_a_known_class():
    hosts = SOUND.addresses[0].hosts
    assert hosts
    doubled = with_addresses(hosts=(*hosts, hosts[0]))
    assert any("not sorted or not unique" in line for line in doubled)
    strange = with_addresses(hosts=((1, UNCLASSED + 77), *hosts))
    assert any("is not described" in line for line in strange)


def test_local_classes_must_exist_be_unique_and_below_the_global_ones():
    assert any("does not exist" in line for line in with_policy(locals=((WITH_RULES.locals[0][0], 77),)))
    assert any("does not exist" in line for line in with_policy(locals=((77, WITH_RULES.locals[0][1]),)))
    assert any("not unique" in line for line in with_policy(classes=(*WITH_RULES.classes, WITH_RULES.classes[1])))
    mixed = (*WITH_RULES.classes, LocalClass(UNCLASSED, ()))
    assert any("mix with global ones" in line for line in with_policy(classes=mixed))
    assert any("not unique" in line for line in with_policy(classes=WITH_RULES.classes[1:])), "the rest comes first"


@pytest.mark.parametrize(
    ("spans", "complaint"),
    [
        ((((6, 6), (22, 22)), ((6, 6), (22, 30))), "overlap at protocol 6, sub-key 22"),
        ((((6, 6), (80, 80)), ((6, 6), (22, 22))), "overlap at protocol 6"),
        ((((0, 7), (0, 9)), ((6, 6), (10, 20))), "rows overlap at protocol 6"),
        ((((6, 6), (0, 65536)),), "a span leaves its space"),
        ((((6, 256), (0, 65535)),), "a span leaves its space"),
        ((((6, 6), (9, 8)),), "a span leaves its space"),
    ],
)
def test_regions_must_be_disjoint_and_inside_their_space(spans: tuple[Any, ...], complaint: str):
    assert any(complaint in line for line in with_regions(*spans))


def test_the_complaint_names_the_list_and_the_class():
    (complaint,) = with_regions(((6, 6), (0, 65536)))
    assert re.fullmatch(
        rf"{SOUND.name}: \S+ class \d+: a span leaves its space: Span\(first=0, last=65536\)", complaint
    ), complaint


def test_the_complaint_names_the_namespace():
    program: NamespaceProgram = replace(SOUND, name="", nics=(SOUND.nics[0], SOUND.nics[0]))
    assert verify(Program((program,), Layout(()))) == ["own namespace: two NICs share an interface"]
