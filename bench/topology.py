"""Two guests and the router between them, all in namespaces of their own, removed whatever happens.

    a ── eth0 ═══ n0 ── router ── n1 ═══ eth0 ── b
                          ├─ n2 ═══ a namespace where nothing happens
                          └─ n3 …   as many as a measurement wants

Neighbours and routes are fixed, so no packet of ours waits for another one.
"""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from enforcer.dataplane import namespaces
from enforcer.dataplane.namespaces import entered

_SYSCTLS = {
    "net.ipv4.ip_forward": 1,
    "net.ipv6.conf.all.forwarding": 1,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    "net.ipv6.conf.default.accept_dad": 0,
    "net.ipv6.conf.all.accept_dad": 0,
}
_ROUTER_SYSCTLS = {
    "net.netfilter.nf_conntrack_tcp_timeout_established": 600,
    "net.netfilter.nf_conntrack_tcp_timeout_fin_wait": 30,
    "net.netfilter.nf_conntrack_udp_timeout_stream": 180,
}
"""The idle timeouts (S13) of a router of ours, for every case the same."""


def address(nic: int, family: int = 4) -> str:
    """Return the address of a NIC by its number."""
    base = IPv4Address("10.0.0.2") if family == 4 else IPv6Address("2001:db8::2")
    return str(base + nic)


def mac(nic: int) -> str:
    """Return the MAC of a NIC by its number; the router's end has fe in place of fa."""
    return f"fa:16:3e:{nic >> 16:02x}:{nic >> 8 & 255:02x}:{nic & 255:02x}"


def router_mac(nic: int) -> str:
    """Return the MAC of the router's end of a NIC's wire."""
    return mac(nic).replace("fa:", "fe:", 1)


@dataclass(frozen=True, slots=True)
class Topology:
    """The names of the namespaces; `nics` counts the interfaces n0, n1 … of the router."""

    router: str
    a: str
    b: str
    parked: str
    nics: int

    def run(self, netns: str, *words: str, text: str | None = None) -> str:
        """Run a program inside a namespace; it must succeed."""
        with entered(netns):
            done = subprocess.run(words, input=text, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode != 0:
            raise RuntimeError(f"{netns}: {' '.join(words)[:200]}: {done.stderr[:2000]}")
        return done.stdout


@contextmanager
def topology(nics: int = 2) -> Iterator[Topology]:
    """Build the namespaces, and take them away again, after a failure too."""
    stem = f"bench-{uuid.uuid4().hex[:6]}"
    made = Topology(f"{stem}-r", f"{stem}-a", f"{stem}-b", f"{stem}-p", nics)
    try:
        _build(made)
        yield made
    finally:
        for netns in (made.a, made.b, made.parked, made.router):
            namespaces.delete(netns)


def _build(made: Topology) -> None:
    for netns in (made.router, made.a, made.b, made.parked):
        namespaces.create(netns)
        made.run(netns, "ip", "link", "set", "lo", "up")
        made.run(netns, "sysctl", "-qw", *(f"{key}={value}" for key, value in _SYSCTLS.items()))
    made.run(made.router, "sysctl", "-qw", *(f"{key}={value}" for key, value in _ROUTER_SYSCTLS.items()))
    made.run(made.router, "ip", "-batch", "-", text="\n".join(_links(made)))
    for number, guest in ((0, made.a), (1, made.b)):
        made.run(guest, "ip", "-batch", "-", text="\n".join(_guest(number)))


def _links(made: Topology) -> Iterator[str]:
    for nic in range(made.nics):
        netns = {0: made.a, 1: made.b}.get(nic, made.parked)
        peer = "eth0" if nic < 2 else f"p{nic}"
        yield (f"link add n{nic} address {router_mac(nic)} type veth peer name {peer} address {mac(nic)} netns {netns}")
        yield f"link set n{nic} up"
        for family in (4, 6):
            yield f"route add {address(nic, family)} dev n{nic}"
            yield f"neighbour add {address(nic, family)} lladdr {mac(nic)} dev n{nic} nud permanent"


def _guest(nic: int) -> Iterator[str]:
    yield f"address add {address(nic)}/32 dev eth0"
    yield f"address add {address(nic, 6)}/128 dev eth0 nodad"
    yield "link set eth0 up"
    for family, gate in ((4, "169.254.1.1"), (6, "fe80::1")):
        yield f"neighbour add {gate} lladdr {router_mac(nic)} dev eth0 nud permanent"
        onlink = "onlink" if family == 4 else ""
        yield f"route add default via {gate} dev eth0 {onlink}"
