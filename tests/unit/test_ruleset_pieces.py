"""Many pieces are asked in parts, and a change of some writes the parts that they are in (design §2, §4)."""

from __future__ import annotations

import json
from bisect import bisect_right
from ipaddress import ip_address
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from judge import class_of

from enforcer.compiler import compile_policy
from enforcer.compiler.incremental import Compiler
from enforcer.compiler.program import ADDRESS_BITS, FAMILIES, Span
from enforcer.model import Family, Policy, host_layout, parse_policy
from enforcer.ruleset.changes import AddSet, changes
from enforcer.ruleset.classify import DESTINATION, SOURCE, classifier
from enforcer.ruleset.lower import Lowering
from enforcer.ruleset.nft import Dispatch, Interval, Load
from enforcer.ruleset.pieces import MOST, PieceMaps, Pieces, piece_maps

ENDS = {family: (SOURCE[family], DESTINATION[family]) for family in FAMILIES}
UNITS: dict[Family, int] = {4: 20, 6: 64}


def cut(family: Family, units: set[int]) -> Pieces:
    """Cut the space so many prefixes of a length apart, as prefixes of that length do."""
    starts = [0, *sorted(unit + 1 << UNITS[family] - 8 * (family == 4) for unit in units)]
    ends = [*(start - 1 for start in starts[1:]), (1 << ADDRESS_BITS[family]) - 1]
    return tuple((Span(*span), 1 + span[0] % 7) for span in zip(starts, ends, strict=True))


def lowered(family: Family, units: set[int], before: PieceMaps | None = None) -> PieceMaps:
    return piece_maps(cut(family, units), family, ENDS[family], before)


MANY = {family: set(range(3, 4 * MOST, 3)) for family in FAMILIES}


def asked(found: PieceMaps, family: Family, address: int) -> int:
    """Ask the pieces as the kernel does."""
    sets, chains = ({each.name: each for each in some} for some in (found.sets, found.chains))
    answers = []
    for field in ENDS[family]:
        statement: Any = found.ask(field)
        if isinstance(statement, Dispatch):
            (top,) = [e for e in sets[statement.map].elements if _inside(e.key[0], address)]
            ((statement,),) = [each.statements for each in chains[top.value.chain].rules]  # type: ignore[union-attr]
        assert isinstance(statement, Load)
        assert statement.fields == (field,)
        (element,) = [e for e in sets[statement.map].elements if _inside(e.key[0], address)]
        answers.append(element.value)
    assert answers[0] == answers[1]
    return answers[0]


def _inside(key: Any, address: int) -> bool:
    return isinstance(key, Interval) and key.first <= address <= key.last


def test_few_pieces_are_one_map():
    found = lowered(4, set(range(1, MOST)))
    assert [len(entry.elements) for entry in found.sets] == [MOST]
    assert found.chains == ()


def test_many_pieces_are_parts_of_a_hundred_or_so():
    for family in FAMILIES:
        found = lowered(family, MANY[family])
        sizes = [len(part.pieces) for part in found.parts]
        assert sum(sizes) == len(found.pieces)
        assert len(found.pieces) / 300 < len(sizes) < len(found.pieces) / 50
        assert max(sizes) < len(found.pieces) / 2


@given(st.sampled_from(FAMILIES), st.integers(0, 5 * MOST), st.booleans())
def test_each_address_has_the_class_of_its_piece(family: Family, unit: int, last: bool):
    found = lowered(family, MANY[family])
    address = max((unit << UNITS[family] - 8 * (family == 4)) - last, 0)
    starts = [span.first for span, _ in found.pieces]
    assert asked(found, family, address) == found.pieces[bisect_right(starts, address) - 1][1]


CHANGES = st.lists(st.sets(st.integers(1, 6 * MOST), max_size=3), min_size=1, max_size=4)


@given(st.sampled_from(FAMILIES), CHANGES, st.booleans())
@example(4, [set()], False)
def test_parts_do_not_depend_on_what_was_there_before(family: Family, steps: list[set[int]], few: bool):
    units = set(range(MOST)) if few else MANY[family]
    found = lowered(family, units)
    for step in steps:
        units = units ^ step
        before, found = found, lowered(family, units, found)
        assert found == lowered(family, units)
        kept = {id(part) for part in before.parts} & {id(part) for part in found.parts}
        if before.parts and found.parts and len(step) < 2:
            assert len(found.parts) - len(kept) <= 2 * len(step), "the part itself, or both where it is cut"


def policy(prefixes: list[str]) -> Policy:
    rules = [
        {"id": f"r{number}", "direction": "ingress", "protocol": "tcp", "multiport": "22", "remote_ip_prefix": prefix}
        for number, prefix in enumerate(prefixes)
    ]
    document = {
        "version": 1,
        "vpcs": [{"name": "v", "subnets": [{"name": "s", "cidr": "10.0.0.0/16"}]}],
        "security_groups": [{"name": "web", "rules": rules}],
        "ecs": [{"name": "a", "subnet": "s", "addresses": ["10.0.0.1"], "interface": "v-a",
                 "security_groups": ["web"]}],
    }  # fmt: skip
    return parse_policy(json.dumps(document))


PREFIXES = [f"172.{16 + number // 256}.{number % 256}.0/26" for number in range(MOST)]


def test_a_new_prefix_among_many_writes_a_part_and_no_other():
    before, compiler, lowering = policy(PREFIXES), Compiler(), Lowering()
    first = lowering.lower(compiler.compile(before).namespaces[0], 1)
    after = before.model_copy(update={"security_groups": policy([*PREFIXES, "172.16.9.128/26"]).security_groups})
    program = compiler.compile(after).namespaces[0]
    found = changes(first, lowering.lower(program, 2))
    new = [each.set for each in found.prepare if isinstance(each, AddSet) and each.set.name.startswith("piece")]
    assert len(new) <= 2
    assert sum(len(entry.elements) for entry in new) < len(program.addresses[0].pieces) / 2


def test_hosts_that_stay_beside_new_pieces_are_the_same_in_a_map_of_their_own():
    some, more = (
        compile_policy(each, host_layout(each)).namespaces[0].addresses[0]
        for each in (policy(["10.9.9.9/32", *PREFIXES[:count]]) for count in (3, 4))
    )
    assert some.pieces != more.pieces
    before = classifier(some)
    after = classifier(more, 2, (some, before))
    assert (before.sets[0].name, after.sets[0].name) == ("host4_1", "host4_2")
    assert after.sets[0].elements == before.sets[0].elements
    assert [each.key for each in after.sets[0].elements] == [(int(ip_address("10.9.9.9")),)]


def test_an_address_among_many_prefixes_has_its_class():
    program = compile_policy(policy(PREFIXES), host_layout(policy(PREFIXES))).namespaces[0]
    addresses = program.addresses[0]
    found = classifier(addresses).pieces
    assert found.parts
    for address in (0, 0xAC10_0000, 0xAC10_0900, 0xAC10_0940, 0xAC11_FF3F, 0xFFFF_FFFF):
        assert asked(found, 4, address) == class_of(addresses, address)
