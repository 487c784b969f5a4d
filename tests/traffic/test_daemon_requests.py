"""The real daemon asked through its socket by the real commands: what it answers is in force, and packets say so."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from byhand import Host, passes
from commands import document, enforcer
from daemons import Daemon, living
from harness import ANY_IN, OUT, groups, until
from patience import patient

pytestmark = [pytest.mark.traffic, pytest.mark.timeout(120)]

A_TO_B = groups(A=OUT, B=ANY_IN)
OPEN = groups(A=f"{ANY_IN}, {OUT}", B=f"{ANY_IN}, {OUT}")


@pytest.fixture
def daemon(host: Host, tmp_path: Path) -> Iterator[Daemon]:
    with living(tmp_path) as started:
        (tmp_path / "a-to-b.yaml").write_text(host.policy(A_TO_B))
        (tmp_path / "open.yaml").write_text(host.policy(OPEN))
        yield started


def test_what_a_command_says_is_in_force_is_what_packets_meet(host: Host, daemon: Daemon) -> None:
    assert "revision 1 is in force" in enforcer(daemon, "apply", "a-to-b.yaml", "-m", "first")
    assert passes(host, "a", "b")
    assert not passes(host, "b", "a")
    assert "revision 2 is in force" in enforcer(daemon, "rule", "add", "Sg-B", "egress")
    assert not passes(host, "b", "a"), "a does not let it in"
    assert "revision 3 is in force" in enforcer(daemon, "rule", "add", "Sg-A", "ingress", "--remote-group", "Sg-B")
    assert passes(host, "b", "a")
    assert "revision 4 is in force" in enforcer(daemon, "rollback", "1")
    assert passes(host, "a", "b")
    assert not passes(host, "b", "a")
    revisions = document(daemon, "history")["revisions"]
    assert [(each["revision"], each["outcome"], each["uid"]) for each in revisions] == [
        (number, "in_force", 0) for number in (4, 3, 2, 1)
    ]
    assert revisions[-1]["message"] == "first"


def test_a_nic_that_is_detached_and_attached_is_filtered_again(host: Host, daemon: Daemon) -> None:
    enforcer(daemon, "apply", "open.yaml")
    assert passes(host, "b", "a")
    enforcer(daemon, "nic", "groups", "ecs-a", "default")
    assert not passes(host, "b", "a")
    enforcer(daemon, "nic", "groups", "ecs-a", "Sg-A")
    assert passes(host, "b", "a")
    enforcer(daemon, "nic", "detach", "ecs-a")
    words = ["--subnet", "subnet-a", "--address", host.address("a"), "--mac", "fa:16:3e:00:00:0a"]
    where = ["--interface", host.port("a"), "--netns", host.router]
    enforcer(daemon, "nic", "attach", "ecs-a", *words, *where, "--group", "default")
    assert not passes(host, "b", "a")
    enforcer(daemon, "nic", "groups", "ecs-a", "Sg-A")
    assert passes(host, "b", "a")


def test_what_is_not_confirmed_goes_back_also_if_the_daemon_is_killed_meanwhile(host: Host, daemon: Daemon) -> None:
    enforcer(daemon, "apply", "a-to-b.yaml")
    enforcer(daemon, "apply", "open.yaml", "--confirm", "8")
    assert passes(host, "b", "a")
    daemon.kill()
    assert passes(host, "b", "a"), "rules stay"
    daemon.start()
    until(lambda: document(daemon, "history")["head"] == 3, "it went back", patient(30))
    until(lambda: document(daemon, "history")["revisions"][0]["outcome"] == "in_force", "in force")
    assert not passes(host, "b", "a")
    assert passes(host, "a", "b")
    newest = document(daemon, "history")["revisions"][0]
    assert (newest["by"], newest["message"]) == (
        "confirm-timeout", "revision 2 was not confirmed in time: back to revision 1",
    )  # fmt: skip


def test_what_is_confirmed_stays(host: Host, daemon: Daemon) -> None:
    enforcer(daemon, "apply", "a-to-b.yaml")
    enforcer(daemon, "apply", "open.yaml", "--confirm", "60")
    assert "waits to be confirmed" in enforcer(daemon, "apply", "a-to-b.yaml", status=1)
    assert "revision 2 stays" in enforcer(daemon, "confirm")
    assert passes(host, "b", "a")
    assert document(daemon, "history")["waiting"] is None


def test_an_interface_that_cannot_be_filtered_is_refused_and_the_caller_hears_why(host: Host, daemon: Daemon) -> None:
    """Attribution: a bridge port would not be filtered; nothing of the revision is in force."""
    enforcer(daemon, "apply", "a-to-b.yaml")
    enforcer(daemon, "nic", "detach", "ecs-b")
    host.run(host.router, "ip", "link", "add", "br0", "type", "bridge")
    host.run(host.router, "ip", "link", "set", "tap-b", "master", "br0")
    said = enforcer(daemon, "apply", "open.yaml", status=4)
    assert "tap-b: is a port of the bridge br0" in said
    assert "revision 3 was refused, nothing has changed" in said
    host.run(host.router, "ip", "link", "set", "tap-b", "nomaster")
    assert "revision 4 is in force" in enforcer(daemon, "apply", "open.yaml")
    assert passes(host, "b", "a")


def test_an_interface_that_must_be_there_is_asked_for(host: Host, daemon: Daemon) -> None:
    host.unplug("b")
    said = enforcer(daemon, "apply", "open.yaml", "--require", status=4)
    assert "interface tap-b: does not exist; create it first, or apply without --require" in said
    assert "revision 1 is in force" in enforcer(daemon, "apply", "open.yaml")
    host.plug("b")
    until(lambda: passes(host, "a", "b"), "attached when it came")


def test_of_two_who_saw_the_same_revision_one_is_told(host: Host, daemon: Daemon) -> None:
    enforcer(daemon, "apply", "a-to-b.yaml")
    enforcer(daemon, "group", "create", "one", "--if-revision", "1")
    assert "the head is revision 2, not 1" in enforcer(daemon, "group", "create", "two", "--if-revision", "1", status=1)


def test_a_thousand_edits_of_several_clients_come_in_order_and_none_is_lost(host: Host, daemon: Daemon) -> None:
    """Bursts are merged; every caller learns the revision in which his change is in force."""
    enforcer(daemon, "apply", "a-to-b.yaml")
    enforcer(daemon, "address-group", "create", "crowd", "--max-capacity", "2000")
    learned: dict[str, int] = {}

    def adding(who: int) -> None:
        transport = httpx.HTTPTransport(uds=str(daemon.socket))
        with httpx.Client(transport=transport, base_url="http://enforcer/v1", timeout=patient(60)) as client:
            for number in range(125):
                entry = f"10.{100 + who}.0.{number}"
                answer = client.post("/address_groups/crowd/entries", json={"entries": [entry]}).json()
                assert answer["outcome"] == "in_force", answer
                learned[entry] = answer["revision"]

    threads = [threading.Thread(target=adding, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patient(90))
    assert sorted(learned.values()) == list(range(3, 1003))
    policy = document(daemon, "show")["policy"]
    in_order = sorted(learned, key=lambda entry: learned[entry])
    assert policy["address_groups"][0]["entries"] == in_order
    assert passes(host, "a", "b")
    assert not passes(host, "b", "a")


def test_the_daemon_refuses_to_be_bypassed(host: Host, daemon: Daemon) -> None:
    enforcer(daemon, "apply", "a-to-b.yaml")
    assert "a daemon runs on this host" in enforcer(daemon, "apply", "--without-daemon", "open.yaml", status=4)
    assert not passes(host, "b", "a")
    assert passes(host, "a", "b")


def test_the_daemon_says_what_a_policy_would_change(host: Host, daemon: Daemon) -> None:
    enforcer(daemon, "apply", "a-to-b.yaml")
    transport = httpx.HTTPTransport(uds=str(daemon.socket))
    with httpx.Client(transport=transport, base_url="http://enforcer/v1", timeout=patient(60)) as client:
        said = client.post("/plan", content=(daemon.directory / "open.yaml").read_bytes())
    assert said.status_code == 200, said.text
    assert said.json()["cells"], "b reaches a"
    assert not passes(host, "b", "a")
