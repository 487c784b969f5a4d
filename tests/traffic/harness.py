"""What the hard traffic tests share: a lab with a policy in force, sockets inside its hosts, and waiting.

    with standing(policy(GROUPS)) as stand:
        server = stand.udp("ecs-b", 5000)
        committed = stand.enforce(policy(OTHER_GROUPS))   # the time at which the commit had returned

Sockets belong to the host in which they were opened and are used from anywhere. Nothing sleeps blindly: `until` waits
for a condition, with a deadline.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from textwrap import dedent

from patience import patient

from enforcer.compiler import compile_policy
from enforcer.dataplane import replace_all
from enforcer.dataplane.namespaces import entered
from enforcer.lab import lifecycle
from enforcer.lab.probe.engine import DEFAULT_TIMEOUT
from enforcer.model import Family, IPAddress, lab_layout, parse_policy

HOSTS = """
version: 1
vpcs: [{name: vpc-x, subnets: [{name: subnet-a, cidr: 10.0.0.0/24, ipv6_cidr: "2001:db8::/64"}]}]
ecs:
  - {name: ecs-a, subnet: subnet-a, addresses: [10.0.0.11, "2001:db8::11"], security_groups: [Sg-A]}
  - {name: ecs-b, subnet: subnet-a, addresses: [10.0.0.12, "2001:db8::12"], security_groups: [Sg-B]}
  - {name: ecs-c, subnet: subnet-a, addresses: [10.0.0.13, "2001:db8::13"], security_groups: [Sg-C]}
"""
OUT = "{direction: egress}, {direction: egress, ethertype: IPv6}"
"""Rules that let everything out, for a group's list."""

ANY_IN = "{direction: ingress}, {direction: ingress, ethertype: IPv6}"
"""Rules that let everything in."""

_numbers = itertools.count(1)
_AF = {4: socket.AF_INET, 6: socket.AF_INET6}
_SO_RCVBUFFORCE = 33
PATIENCE = patient(5.0)
"""How long anything that must happen may take, in seconds."""

ANSWER = patient(DEFAULT_TIMEOUT)
"""How long a probe waits for its answer, in seconds."""


def policy(*texts: str, hosts: str = HOSTS) -> str:
    """Join the hosts and the security groups of a test; Sg-A, Sg-B and Sg-C that are not given have no rule."""
    groups = "\n".join(dedent(text) for text in texts)
    names = (name for name in ("Sg-A", "Sg-B", "Sg-C") if f"name: {name}," not in groups)
    missing = [f"  - {{name: {name}, rules: []}}\n" for name in names]
    if "security_groups:\n" not in groups:
        groups += "\nsecurity_groups:\n"
    return hosts + groups.replace("security_groups:\n", f"security_groups:\n{''.join(missing)}")


def groups(**rules: str) -> str:
    """Write security groups: `groups(A="{direction: egress}")` is a group Sg-A with that rule."""
    lines = "".join(f"  - {{name: Sg-{name}, rules: [{text}]}}\n" for name, text in rules.items())
    return f"security_groups:\n{lines}"


def until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait until the condition holds; fail with `what` if it never does."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.002)


def put_in_force(text: str, name: str) -> int:
    """Put a policy in force on wires that are there; return the monotonic time in ns after the commit."""
    parsed = parse_policy(text)
    replace_all(compile_policy(parsed, lab_layout(parsed, name)), require=True)
    return time.monotonic_ns()


@dataclass(repr=False)
class Stand:
    """A lab that stands. Sockets opened through it are closed with it."""

    lab: lifecycle.Lab
    opened: ExitStack = field(default_factory=ExitStack)

    def enforce(self, text: str) -> int:
        """Put other rules in force on the same wires; return when the commit had returned."""
        return put_in_force(text, self.lab.name)

    def apply(self, text: str) -> int:
        """Change wires and rules; return when the rules' commit had returned."""
        committed = []
        lifecycle.apply(
            parse_policy(text),
            self.lab.name,
            text,
            lambda: committed.append(put_in_force(text, self.lab.name)),
            lambda *_: None,
        )
        self.lab = lifecycle.running(self.lab.name)
        return committed[0]

    def netns(self, host: str) -> str:
        """Return the namespace of a host, or of a VPC's router."""
        return dict(self.lab.dataplanes()).get(host) or self.lab.netns(host)

    def address(self, host: str, family: Family = 4) -> str:
        """Return a host's first address of a family."""
        found: dict[str, tuple[IPAddress, ...]] = {each.name: each.addresses for each in self.lab.hosts()}
        return next(str(address) for address in found[host] if address.version == family)

    def forget(self) -> None:
        """Empty the routers' connection tracking: what earlier tests left behind is no conversation of the next one."""
        for vpc, _ in self.lab.dataplanes():
            self.run(vpc, "conntrack", "-F")

    def run(self, host: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside a host or router."""
        with entered(self.netns(host)):
            return subprocess.run(words, capture_output=True, text=True, check=check, timeout=patient(30))

    def feed(self, host: str, *words: str, text: str) -> None:
        """Run a command that reads a text."""
        with entered(self.netns(host)):
            subprocess.run(words, input=text, text=True, check=True, timeout=patient(30))

    def mac(self, host: str, interface: str = "eth0") -> str:
        """Return the MAC address of an interface."""
        return str(json.loads(self.run(host, "ip", "-j", "link", "show", interface).stdout)[0]["address"])

    def index(self, host: str, interface: str) -> int:
        """Return the number of an interface."""
        return int(json.loads(self.run(host, "ip", "-j", "link", "show", interface).stdout)[0]["ifindex"])

    def socket(self, host: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Open a socket inside a host; it does not block."""
        with entered(self.netns(host)):
            made = self.opened.enter_context(socket.socket(family, kind, protocol))
        made.setblocking(False)
        return made

    def udp(self, host: str, port: int = 0, family: Family = 4, address: str = "") -> socket.socket:
        """Open a bound UDP socket with room for everything that a test sends."""
        made = self.socket(host, _AF[family], socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 24)
        made.bind((address or self.address(host, family), port))
        return made

    def listener(self, host: str, port: int, family: Family = 4) -> socket.socket:
        """Open a listening TCP socket."""
        made = self.socket(host, _AF[family], socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((self.address(host, family), port))
        made.listen(64)
        return made

    def frames(self, host: str, interface: str = "eth0") -> socket.socket:
        """Open a packet socket on an interface of a host: what root in an instance can send, and all that arrives."""
        made = self.socket(host, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        made.bind((interface, 0))
        return made


@contextmanager
def standing(text: str) -> Iterator[Stand]:
    """Build a lab with a policy in force under a name of its own; take everything away afterwards."""
    name = f"t{os.getpid() % 100000}n{next(_numbers)}"
    parsed = parse_policy(text)
    stand = Stand(lifecycle.up(parsed, name, text, lambda: void(put_in_force(text, name)), lambda *_: None))
    try:
        yield stand
    finally:
        stand.opened.close()
        lifecycle.down(name)


def void(_: object) -> None:
    """Forget a result."""


def drain(receiver: socket.socket) -> list[bytes]:
    """Return everything that has arrived at a socket."""
    found = []
    while True:
        try:
            found.append(receiver.recv(65535))
        except (BlockingIOError, ConnectionRefusedError):
            return found


def received(receiver: socket.socket, patience: float = PATIENCE) -> bytes:
    """Wait for one packet."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            return receiver.recv(65535)
        except (BlockingIOError, ConnectionRefusedError):
            time.sleep(0.001)
    raise AssertionError("nothing arrived")


def reaches(sender: socket.socket, receiver: socket.socket, to: tuple[str, int], data: bytes = b"") -> bool:
    """Send one datagram and say whether it arrived; what is blocked has some packets' time to arrive."""
    data = data or os.urandom(12)
    sender.sendto(data, to)
    deadline = time.monotonic() + patient(0.1)
    while time.monotonic() < deadline:
        if any(data in packet for packet in drain(receiver)):
            return True
        time.sleep(0.001)
    return False


def connects(stand: Stand, client: str, server: str, port: int, family: Family = 4) -> bool:
    """Say whether a TCP connection to a listening port opens."""
    made = stand.socket(client, _AF[family], socket.SOCK_STREAM)
    made.settimeout(patient(0.15))
    try:
        made.connect((stand.address(server, family), port))
    except TimeoutError:
        return False
    finally:
        made.close()
    return True
