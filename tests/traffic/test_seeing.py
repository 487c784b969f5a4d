"""What a real daemon shows of its work: status, hits, traces, metrics and the deny log, by the real commands."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from byhand import Host
from commands import RULES, apply, document, enforcer, hits, running, send
from daemons import ROOT, Daemon
from harness import groups, until
from patience import patient

pytestmark = [pytest.mark.traffic, pytest.mark.timeout(120)]

COSTLY = "{id: two, direction: ingress, protocol: tcp, multiport: '80,443'}"
OTHER = RULES + "  - {name: Sg-C, rules: []}\n"
CHANGED = groups(
    A="{id: out, direction: egress, protocol: udp}",
    B="{id: web, direction: ingress, protocol: udp, multiport: '80,81'}, {id: new, direction: ingress, protocol: 47}",
)


def test_hits_outlive_changes_and_restarts(host: Host, tmp_path: Path):
    """Each flow once, whatever replaced the maps that counted it: another policy, a new life."""
    with running(host, tmp_path) as daemon:
        assert send(host, 80, 3) == 3
        assert send(host, 99, 2) == 0
        assert hits(daemon) == {"Sg-A/out": 5, "Sg-B/web": 3, "Sg-B/idle": 0, "Sg-B/off": 0}
        assert hits(daemon, "--unused") == {"Sg-B/idle": 0}
        assert document(daemon, "hits")["reasons"]["no rule matches"] == 2
        send(host, 80, 2)
        apply(daemon, host, CHANGED)
        assert hits(daemon) == {"Sg-A/out": 7, "Sg-B/web": 5, "Sg-B/new": 0}
        send(host, 81, 2)
        daemon.stop()
        send(host, 81, 1)
        daemon.start()
        assert hits(daemon)["Sg-B/web"] == 8
        assert "Sg-B/web" in enforcer(daemon, "hits")


def test_hits_outlive_a_kill_and_a_foreign_flush(host: Host, tmp_path: Path):
    """A kill loses nothing, not even what is counted while nobody lives; a flush loses nothing that was read before."""
    with running(host, tmp_path) as daemon:
        assert send(host, 80, 3) == 3
        daemon.kill()
        assert send(host, 80, 2) == 2
        daemon.start()
        before = document(daemon, "hits")
        assert hits(daemon) == {"Sg-A/out": 5, "Sg-B/web": 5, "Sg-B/idle": 0, "Sg-B/off": 0}
        host.run(host.router, "nft", "flush", "ruleset")
        until(lambda: daemon.logged("repaired"), "it is repaired")
        assert send(host, 80, 2) == 2
        assert hits(daemon)["Sg-B/web"] == 7
        assert hits(daemon, "--unused") == {"Sg-B/idle": 0}
        assert document(daemon, "hits")["since"] == before["since"]


def test_status_says_whether_all_is_as_wanted(host: Host, tmp_path: Path):
    with running(host, tmp_path) as daemon:
        found = document(daemon, "status")
        assert (found["well"], found["revision"], [nic["state"] for nic in found["nics"]]) == (
            True,
            1,
            ["in force"] * 2,
        )
        assert found["conntrack"][0]["max"] > 0
        assert "NICs: 2 in force, 0 pending, 0 failed" in enforcer(daemon, "status")
        host.unplug("b")
        until(lambda: daemon_status(daemon)["nics"][1]["state"] == "pending", "the NIC is pending")
        done = enforcer(daemon, "status", status=1)
        assert done == ""
        host.plug("b")
        until(lambda: daemon_status(daemon)["well"], "all is well again")


def test_status_says_what_waits_to_be_confirmed_and_what_did_not_work(host: Host, tmp_path: Path):
    with running(host, tmp_path) as daemon:
        assert (document(daemon, "status")["waiting"], document(daemon, "status")["errors"]) == (None, [])
        assert daemon.ask("PUT", "/v1/policy?confirm=600", host.policy(OTHER))[0] == 200
        assert document(daemon, "status")["waiting"]["base"] == 1
        assert re.search(r"(?m)^revision 2 goes back to 1 in [56]\d\d s, unless you", enforcer(daemon, "status"))
        assert 500 < document(daemon, "history")["left"] <= 600
        (tmp_path / "enforcer.toml").write_text("log_level = 'loud'")
        for times in (1, 2):
            daemon.process.send_signal(signal.SIGHUP)
            until(lambda times=times: [each["times"] for each in daemon.status()["errors"]] == [times], "it is told")
        assert re.search(r"(?m)^error: [-0-9: ]+ configuration: .*log_level.* \(2 times\)$", enforcer(daemon, "status"))


def test_hits_say_which_rules_do_not_take_effect(host: Host, tmp_path: Path):
    """S9: nothing hits them, and that is not because nobody came."""
    few = "limits: {costly_rules: 0}\n" + groups(A="{id: out, direction: egress}", B=COSTLY)
    with running(host, tmp_path, few) as daemon:
        rows = {row["rule"]: row["not_in_effect"] for row in document(daemon, "hits")["rules"]}
        assert (rows["two"], rows["out"]) == ("not in effect: quota", "")
        (line,) = (line for line in enforcer(daemon, "hits", "--unused").splitlines() if line.startswith("Sg-B/two"))
        assert line.rstrip().endswith("tcp 80,443 from anywhere (priority 1) – not in effect: quota")


def test_status_tells_of_rules_that_the_store_does_not_know(host: Host, tmp_path: Path):
    """A store that was moved away: what its last life left in the kernel stays, and nobody may think it is nothing."""
    with running(host, tmp_path, netns=host.router) as daemon:
        daemon.stop()
        daemon.state.rename(tmp_path / "away")
        daemon.start()
        told = subprocess.run(
            [sys.executable, "-m", "enforcer", "status", "--socket", str(daemon.socket)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 1
        assert "revision 0 is in force" in told.stdout
        assert "warning: this network namespace: has rules of an earlier life" in told.stdout
        daemon.apply(host.policy(RULES))
        assert "left-over" not in {each["code"] for each in daemon.status()["warnings"]}
        assert daemon.status()["well"]


def daemon_status(daemon: Daemon) -> Any:
    words = [sys.executable, "-m", "enforcer", "status", "--json"]
    where = {**os.environ, "PYTHONPATH": str(ROOT), "ENFORCER_SOCKET": str(daemon.socket)}
    return json.loads(subprocess.run(words, env=where, capture_output=True, text=True, check=False).stdout)


def test_a_trace_tells_flows_as_they_are_judged_and_ends_with_its_client(host: Host, tmp_path: Path):
    with running(host, tmp_path) as daemon:
        for wrong, said in (
            (("--nic", "ecs-bb"), "'ecs-bb' is no NIC of the policy in force; did you mean 'ecs-b'?"),
            (("--proto", "tpc"), "'tpc' has no known protocol; did you mean 'tcp'?"),
        ):
            assert f"error: {said}\n" in enforcer(daemon, "trace", *wrong, status=2)
        words = [sys.executable, "-m", "enforcer", "trace", "--nic", "ecs-b", "--proto", "udp", "--json"]
        where = {**os.environ, "PYTHONPATH": str(ROOT), "ENFORCER_SOCKET": str(daemon.socket), "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(words, env=where, stdout=subprocess.PIPE, text=True) as tracing:
            lines: list[dict[str, Any]] = []
            os.set_blocking(tracing.stdout.fileno(), False)

            def told(port: int) -> bool:
                send(host, port)
                lines.extend(json.loads(line) for line in tracing.stdout.readlines())
                return any(line["protocol"] == f"udp/{port}" for line in lines)

            until(lambda: told(80), "a flow is told", patience=patient(15))
            until(lambda: told(99), "a denied one, too")
            tracing.send_signal(signal.SIGINT)
            assert tracing.wait(patient(10)) == 0
        accepted, denied = (next(line for line in lines if line["protocol"] == f"udp/{port}") for port in (80, 99))
        assert (accepted["verdict"], accepted["nic"], accepted["rule"]) == ("accepted", "ecs-b", "web")
        assert (denied["verdict"], denied["nic"], denied["rule"]) == ("denied", "ecs-b", "")
        assert {line["nic"] for line in lines} == {"ecs-b"}
        assert daemon.logged("denied")[0]["nic"] == "ecs-b"


def test_metrics_are_the_same_numbers(host: Host, tmp_path: Path):
    import httpx

    with running(host, tmp_path) as daemon:
        send(host, 80, 3)
        send(host, 99, 2)
        hits(daemon)
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=str(daemon.socket)), base_url="http://enforcer/v1"
        ) as client:
            page = client.get("/metrics").text
        lines = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
        assert lines["enforcer_revision"] == "1.0"
        assert lines['enforcer_rule_hits_total{group="Sg-B",rule="web"}'] == "3.0"
        assert lines['enforcer_nic_denied_packets_total{nic="ecs-b"}'] == "2.0"
        assert lines['enforcer_nics{state="in force"}'] == "2.0"
        assert lines['enforcer_revisions_total{outcome="in_force"}'] == "1.0"
        assert float(lines['enforcer_nic_packets_total{direction="ingress",nic="ecs-b"}']) >= 3
        assert float(lines["enforcer_commit_seconds_count"]) == 1
