"""`enforcer lab …`, `apply` and `clear` as a user runs them: processes, JSON documents, exit statuses."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import patient

from enforcer.dataplane import libnftables, namespaces

pytestmark = pytest.mark.traffic

POLICY = """
version: 1
vpcs: [{name: vpc-x, subnets: [{name: subnet-a, cidr: 192.168.0.0/24}]}]
security_groups:
  - {name: Sg-B, rules: [{id: B01, direction: egress}]}
  - name: Sg-A
    rules:
      - {id: A01, direction: ingress, protocol: tcp, multiport: 22, remote_group: Sg-B}
      - {id: A03, direction: egress}
ecs:
  - {name: ecs-a, subnet: subnet-a, addresses: [192.168.0.11], security_groups: [Sg-A]}
  - {name: ecs-b, subnet: subnet-a, addresses: [192.168.0.12], security_groups: [Sg-B]}
"""


def enforcer(*arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "enforcer", *arguments], capture_output=True, text=True, check=False, timeout=patient(60)
    )
    assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


def document(*arguments: str, status: int = 0) -> Any:
    return json.loads(enforcer(*arguments, "--json", status=status))


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    return path


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"c{uuid.uuid4().hex[:8]}"
    yield chosen
    subprocess.run(
        [sys.executable, "-m", "enforcer", "lab", "down", "--name", chosen], check=False, capture_output=True
    )


def test_a_lab_goes_up_is_probed_changed_and_goes_down(policy: Path, name: str) -> None:
    shown = document("lab", "up", str(policy), "--name", name)
    assert shown["name"] == name
    assert [(host["name"], host["kind"], host["addresses"]) for host in shown["hosts"]] == [
        ("ecs-a", "ecs", ["192.168.0.11"]),
        ("ecs-b", "ecs", ["192.168.0.12"]),
    ]
    assert [plane["vpc"] for plane in shown["dataplanes"]] == ["vpc-x"]
    assert document("lab", "show", "--name", name) == shown
    # Allowed beside blocked, over the same hosts.
    assert document("lab", "probe", "ecs-b", "ecs-a", "tcp/22", "--name", name)["reached"]
    assert not document("lab", "probe", "ecs-b", "ecs-a", "tcp/23", "--name", name, status=1)["reached"]
    matrix = document("lab", "matrix", "--proto", "tcp/22", "--proto", "icmp", "--name", name)
    assert matrix["wrong"] == 0
    assert [(c["src"], c["dst"], c["proto"], c["observed"]) for c in matrix["cells"]] == [
        ("ecs-a", "ecs-b", "tcp/22", "deny"),
        ("ecs-a", "ecs-b", "icmp", "deny"),
        ("ecs-b", "ecs-a", "tcp/22", "allow"),
        ("ecs-b", "ecs-a", "icmp", "deny"),
    ]
    assert "192.168.0.11" in enforcer("lab", "exec", "--name", name, "ecs-a", "--", "ip", "-4", "address")
    enforcer("lab", "exec", "--name", name, "ecs-a", "--", "sh", "-c", "exit 7", status=7)
    # The first host gets a rule for ping; topology stays.
    policy.write_text(POLICY.replace("A03, direction: egress}", "A03, direction: ingress, protocol: icmp}"))
    assert document("lab", "apply", str(policy), "--name", name)["changed"] == []
    assert document("lab", "probe", "ecs-b", "ecs-a", "icmp", "--name", name)["reached"]
    enforcer("lab", "down", "--name", name)
    assert namespaces.names(f"{name}-") == ()
    enforcer("lab", "show", "--name", name, status=2)


def test_what_compile_prints_is_what_the_lab_has(policy: Path, name: str) -> None:
    script = document("compile", str(policy), "--lab", name)["scripts"]
    shown = document("lab", "up", str(policy), "--name", name)
    netns = shown["dataplanes"][0]["netns"]
    assert list(script) == [netns]
    listed = libnftables.listing(netns, "list ruleset")
    libnftables.run(netns, script[netns])
    assert libnftables.listing(netns, "list ruleset") == listed


def test_the_matrix_finds_a_cell_that_is_wrong(policy: Path, name: str) -> None:
    shown = document("lab", "up", str(policy), "--name", name)
    libnftables.run(shown["dataplanes"][0]["netns"], "delete table inet enforcer\ndelete table netdev enforcer")
    found = document("lab", "matrix", "--proto", "icmp", "--name", name, status=1)
    assert found["wrong"] == 2
    assert {cell["observed"] for cell in found["cells"]} == {"allow"}


def test_a_lab_refuses_an_invalid_policy_and_stays_as_it_was(policy: Path, name: str) -> None:
    enforcer("lab", "up", str(policy), "--name", name)
    policy.write_text(POLICY.replace("remote_group: Sg-B", "remote_group: nobody"))
    enforcer("lab", "apply", str(policy), "--name", name, status=3)
    assert document("lab", "probe", "ecs-b", "ecs-a", "tcp/22", "--name", name)["reached"]
    enforcer("lab", "up", str(policy), "--name", name, status=3)


def test_apply_and_clear_on_interfaces_of_this_host(tmp_path: Path, scratch: Any) -> None:
    scratch.add("tap0", "tap1")
    path = tmp_path / "host.yaml"
    for nic, address in (("tap0", "192.168.0.11"), ("tap1", "192.168.0.12")):
        text = path.read_text() if path.exists() else POLICY
        path.write_text(text.replace(f"[{address}]", f"[{address}], interface: {nic}, netns: {scratch.name}"))
    first = document("apply", "--without-daemon", str(path), "--require")["namespaces"]
    assert [(each["netns"], each["generation"], each["absent"]) for each in first] == [(scratch.name, 1, [])]
    scratch.ip("link", "delete", "tap1")
    second = document("apply", "--without-daemon", str(path))["namespaces"]
    assert [(each["generation"], each["absent"]) for each in second] == [(2, ["tap1"])]
    enforcer("apply", "--without-daemon", str(path), "--require", status=4)
    assert document("clear", str(path))["cleared"] == [scratch.name]
    assert libnftables.listing(scratch.name, "list ruleset") == ""


def test_apply_refuses_a_bridge_port_and_changes_nothing(tmp_path: Path, scratch: Any) -> None:
    scratch.add("tap0", "tap1")
    scratch.ip("link", "add", "br0", "type", "bridge")
    scratch.ip("link", "set", "tap1", "master", "br0")
    path = tmp_path / "host.yaml"
    path.write_text(POLICY.replace("[192.168.0.12]", f"[192.168.0.12], interface: tap1, netns: {scratch.name}"))
    found = document("apply", "--without-daemon", str(path), status=4)
    assert "port of the bridge br0" in found["errors"][0]["text"]
    assert libnftables.listing(scratch.name, "list ruleset") == ""
