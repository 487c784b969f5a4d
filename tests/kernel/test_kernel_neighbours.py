"""What only the kernel can say: others' objects are left alone, interfaces come and go, generations come round."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading

import pytest
from kernel_asking import NICS, RULES, listing, program
from scratch import Scratch

from enforcer import dataplane
from enforcer.dataplane import libnftables, observe
from enforcer.dataplane.namespaces import entered
from enforcer.errors import SystemRefused
from enforcer.ruleset import lower, names, render

pytestmark = pytest.mark.kernel

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


THREADS = """
import sys, threading
from enforcer.dataplane import libnftables

def work(netns, table):
    chain = 'chain c { iif "v-a" mark 0x1 accept\\n }'
    for _ in range(150):
        libnftables.run(netns, f"table inet {table} {{ {chain}\\n }}\\n")
        assert '"v-a"' in libnftables.listing(netns, f"list table inet {table}")
        libnftables.run(netns, f"delete table inet {table}\\n")
    print("done")

for number, netns in enumerate(2 * sys.argv[1:]):
    threading.Thread(target=work, args=(netns, f"t{number}")).start()
"""


def test_threads_ask_libnftables_one_after_the_other(scratch: Scratch, other_scratch: Scratch):
    """What it keeps of all contexts has no lock (1.0.6): without ours the process ends by a signal."""
    other_scratch.add("v-b")  # so that v-a has another index there
    for space in (scratch, other_scratch):
        space.add("v-a")
    words = [sys.executable, "-c", THREADS, scratch.name, other_scratch.name]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n" * 4, "")


def test_a_namespace_that_is_not_there_is_named(scratch: Scratch):
    with pytest.raises(SystemRefused, match="network namespace no-such-place: does not exist; make it with"):
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
    libnftables.run(scratch.name, render(lower(ours, 62)))
    insert_flow(scratch, 0x0004_0000)
    insert_flow(scratch, 0x0109_0000)  # half judged; bits outside the mask are others'
    assert dataplane.replace(ours).generation == 3


def test_when_flows_bear_every_stamp_nothing_is_changed_s14(scratch: Scratch, monkeypatch: pytest.MonkeyPatch):
    scratch.add(*NICS)
    ours = program("marks: {connection_mask: 0x00ff0000}", name=scratch.name)
    dataplane.replace(ours)
    before = listing(scratch.name)
    monkeypatch.setattr(observe, "stamped", lambda *_: True)
    with pytest.raises(SystemRefused, match="all of its 62 stamps"):
        dataplane.replace(ours)
    assert listing(scratch.name) == before


def insert_flow(scratch: Scratch, mark: int) -> None:
    flow = f"-p udp -s 192.0.2.1 -d 192.0.2.2 --sport {mark >> 16} --dport 2 -t 300"
    scratch.run("conntrack", "-I", *flow.split(), "-m", hex(mark))
