"""What goes to the kernel as raw messages lists like what the same change as text would have led to."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import examples_catalogue
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import booleans
from kernel_asking import NICS, objects, program
from policies import compiled, random_policies
from scratch import Scratch

from enforcer import dataplane
from enforcer.compiler import compile_policy
from enforcer.dataplane import libnftables, observe
from enforcer.dataplane.loading import Steps, load, load_raw
from enforcer.dataplane.namespaces import entered
from enforcer.dataplane.netlink import Channel, Untold, encode
from enforcer.errors import TransactionRefused
from enforcer.model import DenyLog, Policy, host_layout, lab_layout, parse_policy
from enforcer.ruleset import Ruleset, difference, fresh, lower, names, render
from enforcer.ruleset.changes import AddChain, AddElements, AddSet, DeleteSet, changes
from enforcer.ruleset.denials import REASONS
from enforcer.ruleset.nft import Chain, Element, Field, Match, Set, Statement, jump, rule

pytestmark = pytest.mark.kernel

EVERY_KIND_OF_NIC = """
version: 1
vpcs: [{name: v, subnets: [{name: s, cidr: 10.0.0.0/16, ipv6_cidr: "fd00::/64"}]}]
security_groups: [{name: a, rules: [{direction: ingress, protocol: tcp, multiport: 22}]}]
ecs:
  - name: e0
    subnet: s
    addresses: [10.0.0.5, "fd00::5"]
    mac: "fa:16:3e:00:00:12"
    security_groups: [a]
    interface: n0
    allowed_addresses: [10.0.1.0/24, "fd00::100/120", 10.0.9.9]
  - name: e1
    subnet: s
    addresses: [10.0.0.6, "fd00::6"]
    security_groups: [a]
    interface: n1
    source_dest_check: false
  - {name: e2, subnet: s, addresses: [10.0.0.7], security_groups: [a], interface: n2}
"""

GOLDEN = Path(__file__).parents[1] / "golden"


def indexes(netns: str) -> dict[str, int]:
    with entered(netns):
        return {name: index for index, name in socket.if_nameindex()}


def raw(netns: str, before: Ruleset, after: Ruleset) -> None:
    """Lead from one Ruleset to the other by messages alone."""
    sets = {entry.name: entry for table in after.tables for entry in table.sets}
    found = changes(before, after)
    channel = Channel(netns)
    for operations in (found.prepare, found.switch, found.sweep):
        channel.commit(encode(operations, sets, indexes(netns)))
    channel.close()


def texts() -> list[tuple[str, str]]:
    golden = [(f"golden {case.parent.name}", case.read_text()) for case in sorted(GOLDEN.glob("*/policy.yaml"))]
    return golden + [(f"example {name}", examples_catalogue.text_of(name)) for name in examples_catalogue.NAMES]


@pytest.mark.parametrize(("name", "text"), texts(), ids=[name for name, _ in texts()])
def test_every_golden_case_and_example_is_put_there_by_messages(
    scratch: Scratch, other_scratch: Scratch, name: str, text: str
):
    policy = parse_policy(text)
    for namespace in compile_policy(policy, lab_layout(policy)).namespaces:
        interfaces = [nic.interface for nic in namespace.nics]
        for space in (scratch, other_scratch):
            space.add(*interfaces)
        whole = lower(namespace, 2)
        libnftables.run(other_scratch.name, render(whole))
        # The fixed chains know a few things about the NICs: begin with those of the policy, and with empty sets.
        start = emptied(whole)
        libnftables.run(scratch.name, render(start))
        raw(scratch.name, start, whole)
        assert objects(scratch.name) == objects(other_scratch.name)
        for space in (scratch, other_scratch):
            dataplane.clear(space.name)
            for interface in interfaces:
                space.ip("link", "del", interface)


@pytest.mark.parametrize(("name", "text"), texts(), ids=[name for name, _ in texts()])
def test_every_golden_case_and_example_is_loaded_whole_as_text_would_be(
    scratch: Scratch, other_scratch: Scratch, name: str, text: str
):
    policy = parse_policy(text)
    for namespace in compile_policy(policy, lab_layout(policy)).namespaces:
        for space in (scratch, other_scratch):
            there = space.ip("-br", "link")
            space.add(*(nic.interface for nic in namespace.nics if nic.interface not in there))
        for owned in (True, False):
            ruleset = lower(replace(namespace, owned=owned), 2)
            libnftables.run(other_scratch.name, render(ruleset))
            load_raw(replace(ruleset, namespace=scratch.name))
            assert objects(scratch.name) == objects(other_scratch.name)


@given(random_policies())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_policy_is_loaded_whole_as_text_would_be(scratch: Scratch, other_scratch: Scratch, policy: Policy):
    for space in (scratch, other_scratch):
        there = space.ip("-br", "link")
        space.add(*(link for link in NICS if link not in there))
    ruleset = lower(compiled(policy), 3)
    libnftables.run(other_scratch.name, render(ruleset))
    load_raw(replace(ruleset, namespace=scratch.name))
    assert objects(scratch.name) == objects(other_scratch.name)


@given(random_policies(), random_policies(), booleans())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_difference_by_names_leads_by_messages_to_where_text_leads(
    scratch: Scratch, other_scratch: Scratch, one: Policy, other: Policy, trusted: bool
):
    before, after = lower(compiled(one), 1), lower(compiled(other), 2, edition=2)
    for space in (scratch, other_scratch):
        there = space.ip("-br", "link")
        space.add(*(link for link in NICS if link not in there))
        libnftables.run(space.name, render(before))
    present = observe.present(scratch.name)
    wanted = after if trusted else fresh(after, present)
    texts = difference(wanted, present)
    for text in (texts.prepare, texts.switch, texts.sweep):
        libnftables.run(other_scratch.name, text)
    found = Steps(replace(wanted, namespace=scratch.name), present)
    assert found.doomed == texts.doomed
    for operations in (found.operations.prepare, found.operations.switch, found.operations.sweep):
        found.run_raw(operations)
    assert objects(scratch.name) == objects(other_scratch.name)


def with_chain(ruleset: Ruleset, statement: Statement) -> Ruleset:
    """Add a chain of one rule to the inet table."""
    inet, netdev = ruleset.tables
    chains = (*inet.chains, Chain("x_chain", (rule(statement),)))
    return replace(ruleset, tables=(replace(inet, chains=chains), netdev))


def test_a_step_that_is_refused_as_messages_goes_as_text_and_is_refused_in_nfts_words_s19(scratch: Scratch):
    scratch.add(*NICS)
    ruleset = replace(lower(program(name=scratch.name)), namespace=scratch.name)
    load(ruleset)
    before = objects(scratch.name)
    with pytest.raises(TransactionRefused, match="nowhere"):
        Steps(with_chain(ruleset, jump("nowhere")), observe.present(scratch.name)).prepare()
    assert objects(scratch.name) == before
    Steps(with_chain(ruleset, Match(Field.TCP_FLAGS, 2)), observe.present(scratch.name)).prepare()
    assert set(objects(scratch.name)) - set(before) == {"inet chain x_chain {"}


def test_closed_interfaces_forwarders_networks_and_the_silent_log_are_loaded_whole_as_text_would_be(
    scratch: Scratch, other_scratch: Scratch
):
    policy = parse_policy(EVERY_KIND_OF_NIC)
    (namespace,) = compile_policy(policy, host_layout(policy)).namespaces
    for space in (scratch, other_scratch):
        space.add("n0", "n1", "n2")
    for silent in (
        namespace,
        replace(namespace, deny_log=DenyLog(enabled=False)),
        replace(namespace, revoke_both=True),
    ):
        ruleset = lower(silent, 7, absent=("n2",), closed=("n2",))
        libnftables.run(other_scratch.name, render(ruleset))
        load_raw(replace(ruleset, namespace=scratch.name))
        assert objects(scratch.name) == objects(other_scratch.name)


def test_a_whole_load_that_is_refused_changes_nothing_and_is_told_in_nfts_words_s19(scratch: Scratch):
    scratch.add(*NICS)
    ruleset = replace(lower(program(name=scratch.name)), namespace=scratch.name)
    load(ruleset)
    before = objects(scratch.name)
    with pytest.raises(TransactionRefused, match="nowhere"):
        load(with_chain(ruleset, jump("nowhere")))
    assert objects(scratch.name) == before
    load(ruleset)
    assert objects(scratch.name) == before


def test_what_has_no_form_as_a_message_is_loaded_as_text(scratch: Scratch):
    scratch.add(*NICS)
    ruleset = replace(lower(program(name=scratch.name)), namespace=scratch.name)
    inet, netdev = ruleset.tables
    odd = replace(inet, chains=(*inet.chains, Chain("x_chain", (rule(Match(Field.TCP_FLAGS, 2)),))))
    with pytest.raises(Untold):
        load_raw(replace(ruleset, tables=(odd, netdev)))
    load(replace(ruleset, tables=(odd, netdev)))
    assert "inet chain x_chain {" in objects(scratch.name)


DROPPING = {names.DENIED, *map(names.REFUSED.format, REASONS)}
"""Chains that others end in, whatever the policy."""


def emptied(ruleset: Ruleset) -> Ruleset:
    """Leave the fixed chains and sets without elements: everything else is to be added."""
    tables = []
    for table in ruleset.tables:
        chains = tuple(c for c in table.chains if c.name in DROPPING or c.fixed)
        sets = tuple(replace(entry, elements=()) for entry in table.sets if entry.fixed or entry.dynamic)
        tables.append(replace(table, sets=sets, chains=chains))
    return replace(ruleset, tables=tuple(tables))


@given(random_policies(), random_policies())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_messages_lead_from_any_policy_to_any_other(
    scratch: Scratch, other_scratch: Scratch, one: Policy, other: Policy
):
    for space in (scratch, other_scratch):
        there = space.ip("-br", "link")
        space.add(*(link for link in NICS if link not in there))
    before, after = lower(compiled(one), 1), lower(compiled(other), 2, edition=2)
    libnftables.run(scratch.name, render(before))
    libnftables.run(other_scratch.name, render(after))
    try:
        raw(scratch.name, before, after)
    except Untold:
        return  # the way itself has changed: that is for text
    assert objects(scratch.name) == objects(other_scratch.name)


ADDRESSES = Set("x_set", (Field.IPV4_SOURCE,), (), interval=False)


def test_a_refused_batch_changes_nothing_and_names_the_object_and_the_reason_s19(scratch: Scratch):
    scratch.add(*NICS)
    dataplane.replace(program(name=scratch.name))
    before = objects(scratch.name)
    channel = Channel(scratch.name)
    batch = [AddSet("inet", ADDRESSES), AddChain("inet", Chain("x_chain", (rule(jump("nowhere")),)))]
    with pytest.raises(TransactionRefused, match=r"chain x_chain: .*No such file or directory"):
        channel.commit(encode(batch, {}, {}))
    assert objects(scratch.name) == before
    channel.commit(encode(batch[:1], {}, {}))
    assert set(objects(scratch.name)) - set(before) == {"inet set x_set {"}
    channel.commit(encode([DeleteSet("inet", "x_set")], {}, {}))
    assert objects(scratch.name) == before


def test_many_elements_are_several_messages_and_one_transaction(scratch: Scratch):
    libnftables.run(scratch.name, "table inet enforcer {\n}\n")
    many = Set("x_set", (Field.IPV4_SOURCE,), tuple(Element((n,)) for n in range(20_000)))
    batch = list(encode([AddSet("inet", many)], {}, {}))
    assert len(batch) > 5
    channel = Channel(scratch.name)
    channel.commit(batch)
    assert libnftables.listing(scratch.name, "list set inet enforcer x_set").count(",") == 19_999
    more, gone = (Element((20_001,)),), replace(many, name="x_gone")
    refused = encode([AddElements("inet", many, more), AddElements("inet", gone, more)], {}, {})
    with pytest.raises(TransactionRefused, match="elements of x_gone"):
        channel.commit(refused)
    assert libnftables.listing(scratch.name, "list set inet enforcer x_set").count(",") == 19_999


def test_what_has_no_form_here_is_said():
    with pytest.raises(Untold):
        list(encode([AddChain("inet", Chain("x", (rule(Match(Field.TCP_FLAGS, 2)),)))], {}, {}))
