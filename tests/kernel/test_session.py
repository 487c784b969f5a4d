"""A session commits what differs, and what is there afterwards is what a fresh load would have put there."""

from __future__ import annotations

import gc
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from kernel_asking import by_content, objects, without_editions
from scratch import Scratch

from enforcer import dataplane
from enforcer.compiler.incremental import Compiler
from enforcer.compiler.program import NamespaceProgram
from enforcer.dataplane import Session, Step, libnftables, observe, session
from enforcer.dataplane.netlink import marking
from enforcer.dataplane.notices import LinkSocket
from enforcer.errors import AttachmentRefused, TransactionRefused
from enforcer.model import AddressGroup, Ecs, Policy, parse_policy
from enforcer.ruleset import lower
from enforcer.ruleset.levels import Levels
from enforcer.ruleset.names import MARK, MARKS
from enforcer.ruleset.nft import Chain
from enforcer.ruleset.stamps import stamp_bits

pytestmark = pytest.mark.kernel

INTERFACES = ("v-a", "v-b")
RULES = [
    {"id": "in", "direction": "ingress", "protocol": "tcp", "multiport": "80,100-200", "remote_group": "app"},
    {"id": "db", "direction": "ingress", "protocol": "tcp", "multiport": "5432", "remote_group": "ops"},
    {"id": "net", "direction": "ingress", "protocol": "udp", "remote_ip_prefix": "10.0.0.0/24"},
    {"id": "out", "direction": "egress"},
]
LISTED = {"id": "listed", "direction": "ingress", "protocol": "tcp", "multiport": "22", "remote_address_group": "list"}
ENTRIES = ("10.0.0.9", "10.0.7.0/24", "192.0.2.1", "10.0.1.1-10.0.1.9")
ADDRESSES = ("10.0.0.9", "10.0.0.10", "10.0.7.7", "2001:db8::9")
GROUPS = ("app", "ops")


def policy_of(netns: str, rules: list[dict[str, Any]], *more: dict[str, Any]) -> Policy:
    document = {
        "version": 1,
        "vpcs": [{"name": "v", "subnets": [{"name": "s", "cidr": "10.0.0.0/16", "ipv6_cidr": "2001:db8::/64"}]}],
        "address_groups": [{"name": "list", "entries": ["10.0.0.9"]}],
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
            self.session.ready()
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
    found = by_content(found)
    return {
        key: re.sub(
            r"(ct mark 0x\S+ |ct mark & 0x\S+ == 0x\S+ )?ct mark set .*|elements = \{ 0x[0-9a-f]{8} \}", "stamp", value
        )
        for key, value in found.items()
    }


def named(netns: str) -> dict[str, str]:
    """What is listed, by its names but for the generation's."""
    return {re.sub(r"generation_\d+", "generation", name): text for name, text in objects(netns).items()}


def fresh(netns: str, policy: Policy) -> dict[str, str]:
    dataplane.clear(netns)
    session = Session(netns)
    session.replace(Compiler().compile(policy).namespaces[0])
    session.close()
    return there(netns)


def around(found: dict[str, str]) -> dict[str, str]:
    """All but the policies: they may know classes that nobody has any more, and then have other names.

    They may then also ask for a class where no address has one.
    """
    keyed = ("inet map local_", "inet map verdict_", "inet chain policy_", "inet chain from", "inet chain to")
    others = {key: value for key, value in found.items() if not key.startswith(keyed)}
    return {k: v for k, v in others.items() if not k.startswith("inet chain classify_") or " map @" in v}


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


def test_a_port_of_a_rule_is_one_transaction_of_a_few_elements(life: Life):
    life.commit()
    before = named(life.netns)
    life.with_rules([{**RULES[0], "multiport": "81,100-200"}, *RULES[1:]])
    assert life.steps == [Step.SWITCHED]
    after = named(life.netns)
    assert {name.split("_")[1] for name in after if after[name] != before[name] and "verdict" in name} == {"port"}
    assert there(life.netns) == fresh(life.netns, life.policy)


def test_what_changed_lists_say_is_let_go_of_though_there_is_nothing_to_sweep(
    life: Life, monkeypatch: pytest.MonkeyPatch
):
    def held() -> int:
        gc.collect()
        return sum(isinstance(each, Levels) for each in gc.get_objects())

    monkeypatch.setattr(session, "MOST_HELD", 0)
    before = held()
    for port in (81, 82):
        life.with_rules([{**RULES[0], "multiport": f"{port},100-200"}, *RULES[1:]])
        assert life.steps == [Step.SWITCHED]
        assert held() == before


def test_a_rule_about_addresses_is_prepared_and_the_class_is_told_of_it_with_the_switch(life: Life):
    life.commit()
    before = named(life.netns)
    life.with_rules([{**RULES[0], "multiport": "80,100-201"}, *RULES[1:]])
    assert life.steps == [Step.PREPARED, Step.SWITCHED, Step.SWEPT]
    after = named(life.netns)
    assert before.keys() == after.keys(), "all of it was there"
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


def test_to_put_all_of_it_back_the_interfaces_are_listed_once(life: Life, monkeypatch: pytest.MonkeyPatch):
    life.commit()
    libnftables.run(life.netns, "flush ruleset\n")
    looks, dump = [], LinkSocket.dump
    monkeypatch.setattr(LinkSocket, "dump", lambda links: [looks.append(links), dump(links)][1])
    monkeypatch.setattr(socket, "if_nameindex", lambda: pytest.fail("listed once more"))
    done = life.session.replace(life.program(), whole=True)
    assert (done.whole, done.absent, len(looks)) == (True, (), 1)
    monkeypatch.undo()
    assert not life.with_rules(RULES[:2]).whole
    found = there(life.netns)
    assert found == fresh(life.netns, life.policy)


def test_what_the_kernel_refuses_is_refused_and_the_next_change_goes_through_s19(life: Life):
    before = there(life.netns)
    broken = life.program()
    twice = replace(broken, nics=(broken.nics[0], replace(broken.nics[1], interface="v-a")))
    with pytest.raises(TransactionRefused):
        life.session.replace(twice)
    assert there(life.netns) == before
    life.joined(far(life.netns, 1, "10.0.7.7", ["app"]))
    assert there(life.netns) == fresh(life.netns, life.policy)


def listed(netns: str, entries: list[str]) -> AddressGroup:
    document = {"version": 1, "address_groups": [{"name": "list", "entries": entries}]}
    return parse_policy(json.dumps(document)).address_group("list")


def near(netns: str, interface: str, address: str, groups: list[str], **more: Any) -> Ecs:
    written = {"name": interface, "subnet": "s", "addresses": [address], "interface": interface, "netns": netns,
               "security_groups": groups, **more}  # fmt: skip
    return policy_of(netns, RULES, written).ecs[-1]


@pytest.mark.parametrize("groups", [["web"], ["ops", "app"]], ids=["a list of groups in force", "a new list"])
def test_a_nic_that_comes_brings_its_own_objects_and_takes_them_along(life: Life, scratch: Scratch, groups: list[str]):
    scratch.add("v-c")
    before = there(life.netns)
    life.commit(ecs=(*life.policy.ecs, near(life.netns, "v-c", "10.0.2.1", groups, mac="fa:16:3e:00:00:0c")))
    assert Step.SWITCHED in life.steps
    assert Step.OBSERVED not in life.steps, "nothing was looked at but the interface"
    life.session.tidy()
    after = there(life.netns)
    assert "netdev chain nic_v-c {" in after
    life.commit(ecs=life.policy.ecs[:-1])
    assert Step.OBSERVED not in life.steps
    life.session.tidy()
    assert around(there(life.netns)) == around(before)
    life.commit(ecs=(*life.policy.ecs, near(life.netns, "v-c", "10.0.2.1", groups, mac="fa:16:3e:00:00:0c")))
    life.session.tidy()
    assert after == there(life.netns) == fresh(life.netns, life.policy)


def test_conversations_of_addresses_that_come_or_leave_end_before_the_change_is_told_s14(life: Life, scratch: Scratch):
    scratch.add("v-c")
    for ecs in ((*life.policy.ecs, near(life.netns, "v-c", "10.0.2.1", ["web"])), life.policy.ecs):
        life.policy, steps = life.policy.model_copy(update={"ecs": ecs}), list[Step]()
        life.session.replace(life.program(), passed=steps.append)
        assert steps[-2:] == [Step.SWITCHED, Step.ENDED], "what begins afterwards is the new owner's"
        life.session.tidy(steps.append)
        assert steps.count(Step.ENDED) == 1
    moved = life.policy.ecs[1].nics[0].model_copy(update={"security_groups": ("web", "app")})
    life.commit(ecs=(life.policy.ecs[0], life.policy.ecs[1].model_copy(update={"nics": (moved,)})))
    life.session.tidy(life.steps.append)
    assert Step.ENDED not in life.steps, "a NIC that only gets other groups keeps its conversations"


def test_a_nic_of_an_interface_that_is_not_there_is_closed_until_it_is_s19(life: Life):
    done = life.commit(ecs=(*life.policy.ecs, near(life.netns, "v-c", "10.0.2.1", ["web"])))
    assert done.absent == ("v-c",)
    found = there(life.netns)
    assert "netdev chain nic_v-c {" not in found
    assert '"v-c"' in found["inet set nic_name {"], "known, and so closed by its name"
    assert found == fresh(life.netns, life.policy)


def test_a_nic_with_other_groups_is_judged_by_another_profile_and_nothing_else_changes(life: Life):
    before = there(life.netns)
    other = life.policy.ecs[1]
    nic = other.nics[0].model_copy(update={"security_groups": ("web", "app")})
    life.commit(ecs=(life.policy.ecs[0], other.model_copy(update={"nics": (nic,)})))
    assert Step.OBSERVED not in life.steps
    life.session.tidy()
    found = there(life.netns)
    changed = {name for name in found if before.get(name) != found[name]}
    assert {"inet map from4 {", "inet map to4 {"} <= changed
    assert not any(name.startswith("netdev") for name in changed)
    assert found == fresh(life.netns, life.policy)


def moved(life: Life, *names: str, closed: tuple[str, ...] = ()) -> dataplane.Committed:
    """Commit once more after something has become of interfaces."""
    life.steps = []
    committed = life.session.replace(life.program(), closed=closed, moved=names, passed=life.steps.append)
    life.session.tidy(life.steps.append)
    assert Step.OBSERVED not in life.steps, "nothing was looked at but these"
    return committed


def test_an_interface_that_comes_or_goes_is_put_in_force_or_out_of_it_alone_s19(life: Life, scratch: Scratch):
    both = there(life.netns)
    scratch.ip("link", "del", "v-b")
    assert moved(life, "v-b").absent == ("v-b",)
    without = there(life.netns)
    assert "netdev chain nic_v-b {" not in without
    scratch.add("v-b")
    assert moved(life, "v-b").absent == ()
    assert there(life.netns) == both
    scratch.ip("link", "del", "v-b")
    assert without == fresh(life.netns, life.policy)


def test_an_interface_that_is_another_one_under_its_name_leaves_and_comes_s19(life: Life, scratch: Scratch):
    scratch.ip("link", "del", "v-b")
    scratch.add("v-b")
    assert moved(life, "v-b").absent == ()
    assert life.steps.count(Step.SWITCHED) == 2, "it is closed in between: nothing that was said of the old one holds"
    assert there(life.netns) == fresh(life.netns, life.policy)


def test_an_interface_that_becomes_a_port_of_a_bridge_is_closed_and_opened_alone_s19(life: Life, scratch: Scratch):
    before = there(life.netns)
    scratch.ip("link", "add", "br0", "type", "bridge")
    scratch.ip("link", "set", "v-b", "master", "br0")
    moved(life, "v-b", closed=("v-b",))
    found = there(life.netns)
    assert {"netdev chain closed_in_v-b {", "netdev chain closed_out_v-b {"} <= found.keys()
    assert "netdev chain nic_v-b {" not in found
    scratch.ip("link", "set", "v-b", "nomaster")
    moved(life, "v-b")
    assert there(life.netns) == before


def test_an_interface_that_goes_while_it_is_put_in_force_is_looked_up_once_more(
    life: Life, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
):
    scratch.ip("link", "del", "v-b")
    moved(life, "v-b")
    scratch.add("v-b")
    looked_up, asked = observe.looked_up, list[object]()

    def looked_up_and_gone(netns: str, interfaces: list[str]) -> dict[str, tuple[int, bool]]:
        found = looked_up(netns, interfaces)
        if not asked:
            scratch.ip("link", "del", "v-b")
        asked.append(found)
        return found

    monkeypatch.setattr(observe, "looked_up", looked_up_and_gone)
    moved(life, "v-b")
    moved(life, "v-b")
    assert there(life.netns) == fresh(life.netns, life.policy)


def test_what_is_different_about_interfaces_comes_before_other_rules(life: Life, scratch: Scratch):
    """A NIC that came to a profile which changes with the same commit would be judged by the old one for a moment."""
    scratch.ip("link", "del", "v-b")
    moved(life, "v-b")
    scratch.add("v-b")
    group = policy_of(life.netns, RULES[1:]).group("web")
    life.policy = life.policy.model_copy(update={"security_groups": (group, *life.policy.security_groups[1:])})
    assert moved(life, "v-b").absent == ()
    assert life.steps[:2] == [Step.SWITCHED, Step.ENDED], "the interface, by itself"
    assert Step.SWITCHED in life.steps[2:]
    assert there(life.netns) == fresh(life.netns, life.policy)


def test_a_nic_that_leaves_after_its_interface_is_no_matter_for_the_rest(life: Life, scratch: Scratch):
    """The kernel may have taken the chain of the device away, or not."""
    scratch.ip("link", "del", "v-b")
    life.commit(ecs=life.policy.ecs[:1])
    assert Step.OBSERVED not in life.steps
    assert there(life.netns) == fresh(life.netns, life.policy)


def test_a_bridge_port_is_refused_and_what_was_in_force_stays(life: Life, scratch: Scratch):
    scratch.add("v-c")
    scratch.ip("link", "add", "br0", "type", "bridge")
    scratch.ip("link", "set", "v-c", "master", "br0")
    before = there(life.netns)
    with pytest.raises(AttachmentRefused, match="v-c: is a port of the bridge br0"):
        life.commit(ecs=(*life.policy.ecs, near(life.netns, "v-c", "10.0.2.1", ["web"])))
    assert there(life.netns) == before


LINKS = ("v-b", "v-c", "v-d")

MOVES = st.lists(
    st.one_of(
        st.tuples(
            st.just("rules"), st.lists(st.sampled_from([*RULES, LISTED]), unique_by=lambda r: r["id"]), st.just("")
        ),
        st.tuples(st.sampled_from(ADDRESSES), st.sets(st.sampled_from(GROUPS), min_size=1), st.just("member")),
        st.tuples(
            st.sampled_from(("v-c", "v-d")),
            st.lists(st.sampled_from(("web", *GROUPS)), min_size=1, max_size=2, unique=True),
            st.just("nic"),
        ),
        st.tuples(st.just("list"), st.sets(st.sampled_from(ENTRIES), max_size=3), st.just("entries")),
        st.tuples(st.just(""), st.sets(st.sampled_from(LINKS), min_size=1), st.just("links")),
    ),
    min_size=1,
    max_size=6,
)


def test_what_was_made_ready_is_what_the_next_commit_needs_and_bears_its_stamp(life: Life):
    marking.cache_clear()
    life.joined(far(life.netns, 1, "10.0.7.7", ["app"]))
    before = marking.cache_info()
    committed = life.joined(far(life.netns, 2, "10.0.7.8", ["app"]))
    after = marking.cache_info()
    chains = {name.split()[2]: text for name, text in objects(life.netns).items() if " chain " in name}
    ready = len(chains.keys() & set(MARKS))
    assert (after.hits - before.hits, after.misses - before.misses) == (ready, ready), "the next one's, behind it"
    assert f"0x{stamp_bits(life.policy.marks, committed.generation):08x}" in chains[MARK]


@given(MOVES)
@example([("rules", [LISTED], ""), ("list", set(), "entries")])
@example([("v-c", ["web"], "nic"), ("", {"v-c", "v-b"}, "links"), ("v-c", ["ops"], "nic"), ("", {"v-c"}, "links")])
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_sequence_of_changes_leads_to_what_a_fresh_load_would_be(
    life: Life, scratch: Scratch, moves: list[tuple[Any, ...]]
):
    others: dict[str, Ecs] = {}
    first = policy_of(life.netns, RULES)
    for name in (*INTERFACES, *LINKS):
        if scratch.has(name) is (name == "v-d"):
            scratch.toggle(name)
    life.session.close()
    dataplane.clear(life.netns)
    life.policy = first
    life.commit()
    for what, value, kind in moves:
        if kind == "links":
            for name in sorted(value):
                scratch.toggle(name)
            moved(life, *value)
        elif kind == "entries":
            life.commit(address_groups=(listed(life.netns, sorted(value)),))
        elif kind:
            if kind == "nic":
                address = {"v-c": "10.0.0.66", "v-d": "10.0.9.9"}[what]
                others[what] = near(life.netns, what, address, value)
            elif what in others:
                del others[what]
            else:
                others[what] = far(life.netns, ADDRESSES.index(what), what, sorted(value))
            life.commit(ecs=(*first.ecs, *(others[name] for name in sorted(others))))
        else:
            life.with_rules(value)
    found = there(life.netns)
    expected = fresh(life.netns, life.policy)
    assert around(found) == around(expected)
