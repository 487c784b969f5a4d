"""The compiler as a whole: the same policy gives the same bytes, and a big one is compiled in one go."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from policies import documents, three_hosts

from enforcer.compiler import compile_policy, show, verify
from enforcer.model import Layout, host_layout, lab_layout, parse_policy
from enforcer.ruleset import lower, render

ROOT = Path(__file__).parents[2]
PRINT = """
import sys
from enforcer.compiler import compile_policy, show
from enforcer.model import lab_layout, parse_policy
from enforcer.ruleset import lower, render
policy = parse_policy(sys.stdin.read())
program = compile_policy(policy, lab_layout(policy))
print(show(program), *(render(lower(namespace)) for namespace in program.namespaces))
"""


def printed(text: str) -> str:
    policy = parse_policy(text)
    program = compile_policy(policy, lab_layout(policy))
    return "".join([show(program), *(render(lower(namespace)) for namespace in program.namespaces)])


def shuffled(value: Any, order: random.Random) -> Any:
    """The same document with the keys of all its mappings in another order."""
    if isinstance(value, list):
        return [shuffled(item, order) for item in value]
    if isinstance(value, dict):
        keys = list(value)
        order.shuffle(keys)
        return {key: shuffled(value[key], order) for key in keys}
    return value


@given(documents())
@settings(max_examples=30)
def test_the_order_of_keys_in_the_file_changes_no_byte(document: dict[str, Any]):
    turned = shuffled(document, random.Random(7))
    assert printed(json.dumps(document)) == printed(json.dumps(turned))


def test_the_seed_of_python_s_hashes_changes_no_byte():
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PRINT],
            input=json.dumps(big_document(nics=12, lists=4, rules=30)),
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(outputs) == 1
    assert len(outputs.pop()) > 10_000


def test_where_hosts_are_listed_changes_neither_classes_nor_policies():
    document = big_document(nics=12, lists=4, rules=30)
    turned = {**document, "ecs": document["ecs"][::-1]}
    one, other = (parse_policy(json.dumps(text)) for text in (document, turned))
    left, right = (compile_policy(policy, lab_layout(policy)).namespaces[0] for policy in (one, other))
    assert (left.addresses, left.policies) == (right.addresses, right.policies)


def big_document(nics: int, lists: int, rules: int) -> dict[str, Any]:
    """Write a policy of `lists` distinct group lists of five groups each, with rules of every remote and port form."""
    chance = random.Random(1)

    def rule(n: int) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "id": f"r{n}",
            "direction": chance.choice(("ingress", "egress")),
            "action": chance.choice(("allow", "deny")),
            "priority": chance.randint(1, 100),
        }
        port, far = chance.randint(1, 60000), chance.randint(60001, 65535)
        match n % 4:
            case 0:
                remote = f"10.{chance.randint(0, 255)}.{chance.randint(0, 255)}.0/24"
                return fields | {"protocol": "tcp", "multiport": port, "remote_ip_prefix": remote}
            case 1:
                group = f"Sg-{chance.randrange(lists * 5)}"
                return fields | {"protocol": "tcp", "multiport": f"{port}-{far}", "remote_group": group}
            case 2:
                entries = f"ag-{chance.randrange(20)}"
                return fields | {"protocol": "udp", "multiport": port, "remote_address_group": entries}
            case _:
                ports = ",".join(str(p) for p in chance.sample(range(1, 65535), 10))
                remote = f"172.16.{chance.randint(0, 255)}.0/24"
                return fields | {"protocol": "tcp", "multiport": ports, "remote_ip_prefix": remote}

    return {
        "version": 1,
        "vpcs": [{"name": "vpc-x", "subnets": [{"name": "subnet-a", "cidr": "192.168.0.0/16"}]}],
        "address_groups": [
            {"name": f"ag-{n}", "entries": [f"10.{n}.{i}.0-10.{n}.{i}.77" for i in range(20)]} for n in range(20)
        ],
        "security_groups": [{"name": f"Sg-{n}", "rules": [rule(i) for i in range(rules)]} for n in range(lists * 5)],
        "ecs": [
            {
                "name": f"ecs-{n}",
                "subnet": "subnet-a",
                "addresses": [f"192.168.{n // 200 + 1}.{n % 200 + 2}"],
                "security_groups": [f"Sg-{n % lists * 5 + i}" for i in range(5)],
            }
            for n in range(nics)
        ],
    }


def test_two_hundred_instances_with_six_hundred_rules_each_compile():
    policy = parse_policy(json.dumps(big_document(nics=200, lists=20, rules=120)))
    begin = time.perf_counter()
    program = compile_policy(policy, lab_layout(policy))
    print(f"\ncompiled in {time.perf_counter() - begin:.2f} s")
    assert verify(program) == []
    (namespace,) = program.namespaces
    assert len(namespace.nics) == 200
    assert len(namespace.policies) == 40, "twenty lists in two directions"
    tables = lower(namespace).tables
    elements = sum(len(entry.elements) for table in tables for entry in table.sets)
    regions = sum(len(entry.regions) for side in namespace.policies for entry in side.classes)
    print(f"{regions} regions, {elements} elements in {sum(len(t.sets) for t in tables)} sets")
    assert 20 * 600 < regions < 20 * 600 * 10, "regions grow with rules, not with their product"


def test_a_nic_without_an_interface_is_not_on_a_host():
    policy = three_hosts("""
        ecs:
          - {name: ecs-a, subnet: subnet-a, addresses: [10.0.0.11], security_groups: [Sg-A], interface: eth-a}
          - {name: ecs-b, subnet: subnet-a, addresses: [10.0.0.12], security_groups: [Sg-B]}
          - {name: ecs-c, subnet: subnet-a, addresses: [10.0.0.13], interface: eth-c, netns: other}
    """)
    program = compile_policy(policy, host_layout(policy))
    assert [(n.name, n.owned, [nic.interface for nic in n.nics]) for n in program.namespaces] == [
        ("", False, ["eth-a"]),
        ("other", False, ["eth-c"]),
    ]
    assert verify(program) == []


def test_a_layout_without_namespaces_is_an_empty_program():
    assert compile_policy(three_hosts(), Layout(())).namespaces == ()
    assert show(replace(compile_policy(three_hosts(), Layout(())))) == "\n"
