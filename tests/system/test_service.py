"""The service under a real systemd: installed, killed, upgraded, rebooted – while packets knock all the time (S19).

One machine for all of these. Each leaves it as it found it: the service runs, and `visitor` may reach `web` at UDP 53
and not at 54.
"""

from __future__ import annotations

import pytest
from knocks import knocks
from machine import CLONE, Machine, until

pytestmark = pytest.mark.system


def active(host: Machine) -> bool:
    return host.property("enforcer", "ActiveState") == "active"


def succeeded(host: Machine, old: str) -> bool:
    """Say whether another process serves; while systemd waits to start one, there is none, and its number is 0."""
    return host.property("enforcer", "MainPID") not in ("0", old) and active(host)


def test_it_is_installed_enabled_and_says_that_it_is_ready(host: Machine) -> None:
    assert host.run("enforcer", "--version").startswith("enforcer, version ")
    assert host.run("systemctl", "is-enabled", "enforcer", "enforcer-boot").split() == ["enabled", "enabled"]
    assert active(host)
    assert host.property("enforcer", "Type") == "notify"
    assert host.run("systemctl", "--failed", "--quiet", "--no-legend") == ""


@pytest.mark.parametrize("unit", ["enforcer", "enforcer-boot"])
def test_its_exposure_is_2_or_less(host: Machine, unit: str) -> None:
    said = host.run("systemd-analyze", "security", "--threshold=20", "--no-pager", f"{unit}.service")
    print(said.strip().splitlines()[-1])


def test_it_has_one_capability_and_no_other_way_to_power(host: Machine) -> None:
    """CAP_NET_ADMIN is bit 12; a user of its own, and nothing can be gained by running another program."""
    status = host.run("cat", f"/proc/{host.property('enforcer', 'MainPID')}/status")
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {facts[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {f"{1 << 12:016x}"}
    assert facts["NoNewPrivs"] == "1"
    assert facts["Uid"].split()[0] == host.run("id", "-u", "enforcer").strip() != "0"


def test_what_the_policy_allows_passes_and_nothing_else(host: Machine) -> None:
    with knocks(host) as seen:
        pass
    assert seen.lost == 0
    assert seen.through == 0


def test_killed_it_is_started_again_and_no_packet_notices(host: Machine) -> None:
    before = int(host.property("enforcer", "NRestarts"))
    with knocks(host) as seen:
        for _ in range(3):
            process = host.property("enforcer", "MainPID")
            host.run("kill", "-KILL", process)
            until(lambda old=process: succeeded(host, old), "it is back")
    assert int(host.property("enforcer", "NRestarts")) == before + 3
    assert (seen.lost, seen.through) == (0, 0)


def test_hanging_it_is_killed_by_the_watchdog_and_started_again(host: Machine) -> None:
    host.run("mkdir", "-p", "/run/systemd/system/enforcer.service.d")
    host.run("tee", "/run/systemd/system/enforcer.service.d/patience.conf", text="[Service]\nWatchdogSec=2s\n")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", "enforcer")
    before = int(host.property("enforcer", "NRestarts"))
    with knocks(host) as seen:
        host.run("kill", "-STOP", host.property("enforcer", "MainPID"))
        until(lambda: active(host) and int(host.property("enforcer", "NRestarts")) > before, "the watchdog bites")
    assert (seen.lost, seen.through) == (0, 0)
    assert "Watchdog timeout" in host.run("journalctl", "--boot", "--unit=enforcer", "--no-pager")
    host.run("rm", "-r", "/run/systemd/system/enforcer.service.d")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", "enforcer")


def test_stopped_reloaded_and_restarted_no_packet_notices(host: Machine) -> None:
    """S19: stopping leaves the rules in the kernel; reading the configuration again needs no restart."""
    with knocks(host) as seen:
        process = host.property("enforcer", "MainPID")
        host.run("systemctl", "reload", "enforcer")
        seen.goes_on()
        assert host.property("enforcer", "MainPID") == process
        host.run("systemctl", "stop", "enforcer")
        seen.goes_on()
        host.run("systemctl", "start", "enforcer")
        host.run("systemctl", "restart", "enforcer")
        assert active(host)
    assert (seen.lost, seen.through) == (0, 0)


def test_upgraded_by_the_same_command_no_packet_notices_and_with_netns_it_enters_other_namespaces(
    host: Machine,
) -> None:
    """Without CAP_SYS_ADMIN a `netns` cannot be entered and the others are in force; --netns gives it that."""
    host.run("ip", "netns", "add", "sandboxes")
    host.run("ip", "-n", "sandboxes", "link", "add", "veth-s", "type", "veth", "peer", "name", "eth9", "netns", "web")
    host.run("tee", "/root/sandbox.yaml", text=host.run("cat", "vagrant/policy.yaml") + SANDBOX)
    refused = host.try_run("enforcer", "apply", "/root/sandbox.yaml")
    assert refused.returncode == 4
    assert "sandboxes: cannot be entered" in refused.stderr
    assert "scripts/install --netns" in refused.stderr
    old = host.run("readlink", "/opt/enforcer/current")
    with knocks(host) as seen:
        host.run("scripts/install", "--netns")
    assert (seen.lost, seen.through) == (0, 0)
    assert host.run("readlink", "/opt/enforcer/current") != old
    assert len(host.run("ls", "/opt/enforcer/releases").split()) == 1
    host.run("enforcer", "apply", "/root/sandbox.yaml")
    assert "table inet enforcer" in host.run("ip", "netns", "exec", "sandboxes", "nft", "list", "tables")
    print(host.run("systemd-analyze", "security", "--threshold=20", "--no-pager", "enforcer").splitlines()[-1])
    host.run("rm", "-r", *(f"/usr/local/lib/systemd/system/{unit}.service.d" for unit in ("enforcer", "enforcer-boot")))
    host.run("systemctl", "daemon-reload")
    with knocks(host) as seen:
        host.run("systemctl", "restart", "enforcer")
    assert (seen.lost, seen.through) == (0, 0), "one namespace that it may not enter hinders no other"
    host.run("ip", "netns", "delete", "sandboxes")
    host.run("enforcer", "apply", "vagrant/policy.yaml")


def test_a_release_that_does_not_start_is_taken_back(host: Machine) -> None:
    old = host.run("readlink", "/opt/enforcer/current")
    host.run("cp", "-r", CLONE, "/root/broken")
    host.run("tee", "--append", "/root/broken/enforcer/agent/daemon.py", text="\nraise SystemExit(7)\n")
    with knocks(host) as seen:
        done = host.try_run("/root/broken/scripts/install")
    assert done.returncode == 4
    assert "went back to the release before" in done.stderr
    assert host.run("readlink", "/opt/enforcer/current") == old
    assert active(host)
    assert (seen.lost, seen.through) == (0, 0)
    host.run("rm", "-r", "/root/broken")


def test_after_a_reboot_the_rules_are_there_before_the_network(host: Machine) -> None:
    """S19: what is denied is denied from the first packet on, although nftables.service begins with a flush."""
    host.run("systemctl", "enable", "--quiet", "nftables")
    with knocks(host) as seen:
        host.reboot()
        until(lambda: active(host), "the daemon is there")
    assert seen.through == 0
    assert seen.answered > 0
    order = ["nftables.service", "enforcer-boot.service", "network-pre.target", "instances.service", "enforcer.service"]
    times = [int(host.property(unit, "ActiveEnterTimestampMonotonic")) for unit in order]
    assert 0 not in times
    assert times == sorted(times)
    host.run("systemctl", "disable", "--quiet", "nftables")


def test_whoever_is_in_the_group_may_use_the_socket(host: Machine) -> None:
    host.run("useradd", "--groups", "enforcer", "alice")
    host.run("useradd", "mallory")
    asking = ["python3", "-c", "import socket; socket.socket(socket.AF_UNIX).connect('/run/enforcer/enforcer.sock')"]
    host.run(*asking, user="alice")
    assert "PermissionError" in host.try_run(*asking, user="mallory").stderr
    assert host.try_run("cat", "/var/lib/enforcer/store.db", user="alice").returncode == 1


def test_bash_completes_our_commands(host: Machine) -> None:
    said = host.run(
        "bash", "-c", ". /usr/share/bash-completion/bash_completion; _completion_loader enforcer; complete -p enforcer"
    )
    assert "enforcer" in said


SANDBOX = """
  - name: sandbox
    nics:
      - {name: eth0, subnet: subnet-try, addresses: [10.77.0.31], mac: "fa:16:3e:77:00:31", security_groups: [Web],
         interface: veth-s, netns: sandboxes}
"""


def test_uninstalled_the_rules_stay_and_purged_they_are_gone(host: Machine) -> None:
    """S19: what was filtered stays so until somebody says otherwise. The last test: nothing of ours is left."""
    with knocks(host) as seen:
        host.run("scripts/uninstall")
    assert (seen.lost, seen.through) == (0, 0)
    assert host.try_run("which", "enforcer").returncode == 1
    host.run("nft", "list", "table", "inet", "enforcer")
    host.run("scripts/uninstall", "--purge")
    with knocks(host) as seen:
        pass
    assert seen.lost == 0
    assert seen.through > 0, "nothing is filtered any more"
    assert "enforcer" not in host.run("nft", "list", "tables")
    left = host.run("sh", "-c", "find / -xdev -name '*enforcer*' -not -path '/root/*' -not -path '/proc/*'; true")
    assert [line for line in left.splitlines() if "knocks" not in line and "instances" not in line] == []
