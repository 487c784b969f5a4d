"""What a matrix costs: what its cells have in common is worked out once, counted and not timed."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, FunctionType

import pytest
from semantics_asking import parsed

from enforcer.model import Policy, parse_traffic, path
from enforcer.semantics import Oracle, matrix
from enforcer.semantics.effect import rank
from enforcer.semantics.matching import matches, members_seen_from


@contextmanager
def counted(*functions: FunctionType) -> Iterator[Counter[str]]:
    """Count the calls of these functions in the block."""
    names = {function.__code__: function.__name__ for function in functions}
    calls = Counter[str]()

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in names:
            calls[names[frame.f_code]] += 1

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield calls
    finally:
        sys.setprofile(before)


def with_hosts(count: int) -> Policy:
    """Return a policy of ten groups of 21 rules, and this many hosts in them."""
    rule = {"direction": "ingress", "protocol": "tcp"}
    groups = [
        {
            "name": f"Sg-{n}",
            "rules": [{"direction": "egress"}]
            + [
                rule | {"priority": m + 1, "multiport": m + 20, "remote_group": f"Sg-{(n + m) % 10}"} for m in range(20)
            ],
        }
        for n in range(10)
    ]
    hosts = [
        {"name": f"h{n}", "subnet": "sub", "addresses": [f"10.0.0.{n + 2}"], "security_groups": [f"Sg-{n % 10}"]}
        for n in range(count)
    ]
    vpcs = [{"name": "vpc", "subnets": [{"name": "sub", "cidr": "10.0.0.0/16"}]}]
    return parsed(json.dumps({"version": 1, "vpcs": vpcs, "security_groups": groups, "ecs": hosts}))


@pytest.mark.parametrize("hosts", [20, 50])
def test_what_the_cells_of_a_matrix_have_in_common_is_worked_out_once(hosts: int):
    policy = with_hosts(hosts)
    with counted(rank, members_seen_from, path, matches) as calls:
        cells = matrix(Oracle(policy), [parse_traffic(one) for one in ("tcp/22", "tcp/25", "udp/53", "icmp", "gre")])
    assert len(cells) == hosts * (hosts - 1) * 5
    assert {cell.verdict.value for cell in cells} == {"allow", "deny"}
    # However many hosts: one ranking for each group and direction, one membership for each group in the VPC.
    assert (calls["rank"], calls["members_seen_from"]) == (20, 10)
    assert calls["path"] == hosts * (hosts - 1)
    # On its way out a packet meets one rule; on its way in all 20, at most, of one group.
    assert len(cells) * 2 <= calls["matches"] <= len(cells) * 21
