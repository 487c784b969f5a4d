"""A process that may not enter other network namespaces (no CAP_SYS_ADMIN): the rest is in force, and it is said.

The host is a namespace of its own: `ecs-a` and `ecs-b` are behind its interfaces, `ecs-s` is in another namespace.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from byhand import Host, passes
from daemons import ROOT, Daemon
from harness import ANY_IN, OUT, groups, until
from patience import patient

pytestmark = pytest.mark.traffic

ONE_WAY = groups(A=OUT, B=ANY_IN)
OTHER_WAY = groups(A=ANY_IN, B=OUT)
CONFINED = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
"""Root without CAP_SYS_ADMIN, as the service is without `scripts/install --netns`."""


@pytest.fixture
def daemon(host: Host, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon of the host that has put everything in force once, and was stopped; then somebody flushed the rules."""
    daemon = Daemon(tmp_path)
    daemon.before = within(host)
    try:
        daemon.start()
        daemon.apply(policy(host, ONE_WAY))
        assert daemon.nic("ecs-s") == "pending", "its interface does not exist"
        daemon.stop()
        for netns in (host.router, host.netns("o")):
            assert "table inet enforcer" in host.run(netns, "nft", "list", "tables")
            host.run(netns, "nft", "flush", "ruleset")
        yield daemon
    finally:
        daemon.end()


def policy(host: Host, rules: str) -> str:
    """Write a policy for the host's own interfaces, and for one in the namespace of somebody else."""
    sandbox = (
        "  - {name: ecs-s, nics: [{name: eth0, subnet: subnet-a, addresses: [10.0.0.13], security_groups: [Sg-A], "
        f'interface: tap-s, netns: "{host.netns("o")}"}}]}}\n'
    )
    return host.policy(rules).replace(f'"{host.router}"', '""').replace("ecs:\n", f"ecs:\n{sandbox}")


def within(host: Host) -> tuple[str, ...]:
    return ("ip", "netns", "exec", host.router)


def test_a_boot_that_may_not_enter_a_namespace_loads_the_others_and_names_it(host: Host, daemon: Daemon) -> None:
    """S19: what can be in force is, before the network comes up."""
    assert passes(host, "b", "a"), "nothing is in force"
    words = [sys.executable, "-m", "enforcer", "boot", "--state-dir", str(daemon.state), "--json"]
    done = subprocess.run(
        [*within(host), *CONFINED, *words], capture_output=True, text=True, check=False, cwd=ROOT, timeout=patient(60)
    )
    assert done.returncode == 4, done.stderr
    assert f"network namespace {host.netns('o')}: cannot be entered (setns: Operation not permitted)" in done.stderr
    assert "scripts/install --netns" in done.stderr
    told = json.loads(done.stdout)
    assert told["in_force"] == [""]
    assert [netns for netns, _ in told["failed"]] == [host.netns("o")]
    assert [host.netns("o") in each["text"] for each in told["errors"]] == [True]
    assert passes(host, "a", "b")
    assert not passes(host, "b", "a"), "Sg-B lets nothing out"
    assert host.run(host.netns("o"), "nft", "list", "tables") == ""


def test_a_daemon_that_may_not_enter_a_namespace_has_the_others_in_force_and_names_it(
    host: Host, daemon: Daemon
) -> None:
    """S19: it starts, takes changes of the others, and goes on trying."""
    daemon.before = (*within(host), *CONFINED)
    daemon.start()
    assert daemon.logged("loaded")[-1]["namespaces"] == 1
    assert passes(host, "a", "b")
    assert not passes(host, "b", "a"), "Sg-B lets nothing out"
    assert [daemon.nic(name) for name in ("ecs-a", "ecs-b", "ecs-s")] == ["in force", "in force", "failed"]
    (status,) = [each for each in daemon.status()["nics"] if each["nic"] == "ecs-s"]
    assert f"{host.netns('o')}: cannot be entered" in status["why"]
    failed = [line for line in daemon.logged("failed") if host.netns("o") in line["what"]]
    assert "scripts/install --netns" in failed[0]["why"]
    daemon.apply(policy(host, OTHER_WAY))
    assert passes(host, "b", "a")
    assert not passes(host, "a", "b")
    daemon.stop()
    daemon.before = within(host)
    daemon.start()
    until(
        lambda: "table inet enforcer" in host.run(host.netns("o"), "nft", "list", "tables"),
        "allowed, it enters",
        patient(10),
    )
