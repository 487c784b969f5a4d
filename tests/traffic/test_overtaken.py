"""A change that overtakes packets between two hooks (S14): what passed by the old rules brings no flow the new stamp.

One side of a conversation sends as fast as it can while policies follow each other that allow and deny it: in each
change some packet may be between prerouting and postrouting. Before answers left half a stamp (`ruleset.stamps`), one
denial of eight did not hold.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from byhand import Host
from harness import ANY_IN, OUT, groups, reaches, until

from enforcer.compiler import NamespaceProgram, compile_policy
from enforcer.dataplane import Session, conntrack
from enforcer.model import host_layout, parse_policy
from enforcer.ruleset.stamps import stamp_bits

pytestmark = pytest.mark.traffic

CLIENT, SERVER, ANOTHER = 40000, 5002, 5001
CHANGES = 60
OPEN = groups(A=f"{ANY_IN}, {OUT}", B=f"{ANY_IN}, {OUT}")
NOT_IN = groups(A=OUT, B=f"{{direction: ingress, protocol: udp, multiport: {ANOTHER}}}, {OUT}")
NOT_OUT = groups(A=f"{{direction: egress, protocol: udp, multiport: {ANOTHER}}}", B=f"{ANY_IN}, {OUT}")
FLOOD = """
import socket, sys
from enforcer.dataplane.namespaces import entered
netns, own, port, other, to = sys.argv[1:]
with entered(netns):
    sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sending.bind((own, int(port)))
    sending.connect((other, int(to)))
print("begun", flush=True)
while True:
    try:
        sending.send(b"x")
    except OSError:
        pass
"""


@contextmanager
def flood(host: Host, guest: str, port: int, other: str, to: int) -> Iterator[None]:
    """Send without a pause from a process of its own, which has begun: to come up may take it seconds."""
    words = [host.netns(guest), host.address(guest), str(port), host.address(other), str(to)]
    command = [sys.executable, "-c", FLOOD, *words]
    sender = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)
    assert sender.stdout
    try:
        assert sender.stdout.readline(), "it never began"
        yield
    finally:
        sender.kill()
        sender.wait()
        sender.stdout.close()


def program(host: Host, text: str, revoke: str) -> NamespaceProgram:
    policy = parse_policy(f"revoke: {revoke}\n{host.policy(text)}")
    return compile_policy(policy, host_layout(policy)).namespaces[0]


def mark(host: Host) -> int:
    """Read the mark of the conversation; whatever lower bits others have are not there."""
    found = [each.mark for each in conntrack.conversations(host.router) if each.original.destination_port == SERVER]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("sender", "denied", "revoke"),
    [("b", NOT_IN, "inbound"), ("a", NOT_IN, "inbound"), ("b", NOT_IN, "both"), ("a", NOT_OUT, "both")],
)
def test_a_denial_holds_for_flows_whose_packets_it_overtakes(host: Host, sender: str, denied: str, revoke: str) -> None:
    """The conversation is stamped while it is allowed, and never while it is denied."""
    allowing, denying = program(host, OPEN, revoke), program(host, denied, revoke)
    session = Session(host.router)
    session.replace(allowing)
    near, far = host.udp("a", CLIENT), host.udp("b", SERVER)
    assert reaches(near, far, (host.address("b"), SERVER)), "it is begun"
    (far if sender == "b" else near).close()
    way = ("a", CLIENT, "b", SERVER) if sender == "a" else ("b", SERVER, "a", CLIENT)
    held = 0
    with flood(host, *way):
        for _ in range(CHANGES):
            allowed = stamp_bits(allowing.marks, session.replace(allowing).generation)
            until(lambda allowed=allowed: mark(host) == allowed, "it goes on and is stamped")
            stamp = stamp_bits(denying.marks, session.replace(denying).generation)
            judged = {stamp, denying.marks.connection_mask}
            until(lambda judged=judged: mark(host) in judged, "a packet comes by")
            held += mark(host) != stamp
            session.tidy()
    session.close()
    assert held == CHANGES
