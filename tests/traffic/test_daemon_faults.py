"""Faults under traffic: killed at every step of a change, restarted, out of disk, deaf, never alone (S19).

Beside each fault a process sends some thousand packets a second of established and new flows, allowed and denied ones,
over IPv4 and IPv6: every allowed packet arrives, no denied one does. Only where somebody else changed our tables is
neither counted until the repair is logged.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from blasting import Blast, blasting
from byhand import Host
from daemons import ROOT, Daemon, Refused, living
from harness import ANY_IN, OUT, groups, reaches, until
from patience import SLOWNESS, patient

from enforcer.agent.faults import STEPS

pytestmark = pytest.mark.traffic

RATE = str(int(2000 / SLOWNESS))
PROBE = 6000


def only(ports: str) -> str:
    """Let ecs-b receive on these UDP ports, and no other."""
    rules = [f"{{direction: ingress, protocol: udp, multiport: '{ports}', ethertype: {e}}}" for e in ("IPv4", "IPv6")]
    return groups(A=OUT, B=", ".join((*rules, OUT)))


EVERYTHING = groups(A=f"{ANY_IN}, {OUT}", B=f"{ANY_IN}, {OUT}")
FIRST = only("5000,5001")


def first(host: Host) -> str:
    """A policy that allows what the traffic may."""
    return host.policy(FIRST)


def second(host: Host) -> str:
    """Another one that allows the same in other words, the probe besides, and gives ecs-b one more address."""
    return host.policy(only("5000-5001,6000")).replace("[10.0.0.12, ", "[10.0.0.12, 10.0.0.99, ")


def probed(host: Host) -> bool:
    """Say whether the second policy is in force."""
    with host.udp("b", PROBE) as receiving:
        return reaches(host.udp("a"), receiving, (host.address("b"), PROBE))


@contextmanager
def under_traffic(host: Host, daemon: Daemon) -> Iterator[Blast]:
    """Send for the length of the block; what is denied must not arrive, and what is allowed must."""
    daemon.apply(host.policy(EVERYTHING))
    with blasting(host.netns("a"), host.netns("b"), RATE) as blast:
        assert blast.begun == [1, 1, 1, 1], "all flows are allowed at first"
        daemon.apply(first(host))
        blast.say("denied")
        yield blast
        report = blast.stop()
    for version in ("IPv4", "IPv6"):
        seen = report[version]
        assert seen["leaked"] == {}, f"{version}: what is denied arrived: {seen}"
        assert seen["no room"] == 0, "losses would be the socket's"
        assert report["backlog"] == 0, "losses would be the backlog's"
        assert seen["lost while guarded"] == {}, f"{version}: what is allowed was lost: {seen}"
        assert seen["sent"]["5000"] > 100


@pytest.fixture
def daemon(host: Host, tmp_path: Path) -> Iterator[Daemon]:
    with living(tmp_path) as started:
        yield started


# --- killed -----------------------------------------------------------------------------------------------------------

BEFORE = ("taken", "compiled", "prepared")
AFTER = ("switched", "ended", "swept", "committed", "settled", "published")
OF_A_START = ("observed", "prepared", "switched", "swept", "published")
"""A start looks at what is there; a change by a daemon that knows does not."""


def test_every_step_is_tried() -> None:
    assert {*BEFORE, *AFTER, *OF_A_START, "replaced"} == {*STEPS}


@pytest.mark.parametrize("step", [*BEFORE, *AFTER])
def test_killed_at_a_step_of_a_change(host: Host, daemon: Daemon, step: str) -> None:
    """S14, S19: the change is wholly in force or not at all, it is after the restart, and the next one goes on."""
    with under_traffic(host, daemon):
        daemon.stop()
        daemon.start(die_at=step)
        with suppress(ConnectionError):
            daemon.apply(second(host))
        assert daemon.died() == -signal.SIGKILL
        assert probed(host) == (step in AFTER)
        daemon.start()
        assert probed(host), "nobody was told that it is refused, so it is in force"
        assert daemon.apply(first(host)) == 4
        assert not probed(host)


@pytest.mark.parametrize("step", OF_A_START)
def test_killed_at_a_step_of_its_start(host: Host, daemon: Daemon, step: str) -> None:
    """S19: and the one after that starts."""
    with under_traffic(host, daemon):
        daemon.kill()
        daemon.spawn(die_at=f"start:{step}")
        assert daemon.died() == -signal.SIGKILL
        daemon.start()
        assert daemon.apply(second(host)) == 3
        assert probed(host)


def test_killed_right_after_the_first_load(host: Host, daemon: Daemon) -> None:
    daemon.stop()
    daemon.start(die_at="replaced")
    with suppress(ConnectionError):
        daemon.apply(second(host))
    assert daemon.died() == -signal.SIGKILL
    assert probed(host)
    daemon.start()
    assert daemon.status()["revision"] == 1


# --- other lives ------------------------------------------------------------------------------------------------------


def test_restarts_lose_nothing_and_leak_nothing(host: Host, daemon: Daemon) -> None:
    """S19: stopped or killed, again and again, while one change follows the other."""
    with under_traffic(host, daemon):
        for turn in range(4):
            daemon.kill() if turn % 2 else daemon.stop()
            daemon.start()
            daemon.apply(second(host) if turn % 2 else first(host))


def test_a_second_daemon_on_the_same_state_ends_with_status_4_and_disturbs_nobody(host: Host, daemon: Daemon) -> None:
    """Upgrade: the new one can only take over when the old one has stopped."""
    with under_traffic(host, daemon):
        old = daemon.process
        daemon.spawn()
        assert daemon.died() == 4
        assert f"in use by the process {old.pid}" in daemon.log.read_text()
        daemon.process = old
        assert daemon.apply(second(host)) == 3
        daemon.stop()
        daemon.start()
        assert probed(host)


def test_a_second_daemon_on_the_same_socket_ends_with_status_4_and_disturbs_nobody(
    host: Host, daemon: Daemon, tmp_path: Path
) -> None:
    """It has a store of its own, and would put that in force and take the requests of the other one."""
    with under_traffic(host, daemon):
        words = [sys.executable, "-m", "enforcer", "daemon", "--socket", str(daemon.socket)]
        words += ["--state-dir", str(tmp_path / "other"), "--config", str(daemon.directory / "enforcer.toml")]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=patient(30), check=False)
        assert done.returncode == 4
        assert f"{daemon.socket}: a daemon listens there already" in done.stderr
        assert daemon.apply(second(host)) == 3
        assert probed(host)


def test_a_daemon_that_cannot_have_its_socket_ends_with_status_4(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "enforcer.toml").touch()
    for place, said in ((precious, "is there and no socket"), (tmp_path / ("x" * 120), "cannot listen there")):
        words = [sys.executable, "-m", "enforcer", "daemon", "--socket", str(place)]
        words += ["--state-dir", str(tmp_path / "state"), "--config", str(tmp_path / "enforcer.toml")]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=patient(30), check=False)
        assert (done.returncode, said in done.stderr) == (4, True), done.stderr
    assert precious.read_text() == "kept"


# --- the disk ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_out_of_disk_a_change_is_refused_and_what_is_in_force_stays(
    host: Host, tmp_path: Path, small_disk: Path
) -> None:
    with living(tmp_path, state=small_disk / "state") as daemon, under_traffic(host, daemon):
        filler = small_disk / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        rules = ", ".join(f"{{direction: ingress, protocol: tcp, multiport: {port}}}" for port in range(1, 2000))
        with pytest.raises(Refused, match="no space is left"):
            daemon.apply(host.policy(groups(A=OUT, B=rules)))
        filler.unlink()
        daemon.apply(second(host))
        assert probed(host)
        daemon.kill()
        daemon.start()
        assert probed(host)


def test_a_store_that_somebody_locks_refuses_changes_until_it_is_free(host: Host, daemon: Daemon) -> None:
    with under_traffic(host, daemon):
        other = sqlite3.connect(daemon.state / "store.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Refused, match="locked by another program"):
            daemon.apply(second(host))
        other.execute("ROLLBACK")
        other.close()
        daemon.apply(second(host))
        assert probed(host)


def test_a_damaged_store_ends_the_daemon_with_status_4_and_the_rules_stay(host: Host, daemon: Daemon) -> None:
    with under_traffic(host, daemon):
        daemon.stop()
        store = daemon.state / "store.db"
        sound = store.read_bytes()
        store.write_bytes(bytes(100) + sound[100:])
        daemon.spawn()
        assert daemon.died() == 4
        assert "store.db: is damaged" in daemon.log.read_text()
        store.write_bytes(sound)
        daemon.start()
        assert daemon.apply(second(host)) == 3


# --- the kernel -------------------------------------------------------------------------------------------------------


def test_deaf_for_a_while_it_looks_at_everything_again(host: Host, daemon: Daemon) -> None:
    """ENOBUFS: more notices than there was room for, an interface and our table among them."""
    daemon.apply(host.policy(EVERYTHING))
    daemon.process.send_signal(signal.SIGSTOP)
    elements = ", ".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(150_000))
    host.run(
        host.router,
        "nft",
        "-f",
        "-",
        text=f"table ip noise {{ set s {{ type ipv4_addr; elements = {{ {elements} }}\n}}\n}}\n",
    )
    host.run(host.router, "nft", "delete", "table", "inet", "enforcer")
    host.unplug("a")
    host.plug("a")
    daemon.process.send_signal(signal.SIGCONT)
    until(lambda: daemon.logged("repaired"), "it repairs what it did not hear of", patient(20))
    until(lambda: daemon.nic("ecs-a") == "in force", "and attaches what came")
    assert "notices were lost" in daemon.logged("repaired")[0]["what"]
    until(lambda: probed(host), "it passes")


def test_system_calls_that_are_interrupted_are_taken_up_again(host: Host, daemon: Daemon) -> None:
    """EINTR: stopped and continued at random instants of many changes."""
    with under_traffic(host, daemon):
        for turn in range(10):
            daemon.process.send_signal(signal.SIGSTOP)
            os.kill(daemon.process.pid, signal.SIGCONT)
            os.kill(daemon.process.pid, signal.SIGHUP)
            daemon.apply(second(host) if turn % 2 else first(host))
        assert daemon.logged("failed") == []


# --- others -----------------------------------------------------------------------------------------------------------

FOREIGN = (
    ("flush", "ruleset"),
    ("insert", "rule", "inet", "enforcer", "postrouting", "accept"),
    ("delete", "table", "inet", "enforcer"),
    ("flush", "set", "netdev", "enforcer", "source4"),
    ("delete", "table", "netdev", "enforcer"),
)
HUNDRED = 100


def test_a_hundred_foreign_changes_in_a_row_are_each_repaired(host: Host, daemon: Daemon) -> None:
    """After each repair nothing that is denied arrives, and what is allowed goes on; each author is named."""
    with under_traffic(host, daemon) as blast:
        for turn in range(HUNDRED):
            blast.open()
            host.run(host.router, "nft", *FOREIGN[turn % len(FOREIGN)])
            until(lambda turn=turn: len(daemon.logged("repaired")) > turn, "it is repaired")
            blast.say("denied")
        assert not probed(host)
    lines = daemon.logged("repaired")
    assert len(lines) == HUNDRED
    assert {line["program"] for line in lines} == {"nft"}
    assert len({line["pid"] for line in lines}) == HUNDRED


def test_a_storm_of_foreign_changes_ends_in_order(host: Host, daemon: Daemon) -> None:
    """A hundred without a pause: repairs may take several at once, and a change of ours comes through."""
    daemon.apply(host.policy(EVERYTHING))
    script = "".join(f"nft {' '.join(FOREIGN[turn % 2])} 2>/dev/null;" for turn in range(HUNDRED))
    storm = subprocess.Popen(["ip", "netns", "exec", host.router, "sh", "-c", script])
    daemon.apply(first(host))
    storm.wait(patient(60))
    until(lambda: not probed(host), "denied again")
    until(lambda: daemon.status()["namespaces"][0]["state"] == "in force", "in force")
    daemon.apply(second(host))
    assert probed(host)
