"""What only the kernel can say: nft takes our scripts, commits are whole, and nobody else's objects are touched."""

from __future__ import annotations

import os
import re
import threading
from dataclasses import replace
from pathlib import Path

import examples_catalogue
import pytest
from conftest import Scratch
from damage import DAMAGES, SOUND, TAKEN_BY_NEW_KERNELS
from hypothesis import HealthCheck, given, settings
from policies import compiled, random_policies, three_hosts

from enforcer import dataplane
from enforcer.compiler import compile_policy
from enforcer.compiler.program import NamespaceProgram
from enforcer.dataplane import libnftables, observe
from enforcer.dataplane.namespaces import entered
from enforcer.errors import SystemRefused, TransactionRefused
from enforcer.model import Policy, lab_layout, parse_policy
from enforcer.ruleset import lower, names, render

pytestmark = pytest.mark.kernel

GOLDEN = Path(__file__).parents[1] / "golden"
RULES = """
security_groups:
  - name: Sg-A
    rules:
      - {id: ssh, direction: ingress, protocol: tcp, multiport: "22,80-90", remote_group: Sg-B}
      - {id: net, direction: ingress, protocol: udp, remote_ip_prefix: 10.9.0.0/16}
      - {id: out, direction: egress}
  - {name: Sg-B, rules: [{id: out6, direction: egress, ethertype: IPv6}]}
"""
NICS = ("v-ecs-a", "v-ecs-b", "v-ecs-c")


def program(text: str = RULES, *, name: str, **changes: object) -> NamespaceProgram:
    return replace(compiled(three_hosts(text)), name=name, **changes)


def listing(netns: str) -> str:
    """Everything that nftables holds in a namespace, without counters' values."""
    return libnftables.listing(netns, "list ruleset")


def objects(netns: str) -> dict[str, str]:
    """The listing of our tables by object; the order of creation and the generation do not show in it."""
    found: dict[str, str] = {}
    for family in ("inet", "netdev"):
        text = libnftables.listing(netns, f"list table {family} {names.TABLE}")
        for block in re.split(r"\n(?=\t\w)", text.removesuffix("}\n")):
            found[family + " " + block.strip().split("\n")[0]] = re.sub(r"generation_\d+", "generation", block)
    return found


def policies_beside() -> list[tuple[str, str]]:
    golden = [(f"golden {case.parent.name}", case.read_text()) for case in sorted(GOLDEN.glob("*/policy.yaml"))]
    return golden + [(f"example {name}", examples_catalogue.text_of(name)) for name in examples_catalogue.NAMES]


# --- what nft takes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "text"), policies_beside(), ids=[name for name, _ in policies_beside()])
def test_nft_takes_every_golden_case_and_example(scratch: Scratch, name: str, text: str):
    policy = parse_policy(text)
    for namespace in compile_policy(policy, lab_layout(policy)).namespaces:
        scratch.add(*(nic.interface for nic in namespace.nics))
        libnftables.run(scratch.name, render(lower(namespace)))
        dataplane.clear(scratch.name)
        for nic in namespace.nics:
            scratch.ip("link", "del", nic.interface)


@given(random_policies(), random_policies())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_policy_replaces_any_other_and_is_there_as_if_it_were_the_first(
    scratch: Scratch, one: Policy, other: Policy
):
    there = scratch.ip("-br", "link")
    scratch.add(*(link for link in NICS if link not in there))
    dataplane.clear(scratch.name)
    before, after = (replace(compiled(policy), name=scratch.name) for policy in (one, other))
    dataplane.replace(before)
    assert not dataplane.replace(after).whole
    by_difference = objects(scratch.name)
    dataplane.clear(scratch.name)
    dataplane.replace(after)
    dataplane.replace(after)
    assert listing_without_stamps(by_difference) == listing_without_stamps(objects(scratch.name))


def listing_without_stamps(found: dict[str, str]) -> dict[str, str]:
    return {re.sub(r"generation_\d+", "generation", name): text for name, text in found.items()}


@pytest.mark.parametrize("name", [name for name in DAMAGES if name not in TAKEN_BY_NEW_KERNELS])
def test_the_kernel_refuses_the_damage_that_its_fake_refuses(scratch: Scratch, name: str):
    scratch.add(*NICS)
    with pytest.raises(TransactionRefused):
        libnftables.run(scratch.name, render(DAMAGES[name]()))
    assert listing(scratch.name) == ""
    libnftables.run(scratch.name, render(SOUND))


# --- commits ----------------------------------------------------------------------------------------------------------


def test_a_first_load_is_the_script_that_compile_prints(scratch: Scratch):
    scratch.add(*NICS)
    ours = program(name=scratch.name)
    assert dataplane.replace(ours).whole
    committed = listing(scratch.name)
    dataplane.clear(scratch.name)
    libnftables.run(scratch.name, render(lower(ours)))
    assert listing(scratch.name) == committed


def test_a_difference_leads_to_what_a_fresh_load_would_be(scratch: Scratch, other_scratch: Scratch):
    scratch.add(*NICS)
    other_scratch.add(*NICS)
    changed = RULES.replace("22", "443").replace("10.9.0.0/16", "10.8.0.0/16")
    dataplane.replace(program(name=scratch.name))
    assert not dataplane.replace(program(changed, name=scratch.name)).whole
    libnftables.run(other_scratch.name, render(lower(program(changed, name=other_scratch.name), 2)))
    assert objects(scratch.name) == objects(other_scratch.name)


def test_the_same_policy_again_changes_the_stamp_and_nothing_else(scratch: Scratch):
    scratch.add(*NICS)
    dataplane.replace(program(name=scratch.name))
    before = listing(scratch.name)
    assert not dataplane.replace(program(name=scratch.name)).whole
    after = listing(scratch.name)
    assert before != after
    changed = {*before.split("\n")} ^ {*after.split("\n")}
    about = ("ct mark 0x00000", "ct mark set ct mark & 0x00000", "chain generation_")
    assert {line.strip() for line in changed if not line.strip().startswith(about)} == set()
    assert len(changed) == 2 * len(about)


def test_a_refused_script_leaves_every_byte_as_it_was(scratch: Scratch):
    scratch.add(*NICS)
    dataplane.replace(program(name=scratch.name))
    before = listing(scratch.name)
    script = (
        f"flush chain inet {names.TABLE} {names.STAMP}\n"
        f"add set inet {names.TABLE} x {{ type ipv4_addr; }}\n"
        f"add rule inet {names.TABLE} {names.STAMP} jump nowhere\n"
    )
    with pytest.raises(TransactionRefused, match=r"line 3: 'add rule .* jump nowhere': .*No such file"):
        libnftables.run(scratch.name, script)
    assert listing(scratch.name) == before


def test_a_ruleset_with_a_vanished_interface_leaves_every_byte_as_it_was(scratch: Scratch):
    scratch.add(*NICS)
    dataplane.replace(program(name=scratch.name))
    ruleset = lower(program(RULES.replace("22", "443"), name=scratch.name), 2)
    scratch.ip("link", "del", "v-ecs-b")
    before = listing(scratch.name)
    with pytest.raises(TransactionRefused, match=r"v-ecs-b.*nterface does not exist"):
        libnftables.run(scratch.name, render(ruleset))
    assert listing(scratch.name) == before


def test_a_refused_difference_is_mended_by_a_whole_replacement(scratch: Scratch):
    # Somebody put a set where ours would be a map: the difference cannot work, the new policy is in force all the same.
    scratch.add(*NICS)
    dataplane.replace(program(name=scratch.name))
    new = lower(program(RULES.replace("22", "443"), name=scratch.name), 2)
    there = observe.present(scratch.name)["inet"]
    missing = min(s.name for s in new.table("inet").sets if s.value and s.name not in there.maps)
    libnftables.run(scratch.name, f"add set inet {names.TABLE} {missing} {{ type ipv4_addr; }}\n")
    committed = dataplane.replace(program(RULES.replace("22", "443"), name=scratch.name))
    assert committed.whole
    assert missing in observe.present(scratch.name)["inet"].maps


def test_whoever_deletes_an_object_of_ours_has_it_put_back(scratch: Scratch):
    scratch.add(*NICS)
    dataplane.replace(program(name=scratch.name))
    before = objects(scratch.name)
    libnftables.run(scratch.name, f"delete table netdev {names.TABLE}\nflush chain inet {names.TABLE} prerouting\n")
    dataplane.replace(program(name=scratch.name))
    assert set(objects(scratch.name)) - set(before) == {"inet chain generation_2 {"}


def test_clearing_removes_everything(scratch: Scratch):
    scratch.add(*NICS)
    dataplane.replace(program(name=scratch.name))
    assert listing(scratch.name) != ""
    dataplane.clear(scratch.name)
    assert listing(scratch.name) == ""


# --- neighbours -------------------------------------------------------------------------------------------------------

FOREIGN = """
table inet filter {
	set blocked {
		type ipv4_addr
		flags interval
		elements = { 203.0.113.0/24 }
	}
	chain forward {
		type filter hook forward priority 0; policy drop;
		ip saddr @blocked drop
	}
}
table ip enforcer {
	chain theirs {
	}
}
table ip nat {
	chain postrouting {
		type nat hook postrouting priority 100; policy accept;
		oifname "eth0" masquerade
	}
}
"""


def test_tables_of_others_are_left_alone_even_one_of_our_name(scratch: Scratch):
    scratch.add(*NICS)
    libnftables.run(scratch.name, FOREIGN)
    before = listing(scratch.name)
    assert "table ip enforcer" in before
    for step in (
        lambda: dataplane.replace(program(name=scratch.name)),
        lambda: dataplane.replace(program(RULES.replace("22", "443"), name=scratch.name)),
        lambda: dataplane.clear(scratch.name),
    ):
        step()
        theirs = [
            libnftables.listing(scratch.name, f"list table {one}") for one in ("inet filter", "ip enforcer", "ip nat")
        ]
        assert "\n".join(theirs).split() == before.split()
    assert listing(scratch.name) == before


def test_two_namespaces_do_not_hear_each_other(scratch: Scratch, other_scratch: Scratch):
    for space in (scratch, other_scratch):
        space.add(*NICS)
        dataplane.replace(program(name=space.name))
    dataplane.replace(program(name=scratch.name))
    assert observe.generation(observe.present(scratch.name)) == 2
    assert observe.generation(observe.present(other_scratch.name)) == 1
    dataplane.clear(scratch.name)
    assert observe.present(scratch.name) == {}
    assert observe.present(other_scratch.name) != {}


def test_a_thread_works_where_it_is_told_and_leaves_nobody_elsewhere(scratch: Scratch, other_scratch: Scratch):
    home = os.stat("/proc/thread-self/ns/net").st_ino
    failures: list[BaseException] = []

    def work(space: Scratch) -> None:
        try:
            for _ in range(5):
                dataplane.replace(program(name=space.name))
        except BaseException as error:  # reported by the test itself
            failures.append(error)

    for space in (scratch, other_scratch):
        space.add(*NICS)
    threads = [threading.Thread(target=work, args=(space,)) for space in (scratch, other_scratch)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    assert [observe.generation(observe.present(s.name)) for s in (scratch, other_scratch)] == [5, 5]
    assert os.stat("/proc/thread-self/ns/net").st_ino == home


def test_a_namespace_that_is_not_there_is_named(scratch: Scratch):
    with pytest.raises(SystemRefused, match="network namespace no-such-place: cannot be opened"):
        dataplane.replace(program(name="no-such-place"))
    with entered(scratch.name), pytest.raises(ZeroDivisionError), entered(scratch.name):
        _ = 1 // 0


# --- interfaces -------------------------------------------------------------------------------------------------------


def test_an_interface_that_comes_back_under_its_name_is_not_the_one_we_know_s19(scratch: Scratch):
    # The elements about it are kept by index: nft can name the others, and shows a number for the one that is gone.
    scratch.add(*NICS)
    dataplane.replace(program(name=scratch.name))
    text = f"list map inet {names.TABLE} {names.FROM[4]}"
    assert re.search(r"\bv-ecs-a\b", libnftables.listing(scratch.name, text))
    scratch.ip("link", "del", "v-ecs-a")
    scratch.add("v-ecs-a")
    after = libnftables.listing(scratch.name, text)
    assert not re.search(r"\bv-ecs-a\b", after)
    assert re.search(r"\bv-ecs-b\b", after)
    dataplane.replace(program(name=scratch.name))
    assert re.search(r"\bv-ecs-a\b", libnftables.listing(scratch.name, text)), "in force again, by its new index"


def test_an_interface_that_went_away_does_not_stop_the_next_commit(scratch: Scratch):
    scratch.add(*NICS)
    dataplane.replace(program(name=scratch.name))
    scratch.ip("link", "del", "v-ecs-a")
    committed = dataplane.replace(program(name=scratch.name))
    assert committed.absent == ("v-ecs-a",)
    assert names.NIC_CHAIN.format("v-ecs-a") not in observe.present(scratch.name)["netdev"].chains


def test_interfaces_may_have_any_name_that_the_policy_may_write(scratch: Scratch):
    strange = ("a.b-c_d", "-x", ".x", "0", "drop", "_", "eth0.100", "123456789012345", "accept")
    ecs = "\n".join(
        f"  - {{name: ecs-{n}, subnet: subnet-a, addresses: [10.0.0.{n + 20}], interface: '{name}'}}"
        for n, name in enumerate(strange)
    )
    for name in strange:
        scratch.ip("link", "add", "name", name, "type", "veth", "peer", "name", f"p{abs(hash(name)) % 10**9}")
    dataplane.replace(program(f"ecs:\n{ecs}\n", name=scratch.name))
    assert {f"nic_{name}" for name in strange} <= observe.present(scratch.name)["netdev"].chains


# --- generations ------------------------------------------------------------------------------------------------------


def test_the_generation_in_force_can_be_read_from_the_kernel(scratch: Scratch):
    scratch.add(*NICS)
    assert observe.generation(observe.present(scratch.name)) == 0
    for generation in (1, 2, 3):
        assert dataplane.replace(program(name=scratch.name)).generation == generation
        assert observe.generation(observe.present(scratch.name)) == generation


def test_a_mask_of_eight_bits_comes_round_and_skips_stamps_that_flows_bear_s14(scratch: Scratch):
    scratch.add(*NICS)
    narrow = "marks: {connection_mask: 0x00ff0000}"
    ours = program(narrow, name=scratch.name)
    libnftables.run(scratch.name, render(lower(ours, 255)))
    insert_flow(scratch, 0x0001_0000)
    insert_flow(scratch, 0x0102_0000)  # bits outside the mask are others'
    assert dataplane.replace(ours).generation == 3


def test_when_flows_bear_every_stamp_nothing_is_changed_s14(scratch: Scratch, monkeypatch: pytest.MonkeyPatch):
    scratch.add(*NICS)
    ours = program("marks: {connection_mask: 0x00ff0000}", name=scratch.name)
    dataplane.replace(ours)
    before = listing(scratch.name)
    monkeypatch.setattr(observe, "stamped", lambda *_: True)
    with pytest.raises(SystemRefused, match="all of its 255 stamps"):
        dataplane.replace(ours)
    assert listing(scratch.name) == before


def insert_flow(scratch: Scratch, mark: int) -> None:
    flow = f"-p udp -s 192.0.2.1 -d 192.0.2.2 --sport {mark >> 16} --dport 2 -t 300"
    scratch.run("conntrack", "-I", *flow.split(), "-m", hex(mark))
