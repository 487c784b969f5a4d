"""The daemon as a process, with packets: it keeps the policy in force, attaches what comes, repairs what others do."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from byhand import Host, passes
from daemons import Daemon, Refused, living
from harness import ANY_IN, OUT, groups, until

pytestmark = pytest.mark.traffic

OPEN = groups(A=f"{ANY_IN}, {OUT}", B=f"{ANY_IN}, {OUT}")
A_TO_B = groups(A=OUT, B=ANY_IN)
CLOSED = groups(A="", B="")


@pytest.fixture
def daemon(host: Host, tmp_path: Path) -> Iterator[Daemon]:
    with living(tmp_path, config="audit_seconds = 0.2\n") as started:
        yield started


def nft(host: Host, *words: str) -> None:
    host.run(host.router, "nft", *words)


def mended(host: Host, daemon: Daemon, repairs: int) -> None:
    """Wait for so many repairs."""
    until(lambda: len(daemon.logged("repaired")) >= repairs, f"{repairs} repairs")
    until(lambda: daemon.status()["namespaces"][0]["state"] == "in force", "in force again")


# --- changes ----------------------------------------------------------------------------------------------------------


def test_what_is_applied_is_in_force_when_the_answer_comes(host: Host, daemon: Daemon) -> None:
    assert daemon.apply(host.policy(A_TO_B)) == 1
    assert passes(host, "a", "b")
    assert not passes(host, "b", "a")
    assert daemon.apply(host.policy(CLOSED)) == 2
    assert not passes(host, "a", "b")
    assert daemon.apply(host.policy(OPEN)) == 3
    assert passes(host, "b", "a")
    until(lambda: daemon.status()["revision"] == 3, "the status says so")


def test_a_revision_that_is_refused_changes_nothing(host: Host, daemon: Daemon) -> None:
    daemon.apply(host.policy(A_TO_B))
    host.run(host.router, "ip", "link", "add", "br0", "type", "bridge")
    host.run(host.router, "ip", "link", "add", "port", "type", "veth", "peer", "name", "port-peer")
    host.run(host.router, "ip", "link", "set", "port", "master", "br0")
    with pytest.raises(Refused, match=r"interface port: is a port of the bridge br0.*take it out of br0"):
        daemon.apply(host.policy(OPEN).replace("tap-a", "port"))
    assert passes(host, "a", "b")
    assert not passes(host, "b", "a")
    assert [line["revision"] for line in daemon.logged("refused")] == [2]


# --- lives ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_the_rules_stay_when_the_daemon_is(host: Host, daemon: Daemon, how: str) -> None:
    """S19: and the next life goes on where it was."""
    daemon.apply(host.policy(A_TO_B))
    if how == "stopped":
        assert daemon.stop() == 0
    else:
        daemon.kill()
    assert passes(host, "a", "b")
    assert not passes(host, "b", "a")
    daemon.start()
    assert passes(host, "a", "b")
    assert not passes(host, "b", "a")
    assert daemon.apply(host.policy(OPEN)) == 2
    assert passes(host, "b", "a")


def test_sighup_reads_the_configuration_again_and_a_wrong_one_changes_nothing(host: Host, daemon: Daemon) -> None:
    daemon.apply(host.policy(A_TO_B))
    for text, failures in (('log_level = "debug"\n', 0), ("log_levle = 3\n", 1)):
        (daemon.directory / "enforcer.toml").write_text(text)
        daemon.process.send_signal(signal.SIGHUP)
        said = daemon.until_it_says("READY=1")
        assert "RELOADING=1" in said
        assert len(daemon.logged("failed")) == failures
    assert "log_levle" in daemon.logged("failed")[0]["why"]
    assert daemon.apply(host.policy(OPEN)) == 2


def test_the_service_manager_hears_that_the_loop_is_alive(host: Host, daemon: Daemon) -> None:
    daemon.stop()
    daemon.spawn(environment={"WATCHDOG_USEC": "300000"})
    daemon.until_it_says("WATCHDOG=1")
    daemon.until_it_says("WATCHDOG=1")
    os.kill(daemon.process.pid, signal.SIGTERM)
    daemon.until_it_says("STOPPING=1")
    assert daemon.died() == 0


# --- interfaces -------------------------------------------------------------------------------------------------------


def test_an_interface_that_comes_late_is_attached_and_closed_until_then(host: Host, daemon: Daemon) -> None:
    """S19: and the same when it comes back under its name."""
    host.unplug("a")
    daemon.apply(host.policy(OPEN))
    until(lambda: daemon.nic("ecs-a") == "pending", "it waits")
    for _ in range(2):
        host.plug("a")
        until(lambda: daemon.nic("ecs-a") == "in force", "attached")
        until(lambda: passes(host, "a", "b"), "and it passes")
        assert passes(host, "b", "a")
        host.unplug("a")
        until(lambda: daemon.nic("ecs-a") == "pending", "it is gone")
    assert passes(host, "o", "b"), "nobody else was disturbed"


def test_an_interface_that_becomes_a_bridge_port_is_closed_and_opened_again(host: Host, daemon: Daemon) -> None:
    daemon.apply(host.policy(OPEN))
    host.run(host.router, "ip", "link", "add", "br0", "type", "bridge")
    host.run(host.router, "ip", "link", "set", "tap-a", "master", "br0")
    until(lambda: daemon.nic("ecs-a") == "failed", "closed")
    assert not passes(host, "a", "b")
    assert passes(host, "o", "b")
    assert "port of the bridge br0" in daemon.logged("closed")[0]["why"]
    host.run(host.router, "ip", "link", "set", "tap-a", "nomaster")
    until(lambda: daemon.nic("ecs-a") == "in force", "in force again")
    until(lambda: passes(host, "a", "b"), "and it passes")


def test_a_namespace_that_comes_late_goes_and_comes_back(host: Host, daemon: Daemon) -> None:
    """A namespace removed under it: others go on, and one of the same name is another one."""
    other = f"{host.router}-x"
    text = host.policy(OPEN)
    third = (
        f"  - {{name: ecs-c, nics: [{{name: eth0, subnet: subnet-a, addresses: [10.0.0.13], security_groups: [Sg-A], "
        f'interface: tap-c, netns: "{other}"}}]}}\n'
    )
    daemon.apply(text.replace("ecs:\n", f"ecs:\n{third}"))
    until(lambda: daemon.nic("ecs-c") == "pending", "it waits")
    for _ in range(2):
        host.run("", "ip", "netns", "add", other)
        host.run(other, "ip", "link", "add", "tap-c", "type", "veth", "peer", "name", "peer")
        until(lambda: daemon.nic("ecs-c") == "in force", "attached in the new namespace")
        assert "table netdev enforcer" in host.run(other, "nft", "list", "tables")
        assert passes(host, "a", "b")
        host.run("", "ip", "netns", "del", other)
        until(lambda: daemon.nic("ecs-c") == "pending", "the namespace is gone")
    assert daemon.apply(host.policy(A_TO_B)) == 2
    assert not passes(host, "b", "a")


# --- what others do ---------------------------------------------------------------------------------------------------


FOREIGN = {
    "flush ruleset": ("flush", "ruleset"),
    "delete the inet table": ("delete", "table", "inet", "enforcer"),
    "delete the netdev table": ("delete", "table", "netdev", "enforcer"),
    "insert an accept": ("insert", "rule", "inet", "enforcer", "prerouting", "accept"),
    "delete elements": ("flush", "set", "netdev", "enforcer", "source4"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_foreign_change_is_repaired_and_its_author_named(host: Host, daemon: Daemon, what: str) -> None:
    daemon.apply(host.policy(A_TO_B))
    before = host.run(host.router, "nft", "-s", "list", "ruleset")
    nft(host, *FOREIGN[what])
    mended(host, daemon, 1)
    after = host.run(host.router, "nft", "-s", "list", "ruleset")
    assert len(after.splitlines()) == len(before.splitlines())
    assert passes(host, "a", "b")
    assert not passes(host, "b", "a")
    (line,) = daemon.logged("repaired")
    assert line["program"] == "nft"
    assert line["pid"] > 1
    until(lambda: daemon.status()["repairs"]["count"] == 1, "it is counted")


def test_changes_of_other_tables_and_of_our_own_are_no_foreign_changes(host: Host, daemon: Daemon) -> None:
    daemon.apply(host.policy(A_TO_B))
    nft(host, "add", "table", "inet", "mine")
    for text in (OPEN, CLOSED, A_TO_B):
        daemon.apply(host.policy(text))
        nft(host, "flush", "table", "inet", "mine")
    nft(host, "delete", "table", "inet", "enforcer")
    mended(host, daemon, 1)
    assert len(daemon.logged("repaired")) == 1, "only the last one"
    assert "table inet mine" in host.run(host.router, "nft", "list", "tables")
