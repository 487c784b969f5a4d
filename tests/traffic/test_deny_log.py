"""Denied packets become lines that name the NIC and the rule; new flows can be followed (issue: Seeing)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import frames
import pytest
import structlog
from byhand import Host
from harness import groups, reaches, until

from enforcer.agent.observer import configure
from enforcer.agent.seeing import watching
from enforcer.agent.seeing.counting import Counting
from enforcer.agent.seeing.naming import Seen
from enforcer.agent.seeing.tracing import Traces
from enforcer.agent.seeing.watching import Watching
from enforcer.agent.store import SqliteStore
from enforcer.dataplane import counters
from enforcer.dataplane.hearing.nflog import DenialSocket
from enforcer.model import parse_policy
from enforcer.ruleset.names import DENIALS

pytestmark = pytest.mark.traffic

RULES = groups(
    A="{id: out, direction: egress, protocol: udp}, {id: no-dns, direction: egress, action: deny, protocol: udp,"
    " multiport: 53}, {id: out6, direction: egress, ethertype: IPv6}",
    B="{id: web, direction: ingress, protocol: udp, multiport: '80,8080', remote_ip_prefix: 10.0.0.0/24},"
    " {id: no, direction: ingress, protocol: udp, action: deny, multiport: 90-190},"
    " {id: web6, direction: ingress, ethertype: IPv6, protocol: udp, multiport: 80}",
)


class Seeing:
    def __init__(self, watching: Watching, traces: Traces, counting: Counting, failures: list[str]) -> None:
        self.watching, self.traces, self.counting, self.failures = watching, traces, counting, failures


@contextmanager
def seeing(host: Host, rules: str, tmp_path: Path) -> Iterator[Seeing]:
    policy = parse_policy(host.policy(rules))
    failures: list[str] = []
    store = SqliteStore(tmp_path / "store.db")
    counting = Counting(store, lambda what, why: failures.append(f"{what}: {why}"))
    traces = Traces()
    said = lambda what, why: failures.append(f"{what}: {why}")  # noqa: E731
    watching = Watching(lambda: policy, lambda: (host.router,), counting, traces, said)
    counting.begin()
    watching.start()
    try:
        yield Seeing(watching, traces, counting, failures)
    finally:
        watching.end()
        store.close()


def send(host: Host, sender: str, receiver: str, port: int, family: int = 4, times: int = 1) -> int:
    """Send datagrams, each a flow of its own; return how many arrived."""
    arrived = 0
    with host.udp(receiver, port, family) as receiving:
        for _ in range(times):
            with host.udp(sender, 0, family) as sending:
                arrived += reaches(sending, receiving, (host.address(receiver, family), port))
    return arrived


def words(seen: Seen) -> tuple[str, ...]:
    return (seen.verdict, seen.nic, seen.direction, seen.peer, seen.protocol, f"{seen.group}/{seen.rule}")


def log_of(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """Return what reads the lines of the log that are new and whole: the last may be half written."""
    rest = ""

    def new() -> list[dict[str, Any]]:
        nonlocal rest
        *lines, rest = (rest + capsys.readouterr().err).split("\n")
        return [json.loads(line) for line in lines]

    return new


def test_each_flow_is_told_with_the_rules_that_decided(host: Host, tmp_path: Path):
    """Accepted: once for the NIC that it left and once for the one it came to. Denied: where it was denied."""
    host.apply(RULES)
    with seeing(host, RULES, tmp_path) as sight, sight.traces.follow() as following:
        until(lambda: sight.watching._beginnings and sight.watching._denials, "it listens")
        assert send(host, "a", "b", 80) == 1
        assert send(host, "a", "b", 100) == 0
        assert send(host, "a", "b", 53) == 0
        assert send(host, "a", "b", 5000) == 0
        assert send(host, "o", "b", 80) == 0
        found: list[Seen] = []
        until(lambda: found.extend(following.take()[0]) or len(found) >= 6, "six lines")
        assert [words(each) for each in found if each.verdict == "accepted"] == [
            ("accepted", "ecs-a", "egress", "10.0.0.12", "udp/80", "Sg-A/out"),
            ("accepted", "ecs-b", "ingress", "10.0.0.11", "udp/80", "Sg-B/web"),
        ]
        assert [words(each) for each in found if each.verdict == "denied"] == [
            ("denied", "ecs-b", "ingress", "10.0.0.11", "udp/100", "Sg-B/no"),
            ("denied", "ecs-a", "egress", "10.0.0.12", "udp/53", "Sg-A/no-dns"),
            ("denied", "ecs-b", "ingress", "10.0.0.11", "udp/5000", "/"),
            ("denied", "ecs-b", "ingress", "10.0.9.2", "udp/80", "/"),
        ]
        assert sight.failures == []


def test_what_the_oracle_names_is_what_the_kernel_counted(host: Host, tmp_path: Path):
    """The third claim, live: lines by rule and counters by rule are the same numbers, over both families."""
    host.apply(RULES)
    with seeing(host, RULES, tmp_path) as sight, sight.traces.follow() as following:
        until(lambda: sight.watching._beginnings and sight.watching._denials, "it listens")
        for port, times in ((80, 3), (8080, 2), (100, 4), (53, 2), (6000, 3)):
            send(host, "a", "b", port, times=times)
        until(lambda: send(host, "a", "b", 80, family=6), "IPv6 is up")
        send(host, "a", "b", 81, family=6)
        told: dict[str, int] = {}
        outward = ("Sg-A/out", "Sg-A/out6")  # these also count what the other end denies then

        def tell() -> dict[str, int]:
            for seen in following.take()[0]:
                key = f"{seen.group}/{seen.rule}" if seen.rule else "no rule matches"
                if key in outward:
                    continue
                told[key] = told.get(key, 0) + 1
            return told

        counted: dict[str, int] = {}
        for origin, packets in counters.read(host.router).counts.items():
            if origin.label not in outward and ("/" in origin.label or origin.label == "no rule matches"):
                counted[origin.label] = counted.get(origin.label, 0) + packets
        until(lambda: sum(tell().values()) >= sum(counted.values()), "as many lines as hits")
        assert told == counted
        assert counted["Sg-B/no"] == 4


def test_the_log_has_a_line_for_each_denied_packet(host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    configure("info")
    host.apply(RULES)
    lines: list[dict[str, Any]] = []
    logged = log_of(capsys)
    with seeing(host, RULES, tmp_path) as sight:
        until(lambda: sight.watching._denials, "it listens")
        send(host, "a", "b", 100)
        until(lambda: lines.extend(logged()) or lines, "a line")
    structlog.reset_defaults()
    (line,) = lines
    assert {key: line[key] for key in ("event", "nic", "direction", "peer", "protocol", "group", "rule")} == {
        "event": "denied",
        "nic": "ecs-b",
        "direction": "ingress",
        "peer": "10.0.0.11",
        "protocol": "udp/100",
        "group": "Sg-B",
        "rule": "no",
    }


def test_a_noisy_nic_leaves_room_for_the_lines_of_others_and_everything_is_counted(host: Host, tmp_path: Path):
    """The limit is each NIC's own: a thousand denied packets of one do not silence another one's first."""
    few = RULES + "deny_log: {per_second: 5, burst: 5}\n"
    host.apply(few)
    with DenialSocket(host.router, 5371) as log:
        with host.udp("a") as noisy:
            for _ in range(1000):
                noisy.sendto(b"x", (host.address("b"), 53))
        with host.udp("o") as other:
            other.sendto(b"x", (host.address("b"), 9999))
        seen: list[str] = []
        until(lambda: seen.extend(each.way for each in log.read()) or "to" in seen, "the other NIC's line")
        assert 5 <= seen.count("from") < 100
        assert sorted(counters.by_key(host.router, "inet", "denied_nic").values()) == [1, 1000]
        assert log.lost == 0


def test_of_very_many_denied_packets_a_second_has_so_many_lines_and_the_rest_is_counted(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """However much a NIC's limit lets through; no packet is forgotten: it has a line, or is among those left out."""
    monkeypatch.setattr(watching, "READ_EVERY", 0.2)
    configure("info")
    wide = RULES + "deny_log: {per_second: 10000, burst: 10000}\n"
    host.apply(wide)
    told = left_out = 0
    logged = log_of(capsys)

    def heard() -> int:
        nonlocal told, left_out
        for line in logged():
            told += line["event"] == "denied" and line["nic"] == "ecs-a"
            left_out += line["packets"] if line["event"] == "denied_left_out" and line["nic"] == "ecs-a" else 0
        return told + left_out

    with seeing(host, wide, tmp_path) as sight:
        until(lambda: sight.watching._denials, "it listens")
        sight.watching.read_now()
        begun = time.monotonic()
        with host.udp("a") as noisy:
            for _ in range(3000):
                noisy.sendto(b"x", (host.address("b"), 53))
        until(lambda: heard() >= 3000, "each has a line or is left out")
        seconds = int(time.monotonic() - begun) + 2  # those that were begun count as well
        assert 0 < told <= watching.MOST_LINES * seconds
        assert told + left_out == 3000
        assert left_out > 0 or seconds > 3000 // watching.MOST_LINES, "so many in so short a time"
    structlog.reset_defaults()


def test_what_is_left_out_is_counted_though_others_read_the_counters_meanwhile(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Whoever asks for hits reads them as well, and so do several at once: each packet is counted once."""
    monkeypatch.setattr(watching, "READ_EVERY", 0.2)
    configure("info")
    few = RULES + "deny_log: {per_second: 5, burst: 5}\n"
    host.apply(few)
    logged = log_of(capsys)
    with seeing(host, few, tmp_path) as sight, ThreadPoolExecutor(4) as others:
        until(lambda: sight.watching._denials, "it listens")
        sight.watching.read_now()
        ending = threading.Event()

        def read() -> None:
            while not ending.is_set():
                sight.watching.read_now()

        for _ in range(4):
            others.submit(read)
        with host.udp("a") as noisy:
            for _ in range(2000):
                noisy.sendto(b"x", (host.address("b"), 53))
        heard: list[int] = []

        def all_heard() -> bool:
            heard.extend(line.get("packets", 1) for line in logged() if line["nic"] == "ecs-a")
            return sum(heard) >= 2000

        try:
            until(all_heard, "each has a line or is left out")
        finally:
            ending.set()
    assert sum(heard) == 2000
    assert sight.counting.of_nics(DENIALS)["ecs-a"] == 2000
    structlog.reset_defaults()


def test_followers_hear_what_they_asked_for(host: Host, tmp_path: Path):
    """`--nic` and `--proto`, each alone and both; denied and accepted flows alike."""
    host.apply(RULES)
    with (
        seeing(host, RULES, tmp_path) as sight,
        sight.traces.follow() as everything,
        sight.traces.follow(nic="ecs-b") as of_nic,
        sight.traces.follow(protocol="icmp") as of_protocol,
        sight.traces.follow(nic="ecs-a", protocol="udp") as of_both,
    ):
        until(lambda: sight.watching._beginnings and sight.watching._denials, "it listens")
        assert send(host, "a", "b", 80) == 1
        assert send(host, "a", "b", 53) == 0
        echo = frames.echo(host.address("a"), host.address("b"))
        host.frames("a").send(frames.frame(echo, source="fa:16:3e:00:00:0a", to=host.mac("tap-a")))
        found: list[Seen] = []
        until(lambda: found.extend(everything.take()[0]) or len(found) >= 4, "four lines")
        heard = {(each.verdict, each.nic, each.protocol) for each in found}
        out, through = ("accepted", "ecs-a", "udp/80"), ("accepted", "ecs-b", "udp/80")
        dns, ping = ("denied", "ecs-a", "udp/53"), ("denied", "ecs-a", "icmp/8/0")
        assert heard == {out, through, dns, ping}
        for following, wanted in ((of_nic, {through}), (of_protocol, {ping}), (of_both, {out, dns})):
            assert {(each.verdict, each.nic, each.protocol) for each in following.take()[0]} == wanted


def test_a_flow_that_a_change_has_cut_is_told_with_the_rule_that_cuts_it(host: Host, tmp_path: Path):
    """S14: the instance's own packets of a flow that others opened are denied by its inbound rules, read in reverse."""
    before = groups(A="{id: out, direction: egress}", B="{id: all, direction: ingress}, {id: o, direction: egress}")
    after = groups(
        A="{id: out, direction: egress}",
        B="{id: cut, direction: ingress, action: deny, protocol: udp, multiport: 80}, {id: o, direction: egress}",
    )
    host.apply(before)
    near, far = host.udp("a"), host.udp("b", 80)
    assert reaches(near, far, ("10.0.0.12", 80))
    assert reaches(far, near, ("10.0.0.11", near.getsockname()[1]))
    host.apply(after)
    with seeing(host, after, tmp_path) as sight, sight.traces.follow(nic="ecs-b") as following:
        until(lambda: sight.watching._denials, "it listens")
        assert not reaches(far, near, ("10.0.0.11", near.getsockname()[1]))
        found: list[Seen] = []
        until(lambda: found.extend(following.take()[0]) or found, "a line")
        assert (*words(found[0]), found[0].reply) == (
            "denied", "ecs-b", "ingress", "10.0.0.11", "udp/80", "Sg-B/cut", True,
        )  # fmt: skip


def test_nothing_is_left_behind_when_nobody_follows_any_more(host: Host, tmp_path: Path):
    host.apply(RULES)
    rules = host.run(host.router, "nft", "-s", "list", "ruleset")
    with seeing(host, RULES, tmp_path) as sight:
        with sight.traces.follow():
            until(lambda: sight.watching._beginnings, "it listens to new flows")
            assert host.run(host.router, "nft", "-s", "list", "ruleset") == rules, "a trace changes no rule"
        until(lambda: not sight.watching._beginnings, "it listens no more")


def test_a_group_that_somebody_else_listens_to_is_told_once(host: Host, tmp_path: Path):
    host.apply(RULES)
    with DenialSocket(host.router, 5371), seeing(host, RULES, tmp_path) as sight:
        until(lambda: sight.failures, "it says so")
        deadline = time.monotonic() + 1.0
        until(lambda: time.monotonic() > deadline, "some rounds")
        (failure,) = sight.failures
        assert "NFLOG group 5371 cannot be read (another program listens to it" in failure
