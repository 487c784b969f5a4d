"""From one Ruleset to the next: a listing takes the operations, and refuses what the kernel refuses (design §4)."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from judge import class_of
from policies import compiled, documents, three_hosts

from enforcer.compiler import NamespaceProgram, compile_policy
from enforcer.compiler.incremental import Compiler
from enforcer.model import Ecs, Policy, host_layout, parse_policy
from enforcer.ruleset import lower, names
from enforcer.ruleset.changes import (
    AddChain,
    AddElements,
    AddSet,
    Changes,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    EmptyChain,
    Operation,
    Refill,
    Unequal,
    changes,
)
from enforcer.ruleset.editions import in_place
from enforcer.ruleset.lower import Lowering
from enforcer.ruleset.nft import Chain, Dispatch, Element, InSet, Load, Ruleset, Set, Table, Verdict
from enforcer.ruleset.skeleton import TIMEOUT_OBJECTS

RULES = """
security_groups:
  - name: Sg-A
    rules:
      - {id: web, direction: ingress, protocol: tcp, multiport: "80,443", remote_group: Sg-B}
      - {id: net, direction: ingress, protocol: udp, remote_ip_prefix: 10.0.0.0/28}
      - {id: out, direction: egress}
"""
ONE = lower(compiled(three_hosts(RULES)))
OTHER = lower(compiled(three_hosts(RULES.replace("443", "444").replace("/28", "/27"))), 2)
Key = tuple[str, str]


class Listing:
    """What is in the kernel: sets with their elements, chains with their rules."""

    def __init__(self, ruleset: Ruleset) -> None:
        self.sets: dict[Key, tuple[Set, dict[Any, Element]]] = {}
        self.chains: dict[Key, Chain] = {}
        self.coming: set[Key] = set()
        for table in ruleset.tables:
            self.sets |= {(table.family, entry.name): _filled(entry) for entry in table.sets}
            self.chains |= {(table.family, chain.name): chain for chain in table.chains}

    def commit(self, operations: list[Operation]) -> None:
        """Take one transaction; what it leaves must name nothing that is not there."""
        self.coming = {(each.family, each.chain.name) for each in operations if isinstance(each, AddChain)}
        for operation in operations:
            self._take(operation)
        for family, where, kind, name in self._named():
            assert (family, name) in (self.sets if kind == "set" else self.chains), f"{where} names {name}"

    def _take(self, operation: Operation) -> None:
        match operation:
            case AddSet(family, entry):
                assert (family, entry.name) not in self.sets
                named = {(family, target) for target in _targets(entry.elements)}
                assert named <= self.chains.keys() | self.coming, "messages of a transaction make its chains first"
                self.sets[family, entry.name] = _filled(entry)
            case AddElements(family, entry, elements):
                there = self.sets[family, entry.name][1]
                assert not there.keys() & {element.key for element in elements}, "the kernel replaces no element"
                there.update((element.key, element) for element in elements)
            case DeleteElements(family, entry, elements):
                for element in elements:
                    del self.sets[family, entry.name][1][element.key]
            case AddChain(family, chain):
                assert (family, chain.name) not in self.chains
                self.chains[family, chain.name] = chain
            case Refill(family, chain):
                there = self.chains[family, chain.name]
                assert there.hook == chain.hook
                self.chains[family, chain.name] = replace(there, rules=chain.rules)
            case EmptyChain(family, name):
                self.chains[family, name] = replace(self.chains[family, name], rules=())
            case DeleteChain(family, name):
                assert self.chains.pop((family, name)).rules == ()
            case DeleteSet(family, name):
                del self.sets[family, name]

    def _named(self) -> list[tuple[str, str, str, str]]:
        """Return who names which set or chain."""
        found = []
        for (family, at), (_, elements) in self.sets.items():
            found += [(family, at, "chain", target) for target in _targets(tuple(elements.values()))]
        for (family, at), chain in self.chains.items():
            for statement in (each for one in chain.rules for each in one.statements):
                match statement:
                    case InSet(_, name) | Dispatch(_, name) | Load(_, name):
                        found.append((family, at, "set", name))
                    case Verdict(_, name) if name:
                        found.append((family, at, "chain", name))
        return found

    def holds(self, ruleset: Ruleset) -> None:
        """Compare with a Ruleset, object by object; the order of elements says nothing."""
        wanted = Listing(ruleset)
        assert self.chains == wanted.chains
        assert {key: elements for key, (_, elements) in self.sets.items()} == {
            key: elements for key, (_, elements) in wanted.sets.items()
        }


def _filled(entry: Set) -> tuple[Set, dict[Any, Element]]:
    return entry, {element.key: element for element in entry.elements}


def _targets(elements: tuple[Element, ...]) -> list[str]:
    return [each.value.chain for each in elements if isinstance(each.value, Verdict) and each.value.chain]


def led(before: Ruleset, after: Ruleset) -> Changes:
    """Commit what leads from one Ruleset to the other, one transaction after the other."""
    listing, found = Listing(before), changes(before, after)
    for step in (found.prepare, found.switch, found.sweep):
        listing.commit(step)
    listing.holds(after)
    return found


def test_three_transactions_lead_from_one_ruleset_to_the_other_and_back():
    for before, after in ((ONE, OTHER), (OTHER, ONE)):
        found = led(before, after)
        assert {type(each) for each in found.prepare} == {AddSet, AddChain}
        assert {type(each) for each in found.sweep} == {EmptyChain, DeleteChain, DeleteSet}


def test_from_a_ruleset_to_itself_nothing_leads():
    assert changes(ONE, ONE) == Changes()
    assert changes(ONE, lower(compiled(three_hosts(RULES)))) == Changes()


def test_before_the_switch_and_after_it_nothing_that_is_asked_changes():
    """A packet in flight meets complete objects: the old ones until the sweep, the new ones from the prepare on."""
    found = changes(ONE, OTHER)
    listing = Listing(ONE)
    listing.commit(found.prepare)
    assert {key: listing.chains[key] for key in Listing(ONE).chains} == Listing(ONE).chains
    assert {key: listing.sets[key] for key in Listing(ONE).sets} == Listing(ONE).sets
    listing.commit(found.switch)
    new = Listing(OTHER)
    assert {key: listing.chains[key] for key in new.chains} == new.chains
    assert {key: listing.sets[key][1] for key in new.sets} == {key: elements for key, (_, elements) in new.sets.items()}


def test_what_counts_hits_and_goes_is_named_before_it_goes():
    found = changes(ONE, OTHER)
    gone = {each.name for each in found.sweep if isinstance(each, DeleteSet)}
    counted = {entry.name for table in ONE.tables for entry in table.sets if entry.counted}
    chains = {each.name for each in found.sweep if isinstance(each, DeleteChain)}
    assert set(found.retired) == (gone & counted) | {name for name in chains if name.startswith(names.COUNTING)}
    assert gone & counted


def test_a_generation_is_one_transaction_and_takes_the_chain_that_names_it_along():
    found = led(ONE, lower(compiled(three_hosts(RULES)), 2))
    assert (found.prepare, found.sweep, found.retired) == ([], [], [])
    chains = [each for each in found.switch if isinstance(each, (AddChain, DeleteChain))]
    assert [type(each) for each in chains] == [AddChain, DeleteChain]


@pytest.mark.parametrize("what", ["hook", "comment"])
def test_a_base_chain_is_never_hooked_elsewhere_in_place(what: str):
    def moved(chain: Chain) -> Chain:
        if chain.hook is None:
            return chain
        other = {"hook": replace(chain.hook, priority=7), "comment": "another"}[what]
        return replace(chain, **{what: other})

    after = replace(ONE, tables=tuple(replace(t, chains=tuple(moved(each) for each in t.chains)) for t in ONE.tables))
    with pytest.raises(Unequal):
        changes(ONE, after)


def test_a_set_of_one_name_is_never_of_another_kind_and_timeouts_never_others():
    inet = ONE.tables[0]
    for other in (
        replace(inet, sets=(replace(inet.sets[0], size=77), *inet.sets[1:])),
        replace(inet, timeouts=TIMEOUT_OBJECTS),
    ):
        with pytest.raises(Unequal):
            changes(ONE, replace(ONE, tables=(other, *ONE.tables[1:])))


def growing(*elements: Element) -> Ruleset:
    """Return ONE with other elements in the map that only grows before the sweep."""
    inet = ONE.tables[0]
    sets = tuple(replace(entry, elements=elements) if entry.grows else entry for entry in inet.sets)
    assert sets != inet.sets
    return replace(ONE, tables=(replace(inet, sets=sets), *ONE.tables[1:]))


def test_a_map_of_classes_grows_with_the_switch_and_shrinks_with_the_sweep():
    one, two = growing(Element((5,), 1), Element((6,), 1)), growing(Element((6,), 1), Element((7,), 2))
    found = led(one, two)
    (added,), (deleted,) = found.switch, found.sweep
    assert isinstance(added, AddElements)
    assert isinstance(deleted, DeleteElements)
    assert ([each.key for each in added.elements], [each.key for each in deleted.elements]) == ([(7,)], [(5,)])


def test_a_class_changes_its_local_class_with_the_switch_and_what_nobody_has_goes_later():
    found = led(growing(Element((5,), 1), Element((6,), 1)), growing(Element((6,), 2)))
    assert [(type(each), [e.key for e in each.elements]) for each in found.switch] == [  # type: ignore[union-attr]
        (DeleteElements, [(6,)]),
        (AddElements, [(6,)]),
    ]
    (deleted,) = found.sweep
    assert isinstance(deleted, DeleteElements)
    assert [each.key for each in deleted.elements] == [(5,)]


@given(documents(), documents())
@settings(max_examples=40)
def test_random_changes_lead_to_what_was_wanted(one: dict[str, Any], other: dict[str, Any]):
    before = parse_policy(json.dumps(one))
    after = parse_policy(json.dumps(other | {"ecs": one["ecs"]}))
    with suppress(Unequal):  # some objects of one name are of another kind then: a full load is due
        led(lower(compiled(before)), lower(compiled(after), 2))


# --- one Lowering for all that is compiled, as the daemon has it -----------------------------------------------------

# Of Sg-C, whom a rule over IPv6 names, nobody is a member at first.
SEEN = RULES.replace("{id: out", "{id: six, direction: ingress, ethertype: IPv6, remote_group: Sg-C}\n      - {id: out")
GROUPS = ("Sg-A", "Sg-B", "Sg-C")
ADDRESSES = ("10.0.0.40", "10.0.0.41", "10.0.0.15", "10.0.0.16", "2001:db8::40")


def on_host(rules: str = RULES, groups: str = "Sg-A") -> Policy:
    return three_hosts(
        f"""
        ecs:
          - {{name: near, subnet: subnet-a, addresses: [10.0.0.11, "2001:db8::11"], security_groups: [{groups}],
             interface: v1}}
          - {{name: next, subnet: subnet-a, addresses: [10.0.0.12], security_groups: [Sg-B], interface: v2}}
        """,
        rules,
    )


def member(number: int, address: str, groups: list[str]) -> Ecs:
    listed = ", ".join(groups)
    return three_hosts(
        f"ecs: [{{name: far-{number}, subnet: subnet-a, addresses: ['{address}'], security_groups: [{listed}]}}]"
    ).ecs[0]


def program(policy: Policy) -> NamespaceProgram:
    return compile_policy(policy, host_layout(policy)).namespaces[0]


MOVES = st.lists(
    st.tuples(st.sampled_from(ADDRESSES), st.lists(st.sampled_from(GROUPS), max_size=2, unique=True)),
    min_size=1,
    max_size=6,
)


@given(MOVES)
@example([("2001:db8::40", ["Sg-C"]), ("2001:db8::40", [])])
@settings(max_examples=40)
def test_members_one_after_the_other_are_lowered_as_if_there_had_been_nothing_before(
    moves: list[tuple[str, list[str]]],
):
    policy, compiler, lowering = on_host(SEEN), Compiler(), Lowering()
    known = lowering.lower(compiler.compile(policy).namespaces[0], 1)
    there: dict[str, Ecs] = {}
    for generation, (address, groups) in enumerate(moves, start=2):
        there.pop(address, None)
        if groups:
            there[address] = member(ADDRESSES.index(address), address, groups)
        made = compiler.compile(policy.model_copy(update={"ecs": (*policy.ecs, *there.values())})).namespaces[0]
        after = lowering.lower(made, generation)
        Listing(after).holds(lower(made, generation))
        led(known, after)
        known = after


LISTED = SEEN.replace("{id: out", "{id: listed, direction: ingress, remote_address_group: many}\n      - {id: out")
ENTRIES = (
    "10.0.0.12",
    "10.0.0.40",
    "10.0.0.40-10.0.0.41",
    "10.0.0.8/29",
    "10.0.0.0/26",
    "10.0.0.41-10.0.0.90",
    "10.0.0.77",
)


def listing(entries: list[str], far: dict[str, list[str]]) -> NamespaceProgram:
    """Compile a policy whose address group has these entries, with members far away."""
    policy = on_host(f"address_groups: [{{name: many, entries: {json.dumps(['10.9.9.9', *entries])}}}]\n{LISTED}")
    others = (member(ADDRESSES.index(address), address, groups) for address, groups in far.items())
    return program(policy.model_copy(update={"ecs": (*policy.ecs, *others)}))


ENTERED = st.lists(st.sampled_from(ENTRIES), max_size=3, unique=True)
FAR = st.dictionaries(
    st.sampled_from(ADDRESSES[:4]), st.sampled_from((["Sg-A"], ["Sg-B"], ["Sg-B", "Sg-C"])), max_size=3
)


@given(ENTERED, FAR, ENTERED, FAR)
def test_a_packet_in_flight_finds_its_peers_class_as_it_was_or_as_it_is(
    entries: list[str], far: dict[str, list[str]], later: list[str], far_later: dict[str, list[str]]
):
    before, after = listing(entries, far), listing(later, far_later)
    if not in_place(before, after):
        return
    old, new = before.addresses[0], after.addresses[0]
    for address in (int(ip_address("10.0.0.0")) + last for last in range(100)):
        known = dict(new.hosts).get(address) if old.hosts else None
        found = class_of(replace(old, hosts=()), address) if known is None else known
        assert found in (class_of(old, address), class_of(new, address))


def test_ranges_over_members_change_in_place_and_hosts_that_go_with_the_pieces_do_not():
    some, more = listing([], {"10.0.0.40": ["Sg-B"]}), listing(["10.0.0.0/26"], {"10.0.0.40": ["Sg-B"]})
    assert some.addresses[0].hosts != more.addresses[0].hosts
    assert some.addresses[0].pieces != more.addresses[0].pieces
    policies = {policy.key for policy in some.policies}, {policy.key for policy in more.policies}
    assert in_place(some, more) is (policies[0] == policies[1])
    third = listing(["10.0.0.0/25"], {"10.0.0.40": ["Sg-B"]})
    assert in_place(more, third)
    assert not in_place(third, listing(["10.0.0.0/26"], {}))


def test_a_nic_comes_in_place_to_a_profile_that_stays_and_to_no_other():
    def on_port(port: int, groups: str) -> NamespaceProgram:
        web = f"{{id: web, direction: ingress, protocol: tcp, multiport: {port}}}"
        return program(on_host(f"security_groups: [{{name: Sg-B, rules: [{web}]}}]", groups))

    assert in_place(on_port(80, "Sg-A"), on_port(80, "Sg-B"))
    assert in_place(on_port(80, "Sg-A"), on_port(81, "Sg-A"))
    assert not in_place(on_port(80, "Sg-A"), on_port(81, "Sg-B"))


@pytest.mark.parametrize(
    "steps",
    [
        (on_host(), on_host(groups="Sg-B"), on_host()),
        (on_host(), on_host(groups="'Sg-A', Sg-C"), on_host(groups="'Sg-C', Sg-A")),
        (on_host(), on_host(RULES.replace("443", "444")), on_host()),
        (on_host("revoke: both\n" + RULES), on_host(), on_host("deny_log: {enabled: false}\n" + RULES)),
    ],
)
def test_other_groups_rules_and_settings_are_lowered_as_if_there_had_been_nothing_before(steps: tuple[Policy, ...]):
    lowering = Lowering()
    for generation, policy in enumerate(steps, start=1):
        made = program(policy)
        Listing(lowering.lower(made, generation)).holds(lower(made, generation))
        for edition, absent, closed in ((2, (), ()), (2, ("v1",), ()), (1, ("v1",), ("v1",)), (1, (), ())):
            found = lowering.lower(made, generation, absent, closed, edition)
            Listing(found).holds(lower(made, generation, absent, closed, edition))


def set_of(table: Table, name: str) -> Set:
    return next(entry for entry in table.sets if entry.name == name)


def test_what_rules_do_not_change_is_the_very_same_object():
    lowering = Lowering()
    one, two = (
        lowering.lower(program(on_host(rules)), at) for at, rules in enumerate((RULES, RULES.replace("443", "444")), 1)
    )
    assert two.table("netdev") is one.table("netdev")
    before, after = one.table("inet"), two.table("inet")
    for name in (names.NICS, names.DECLARED):
        assert set_of(after, name) is set_of(before, name)
