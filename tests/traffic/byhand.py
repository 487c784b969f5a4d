"""A host as an operator has it: namespaces and veths made by hand, NICs attached to them by a policy.

router ── tap-a ═══ eth0 ── guest a (10.0.0.11)
       ├─ tap-b ═══ eth0 ── guest b (10.0.0.12)
       └─ other ═══ eth0 ── guest o (10.0.9.2), whom the policy does not know
"""

from __future__ import annotations

import json
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from harness import reaches
from patience import patient

from enforcer.compiler import compile_policy
from enforcer.dataplane import Committed, namespaces, replace_all
from enforcer.dataplane.namespaces import entered
from enforcer.model import host_layout, parse_policy

NETWORK = """
version: 1
vpcs: [{{name: vpc-x, subnets: [{{name: subnet-a, cidr: 10.0.0.0/24, ipv6_cidr: "2001:db8::/64"}}]}}]
ecs:
  - name: ecs-a
    nics: [{{name: eth0, subnet: subnet-a, addresses: [10.0.0.11, "2001:db8::11"], mac: "fa:16:3e:00:00:0a",
      security_groups: [Sg-A], interface: tap-a, netns: "{0}"}}]
  - name: ecs-b
    nics: [{{name: eth0, subnet: subnet-a, addresses: [10.0.0.12, "2001:db8::12"], mac: "fa:16:3e:00:00:0b",
      security_groups: [Sg-B], interface: tap-b, netns: "{0}"}}]
"""
LAST = {"a": 11, "b": 12, "o": 2}


class Host:
    """A router namespace and its guests."""

    def __init__(self) -> None:
        stem = f"h{uuid.uuid4().hex[:8]}"
        self.router = f"{stem}-router"
        self.opened = ExitStack()
        self._guests = {name: f"{stem}-{name}" for name in LAST}

    def build(self, *guests: str) -> None:
        for netns in (self.router, *self._guests.values()):
            namespaces.create(netns)
            self.run(netns, "ip", "link", "set", "lo", "up")
        for key in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.rp_filter=0"):
            self.run(self.router, "sysctl", "-qw", key)
        for guest in guests:
            self.plug(guest)

    def plug(self, guest: str, *, up: bool = True) -> None:
        """Put a guest's interface in place, as a hypervisor does when the guest starts."""
        port, netns = self.port(guest), self._guests[guest]
        code = {"a": "0a", "b": "0b", "o": "0c"}[guest]
        peer = ("peer", "name", "eth0", "address", f"fa:16:3e:00:00:{code}", "netns", netns)
        self.run(self.router, "ip", "link", "add", port, "type", "veth", *peer)
        self.run(netns, "sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0")
        self.run(self.router, "sysctl", "-qw", f"net.ipv6.conf.{port}.accept_dad=0")
        four, six, gate = (
            (f"10.0.0.{LAST[guest]}", f"2001:db8::{LAST[guest]}", "10.0.0.1")
            if guest != "o"
            else ("10.0.9.2", "2001:db8:9::2", "10.0.9.1")
        )
        self.run(self.router, "ip", "address", "add", f"{gate}/32", "dev", port)
        self.run(self.router, "ip", "-6", "address", "add", "fe80::1/64", "dev", port, "nodad")
        self.run(self.router, "ip", "link", "set", port, "up")
        for address in (four, six):
            self.run(self.router, "ip", "route", "replace", address, "dev", port)
        self.run(netns, "ip", "address", "add", f"{four}/32", "dev", "eth0")
        self.run(netns, "ip", "-6", "address", "add", f"{six}/128", "dev", "eth0", "nodad")
        if up:
            self.start(guest)

    def start(self, guest: str) -> None:
        """Bring the guest's end up: from now on it can send."""
        netns, gate = self._guests[guest], "10.0.9.1" if guest == "o" else "10.0.0.1"
        self.run(netns, "ip", "link", "set", "eth0", "up")
        self.run(netns, "ip", "route", "add", gate, "dev", "eth0")
        self.run(netns, "ip", "route", "add", "default", "via", gate, "dev", "eth0")
        self.run(netns, "ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0")

    def unplug(self, guest: str) -> None:
        self.run(self.router, "ip", "link", "del", self.port(guest))

    def port(self, guest: str) -> str:
        return "other" if guest == "o" else f"tap-{guest}"

    def netns(self, guest: str) -> str:
        return self._guests[guest]

    def run(self, netns: str, *words: str, text: str | None = None) -> str:
        with entered(netns):
            done = subprocess.run(words, input=text, capture_output=True, text=True, check=False, timeout=patient(30))
        assert done.returncode == 0, f"{netns}: {' '.join(words)}: {done.stderr}"
        return done.stdout

    def mac(self, port: str) -> str:
        return str(json.loads(self.run(self.router, "ip", "-j", "link", "show", port))[0]["address"])

    def policy(self, groups: str) -> str:
        return NETWORK.format(self.router) + groups

    def apply(self, groups: str) -> Committed:
        """Put a policy in force as `enforcer apply` does."""
        policy = parse_policy(self.policy(groups))
        return replace_all(compile_policy(policy, host_layout(policy)))[0]

    def udp(self, guest: str, port: int = 0, family: int = 4) -> socket.socket:
        """Open a UDP socket in a guest, or with "" in the router."""
        with entered(self._guests.get(guest, self.router)):
            kind = {4: socket.AF_INET, 6: socket.AF_INET6}[family]
            made = self.opened.enter_context(socket.socket(kind, socket.SOCK_DGRAM))
        if family == 6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(("", port))
        made.setblocking(False)
        return made

    def frames(self, guest: str) -> socket.socket:
        with entered(self._guests[guest]):
            made = self.opened.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
        made.bind(("eth0", 0))
        made.setblocking(False)
        return made

    def address(self, guest: str, family: int = 4) -> str:
        if guest == "o":
            return "10.0.9.2" if family == 4 else "2001:db8:9::2"
        return f"10.0.0.{LAST[guest]}" if family == 4 else f"2001:db8::{LAST[guest]}"

    def remove(self) -> None:
        self.opened.close()
        for netns in (*self._guests.values(), self.router):
            namespaces.delete(netns)


@contextmanager
def by_hand(*guests: str) -> Iterator[Host]:
    """Build a host whose guests have their interfaces; take everything away afterwards."""
    host = Host()
    try:
        host.build(*guests)
        yield host
    finally:
        host.remove()


def passes(host: Host, sender: str, receiver: str, port: int = 0, family: int = 4) -> bool:
    """Say whether a datagram gets from one guest to another."""
    with host.udp(receiver, port, family) as receiving:
        to = host.address(receiver, family), receiving.getsockname()[1]
        return reaches(host.udp(sender, 0, family), receiving, to)
