"""A session commits what differs, and what is there afterwards is what a fresh load would have put there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_asking import objects, without_editions
from scratch import Scratch

from enforcer import dataplane
from enforcer.compiler.incremental import Compiler
from enforcer.compiler.program import NamespaceProgram
from enforcer.dataplane import Session, Step, libnftables, observe
from enforcer.errors import TransactionRefused
from enforcer.model import Ecs, Policy, parse_policy
from enforcer.ruleset import lower
from enforcer.ruleset.nft import Chain

pytestmark = pytest.mark.kernel

INTERFACES = ("v-a", "v-b")
RULES = [
    {"id": "in", "direction": "ingress", "protocol": "tcp", "multiport": "80,100-200", "remote_group": "app"},
    {"id": "db", "direction": "ingress", "protocol": "tcp", "multiport": "5432", "remote_group": "ops"},
    {"id": "net", "direction": "ingress", "protocol": "udp", "remote_ip_prefix": "10.0.0.0/24"},
    {"id": "out", "direction": "egress"},
]
ADDRESSES = ("10.0.0.9", "10.0.0.10", "10.0.7.7", "2001:db8::9")
GROUPS = ("app", "ops")


def policy_of(netns: str, rules: list[dict[str, Any]], *more: dict[str, Any]) -> Policy:
    document = {
        "version": 1,
        "vpcs": [{"name": "v", "subnets": [{"name": "s", "cidr": "10.0.0.0/16", "ipv6_cidr": "2001:db8::/64"}]}],
        "security_groups": [{"name": "web", "rules": rules}, *({"name": name, "rules": []} for name in GROUPS)],
        "ecs": [
            {"name": "a", "subnet": "s", "addresses": ["10.0.0.1", "2001:db8::1"], "interface": "v-a", "netns": netns,
             "security_groups": ["web", "app"]},
            {"name": "b", "subnet": "s", "addresses": ["10.0.1.1"], "interface": "v-b", "netns": netns,
             "security_groups": ["web"]},
            *more,
        ],
    }  # fmt: skip
    return parse_policy(json.dumps(document))


def far(netns: str, number: int, address: str, groups: list[str]) -> Ecs:
    written = {"name": f"far-{number}", "subnet": "s", "addresses": [address], "security_groups": groups}
    return policy_of(netns, RULES, written).ecs[-1]


class Life:
    """A session with its compiler; policies share what does not differ."""

    def __init__(self, scratch: Scratch) -> None:
        self.netns = scratch.name
        self.session = Session(scratch.name)
        self.compiler = Compiler()
        self.policy = policy_of(self.netns, RULES)
        self.steps: list[Step] = []
        self.tidies = True

    def program(self) -> NamespaceProgram:
        return self.compiler.compile(self.policy).namespaces[0]

    def commit(self, **changes: Any) -> dataplane.Committed:
        self.policy = self.policy.model_copy(update=changes)
        self.steps = []
        committed = self.session.replace(self.program(), passed=self.steps.append)
        if self.tidies:
            self.session.tidy(self.steps.append)
        return committed

    def with_rules(self, rules: list[dict[str, Any]]) -> dataplane.Committed:
        group = policy_of(self.netns, rules).group("web")
        return self.commit(security_groups=(group, *self.policy.security_groups[1:]))

    def joined(self, *others: Ecs) -> dataplane.Committed:
        return self.commit(ecs=(*self.policy.ecs, *others))


@pytest.fixture
def life(scratch: Scratch) -> Iterator[Life]:
    scratch.add(*INTERFACES)
    found = Life(scratch)
    found.commit()
    yield found
    found.session.close()


def there(netns: str) -> dict[str, str]:
    """What is listed, without editions and generations, and without entries about classes that are gone."""
    found = {re.sub(r"generation_\d+", "generation", without_editions(k)): v for k, v in objects(netns).items()}
    return {
        key: re.sub(r"ct mark set .*|elements = \{ 0x[0-9a-f]{8} \}", "stamp", value) for key, value in found.items()
    }


def fresh(netns: str, policy: Policy) -> dict[str, str]:
    dataplane.clear(netns)
    dataplane.replace(Compiler().compile(policy).namespaces[0])
    return there(netns)


def test_a_member_is_one_transaction_and_one_element(life: Life):
    life.joined(far(life.netns, 1, "10.0.7.7", ["app"]))
    before = there(life.netns)
    assert not life.joined(far(life.netns, 2, "10.0.7.8", ["app"])).whole
    assert life.steps == [Step.SWITCHED]
    after = there(life.netns)
    assert [name for name in after if after[name] != before[name]] == ["inet map host4 {"]
    assert "10.0.7.8" in after["inet map host4 {"]
    assert after == fresh(life.netns, life.policy)


def test_a_member_that_leaves_takes_its_element_along(life: Life):
    life.joined(far(life.netns, 1, "10.0.7.7", ["app"]))
    before = there(life.netns)
    life.joined(far(life.netns, 2, "10.0.7.8", ["app"]))
    life.commit(ecs=life.policy.ecs[:-1])
    assert life.steps == [Step.SWITCHED]
    assert there(life.netns) == before


def test_a_rule_switches_one_policy_and_sweeps_the_old_one(life: Life):
    committed = life.with_rules([{**RULES[0], "multiport": "81"}, *RULES[1:]])
    assert (committed.whole, committed.swept) == (False, False)
    assert life.steps == [Step.PREPARED, Step.SWITCHED, Step.SWEPT]
    assert there(life.netns) == fresh(life.netns, life.policy)


def test_what_packets_in_flight_may_ask_stays_until_it_is_tidied_or_until_the_next_change(life: Life):
    life.tidies = False
    first = observe.present(life.netns)["inet"].chains
    life.with_rules(RULES[1:])
    assert life.steps == [Step.PREPARED, Step.SWITCHED]
    second = observe.present(life.netns)["inet"].chains
    gone = {name for name in first if name.startswith("policy_")} - {c.name for c in lower_now(life)}
    assert gone, "the change has retired policies"
    assert gone < second
    assert life.session.untidy
    life.joined(far(life.netns, 1, "10.0.7.7", ["app"]))
    assert life.steps == [Step.SWEPT, Step.SWITCHED]
    assert not gone & observe.present(life.netns)["inet"].chains
    assert there(life.netns) == fresh(life.netns, life.policy)


def lower_now(life: Life) -> tuple[Chain, ...]:
    return lower(Compiler().compile(life.policy).namespaces[0]).table("inet").chains


def test_maps_and_chains_that_count_are_named_before_they_go(scratch: Scratch):
    scratch.add(*INTERFACES)
    life, seen = Life(scratch), []
    life.session = Session(scratch.name, lambda names: seen.append((names, observe.present(scratch.name))))
    life.commit()
    life.with_rules(RULES[1:])
    (first, _), (names, present) = seen
    assert first is None, "what is replaced whole goes whole"
    assert names
    now = observe.present(scratch.name)["inet"]
    assert set(names) <= present["inet"].maps | present["inet"].chains, "they can still be read"
    assert not set(names) & (now.maps | now.chains)


def test_every_change_has_another_generation_and_it_can_be_read(life: Life):
    generations = [life.joined(far(life.netns, n, f"10.0.9.{n + 1}", ["app"])).generation for n in range(3)]
    assert generations == [2, 3, 4]
    assert observe.generation(observe.present(life.netns)) == 4


def test_after_somebody_deleted_our_tables_the_next_change_puts_them_back_s19(life: Life):
    libnftables.run(life.netns, "delete table inet enforcer\n")
    committed = life.joined(far(life.netns, 1, "10.0.7.7", ["app"]))
    assert committed.whole
    assert committed.generation == 2, "the table that said so is gone, but stamps of 1 were given"
    assert there(life.netns) == fresh(life.netns, life.policy)


def test_what_the_kernel_refuses_is_refused_and_the_next_change_goes_through_s19(life: Life):
    before = there(life.netns)
    broken = life.program()
    twice = replace(broken, nics=(broken.nics[0], replace(broken.nics[1], interface="v-a")))
    with pytest.raises(TransactionRefused):
        life.session.replace(twice)
    assert there(life.netns) == before
    life.joined(far(life.netns, 1, "10.0.7.7", ["app"]))
    assert there(life.netns) == fresh(life.netns, life.policy)


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("rules"), st.lists(st.sampled_from(RULES), unique_by=lambda r: r["id"]), st.just("")),
        st.tuples(st.sampled_from(ADDRESSES), st.sets(st.sampled_from(GROUPS), min_size=1), st.just("member")),
    ),
    min_size=1,
    max_size=6,
)


@given(MOVES)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_sequence_of_changes_leads_to_what_a_fresh_load_would_be(life: Life, moves: list[tuple[Any, ...]]):
    others: dict[str, Ecs] = {}
    first = policy_of(life.netns, RULES)
    life.session.close()
    dataplane.clear(life.netns)
    life.policy = first
    life.commit()
    for what, value, kind in moves:
        if kind:
            if what in others:
                del others[what]
            else:
                others[what] = far(life.netns, ADDRESSES.index(what), what, sorted(value))
            life.commit(ecs=(*first.ecs, *(others[name] for name in sorted(others))))
        else:
            life.with_rules(value)
    found = there(life.netns)
    expected = fresh(life.netns, life.policy)
    keyed = ("inet map local_", "inet map verdict_", "inet chain policy_", "inet chain from", "inet chain to")
    assert {k: v for k, v in found.items() if not k.startswith(keyed)} == {
        k: v for k, v in expected.items() if not k.startswith(keyed)
    }
