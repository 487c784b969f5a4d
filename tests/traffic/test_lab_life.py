"""A lab stands or it is gone; it changes in place; it touches nothing outside of itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from patience import patient

from enforcer.dataplane import namespaces
from enforcer.dataplane.namespaces import entered
from enforcer.errors import SystemRefused, TransactionRefused, UsageError
from enforcer.lab import lifecycle, state
from enforcer.model import parse_policy

pytestmark = pytest.mark.traffic

TWO = """
version: 1
vpcs:
  - {name: vpc-x, subnets: [{name: x, cidr: 10.0.0.0/24, ipv6_cidr: "2001:db8:a::/64"}]}
ecs:
  - {name: ecs-a, subnet: x, addresses: [10.0.0.11, "2001:db8:a::11"]}
  - {name: ecs-b, subnet: x, addresses: [10.0.0.12, "2001:db8:a::12"]}
external_hosts: [{name: my-pc, addresses: [203.0.113.10]}]
eips: [{address: 198.51.100.10, ecs: ecs-a}]
"""


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def host_view() -> str:
    """What the host has of its own."""
    commands = ("link", "address", "route show table all", "-6 route show table all", "rule", "-6 rule")
    texts = [output("ip", "-o", *command.split()) for command in commands]
    tables = output("nft", "list", "tables")
    sysctls = (
        Path("/proc/sys/net/ipv4/ip_forward").read_text() + Path("/proc/sys/net/ipv4/conf/all/rp_filter").read_text()
    )
    return "\n".join(texts) + tables + sysctls


def leftovers(name: str) -> tuple[str, ...]:
    return (*namespaces.names(f"{name}-"), *(path.name for path in state.DIRECTORY.glob(f"{name}.*")))


def test_up_and_down_leave_the_host_as_it_was(labs):
    before = host_view()
    lab = labs.up(TWO)
    assert lab.probe("ecs-a", "ecs-b", "tcp/22").reached
    assert host_view() == before
    lifecycle.down(lab.name)
    assert leftovers(lab.name) == ()
    assert host_view() == before


def test_down_ends_what_still_runs_inside(labs):
    lab = labs.up(TWO)
    with entered(lab.lab.netns("ecs-a")):
        program = subprocess.Popen(["sleep", "600"])
    lifecycle.down(lab.name)
    assert program.wait(patient(5)) == -signal.SIGTERM
    assert leftovers(lab.name) == ()


def test_a_lab_shows_what_it_consists_of(labs):
    lab = labs.up(TWO)
    found = lifecycle.running(lab.name)
    assert [(host.name, host.kind, host.netns) for host in found.hosts()] == [
        ("ecs-a", "ecs", f"{lab.name}-ecs-ecs-a"),
        ("ecs-b", "ecs", f"{lab.name}-ecs-ecs-b"),
        ("my-pc", "external", f"{lab.name}-ext-my-pc"),
    ]
    assert found.dataplanes() == (("vpc-x", f"{lab.name}-vpc-vpc-x"),)
    path = state.DIRECTORY / f"{lab.name}.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert state.DIRECTORY.stat().st_mode & 0o777 == 0o700


def test_a_name_that_is_taken_is_refused_and_the_lab_goes_on(labs):
    lab = labs.up(TWO)
    with pytest.raises(UsageError, match="lab down"):
        lifecycle.up(parse_policy(TWO), lab.name, TWO, lambda: None, lambda *_: None)
    assert lab.probe("ecs-a", "ecs-b", "icmp").reached


def test_an_enforcement_that_fails_leaves_nothing(labs):
    name = labs.name()

    def refuse() -> None:
        assert namespaces.names(f"{name}-")
        raise TransactionRefused("refused for the test")

    with pytest.raises(TransactionRefused):
        lifecycle.up(parse_policy(TWO), name, TWO, refuse, lambda *_: None)
    assert leftovers(name) == ()
    with pytest.raises(UsageError):
        lifecycle.down(name)


def test_a_nic_is_closed_until_its_rules_are_in_force(labs):
    """S19: while rules are being put in force, nothing gets through to the new NIC; old ones go on."""
    lab = labs.up(TWO)
    netns = f"{lab.name}-ecs-ecs-c"
    seen: list[tuple[str, str]] = []

    def look() -> None:
        flags = output("ip", "-n", netns, "link", "show", "eth0")
        seen.append((flags, lab.run("ecs-a", "ping", "-c1", "-W1", "10.0.0.12")))

    lab.enforcement = lambda policy, name: look
    lab.apply(TWO.replace("external_hosts", "  - {name: ecs-c, subnet: x, addresses: [10.0.0.13]}\nexternal_hosts"))
    assert len(seen) == 1
    assert "state DOWN" in seen[0][0]
    assert "1 received" in seen[0][1]
    assert lab.probe("ecs-a", "ecs-c", "icmp").reached


UP_AND_WAIT = """
import sys
from enforcer.lab import lifecycle
from enforcer.model import parse_policy
name, text = sys.argv[1], sys.argv[2]
def enforce():
    print("enforcing", flush=True)
    sys.stdin.read()
lifecycle.up(parse_policy(text), name, text, enforce, lambda *_: None)
"""


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_takes_everything_away(labs, sign):
    name = labs.name()
    with subprocess.Popen(
        [sys.executable, "-c", UP_AND_WAIT, name, TWO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"enforcing\n"
        assert len(namespaces.names(f"{name}-")) == 5
        os.kill(program.pid, sign)
        os.kill(program.pid, sign)  # an impatient second one changes nothing
        assert program.wait(patient(10)) != 0
    assert leftovers(name) == ()


def test_a_killed_up_is_cleaned_by_down(labs):
    name = labs.name()
    with subprocess.Popen(
        [sys.executable, "-c", UP_AND_WAIT, name, TWO], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        with pytest.raises(SystemRefused, match="another command"):
            lifecycle.down(name)
        program.kill()
    with pytest.raises(UsageError, match="never finished"):
        lifecycle.running(name)
    lifecycle.down(name)
    assert leftovers(name) == ()


def test_two_labs_stand_side_by_side(labs):
    one, two = labs.up(TWO), labs.up(TWO.replace("10.0.0.12", "10.0.0.13"))
    assert one.blocked(("ecs-a", "10.0.0.12", "tcp/22"), ("ecs-a", "10.0.0.13", "tcp/22")) == {
        ("ecs-a", "10.0.0.13", "tcp/22")
    }
    lifecycle.down(one.name)
    assert two.blocked(("ecs-a", "ecs-b", "tcp/22"), ("my-pc", "ecs-a", "tcp/22")) == set()


def connected(lab, client: str, server: str, address: str) -> tuple[socket.socket, socket.socket]:
    with entered(lab.lab.netns(server)):
        listener = socket.create_server(("0.0.0.0", 0))
    with entered(lab.lab.netns(client)):
        near = socket.socket()
    near.settimeout(patient(5))
    near.connect((address, listener.getsockname()[1]))
    far, _ = listener.accept()
    listener.close()
    far.settimeout(patient(5))
    return near, far


def echoes(near: socket.socket, far: socket.socket) -> bool:
    near.sendall(b"there")
    if far.recv(5) != b"there":
        return False
    far.sendall(b"back")
    return near.recv(4) == b"back"


BIGGER = """
version: 1
vpcs:
  - {name: vpc-x, subnets: [{name: x, cidr: 10.0.0.0/24, ipv6_cidr: "2001:db8:a::/64"}, {name: x2, cidr: 10.0.1.0/24}]}
  - {name: vpc-y, subnets: [{name: y, cidr: 10.1.0.0/24}]}
peerings: [{name: x-y, vpcs: [vpc-x, vpc-y]}]
ecs:
  - {name: ecs-a, subnet: x, addresses: [10.0.0.11, "2001:db8:a::11"]}
  - {name: ecs-b, subnet: x, addresses: [10.0.0.12, 10.0.0.22]}
  - {name: ecs-c, subnet: x2, addresses: [10.0.1.11]}
  - name: ecs-y
    nics: [{name: eth0, subnet: y, addresses: [10.1.0.11]}, {name: eth1, subnet: x, addresses: [10.0.0.44]}]
external_hosts: [{name: my-pc, addresses: [203.0.113.10]}, {name: new-pc, addresses: [203.0.113.11]}]
eips: [{address: 198.51.100.11, ecs: ecs-a}, {address: 198.51.100.12, ecs: ecs-b}]
load_balancers:
  - name: elb
    subnet: x
    address: 10.0.0.100
    listeners: [{protocol: tcp, port: 80, backends: [{ecs: ecs-c, port: 8080}]}]
"""


def test_an_apply_changes_the_lab_in_place_and_open_connections_stay(labs):
    lab = labs.up(TWO)
    near, far = connected(lab, "ecs-a", "ecs-b", "10.0.0.12")
    with near, far:
        changed = lab.apply(BIGGER)
        assert echoes(near, far)
        reached = [
            ("ecs-a", "ecs-c"),
            ("ecs-c", "ecs-y"),
            ("ecs-a", "10.0.0.22"),
            ("my-pc", "ecs-b"),
            ("new-pc", "ecs-a"),
        ]
        reached += [("ecs-a", "ecs-y:eth1"), ("ecs-y", "ecs-a")]
        assert lab.blocked(*((*pair, "icmp") for pair in reached), ("ecs-a", "elb", "tcp/80")) == set()
        assert lab.blocked(("my-pc", "198.51.100.10", "icmp"), ("my-pc", "198.51.100.11", "icmp")) == {
            ("my-pc", "198.51.100.10", "icmp")
        }
        assert {"added router vpc-y", "added ecs ecs-c", "added external new-pc"} <= set(changed)
        assert not any("ecs-a" in word for word in changed)
        lab.apply(TWO)
        assert echoes(near, far)
    assert lab.blocked(("ecs-a", "ecs-b", "icmp"), ("my-pc", "ecs-a", "icmp"), ("ecs-a", "ecs-b", "icmpv6")) == set()
    assert lab.blocked(("ecs-a", "10.0.0.22", "icmp"), ("ecs-a", "10.0.0.44", "icmp")) != set()
    assert namespaces.names(f"{lab.name}-") == tuple(
        f"{lab.name}-{rest}" for rest in ("ecs-ecs-a", "ecs-ecs-b", "ext-my-pc", "internet", "vpc-vpc-x")
    )


def test_applying_the_same_policy_again_changes_nothing(labs):
    lab = labs.up(TWO)
    assert lab.apply(TWO) == ()
    assert lab.probe("ecs-a", "ecs-b", "icmp").reached


def test_an_instance_whose_only_address_or_mac_changes_is_reached_under_the_new_one(labs):
    lab = labs.up(TWO)
    lab.apply(TWO.replace("10.0.0.11", "10.0.0.31").replace("2001:db8:a::12", "2001:db8:a::32"))
    assert lab.blocked(("ecs-b", "10.0.0.31", "icmp"), ("ecs-a", "2001:db8:a::32", "icmpv6")) == set()
    assert not lab.probe("ecs-b", "10.0.0.11", "icmp").reached
    assert lab.probe("ecs-a", "my-pc", "icmp").reached
    lab.apply(TWO.replace("subnet: x,", 'mac: "fa:16:3e:00:00:77", subnet: x,', 1))
    assert lab.blocked(("ecs-b", "ecs-a", "icmp"), ("ecs-a", "my-pc", "icmp"), ("ecs-b", "ecs-a", "icmpv6")) == set()
    assert "fa:16:3e:00:00:77" in lab.run("ecs-a", "ip", "link", "show", "eth0")


def test_an_apply_that_fails_keeps_the_new_closed_and_is_finished_by_the_next(labs):
    lab = labs.up(TWO)

    def refuse() -> None:
        raise TransactionRefused("refused for the test")

    lab.enforcement = lambda policy, name: refuse
    with pytest.raises(TransactionRefused):
        lab.apply(BIGGER)
    assert lab.probe("ecs-a", "ecs-b", "icmp").reached
    lab.enforcement = lambda policy, name: lambda: None
    lab.apply(BIGGER)
    assert lab.blocked(("ecs-a", "ecs-c", "icmp"), ("ecs-c", "ecs-y", "icmp"), ("new-pc", "ecs-b", "icmp")) == set()
    lifecycle.down(lab.name)
    assert leftovers(lab.name) == ()


def test_down_works_after_a_failed_apply(labs):
    lab = labs.up(TWO)

    def refuse() -> None:
        raise TransactionRefused("refused for the test")

    lab.enforcement = lambda policy, name: refuse
    with pytest.raises(TransactionRefused):
        lab.apply(BIGGER)
    lifecycle.down(lab.name)
    assert leftovers(lab.name) == ()


def test_a_hundred_instances_come_up_complete(labs, capsys):
    hosts = "\n".join(f"  - {{name: ecs-{n}, subnet: x, addresses: [10.0.0.{n + 10}]}}" for n in range(100))
    text = f"version: 1\nvpcs: [{{name: vpc-x, subnets: [{{name: x, cidr: 10.0.0.0/24}}]}}]\necs:\n{hosts}\n"
    began = time.monotonic()
    lab = labs.up(text)
    built = time.monotonic()
    assert lab.blocked(*(("ecs-0", f"ecs-{n}", "icmp") for n in range(1, 100))) == set()
    assert lab.blocked(*((f"ecs-{n}", f"ecs-{(n * 7 + 1) % 100}", "tcp/22") for n in range(1, 100))) == set()
    probed = time.monotonic()
    lifecycle.down(lab.name)
    with capsys.disabled():
        print(f"\n100 instances: up {built - began:.2f} s, 198 probes {probed - built:.2f} s, ", end="")
        print(f"down {time.monotonic() - probed:.2f} s")
    assert leftovers(lab.name) == ()
