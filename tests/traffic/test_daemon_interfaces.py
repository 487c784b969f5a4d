"""Interfaces of VMs and containers under a daemon: taps, moves between namespaces, new names; and a host that boots."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import frames
import pytest
from byhand import Host, passes
from daemons import ROOT, Daemon, living
from harness import ANY_IN, OUT, drain, groups, until
from patience import patient

from enforcer.dataplane.namespaces import entered

pytestmark = pytest.mark.traffic

OPEN = groups(A=f"{ANY_IN}, {OUT}", B=f"{ANY_IN}, {OUT}")
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
VM_MAC = "fa:16:3e:00:00:0d"


@pytest.fixture
def daemon(host: Host, tmp_path: Path) -> Iterator[Daemon]:
    with living(tmp_path) as started:
        yield started


def waits(daemon: Daemon, name: str, state: str) -> None:
    until(lambda: daemon.nic(name) == state, f"{name} is {state}", patient(10))


def vm_started(host: Host) -> int:
    """Create the tap of a VM, as a hypervisor does; the descriptor is the VM's side, and the tap goes with it."""
    with entered(host.router):
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"tap-v", IFF_TAP | IFF_NO_PI))
    host.run(host.router, "ip", "link", "set", "tap-v", "up")
    host.run(host.router, "ip", "route", "replace", "10.0.0.13", "dev", "tap-v")
    return tap


def test_a_tap_of_a_vm_is_filtered_from_its_start_to_its_end(host: Host, daemon: Daemon) -> None:
    """S16, S19: closed until its rules are in force, and then it sends from its own address only."""
    vm = (
        "  - {name: ecs-v, nics: [{name: eth0, subnet: subnet-a, addresses: [10.0.0.13], security_groups: [Sg-A], "
        f'mac: "{VM_MAC}", interface: tap-v, netns: "{host.router}"}}]}}\n'
    )
    daemon.apply(host.policy(OPEN).replace("ecs:\n", f"ecs:\n{vm}"))
    waits(daemon, "ecs-v", "pending")
    receiving = host.udp("b", 7000)
    for _ in range(2):
        tap = vm_started(host)
        try:
            waits(daemon, "ecs-v", "in force")
            router = host.mac("tap-v")

            def send(address: str, payload: bytes, tap: int = tap, router: str = router) -> None:
                packet = frames.udp(address, "10.0.0.12", 7000, payload)
                os.write(tap, frames.frame(packet, source=VM_MAC, to=router))

            def arrives() -> bool:
                send("10.0.0.14", b"spoofed")
                send("10.0.0.13", b"own")
                return b"own" in drained()

            def drained() -> list[bytes]:
                found = drain(receiving)
                assert b"spoofed" not in found
                return found

            until(arrives, "the VM's packets pass")
        finally:
            os.close(tap)
        waits(daemon, "ecs-v", "pending")
    assert passes(host, "a", "b")


def test_an_interface_that_moves_to_another_namespace_and_back_is_put_in_force_anew(host: Host, daemon: Daemon) -> None:
    """S19: even under the same name and index it is another interface."""
    daemon.apply(host.policy(OPEN))
    waits(daemon, "ecs-a", "in force")
    away = host.netns("o")
    for _ in range(2):
        host.run(host.router, "ip", "link", "set", "tap-a", "netns", away)
        waits(daemon, "ecs-a", "pending")
        assert passes(host, "o", "b")
        host.run(away, "ip", "link", "set", "tap-a", "netns", host.router)
        waits(daemon, "ecs-a", "in force")
        host.run(host.router, "ip", "link", "set", "tap-a", "up")
        for address in ("10.0.0.11", "2001:db8::11"):
            host.run(host.router, "ip", "route", "replace", address, "dev", "tap-a")
        host.run(host.router, "ip", "address", "replace", "10.0.0.1/32", "dev", "tap-a")
        until(lambda: passes(host, "a", "b"), "it passes")


def test_an_interface_is_its_name(host: Host, daemon: Daemon) -> None:
    """S19: renamed it is no NIC any more, and the NIC of its name is closed until there is one again."""
    daemon.apply(host.policy(OPEN))
    waits(daemon, "ecs-a", "in force")
    for name, other, state in (("tap-a", "gone", "pending"), ("gone", "tap-a", "in force")):
        host.run(host.router, "ip", "link", "set", name, "down")
        host.run(host.router, "ip", "link", "set", name, "name", other)
        host.run(host.router, "ip", "link", "set", other, "up")
        waits(daemon, "ecs-a", state)
        assert passes(host, "o", "b")
    host.run(host.router, "ip", "route", "replace", "10.0.0.11", "dev", "tap-a")
    until(lambda: passes(host, "a", "b"), "it passes under its name")


def test_many_interfaces_at_once_are_all_attached(host: Host, daemon: Daemon) -> None:
    """Containers that start together: 60 veths, some of which go and come back at once."""
    more = "".join(
        f"  - {{name: c-{n}, nics: [{{name: eth0, subnet: subnet-a, addresses: [10.0.0.{n}], security_groups: [Sg-A], "
        f'interface: veth-{n}, netns: "{host.router}"}}]}}\n'
        for n in range(100, 160)
    )
    daemon.apply(host.policy(OPEN).replace("ecs:\n", f"ecs:\n{more}"))
    waits(daemon, "c-100", "pending")
    lines = [f"link add veth-{n} type veth peer name peer-{n}" for n in range(100, 160)]
    lines += [line for n in range(100, 160, 7) for line in (f"link del veth-{n}", lines[n - 100])]
    host.run(host.router, "ip", "-batch", "-", text="\n".join(lines))

    def states() -> set[str]:
        return {each["state"] for each in daemon.status()["nics"]}

    until(lambda: states() == {"in force"}, "all are in force", patient(20))
    assert passes(host, "a", "b")


def test_a_host_that_boots_has_its_nics_closed_until_the_daemon_attaches_them(host: Host, daemon: Daemon) -> None:
    """S19: `enforcer boot` runs before the network is there, and ends."""
    daemon.apply(host.policy(groups(A=OUT, B=ANY_IN)))
    daemon.stop()
    host.unplug("a")
    host.run(host.router, "nft", "flush", "ruleset")
    host.run(host.router, "ip", "link", "add", "br0", "type", "bridge")
    host.run(host.router, "ip", "link", "set", "tap-b", "master", "br0")
    assert boots(daemon) == 0
    assert "closed_in_tap-b" in host.run(host.router, "nft", "list", "ruleset"), "one bad NIC hinders no other"
    host.run(host.router, "ip", "link", "set", "tap-b", "nomaster")
    host.run(host.router, "nft", "flush", "ruleset")
    assert boots(daemon) == 0
    host.plug("a")
    assert not passes(host, "a", "b")
    assert passes(host, "o", "b")
    assert not passes(host, "b", "o"), "Sg-B lets nothing out"
    daemon.start()
    waits(daemon, "ecs-a", "in force")
    until(lambda: passes(host, "a", "b"), "the daemon attached it")
    assert not passes(host, "b", "a")


def boots(daemon: Daemon) -> int:
    """Run `enforcer boot` on a daemon's state."""
    words = [sys.executable, "-m", "enforcer", "boot", "--state-dir", str(daemon.state)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT, timeout=patient(60))
    assert "revision 1 is in force" in done.stderr
    return done.returncode


def test_a_host_that_boots_with_a_damaged_store_has_the_copy_of_what_was_in_force(host: Host, daemon: Daemon) -> None:
    """S19: nothing is open for want of the store, and it is said."""
    daemon.apply(host.policy(groups(A=OUT, B=ANY_IN)))
    daemon.stop()
    host.run(host.router, "nft", "flush", "ruleset")
    (daemon.state / "store.db").write_bytes(b"no database" * 100)
    assert boots(daemon) == 4
    assert passes(host, "a", "b")
    assert not passes(host, "b", "a"), "Sg-B lets nothing out"
    assert (daemon.state / "in-force.json").stat().st_mode & 0o777 == 0o600


def test_a_boot_without_a_store_ends_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"")
    words = [sys.executable, "-m", "enforcer", "boot", "--state-dir", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT, timeout=patient(60))
    assert done.returncode == 4
    assert "store.db: is damaged" in done.stderr
