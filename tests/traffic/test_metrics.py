"""Every metric that is about packets, flows and repairs, from a real daemon, against what was sent (issue: Seeing)."""

from __future__ import annotations

import urllib.request
from contextlib import AbstractContextManager
from pathlib import Path

import commands
import frames
import pytest
from byhand import Host
from commands import RULES, apply, hits, send
from daemons import Daemon
from harness import groups, reaches, until
from patience import patient

from enforcer.dataplane.namespaces import entered

pytestmark = [pytest.mark.traffic, pytest.mark.timeout(180)]

SHUT = groups(
    A="{id: out, direction: egress, protocol: udp}",
    B="{id: web, direction: ingress, protocol: udp, multiport: 81}, {id: idle, direction: ingress, protocol: gre}",
)
LISTEN = 'metrics_listen = "127.0.0.1:9567"\ncount_flows = true\n'


def running(host: Host, directory: Path, config: str = LISTEN) -> AbstractContextManager[Daemon]:
    """A daemon in the router's namespace, so that the address where it listens is that namespace's own."""
    return commands.running(host, directory, config=config, netns=host.router)


def page(host: Host, daemon: Daemon) -> dict[str, float]:
    """Read all counters anew, and return the page as whoever collects metrics gets it."""
    hits(daemon)
    with entered(host.router), urllib.request.urlopen("http://127.0.0.1:9567/metrics", timeout=patient(10)) as answer:
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {key: float(value) for key, value in (each.rsplit(" ", 1) for each in lines)}


def listening(host: Host) -> bool:
    """Say whether anybody in the router listens to new conversations: NETLINK_NETFILTER's first group."""
    lines = host.run(host.router, "cat", "/proc/net/netlink").splitlines()
    return any(line.split()[1] == "12" and line.split()[3] == "00000001" for line in lines)


def of_nic(metric: str, nic: str) -> str:
    return f'enforcer_nic_{metric}_total{{nic="{nic}"}}'


def test_flows_that_pass_are_counted_for_both_nics_and_denied_packets_for_the_one_that_denied(
    host: Host, tmp_path: Path
) -> None:
    with running(host, tmp_path) as daemon:
        until(lambda: listening(host), "it listens to new flows")
        assert send(host, 80, 5) == 5
        assert send(host, 99, 3) == 0
        accepted = [of_nic("accepted_flows", nic) for nic in ("ecs-a", "ecs-b")]
        until(lambda: all(page(host, daemon)[each] >= 5 for each in accepted), "five flows of each")
        after = page(host, daemon)
        assert [after[each] for each in accepted] == [5, 5]
        denied = [after[of_nic("denied_packets", nic)] for nic in ("ecs-a", "ecs-b")]
        assert denied == [0, 3]
        assert after['enforcer_rule_hits_total{group="Sg-B",rule="web"}'] == 5
        assert after['enforcer_rule_hits_total{group="Sg-A",rule="out"}'] == 8
        assert after['enforcer_nic_packets_total{direction="egress",nic="ecs-a"}'] >= 8
        assert after["enforcer_flows_missed_total"] == 0
        assert after[f'enforcer_conntrack_entries{{netns="{host.router}"}}'] >= 5
        assert after[f'enforcer_conntrack_max{{netns="{host.router}"}}'] > 1000


def test_without_the_option_flows_are_not_counted_and_nobody_listens_to_them(host: Host, tmp_path: Path) -> None:
    with running(host, tmp_path, LISTEN.replace("true", "false")) as daemon:
        send(host, 80)
        shown = page(host, daemon)
        assert of_nic("denied_packets", "ecs-b") in shown
        assert of_nic("accepted_flows", "ecs-b") not in shown
        assert not listening(host)


def test_a_flow_that_a_change_cuts_is_counted_once_and_one_that_it_leaves_is_not(host: Host, tmp_path: Path) -> None:
    """S14: however many packets follow, from either end; a flow that never passed was denied and not revoked."""
    with running(host, tmp_path) as daemon:
        far, near = host.udp("b", 80), [host.udp("a") for _ in range(3)]
        for one in near:
            assert reaches(one, far, (host.address("b"), 80))
            assert reaches(far, one, (host.address("a"), one.getsockname()[1]))
        apply(daemon, host, SHUT)
        for _ in range(3):
            for one in near[:2]:
                assert not reaches(one, far, (host.address("b"), 80))
                assert not reaches(far, one, (host.address("a"), one.getsockname()[1]))
        assert not reaches(host.udp("a"), far, (host.address("b"), 80)), "a new flow"
        assert send(host, 81) == 1
        shown = page(host, daemon)
        assert (shown[of_nic("revoked_flows", "ecs-a")], shown[of_nic("revoked_flows", "ecs-b")]) == (0, 2)
        assert shown[of_nic("denied_packets", "ecs-b")] == 13
        apply(daemon, host, RULES)
        assert reaches(near[0], far, (host.address("b"), 80)), "a flow that was cut may pass again"
        assert reaches(far, near[0], (host.address("a"), near[0].getsockname()[1]))
        apply(daemon, host, SHUT)
        assert not reaches(near[0], far, (host.address("b"), 80))
        assert page(host, daemon)[of_nic("revoked_flows", "ecs-b")] == 3


def test_what_checks_drop_is_counted_for_the_nic_and_told_with_its_reason(host: Host, tmp_path: Path) -> None:
    """S16, S13: a foreign address, a foreign MAC, a foreign name in ARP, a segment of no connection."""
    own, router = "fa:16:3e:00:00:0a", host.mac("tap-a")
    with running(host, tmp_path) as daemon:
        logged = "/proc/net/netfilter/nfnetlink_log"
        until(lambda: host.run(host.router, "cat", logged).strip(), "the log is listened to")
        wire = host.frames("a")
        before = page(host, daemon)
        for kind, packet, source in (
            (0, frames.udp("10.0.0.77", "10.0.0.12", 80, b"x"), own),
            (0, frames.udp("10.0.0.11", "10.0.0.12", 80, b"x"), "02:00:00:00:00:01"),
            (frames.ARP, frames.arp(1, own, "10.0.0.12", frames.BROADCAST, "10.0.0.1"), own),
            (0, frames.tcp("10.0.0.11", "10.0.0.12", 443, frames.ACK), own),
        ):
            wire.send(frames.frame(packet, source=source, to=router, kind=kind))
        assert send(host, 80) == 1

        def told() -> set[tuple[str, str, str, str]]:
            lines = [line for line in daemon.logged("denied") if not line["group"] and line["nic"] == "ecs-a"]
            return {(line["direction"], line["peer"], line["protocol"], line["reason"]) for line in lines}

        wanted = {
            ("egress", "10.0.0.12", "udp/80", "spoofed source 10.0.0.77"),
            ("egress", "10.0.0.12", "udp/80", "spoofed MAC"),
            ("egress", "10.0.0.1", "arp", "spoofed source 10.0.0.12"),
            ("egress", "10.0.0.12", "tcp/443", "no SYN"),
        }
        until(lambda: wanted <= told(), "a line for each")
        after = page(host, daemon)
        assert after[of_nic("refused_packets", "ecs-a")] - before[of_nic("refused_packets", "ecs-a")] >= 4
        assert after[of_nic("denied_packets", "ecs-a")] == 0, "no policy was asked"
        reasons = {key: after[key] for key in after if key.startswith("enforcer_dropped_packets")}
        for reason in ("spoofed MAC", "no SYN"):
            assert reasons[f'enforcer_dropped_packets_total{{reason="{reason}"}}'] == 1
        assert reasons['enforcer_dropped_packets_total{reason="spoofed source"}'] >= 2


def test_commits_revisions_and_repairs_are_counted(host: Host, tmp_path: Path) -> None:
    with running(host, tmp_path) as daemon:
        apply(daemon, host, SHUT)
        before = page(host, daemon)
        assert before["enforcer_revision"] == before['enforcer_revisions_total{outcome="in_force"}'] == 2
        assert before["enforcer_commit_seconds_count"] == 2
        assert before["enforcer_repairs_total"] == 0
        host.run(host.router, "nft", "flush", "ruleset")
        until(lambda: page(host, daemon)["enforcer_repairs_total"] == 1, "the repair is counted")
        after = page(host, daemon)
        commits = sum(value for key, value in after.items() if key.startswith("enforcer_commits_total"))
        assert commits >= 2
        assert send(host, 80) == 0
        assert send(host, 81) == 1
