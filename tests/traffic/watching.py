"""What gets past a NIC's checks, seen by tables of the test's own behind those of the enforcer.

A packet socket on the router would see frames before any filter does. These tables sit right behind: on the NIC's
interface after the source checks (`netdev`, priority 0) and after the judgement of packets from instances (`inet
prerouting`, −180). They collect what comes along.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness import Stand

TABLES = """
table netdev watch {{
  set macs {{ type ether_addr; flags dynamic; size 1024; }}
  set arps {{ type ether_addr . ipv4_addr; flags dynamic; size 1024; }}
  set sources4 {{ type ipv4_addr; flags dynamic; size 1024; }}
  set sources6 {{ type ipv6_addr; flags dynamic; size 1024; }}
  set protocols {{ type ether_type; flags dynamic; size 64; }}
  chain watch {{
    type filter hook ingress device "{0}" priority 0; policy accept;
    add @macs {{ ether saddr }}
    add @protocols {{ meta protocol }}
    meta protocol arp add @arps {{ arp saddr ether . arp saddr ip }}
    meta protocol ip add @sources4 {{ ip saddr }}
    meta protocol ip6 add @sources6 {{ ip6 saddr }}
  }}
}}
table inet watch {{
  set passed4 {{ type ipv4_addr . ipv4_addr . inet_proto; flags dynamic; size 4096; }}
  set passed6 {{ type ipv6_addr . ipv6_addr . inet_proto; flags dynamic; size 4096; }}
  set ports {{ type inet_proto . inet_service; flags dynamic; size 4096; }}
  set messages {{ type ipv6_addr . icmpv6_type; flags dynamic; size 1024; }}
  chain watch {{
    type filter hook prerouting priority -180; policy accept;
    iifname "{0}" meta nfproto ipv4 add @passed4 {{ ip saddr . ip daddr . meta l4proto }}
    iifname "{0}" meta nfproto ipv6 add @passed6 {{ ip6 saddr . ip6 daddr . meta l4proto }}
    iifname "{0}" meta l4proto {{ tcp, udp }} add @ports {{ meta l4proto . th dport }}
    iifname "{0}" icmpv6 type >= 0 add @messages {{ ip6 saddr . icmpv6 type }}
  }}
}}
"""


class Watch:
    """One NIC's interface under watch."""

    def __init__(self, stand: Stand, vpc: str) -> None:
        self._stand, self._vpc = stand, vpc

    def frames(self, name: str) -> set[Any]:
        """Return what passed the source checks: `macs`, `arps`, `sources4`, `sources6` or `protocols`."""
        return self._set("netdev", name)

    def passed(self, name: str) -> set[Any]:
        """Return what was let out of the instance: `passed4`, `passed6`, `ports` or `messages`."""
        return self._set("inet", name)

    def _set(self, family: str, name: str) -> set[Any]:
        listed = json.loads(self._stand.run(self._vpc, "nft", "-j", "-n", "list", "set", family, "watch", name).stdout)
        content = next(each["set"] for each in listed["nftables"] if "set" in each)
        return {tuple(key["concat"]) if isinstance(key, dict) else key for key in content.get("elem", ())}


@contextmanager
def watching(stand: Stand, interface: str, vpc: str = "vpc-x") -> Iterator[Watch]:
    """Watch an interface of a router for the length of the block."""
    stand.feed(vpc, "nft", "-f", "-", text=TABLES.format(interface))
    try:
        yield Watch(stand, vpc)
    finally:
        stand.feed(vpc, "nft", "-f", "-", text="delete table netdev watch\ndelete table inet watch\n")
