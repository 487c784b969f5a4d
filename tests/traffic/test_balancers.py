"""S12 with packets: what a balancer forwards with the client's address is not limited; everything else is."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from harness import ANY_IN, OUT, Stand, connects, groups, policy, reaches, received, standing
from patience import patient
from streams import Stream, pumping, tcp

from enforcer.model import Family

pytestmark = pytest.mark.traffic

TRANSPARENT, HIDING = "10.0.0.200", "10.0.0.201"
BALANCERS = """
load_balancers:
  - name: transparent
    subnet: subnet-a
    address: 10.0.0.200
    listeners:
      - {protocol: tcp, port: 80, transfer_client_ip: true, backends: [{ecs: ecs-b, port: 8080}]}
      - {protocol: udp, port: 53, transfer_client_ip: true, backends: [{ecs: ecs-b, port: 5353}]}
      - {protocol: tcp, port: 81, backends: [{ecs: ecs-b, port: 8080}]}
  - name: transparent6
    subnet: subnet-a
    address: "2001:db8::200"
    listeners: [{protocol: tcp, port: 80, transfer_client_ip: true, backends: [{ecs: ecs-b, port: 8080}]}]
  - name: hiding
    subnet: subnet-a
    address: 10.0.0.201
    listeners: [{protocol: tcp, port: 80, backends: [{ecs: ecs-b, port: 8080}]}]
"""
DENY_ALL = "{direction: ingress, action: deny}, {direction: ingress, action: deny, ethertype: IPv6}"
FROM_BALANCER = "{direction: ingress, protocol: tcp, multiport: 8080, remote_ip_prefix: 100.125.0.0/16}"


def backend(rules: str, client: str = OUT, *, revoke: str = "inbound") -> str:
    return f"revoke: {revoke}\n" + policy(BALANCERS, groups(A=client, B=rules, C=OUT))


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with standing(backend(DENY_ALL)) as lab:
        yield lab


@pytest.fixture(autouse=True)
def fresh(stand: Stand) -> None:
    stand.forget()


def opens(stand: Stand, address: str, port: int, client: str = "ecs-a") -> bool:
    made = stand.socket(client, socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    made.settimeout(patient(0.15))
    try:
        made.connect((address, port))
    except TimeoutError:
        return False
    finally:
        made.close()
    return True


def close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()


def test_forwarded_with_the_clients_address_is_not_limited(stand: Stand) -> None:
    """S12: even where a rule denies it; straight to the backend it is denied, on the very same port."""
    listening = [stand.listener("ecs-b", 8080, family) for family in (4, 6)]
    stand.enforce(backend(DENY_ALL))
    assert opens(stand, TRANSPARENT, 80)
    assert opens(stand, "2001:db8::200", 80)
    for family in (4, 6):
        assert not connects(stand, "ecs-a", "ecs-b", 8080, family)
    client, server = stand.udp("ecs-a"), stand.udp("ecs-b", 5353)
    client.sendto(b"question", (TRANSPARENT, 53))
    assert received(server) == b"question"
    assert not reaches(client, server, ("10.0.0.12", 5353))
    close(listening)


def test_the_exemption_is_one_of_listeners(stand: Stand) -> None:
    """S12: another listener of the same balancer, and another balancer to the same port, are ordinary traffic."""
    listening = [stand.listener("ecs-b", 8080, family) for family in (4, 6)]
    stand.enforce(backend(DENY_ALL))
    assert opens(stand, TRANSPARENT, 80)
    assert not opens(stand, TRANSPARENT, 81)
    assert not opens(stand, HIDING, 80)
    stand.enforce(backend(FROM_BALANCER))
    assert opens(stand, TRANSPARENT, 81)
    assert opens(stand, HIDING, 80)
    assert not connects(stand, "ecs-a", "ecs-b", 8080)
    close(listening)


def test_the_client_needs_a_rule_to_the_balancer(stand: Stand) -> None:
    """S12: only the backend's groups are passed over; the client's outbound rules are not."""
    listening = [stand.listener("ecs-b", 8080)]
    to_balancer = f"{{direction: egress, protocol: tcp, multiport: 80, remote_ip_prefix: {TRANSPARENT}}}"
    stand.enforce(backend(DENY_ALL, to_balancer))
    assert opens(stand, TRANSPARENT, 80)
    stand.enforce(backend(DENY_ALL, "{direction: egress, remote_ip_prefix: 10.0.0.12}"))
    assert not opens(stand, TRANSPARENT, 80)
    assert opens(stand, TRANSPARENT, 80, client="ecs-c")
    close(listening)


@pytest.mark.parametrize("family", [4, 6])
def test_forwarded_conversations_outlive_a_change(stand: Stand, family: Family) -> None:
    """S12, S14: a change of the backend's rules cuts what was opened straight, not what the balancer forwards."""
    stand.enforce(backend(ANY_IN))
    address = TRANSPARENT if family == 4 else "2001:db8::200"
    forwarded = tcp_by_balancer(stand, address, family)
    straight = tcp(stand, "ecs-a", "ecs-b", 8090, family)
    with pumping(forwarded, straight) as pump:
        pump.flowing(forwarded, straight)
        committed = stand.enforce(backend(DENY_ALL))
        pump.cut(committed, straight)
        pump.flowing(forwarded)
        pump.finish(forwarded)


def test_revoke_both_cuts_the_clients_side_of_a_forwarded_conversation(stand: Stand) -> None:
    """S12, S14: the backend that keeps sending does not hold the connection open for a client that may not use it."""
    stand.enforce(backend(DENY_ALL, revoke="both"))
    doomed, kept = tcp_by_balancer(stand, TRANSPARENT, 4), tcp_by_balancer(stand, TRANSPARENT, 4, "ecs-c")
    with pumping(doomed, kept) as pump:
        pump.flowing(doomed, kept)
        committed = stand.enforce(backend(DENY_ALL, "", revoke="both"))
        pump.cut(committed, doomed)
        pump.flowing(kept)
        pump.finish(kept)


def tcp_by_balancer(stand: Stand, address: str, family: Family, client: str = "ecs-a") -> Stream:
    """Open a connection to port 80 of a balancer, answered by ecs-b at port 8080."""
    return tcp(stand, client, "ecs-b", 8080, family, to=address, at=80)


def test_a_hidden_clients_conversation_ends_with_its_rule(stand: Stand) -> None:
    """S12, S14: forwarded from the balancer's own address, it is traffic like any other."""
    stand.enforce(backend(FROM_BALANCER))
    doomed = tcp(stand, "ecs-a", "ecs-b", 8080, 4, to=HIDING, at=80)
    kept = tcp_by_balancer(stand, TRANSPARENT, 4)
    with pumping(doomed, kept) as pump:
        pump.flowing(doomed, kept)
        committed = stand.enforce(backend(DENY_ALL))
        pump.cut(committed, doomed)
        pump.flowing(kept)
