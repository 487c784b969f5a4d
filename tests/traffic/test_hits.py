"""Hits: the kernel's counters say which rule decided about each flow, and the sums outlive what replaces them."""

from __future__ import annotations

import json

import pytest
from byhand import Host
from harness import groups, reaches

from enforcer.agent.seeing.hits import Ledger
from enforcer.compiler.incremental import Compiler
from enforcer.dataplane import Session, Step, clear, counters
from enforcer.model import parse_policy

pytestmark = pytest.mark.traffic

RULES = groups(
    A="{id: out, direction: egress, protocol: udp}",
    B="{id: web, direction: ingress, protocol: udp, multiport: '80,8080', remote_ip_prefix: 10.0.0.0/24},"
    " {id: no, direction: ingress, protocol: udp, action: deny, multiport: 90-190},"
    " {id: big, direction: ingress, protocol: udp, multiport: 2000-3000}",
)
ONE_REGION = groups(A="{id: out, direction: egress}", B="{id: all, direction: ingress}")


def sent(host: Host, port: int, times: int = 1) -> None:
    """Send datagrams from a to b, each a flow of its own, and let them arrive or not."""
    with host.udp("b", port) as receiving:
        for _ in range(times):
            with host.udp("a") as sending:
                reaches(sending, receiving, (host.address("b"), port))


def hits(ledger: Ledger, host: Host, rules: str) -> dict[str, int]:
    policy = parse_policy(host.policy(rules))
    return {f"{row.group}/{row.rule}": row.hits.hits for row in ledger.rules(policy) if row.group != "default"}


def test_each_flow_is_counted_at_the_rule_that_let_it_out_and_the_one_that_let_it_in(host: Host):
    """The third claim: what counts is the rule that gave the verdict; ports nobody speaks of hit none."""
    host.apply(RULES)
    for port, times in ((80, 3), (8080, 1), (100, 2), (2500, 4), (5000, 5)):
        sent(host, port, times)
    ledger = Ledger(0.0)
    ledger.take(host.router, counters.read(host.router), 1.0)
    assert hits(ledger, host, RULES) == {"Sg-A/out": 15, "Sg-B/web": 4, "Sg-B/no": 2, "Sg-B/big": 4}
    assert ledger.reasons()["no rule matches"].hits == 5


def test_a_rule_list_that_is_one_rule_counts_without_a_map(host: Host):
    host.apply(ONE_REGION)
    sent(host, 80, 3)
    ledger = Ledger(0.0)
    ledger.take(host.router, counters.read(host.router), 1.0)
    assert hits(ledger, host, ONE_REGION) == {"Sg-A/out": 3, "Sg-B/all": 3}


def test_counters_are_what_nft_lists(host: Host):
    host.apply(RULES)
    for port in (80, 8080, 100):
        sent(host, port)
    listed: dict[str, int] = {}
    for entry in json.loads(host.run(host.router, "nft", "-j", "list", "ruleset"))["nftables"]:
        for element in entry.get("map", {}).get("elem", ()):
            key = element[0] if isinstance(element, list) else element
            if isinstance(key, dict) and "elem" in key and key["elem"].get("counter", {}).get("packets"):
                label = key["elem"]["comment"]
                listed[label] = listed.get(label, 0) + key["elem"]["counter"]["packets"]
        for expression in entry.get("rule", {}).get("expr", ()):
            if expression.get("counter", {}).get("packets"):
                label = entry["rule"].get("comment", "")
                listed[label] = listed.get(label, 0) + expression["counter"]["packets"]
    read: dict[str, int] = {}
    for origin, packets in counters.read(host.router).counts.items():
        read[origin.label] = read.get(origin.label, 0) + packets
    rules = {label: packets for label, packets in listed.items() if "/" in label}  # the rest may grow meanwhile
    assert {label: packets for label, packets in read.items() if "/" in label} == rules
    assert read["Sg-B/web"] == 2


def test_objects_that_are_asked_for_by_name_are_read_alone(host: Host):
    host.apply(RULES)
    sent(host, 80)
    everything = counters.read(host.router)
    (name,) = {origin.object for origin in everything.counts if origin.label == "Sg-B/web"}
    some = counters.read(host.router, {name})
    assert some.counts == {origin: n for origin, n in everything.counts.items() if origin.object == name}
    assert some.world == everything.world


def test_a_namespace_without_our_tables_has_counted_nothing(host: Host):
    host.apply(RULES)
    clear(host.router)
    assert counters.read(host.router).counts == {}


@pytest.mark.parametrize("reads", [(), (0, 1, 2, 3, 4, 5), (1, 4)], ids=["never", "always", "now and then"])
def test_what_changes_in_place_takes_along_what_it_has_counted(host: Host, reads: tuple[int, ...]):
    """A port comes and goes and comes back in rules for any address: elements alone, and the kernel's last word."""
    ledger, compiler = Ledger(0.0), Compiler()
    session = Session(
        host.router,
        lambda names: ledger.take(host.router, counters.read(host.router, names), 1.0, whole=False),
        lambda last: ledger.last(host.router, last, 1.0),
    )
    expected = {"Sg-A/out": 0, "Sg-B/web": 0, "Sg-B/no": 0, "Sg-B/big": 0}
    for turn, ports in enumerate(("2000,2001", "2001", "2001,2002", "2000,2001", "2000", "2000,2001")):
        rules, steps = RULES.replace("2000-3000", f"'{ports}'"), list[Step]()
        policy = parse_policy(host.policy(rules))
        session.replace(compiler.compile(policy).namespaces[0], passed=steps.append)
        assert turn == 0 or steps == [Step.SWITCHED], "it is one transaction"
        session.tidy()
        ledger.know(policy, 1.0)
        for port, times in ((2000, 1), (2001, 2), (80, 1)):
            sent(host, port, times)
            expected["Sg-A/out"] += times
            if str(port) in ports:
                expected["Sg-B/big"] += times
        expected["Sg-B/web"] += 1
        if turn in reads:
            ledger.take(host.router, counters.read(host.router), 1.0)
    session.close()
    ledger.take(host.router, counters.read(host.router), 1.0)
    assert hits(ledger, host, rules) == expected


def test_what_elements_had_counted_is_told_whatever_is_replaced_behind_them(host: Host):
    ledger, compiler = Ledger(0.0), Compiler()
    session = Session(
        host.router,
        lambda names: ledger.take(host.router, counters.read(host.router, names), 1.0, whole=False),
        lambda last: ledger.last(host.router, last, 1.0),
    )
    one, other = (RULES.replace("2000-3000", f"'{ports}'") for ports in ("2000,2001", "2001"))
    session.replace(compiler.compile(parse_policy(host.policy(one))).namespaces[0])
    sent(host, 2000, 3)
    program = compiler.compile(parse_policy(host.policy(other))).namespaces[0]
    session.replace(program)
    session.replace(program, whole=True)
    session.tidy()
    session.close()
    assert hits(ledger, host, other)["Sg-B/big"] == 3
