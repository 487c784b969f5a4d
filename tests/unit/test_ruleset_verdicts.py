"""A list whose rules change in place: a packet is judged as before or as after, one in flight as well (design §4)."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import count, pairwise, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packets import ICMP, ICMPV6, TCP, UDP, Packet
from policies import compiled, documents, rules
from test_ruleset_changes import Listing
from test_ruleset_levels import EDGES, rule, rule_lists
from tracer import Tracer

from enforcer.compiler import NamespaceProgram
from enforcer.compiler.effective import EffectiveRule
from enforcer.compiler.program import REST, LocalClass, SidePolicy
from enforcer.compiler.regions import regions
from enforcer.model import Direction, parse_policy
from enforcer.ruleset import lower
from enforcer.ruleset.changes import AddElements, AddSet, DeleteElements, DeleteSet, changes
from enforcer.ruleset.editions import in_place
from enforcer.ruleset.lower import Lowering
from enforcer.ruleset.nft import Element, Ruleset, Table
from enforcer.ruleset.policies import Life, Lowered, lower_policy
from enforcer.ruleset.verdicts import Said, may_change, said_by

Document = dict[str, Any]


@st.composite
def edited(draw: st.DrawFn, written: Document) -> Document:
    """Change a rule or two, as an operator does."""
    found = copy.deepcopy(written)
    for _ in range(draw(st.integers(1, 2))):
        group = draw(st.sampled_from(found["security_groups"]))
        listed = group["rules"]
        what = draw(st.sampled_from(("add", "remove", "ports", "action", "order")))
        if what == "add" or not listed:
            taken = {each.get("id") for each in listed}
            name = next(name for number in count() if (name := f"new-{number}") not in taken)
            listed.insert(draw(st.integers(0, len(listed))), {**draw(rules()), "id": name})
            continue
        rule = draw(st.sampled_from(listed))
        if what == "remove":
            listed.remove(rule)
        elif what == "ports" and rule.get("protocol") in ("tcp", "udp"):
            rule["multiport"] = draw(st.sampled_from(("22", "80,443", "1-65535", "8000-8010", "30-80")))
        elif what == "action":
            rule["action"] = "deny" if rule.get("action", "allow") == "allow" else "allow"
        else:
            rule["priority"] = draw(st.integers(1, 100))
    return found


@st.composite
def histories(draw: st.DrawFn) -> tuple[NamespaceProgram, ...]:
    """Draw a policy and what its operator makes of it, step by step."""
    written = [draw(documents())]
    for _ in range(draw(st.integers(1, 3))):
        written.append(draw(edited(written[-1])))
    return tuple(compiled(parse_policy(json.dumps(each))) for each in written)


def lived(programs: Sequence[NamespaceProgram]) -> list[Ruleset]:
    """Lower one program after the other, as a session does."""
    lowering, edition = Lowering(), 1
    found = [lowering.begin(programs[0], 1)]
    lowering.let_go()
    for generation, (before, after) in enumerate(pairwise(programs), start=2):
        edition += not in_place(before, after)
        found.append(lowering.lower(after, generation, edition=edition))
    return found


def packets(program: NamespaceProgram) -> list[Packet]:
    """Return new flows from each NIC to each other one, at ports that the generated rules name or just miss."""
    found = []
    for sender in program.nics:
        for receiver in program.nics:
            for family in (4, 6):
                ends = [next((n for n in nic.addresses if n.version == family), None) for nic in (sender, receiver)]
                if sender is receiver or None in ends:
                    continue
                one, other = (end.network_address for end in ends if end)
                common = {"iif": sender.interface, "oif": receiver.interface, "mac": sender.mac or ""}
                icmp = ICMP if family == 4 else ICMPV6
                found += [Packet(one, other, proto, dport=port, **common) for proto in (TCP, UDP) for port in PORTS]
                found.append(Packet(one, other, icmp, sport=(8 if family == 4 else 128) << 8, **common))
                found.append(Packet(one, other, 47, **common))
    return found


PORTS = (1, 22, 30, 79, 80, 81, 443, 8000, 65535)


@settings(max_examples=25, deadline=None)
@given(histories())
def test_whatever_has_changed_in_place_judges_as_what_is_lowered_anew(programs: tuple[NamespaceProgram, ...]):
    for program, ruleset in zip(programs, lived(programs), strict=True):
        ours, theirs = Tracer(ruleset), Tracer(lower(program, ruleset.generation))
        for packet in packets(program):
            one, other = ours.forward(packet), theirs.forward(packet)
            assert (one.accepted, one.by, one.lookups) == (other.accepted, other.by, other.lookups)


@settings(max_examples=40, deadline=None)
@given(histories())
def test_three_transactions_lead_from_each_state_to_the_next(programs: tuple[NamespaceProgram, ...]):
    states = lived(programs)
    listing = Listing(states[0])
    for before, after in pairwise(states):
        found = changes(before, after)
        for step in (found.prepare, found.switch, found.sweep):
            listing.commit(step)
        listing.holds(after)


# --- one list, and a packet that the commit overtakes between two lookups ---------------------------------------------

PLACES = (0x8000_0001, 0x8000_0002, 0x8000_0003)
"""Global classes; of the last one the list says nothing."""
LIFE = Life(3, 3)


def side(*listed: Sequence[EffectiveRule]) -> SidePolicy:
    """Make a side policy of the rules for any address, and of those that are asked first about two classes."""
    rest, *others = (regions(each, 4) for each in listed)
    named = {blake_number(each): each for each in others if each}
    local = tuple((place, blake_number(each)) for place, each in zip(PLACES, others, strict=False) if each)
    classes = (LocalClass(REST, rest), *(LocalClass(number, named[number]) for number in sorted(named)))
    return SidePolicy(f"i4_{blake_number(rest, *others):x}", "i4_list", Direction.INGRESS, 4, ("Sg",), local, classes)


def blake_number(*content: object) -> int:
    return int.from_bytes(blake2b(repr(content).encode(), digest_size=4).digest(), "big") & 0x7FFF_FFFF or 1


@st.composite
def edits(draw: st.DrawFn) -> tuple[SidePolicy, SidePolicy]:
    """Draw a list and what one or two changed rules make of it."""
    before = [draw(rule_lists()) for _ in range(3)]
    if draw(st.booleans()):
        before[1].append(rule("all"))  # a class that a default decides about, with exceptions
    after = [list(each) for each in before]
    if draw(st.integers(0, 5)) == 5:  # a class comes to say what another one has said
        one, other = draw(st.permutations((1, 2)))
        after[one] = list(before[other])
    for _ in range(draw(st.integers(1, 2))):
        more = draw(rule_lists())[:1]
        for listed in [after[at] for at in draw(st.sampled_from(((0,), (0, 1), (0, 1), (1,), (0, 1, 2))))]:
            if listed and not more:
                del listed[draw(st.integers(0, len(listed) - 1))]
            else:
                listed[:0] = more
    return side(*before), side(*after)


Contents = dict[str, dict[Any, Element]]


def contents(lowered: Lowered) -> Contents:
    return {entry.name: {element.key: element for element in entry.elements} for entry in lowered.sets}


def committed(before: Lowered, after: Lowered) -> tuple[Contents, Contents, Contents]:
    """Return what the maps hold after the prepare, the switch and the sweep."""
    tables = ((Table("inet", "enforcer", (), each.sets, each.chains),) for each in (before, after))
    found = changes(*(Ruleset("", each, 1) for each in tables))
    there = contents(before)
    states = []
    for step in (found.prepare, found.switch, found.sweep):
        there = {name: dict(elements) for name, elements in there.items()}
        for operation in step:
            match operation:
                case AddSet(_, entry):
                    there[entry.name] = {element.key: element for element in entry.elements}
                case AddElements(_, entry, elements):
                    assert not there[entry.name].keys() & {element.key for element in elements}
                    there[entry.name] |= {element.key: element for element in elements}
                case DeleteElements(_, entry, elements):
                    assert step is not found.switch or not entry.interval, "the kernel fills them after the commit"
                    for element in elements:
                        assert there[entry.name].pop(element.key) == element
                case DeleteSet(_, name):
                    del there[name]
        states.append(there)
    return states[0], states[1], states[2]


def judged(rules: Lowered, states: tuple[Contents, Contents], at: int, place: int, proto: int, port: int) -> str:
    """Walk through the chain of a list; from lookup number `at` on, the second state is met."""
    asked = count()

    def _find(name: str, key: tuple[int, ...]) -> Element | None:
        there = states[next(asked) >= at][name]
        inside = (e for k, e in there.items() if k[:-1] == key[:-1] and k[-1][0] <= key[-1] <= k[-1][1])
        return next(inside, None) if "range" in name else there.get(key)

    local, *maps = rules.sets
    rest = rules.said[0].number
    found = _find(local.name, (place,)) if rules.judge.by_address else None
    number = found.value if found else rest
    for mine in dict.fromkeys((number, rest)):
        for entry in maps:
            key = (mine, proto, port)[: len(entry.key)]
            if answer := _find(entry.name, key):  # type: ignore[arg-type]
                return f"{answer.value} {answer.comment}"
    return ""


@settings(max_examples=150, deadline=None)
@given(edits())
def test_a_packet_in_flight_is_judged_by_the_old_rules_or_by_the_new_ones(sides: tuple[SidePolicy, SidePolicy]):
    before = lower_policy(sides[0], LIFE)
    after = lower_policy(sides[1], replace(LIFE, turn=4), before)
    if before.judge.by_address and after.judge.by_address:
        overtaken(before, after, lower_policy(sides[1]))


def overtaken(before: Lowered, after: Lowered, anew: Lowered) -> None:
    """Let the commit overtake packets at each of their lookups: none meets what is neither old nor new."""
    prepared, switched, swept = committed(before, after)
    assert swept == contents(after)
    for place, proto, port in product(PLACES, (1, 6, 17, 47), EDGES):
        was, is_ = (judged(each, (contents(each),) * 2, 0, place, proto, port) for each in (before, after))
        assert is_ == judged(anew, (contents(anew),) * 2, 0, place, proto, port)
        assert is_ == judged(after, (switched,) * 2, 0, place, proto, port)
        for at in range(12 if was != is_ or before.said != after.said else 0):
            met = judged(before, (prepared, switched), at, place, proto, port)
            assert met in (was, is_), (at, place, proto, port)


DENIED_80, DENIED_81, ALLOWED_80, ALLOWED_81 = (
    rule(f"{action}-{port}", protocol="tcp", multiport=str(port), action=action)
    for action, port in product(("deny", "allow"), (80, 81))
)
ANY_TCP, ALL = rule("tcp", protocol="tcp"), rule("all")
UDP_53, UDP_54 = (rule(f"udp-{port}", protocol="udp", multiport=str(port)) for port in (53, 54))


@pytest.mark.parametrize(
    ("was", "is_", "in_place"),
    [
        # Who finds nothing of his class asks the rest, and that has changed meanwhile.
        (([ALLOWED_81], [DENIED_80]), ([ALLOWED_80], [DENIED_81]), False),
        (([ALLOWED_81], [DENIED_80]), ([ALLOWED_81], [DENIED_81]), True),
        (([ALLOWED_81], [DENIED_80]), ([ALLOWED_80], [DENIED_80]), True),
        # One of two classes may not change under its number, so the other may not, either.
        (([], [UDP_53], [UDP_54]), ([], [UDP_54], [rule("wide", protocol="udp")]), False),
        # A class comes to be like the rest: what was said of it would hold until the sweep.
        (([], [UDP_53], [UDP_54]), ([], [], [UDP_54]), False),
        (([], [UDP_53], [UDP_54]), ([], [UDP_54], [UDP_53]), True),
        # What differs on two levels is said beside it under a number of its own, and the class gets that.
        (([], [UDP_53], [UDP_54, ANY_TCP]), ([], [ANY_TCP], [UDP_54, ANY_TCP]), True),
    ],
)
def test_a_list_changes_in_place_only_where_no_packet_in_flight_could_tell(
    was: Sequence[list[EffectiveRule]], is_: Sequence[list[EffectiveRule]], in_place: bool
):
    before = lower_policy(side(*was), LIFE)
    after = lower_policy(side(*is_), replace(LIFE, turn=4), before)
    assert (after.name == before.name) is in_place
    overtaken(before, after, lower_policy(side(*is_)))


def test_a_class_whose_addresses_are_gone_changes_like_others():
    before, after = (side(rest, [UDP_53], [DENIED_80]) for rest in ([ALLOWED_80], [ALLOWED_81]))
    before, after = (replace(each, locals=each.locals[:1]) for each in (before, after))
    there = lower_policy(before, LIFE)
    overtaken(there, lower_policy(after, replace(LIFE, turn=4), there), lower_policy(after))


def test_a_class_that_comes_to_say_what_another_one_said_leaves_that_what_it_was():
    """Found by the fuzzer: rules that moved up by one left a class without any entry."""
    first, second, third = ([rule(name, protocol="udp")] for name in ("first", "second", "third"))
    before = lower_policy(side([], first, second), LIFE)
    was = contents(before)
    after = lower_policy(side([], second, third), replace(LIFE, turn=4), before)
    assert contents(before) == was
    assert committed(before, after)[2] == contents(after)


def test_a_class_that_repeats_the_rest_says_something_else_when_that_does():
    wide = [rule("wide", protocol="tcp", multiport="1-79,81-65535")]
    others = [rule("other", protocol="udp", multiport="53")]
    for listed in ([wide], [wide, others], [others, wide]):
        before = lower_policy(side([rule("old", protocol="tcp", multiport="80")], *listed), LIFE)
        policy = side([rule("new", protocol="tcp", multiport="80", action="deny")], *listed)
        after = lower_policy(policy, replace(LIFE, turn=4), before)
        met = [judged(after, (contents(after),) * 2, 0, place, 6, 80) for place in PLACES]
        assert met == ["4294901760 Sg/new"] * len(PLACES)


RANGE_200, RANGE_300 = (rule("r", protocol="tcp", multiport=f"100-{last}") for last in (200, 300))


@pytest.mark.parametrize(
    ("old", "new", "alone", "with_the_rest"),
    [
        ([DENIED_80], [DENIED_81], True, False),  # who finds no entry asks the rest, and that has changed meanwhile
        ([DENIED_80, ANY_TCP], [DENIED_81, ANY_TCP], True, True),
        ([DENIED_80, ALL], [DENIED_81, ALL], True, True),
        ([DENIED_80, ALL], [ALL], True, True),
        ([ALL], [rule("none", action="deny")], True, False),
        ([ANY_TCP], [rule("no-tcp", protocol="tcp", action="deny")], True, False),
        ([ANY_TCP, ALL], [rule("no-tcp", protocol="tcp", action="deny"), ALL], True, True),
        ([DENIED_80], [ANY_TCP], False, False),  # two levels
        (
            [rule("r", protocol="tcp", multiport="100-200")],
            [rule("r", protocol="tcp", multiport="100-300")],
            False,
            False,
        ),
        ([DENIED_80], [DENIED_80], False, False),
    ],
)
def test_what_may_change_in_place_under_its_number(
    old: list[EffectiveRule], new: list[EffectiveRule], alone: bool, with_the_rest: bool
):
    before, after = (Said(LocalClass(7, regions(rules, 4)), {}) for rules in (old, new))
    assert may_change(before, after, alone=True) is alone
    assert may_change(before, after, alone=False) is with_the_rest


def test_of_entries_that_differ_only_these_are_written():
    def denying(ports: str) -> list[EffectiveRule]:
        return [rule(port, protocol="tcp", multiport=port, action="deny") for port in ports.split()]

    before = lower_policy(side(denying("22 80 443"), [ANY_TCP]), LIFE)
    after = lower_policy(side(denying("23 80"), [ANY_TCP]), replace(LIFE, turn=4), before)
    tables = ((Table("inet", "enforcer", (), each.sets, each.chains),) for each in (before, after))
    found = changes(*(Ruleset("", each, 1) for each in tables))
    gone, come = found.switch
    assert isinstance(gone, DeleteElements)
    assert isinstance(come, AddElements)
    assert [element.comment for element in gone.elements] == ["Sg/22", "Sg/443"]
    assert [element.comment for element in come.elements] == ["Sg/23"]
    assert (found.prepare, found.sweep) == ([], [])


def test_a_number_that_is_taken_is_passed_over():
    (said,) = said_by(side([rule("all")]))
    first = said.number
    assert said.free_of({first, first + 1, first + 3}).number == first + 2
    said.number = 0x7FFF_FFFF
    assert said.free_of({0x7FFF_FFFF, 1}).number == 2, "local classes have no top bit, and 0 is none"


def test_what_is_said_as_before_stands_for_the_regions_of_the_later_state():
    """Else those of the earlier state would be held besides, with all rules that they name."""
    rest, near = [rule("web", protocol="tcp", multiport="80")], [rule("near", protocol="udp")]
    before, later = side(rest, near), side(copy.deepcopy(rest), copy.deepcopy(near))
    said = said_by(before)
    again = said_by(later, said)
    assert all(one is other for one, other in zip(said, again, strict=True))
    assert [each.local for each in again] == list(later.classes)
    assert all(each.local is local for each, local in zip(again, later.classes, strict=True))


def test_each_way_in_which_a_list_changes_is_drawn():
    """Draws are many, but each way in which a list can change must be among them."""
    seen = Counter[str]()

    @settings(max_examples=900, deadline=None, database=None, derandomize=True)
    @given(edits())
    def _drawn(sides: tuple[SidePolicy, SidePolicy]) -> None:
        before = lower_policy(sides[0], LIFE)
        after = lower_policy(sides[1], replace(LIFE, turn=4), before)
        if before.judge.by_address and after.judge.by_address:
            seen["in place" if after.name == before.name else "another chain"] += 1
            seen["the rest in place"] += after.said[0].number == before.said[0].number is not after.said[0]
            known = {each.number: each for each in before.said}
            seen["several"] += sum(known.get(each.number, each) is not each for each in after.said) > 1

    _drawn()
    assert all(seen[way] > 3 for way in ("in place", "another chain", "the rest in place", "several")), seen
