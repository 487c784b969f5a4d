"""`enforcer apply` with packets: a host of others, some of whose interfaces are NICs (design §3, §5)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from byhand import Host, passes
from harness import ANY_IN, OUT, groups, reaches, until
from patience import patient

from enforcer.compiler import compile_policy
from enforcer.dataplane import clear, replace_all
from enforcer.errors import AttachmentRefused, TransactionRefused
from enforcer.model import host_layout, parse_policy

pytestmark = pytest.mark.traffic

OPEN = groups(A=f"{ANY_IN}, {OUT}", B=f"{ANY_IN}, {OUT}")
CLOSED = groups(A="", B="")
OTHERS = """
table inet mine {
  set seen { type ipv4_addr; elements = { 192.0.2.1 }
  }
  chain forward { type filter hook forward priority 0; policy accept; ip daddr 10.0.0.12 udp dport 9999 counter drop
  }
}
table ip enforcer_not { chain c { type filter hook output priority 0; policy accept;
  }
}
"""


def test_interfaces_that_are_no_nic_pass(host: Host) -> None:
    """Neighbours: what the policy does not know is not touched; towards a NIC it is judged like any peer."""
    host.apply(CLOSED)
    assert not passes(host, "a", "b")
    assert not passes(host, "o", "a")
    assert not passes(host, "a", "o")
    router = host.udp("", 7000)
    assert reaches(host.udp("o"), router, ("10.0.9.1", 7000))
    host.apply(OPEN)
    for pair in (("a", "b"), ("o", "a"), ("a", "o")):
        assert passes(host, *pair)
        until(lambda pair=pair: passes(host, *pair, family=6), f"{pair} over IPv6")


def test_other_tables_stay_and_hold(host: Host) -> None:
    """Neighbours: whatever we do, other tables keep their rules, elements and counters, and their verdicts count."""
    host.run(host.router, "nft", "-f", "-", text=OTHERS)
    before = host.run(host.router, "nft", "list", "table", "inet", "mine")
    host.apply(OPEN)
    host.apply(CLOSED)
    host.apply(OPEN)
    assert host.run(host.router, "nft", "list", "table", "inet", "mine") == before
    assert passes(host, "a", "b", 9998)
    assert not passes(host, "a", "b", 9999), "our accept is not the last word"
    clear(host.router)
    tables = host.run(host.router, "nft", "list", "tables").splitlines()
    assert sorted(tables) == ["table inet mine", "table ip enforcer_not"]
    assert passes(host, "a", "b", 9998)


@pytest.mark.parametrize("end", ["exits", "is killed"])
def test_rules_stay_when_the_process(host: Host, end: str) -> None:
    """S19: the rules are the kernel's: who put them there may go."""
    script = (
        "import sys, time\n"
        "from enforcer.compiler import compile_policy\n"
        "from enforcer.dataplane import replace_all\n"
        "from enforcer.model import host_layout, parse_policy\n"
        "policy = parse_policy(sys.stdin.read())\n"
        "replace_all(compile_policy(policy, host_layout(policy)))\n"
        "print('in force', flush=True)\n"
        f"time.sleep({0 if end == 'exits' else 600})\n"
    )
    only_b = groups(A=OUT, B=ANY_IN)
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    process.stdin.write(host.policy(only_b))
    process.stdin.close()
    assert process.stdout.readline() == "in force\n"
    if end == "is killed":
        process.send_signal(signal.SIGKILL)
    process.wait(timeout=patient(10))
    process.stdout.close()
    assert passes(host, "a", "b")
    assert not passes(host, "b", "a")


def test_a_process_that_is_killed_while_it_changes_rules_leaves_one_policy_or_the_other(host: Host) -> None:
    """S19: at whatever instant it dies, what both policies deny stays denied, and the next one finishes the work."""
    script = (
        "import sys\n"
        "from enforcer.compiler import compile_policy\n"
        "from enforcer.dataplane import replace_all\n"
        "from enforcer.model import host_layout, parse_policy\n"
        "parsed = [parse_policy(text) for text in sys.stdin.read().split('\\f')]\n"
        "programs = [compile_policy(each, host_layout(each)) for each in parsed]\n"
        "while True:\n"
        "    for program in programs:\n"
        "        replace_all(program)\n"
        "        print('.', flush=True)\n"
    )
    texts = [host.policy(groups(A=OUT, B=ANY_IN)), host.policy(groups(A=f"{OUT}, {ANY_IN}", B=f"{ANY_IN}, {DENY_OUT}"))]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for delay in (0.0, 0.007, 0.017):
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        process.stdin.write("\f".join(texts))
        process.stdin.close()
        for _ in range(2):
            assert process.stdout.readline() == ".\n"
        time.sleep(delay)  # the instant is what is tried
        process.kill()
        process.wait(timeout=patient(10))
        process.stdout.close()
        assert passes(host, "a", "b"), f"killed after {delay} s"
        assert not passes(host, "b", "a"), f"killed after {delay} s"
    committed = host.apply(OPEN)
    assert committed.swept
    assert passes(host, "b", "a")


DENY_OUT = "{direction: egress, action: deny}, {direction: egress, action: deny, ethertype: IPv6}"


def test_a_bridge_port_is_refused_and_nothing_changes(host: Host) -> None:
    """Attribution: a bridge port would not be filtered; it is refused by name, and what was in force still is."""
    host.apply(groups(A=OUT, B=ANY_IN))
    before = host.run(host.router, "nft", "-s", "list", "ruleset")
    host.run(host.router, "ip", "link", "add", "br0", "type", "bridge")
    host.run(host.router, "ip", "link", "set", "tap-b", "master", "br0")
    with pytest.raises(AttachmentRefused, match=r"tap-b.*bridge br0"):
        host.apply(OPEN)
    host.run(host.router, "ip", "link", "set", "tap-b", "nomaster")
    assert host.run(host.router, "nft", "-s", "list", "ruleset") == before
    assert passes(host, "a", "b")
    assert not passes(host, "b", "a")


def test_a_transaction_that_is_refused_changes_nothing(host: Host) -> None:
    """S19: what was in force stays in force, for new flows and old ones."""
    host.apply(groups(A=OUT, B=ANY_IN))
    policy = parse_policy(host.policy(OPEN))
    program = compile_policy(policy, host_layout(policy))
    namespace = program.namespaces[0]
    first, second = namespace.nics[:2]
    twice = replace(namespace, nics=(first, replace(second, interface=first.interface), *namespace.nics[2:]))
    before = host.run(host.router, "nft", "-s", "list", "ruleset")
    with pytest.raises(TransactionRefused):
        replace_all(replace(program, namespaces=(twice,)))
    after = host.run(host.router, "nft", "-s", "list", "ruleset")
    assert set(before.splitlines()) <= set(after.splitlines()), "what was prepared may be there, and nothing asks it"
    assert passes(host, "a", "b")
    assert not passes(host, "b", "a")


def test_the_marks_of_others_are_kept(host: Host) -> None:
    """Neighbours: of packet mark and connection mark only our bits are ours, and no packet keeps our packet mark."""
    host.run(
        host.router,
        *("nft", "-f", "-"),
        text="""
table inet marks {
  set packet { type mark; flags dynamic; size 64
  }
  set connection { type mark; flags dynamic; size 64
  }
  chain early { type filter hook prerouting priority -250; policy accept; meta mark set meta mark | 0x7
  }
  chain later { type filter hook prerouting priority -140; policy accept; iifname "tap-a" ct mark set ct mark | 0x5a
  }
  chain last { type filter hook postrouting priority 300; policy accept; iifname "tap-a" oifname "tap-b" goto seen
  }
  chain seen {
    add @packet { meta mark }
    add @connection { ct mark & 0x000000ff }
  }
}
""",
    )
    host.apply(OPEN)
    near, far = host.udp("a"), host.udp("b")
    for _ in range(3):
        assert reaches(near, far, ("10.0.0.12", far.getsockname()[1]))
    listed = host.run(host.router, "nft", "list", "table", "inet", "marks")
    assert "elements = { 0x00000007 }" in listed
    assert "elements = { 0x0000005a }" in listed
