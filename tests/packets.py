"""Packets as the router meets them, with what connection tracking says of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from enforcer.model import IPAddress

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
SYN, ACK = 0x02, 0x10


@dataclass(frozen=True)
class Flow:
    """What connection tracking says of a packet; `state` new, established, related, invalid or untracked."""

    state: str = "new"
    reply: bool = False
    mark: int = 0
    dnat: bool = False
    original_destination: IPAddress | None = None
    original_port: int = 0


@dataclass(frozen=True)
class Packet:
    """A packet at the router. `kind` is ip, ip6 or arp; for ICMP `sport` is type and code, `dport` the checksum.

    `oif` empty: it is for this host. `iif` empty: it comes from this host. `short`: no transport header to read.
    """

    source: IPAddress
    destination: IPAddress
    protocol: int
    iif: str = ""
    oif: str = ""
    sport: int = 40000
    dport: int = 40001
    mac: str = ""
    flags: int = SYN
    hoplimit: int = 64
    short: bool = False
    mark: int = 0
    priority: int = 0
    flow: Flow = Flow()
    arp: tuple[str, str, IPAddress] | None = None
    target: IPAddress | None = None
    source_kind: str = "unicast"
    destination_kind: str = "unicast"

    @property
    def kind(self) -> str:
        if self.arp:
            return "arp"
        return "ip" if self.source.version == 4 else "ip6"


def answer(packet: Packet, **changes: Any) -> Packet:
    """Turn a packet around: the other end answers."""
    turned = replace(
        packet,
        source=packet.destination,
        destination=packet.source,
        iif=packet.oif,
        oif=packet.iif,
        sport=packet.dport,
        dport=packet.sport,
        flags=ACK,
        flow=replace(packet.flow, reply=True, state="established"),
    )
    return replace(turned, **changes)
