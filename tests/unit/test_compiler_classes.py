"""Cutting the address space: every address has one class, and addresses of equal terms have the same one."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from judge import class_of

from enforcer.compiler.classes import FIRST_CLASS, address_map, class_numbers
from enforcer.compiler.program import LAST_CLASS, UNCLASSED, AddressMap, Span
from enforcer.compiler.space import Space
from enforcer.compiler.terms import Term, merge
from enforcer.ruleset.verdicts import ALLOWED, DENIED

MOST = 2**32 - 1


def term(name: str, *networks: str) -> Term:
    found = [ip_network(text) for text in networks]
    return Term(name, merge([Span(int(n.network_address), int(n.broadcast_address)) for n in found]))


def terms_of(addresses: AddressMap, address: str) -> tuple[str, ...]:
    number = class_of(addresses, int(ip_address(address)))
    return next(entry.terms for entry in addresses.classes if entry.number == number)


def test_without_terms_one_piece_covers_the_space():
    for family, most in ((4, MOST), (6, 2**128 - 1)):
        assert address_map([], family).pieces == ((Span(0, most), UNCLASSED),)


def test_an_address_has_the_class_of_the_terms_that_hold_it():
    found = address_map([term("ten", "10.0.0.0/8"), term("lan", "10.0.0.0/24"), term("group", "10.0.0.11")], 4)
    assert terms_of(found, "9.255.255.255") == ()
    assert terms_of(found, "10.0.1.0") == ("ten",)
    assert terms_of(found, "10.0.0.0") == terms_of(found, "10.0.0.255") == ("lan", "ten")
    assert terms_of(found, "10.0.0.11") == ("group", "lan", "ten")
    assert terms_of(found, "11.0.0.0") == ()


def test_members_do_not_cut_the_pieces_up():
    members = term("group", *(f"10.0.0.{last}" for last in range(1, 200, 2)))
    found = address_map([term("lan", "10.0.0.0/24"), members], 4)
    assert [str(ip_address(piece.first)) for piece, _ in found.pieces] == ["0.0.0.0", "10.0.0.0", "10.0.1.0"]
    assert len(found.hosts) == 100


def test_members_that_are_neighbours_are_hosts_one_by_one():
    first = int(ip_address("10.0.0.11"))
    group = Term("group", tuple(Span(first + n, first + n) for n in range(5)))
    found = address_map([group, term("lan", "10.0.0.0/24")], 4)
    assert [address for address, _ in found.hosts] == [first + n for n in range(5)]
    assert len({number for _, number in found.hosts}) == 1
    assert len(found.pieces) == 3, "the prefix is not cut up"
    fewer = address_map([Term("group", group.spans[:2] + group.spans[3:]), term("lan", "10.0.0.0/24")], 4)
    assert fewer.pieces == found.pieces
    assert set(found.hosts) - set(fewer.hosts) == {found.hosts[2]}, "who leaves takes one entry along"


def test_a_single_address_left_out_of_a_range_has_its_own_class():
    found = address_map([term("listed", "10.0.0.0/30", "10.0.0.5", "10.0.0.6/31")], 4)
    assert terms_of(found, "10.0.0.4") == ()
    assert terms_of(found, "10.0.0.3") == terms_of(found, "10.0.0.5") == ("listed",)
    assert len(found.pieces) == 3, "the hole is a host inside one piece"
    assert found.hosts == ((int(ip_address("10.0.0.4")), UNCLASSED),)


def test_the_ends_of_the_space_are_addresses_like_others():
    found = address_map([term("ends", "0.0.0.0", "255.255.255.255")], 4)
    assert terms_of(found, "0.0.0.0") == terms_of(found, "255.255.255.255") == ("ends",)
    assert terms_of(found, "0.0.0.1") == terms_of(found, "255.255.255.254") == ()
    assert found.pieces == ((Span(0, MOST), UNCLASSED),)


def test_a_class_keeps_its_number_while_members_and_other_terms_change():
    before = address_map([term("group", "10.0.0.1")], 4)
    after = address_map([term("group", "10.0.0.1", "10.0.0.2"), term("new", "10.0.0.2", "10.9.0.0/16")], 4)
    host = int(ip_address("10.0.0.1"))
    assert class_of(before, host) == class_of(after, host)
    assert class_of(after, host + 1) != class_of(after, host)


def test_every_number_is_a_global_class_none_is_a_verdict_and_nft_has_a_word_for_the_last():
    numbers = class_numbers([(), *((f"term {n}",) for n in range(5000))])
    assert numbers.pop(()) == UNCLASSED
    assert len(set(numbers.values())) == 5000
    assert all(FIRST_CLASS <= number <= LAST_CLASS < DENIED < ALLOWED < 0xFFFF_FFFF for number in numbers.values())


NETWORKS = st.builds(
    lambda value, length: ip_network((value & ~((1 << (32 - length)) - 1), length)),
    st.sampled_from((0, 1, 7, 8, 1 << 31, (1 << 31) - 1, MOST, MOST - 1, 0x0A00000B, 0x0A00000C)),
    st.sampled_from((0, 1, 8, 24, 29, 30, 31, 32)),
)


@given(st.lists(st.lists(NETWORKS, max_size=4), max_size=4))
def test_classes_agree_with_asking_every_term(sets: list[list]):
    terms = [term(f"term {n}", *map(str, networks)) for n, networks in enumerate(sets)]
    found = address_map(terms, 4)
    edges = {0, MOST} | {
        border for networks in sets for n in networks for border in (int(n.network_address), int(n.broadcast_address))
    }
    for value in sorted({e + step for e in edges for step in (-1, 0, 1)} - {-1, MOST + 1}):
        address = ip_address(value)
        expected = tuple(sorted(f"term {n}" for n, nets in enumerate(sets) if any(address in net for net in nets)))
        assert terms_of(found, str(address)) == expected, address
    firsts = [piece.first for piece, _ in found.pieces]
    assert firsts == [0, *(piece.last + 1 for piece, _ in found.pieces[:-1])], "no gap, no overlap"
    assert all(one[1] != other[1] for one, other in zip(found.pieces, found.pieces[1:], strict=False)), (
        "neighbours differ"
    )


ENDS = st.integers(0, 11).map(lambda number: number if number < 6 else MOST - 11 + number)
RANGES = st.lists(st.tuples(ENDS, ENDS), max_size=3).map(
    lambda pairs: tuple(s for s in merge([Span(min(pair), max(pair)) for pair in pairs]) if s.first != s.last)
)
MEMBERS = st.dictionaries(ENDS, st.sampled_from(("one", "two", "group")), max_size=4)


@given(st.lists(st.tuples(st.sampled_from(("one", "two", "three")), RANGES, MEMBERS), min_size=1, max_size=8))
def test_ranges_that_come_and_go_lead_to_the_map_of_the_last_ones(steps: list[tuple[str, tuple[Span, ...], Any]]):
    space, ranges, listed = Space({}, {}, 4), dict[str, tuple[Span, ...]](), dict[int, str]()
    for name, spans, members in steps:
        moved = {address for address in listed.keys() | members.keys() if listed.get(address) != members.get(address)}
        listings = {address: Counter() for address in moved}
        for address, counted in listings.items():
            counted[members.get(address, "")] += 1
            counted[listed.get(address, "")] -= 1
            counted.pop("", None)
        ranges, listed = {**ranges, name: spans}, members
        before = {entry.number for entry in space.map.classes}
        found = space.with_ranges({name: spans}, listings)
        singles = {term: [Span(a, a) for a, by in sorted(listed.items()) if by == term] for term in listed.values()}
        terms = [
            Term(each, tuple(sorted((*ranges.get(each, ()), *singles.get(each, ())))))
            for each in sorted({*ranges, *singles})
        ]
        assert found is not None
        assert found[0] == space.map == address_map(terms, 4)
        assert {entry.number for entry in found[1]} == {entry.number for entry in space.map.classes} - before


def test_members_at_the_ends_of_a_range_that_comes_and_goes_are_in_it():
    net = Span(0x0A00_0000, 0x0A00_00FF)
    listed = {address: Counter(group=1) for address in (net.first - 1, *net, net.last + 1)}
    members = Term("group", tuple(Span(address, address) for address in listed))
    space = Space({}, listed, 4)
    for spans in ((net,), (), (net,)):
        space.with_ranges({"net": spans}, {})
        assert space.map == address_map([members, Term("net", spans)], 4)
