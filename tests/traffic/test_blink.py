"""200 replacements of the policy under load (S14): nothing that is allowed is lost, nothing that is denied leaks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blasting import Blast, blasting
from harness import ANY_IN, HOSTS, OUT, Stand, groups, policy, standing

from enforcer.compiler import Program, compile_policy
from enforcer.dataplane import replace_all
from enforcer.model import lab_layout, parse_policy

pytestmark = pytest.mark.traffic

REPLACEMENTS = 200
BOTH = "{{direction: ingress, {0}}}, {{direction: ingress, ethertype: IPv6, {0}}}"
FROM_A = (
    "{direction: ingress, protocol: udp, multiport: 5000-5001, remote_ip_prefix: 10.0.0.11}, "
    '{direction: ingress, protocol: udp, multiport: 5000-5001, ethertype: IPv6, remote_ip_prefix: "2001:db8::11"}'
)
DENY_REST = BOTH.format("action: deny, protocol: udp, multiport: 5002-5003")
MEMBERS = HOSTS.replace("[Sg-A]", "[Sg-A, Sg-P]").replace("[Sg-C]", "[Sg-C, Sg-P]")
ADDRESSES = """
address_groups:
  - {name: v4, entries: [10.0.0.0-10.0.0.11, 10.0.0.64/26, 192.0.2.1]}
  - {name: v6, ip_version: 6, entries: ["2001:db8::-2001:db8::11", "2001:db8:1::/48"]}
"""
LONG = ", ".join(
    f"{{direction: ingress, protocol: {'tcp' if n % 2 else 'udp'}, multiport: {6000 + 10 * n}-{6005 + 10 * n}, "
    f"remote_ip_prefix: 10.{n}.0.0/16}}"
    for n in range(80)
)


def policies() -> tuple[str, ...]:
    """Ways to allow 5000 and 5001 from ecs-a and to deny 5002 and 5003 that have little in common."""
    by_group = BOTH.format("protocol: udp, multiport: '5000,5001', remote_group: Sg-P")
    by_addresses = (
        "{direction: ingress, protocol: udp, multiport: '5000,5001,7000-7010', remote_address_group: v4}, "
        "{direction: ingress, protocol: udp, multiport: '5000,5001', ethertype: IPv6, remote_address_group: v6}"
    )
    away = "{direction: egress, protocol: udp, multiport: 1-60000, remote_ip_prefix: 10.0.0.0/24}"
    return (
        policy(groups(A=OUT, B=f"{FROM_A}, {OUT}")),
        policy(groups(A=OUT, B=f"{by_group}, {OUT}", P="{direction: egress}"), hosts=MEMBERS),
        policy(ADDRESSES, groups(A=f"{OUT}, {ANY_IN}", B=f"{by_addresses}, {LONG}")),
        policy(groups(A=f"{away}, {OUT}", B=f"{DENY_REST}, {ANY_IN}, {OUT}", C=ANY_IN)),
        policy(ADDRESSES, groups(A=OUT, B=f"{LONG}, {by_addresses}, {by_group}, {OUT}", P=LONG), hosts=MEMBERS),
    )


def once_allowed() -> str:
    return policy(groups(A=OUT, B=f"{ANY_IN}, {OUT}"))


@pytest.fixture
def stand() -> Iterator[Stand]:
    with standing(once_allowed()) as lab:
        yield lab


def programs(stand: Stand) -> list[Program]:
    parsed = [parse_policy(text) for text in policies()]
    return [compile_policy(each, lab_layout(each, stand.lab.name)) for each in parsed]


@pytest.fixture
def blast(stand: Stand) -> Iterator[Blast]:
    with blasting(stand.netns("ecs-a"), stand.netns("ecs-b")) as blast:
        yield blast


def test_two_hundred_replacements_lose_nothing_and_leak_nothing(stand: Stand, blast: Blast) -> None:
    """S14: 5,000 packets a second of established flows and 2,000 new flows a second, beside denied ones."""
    assert blast.begun == [1, 1, 1, 1], "all flows are allowed at first"
    prepared = programs(stand)
    for turn in range(REPLACEMENTS):
        committed = replace_all(prepared[turn % len(prepared)], require=True)
        assert not any(each.whole for each in committed), "each replacement is a difference"
        if turn == 0:
            blast.say("denied")
    report = blast.stop()
    for version in ("IPv4", "IPv6"):
        seen = report[version]
        assert seen["no room"] == 0, "losses would be the socket's"
        assert report["backlog"] == 0, "losses would be the backlog's"
        assert seen["lost"] == {}, f"{version}: {seen}"
        assert seen["leaked"] == {}, f"{version}: {seen}"
        assert seen["twice"] == 0
    total = sum(report[version]["sent"]["5000"] for version in ("IPv4", "IPv6"))
    assert total > 100 * REPLACEMENTS, "each change had packets to lose"
