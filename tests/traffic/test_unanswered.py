"""Conversations that nobody answers are conversations too: outbound changes leave those that were begun alone (S14)."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from patience import patient

from enforcer.cli.lab import enforcement
from enforcer.dataplane.namespaces import entered

pytestmark = pytest.mark.traffic

BEFORE = """
version: 1
vpcs: [{name: vpc-x, subnets: [{name: subnet-a, cidr: 192.168.0.0/24}]}]
security_groups:
  - {name: senders, rules: [{id: out, direction: egress}]}
  - {name: sinks, rules: [{id: in, direction: ingress, protocol: udp}]}
ecs:
  - {name: sender, subnet: subnet-a, addresses: [192.168.0.11], security_groups: [senders]}
  - {name: sink, subnet: subnet-a, addresses: [192.168.0.12], security_groups: [sinks]}
"""
AFTER = BEFORE.replace("{id: out, direction: egress}", "{id: out, direction: egress, protocol: tcp}")


def udp(lab: Any, host: str, port: int = 0) -> socket.socket:
    with entered(lab.lab.netns(host)):
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind(("", port))
    opened.settimeout(patient(0.5))
    return opened


def arrives(sink: socket.socket, sender: socket.socket, words: bytes) -> bool:
    sender.sendto(words, ("192.168.0.12", 5140))
    try:
        return sink.recv(64) == words
    except TimeoutError:
        return False


@pytest.mark.parametrize(("revoke", "goes_on"), [("inbound", True), ("both", False)])
def test_a_stream_that_is_never_answered_goes_on_after_an_outbound_change(
    labs: Any, revoke: str, goes_on: bool
) -> None:
    lab = labs.up(f"revoke: {revoke}\n{BEFORE}", enforcement)
    with udp(lab, "sink", 5140) as sink, udp(lab, "sender") as old, udp(lab, "sender") as new:
        assert arrives(sink, old, b"first")
        lab.apply(f"revoke: {revoke}\n{AFTER}")
        assert arrives(sink, old, b"second") == goes_on
        assert not arrives(sink, new, b"begun too late")
