"""The policy that is measured: one list of rules, from which every case makes its own form.

Five groups of equal size stand on every NIC. Every rule is one of those that a cloud counts (S9), which is why a group
has 120 of them: ports from a security group or an address group, lists of ports from a prefix or from anywhere. The
measured packets go to a port that only one rule names (`MEASURED`): the first of all rules, the last, or none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from typing import Any, Literal

from bench.topology import address, mac

MEASURED = 7000
"""The destination port of measured UDP packets and TCP connections; the one above it is open too."""
GROUPS = 5
ENTRIES = {4: ["172.20.0.0/16", "172.21.3.7", "172.22.0.10-172.22.3.200"], 6: ["2001:db8:20::/48", "2001:db8:21::7"]}
"""The address group `sites` of each family."""
Place = Literal["first", "last", "none"]
PLACES: tuple[Place, ...] = ("first", "last", "none")
_SPARE = 200
"""The first port that no measured packet goes to."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One inbound rule: `group` remote is the NICs' own first group, `sites` the address group, else a prefix."""

    protocol: Literal["tcp", "udp"]
    ports: tuple[int, ...]
    remote: str


@dataclass(frozen=True)
class Shape:
    """How large the policy is; `match` says where the rule of the measured packets stands."""

    rules: int = 600
    nics: int = 2
    members: int = 10
    family: Literal[4, 6] = 4
    match: Place = "last"

    @property
    def text(self) -> str:
        """Return a short name for tables."""
        return f"{self.rules} rules, {self.nics} NICs, {self.members} members, IPv{self.family}, {self.match}"

    @cached_property
    def listed(self) -> tuple[Rule, ...]:
        """Return the inbound rules in the order in which a list is matched."""
        ports = (MEASURED, MEASURED + 1)
        wanted = [Rule("udp", ports, "group"), Rule("tcp", ports, "group")][: self.rules]
        if self.match == "none":
            wanted = []
        others = [self._other(number) for number in range(self.rules - len(wanted))]
        return tuple([*wanted, *others] if self.match == "first" else [*others, *wanted])

    def _other(self, number: int) -> Rule:
        ports = (_SPARE + number * 4 % 6000, _SPARE + number * 4 % 6000 + 2)
        anywhere = "0.0.0.0/0" if self.family == 4 else "::/0"
        prefix = f"10.{20 + number % 200}.0.0/16" if self.family == 4 else f"2001:db8:{number % 200 + 100:x}::/48"
        remote = ("group", prefix, "sites", anywhere)[number % 4]
        return Rule("tcp" if number // 4 % 2 else "udp", ports if number % 4 in (1, 3) else ports[:1], remote)

    @cached_property
    def addresses(self) -> tuple[str, ...]:
        """Return the addresses of all members of the first group, the NICs among them."""
        return tuple(address(number, self.family) for number in range(max(self.members, self.nics)))

    def document(self, netns: str) -> str:
        """Return the policy file, with the NICs at the interfaces n0, n1 … of a namespace."""
        size = -(-self.rules // GROUPS)
        groups = [
            {"name": f"g{n}", "rules": [*self._rules(n * size, size), *(_outbound() if n == GROUPS - 1 else ())]}
            for n in range(GROUPS)
        ]
        return json.dumps(
            {
                "version": 1,
                "vpcs": [
                    {"name": "vpc", "subnets": [{"name": "s", "cidr": "10.0.0.0/16", "ipv6_cidr": "2001:db8::/64"}]}
                ],
                "address_groups": [{"name": f"sites{f}", "ip_version": f, "entries": ENTRIES[f]} for f in (4, 6)],
                "security_groups": groups,
                "ecs": [*self._hosts(netns)],
            }
        )

    def _rules(self, first: int, count: int) -> list[dict[str, Any]]:
        return [
            {
                "direction": "ingress",
                "ethertype": f"IPv{self.family}",
                "protocol": entry.protocol,
                "multiport": ",".join(map(str, entry.ports)),
                **self._remote(entry.remote),
            }
            for entry in self.listed[first : first + count]
        ]

    def _remote(self, remote: str) -> dict[str, str]:
        match remote:
            case "group":
                return {"remote_group": "g0"}
            case "sites":
                return {"remote_address_group": f"sites{self.family}"}
            case _:
                return {"remote_ip_prefix": remote}

    def _hosts(self, netns: str) -> Iterator[dict[str, Any]]:
        groups = [f"g{n}" for n in range(GROUPS)]
        for number in range(self.nics):
            own = [address(number), address(number, 6)]
            nic = {"name": "eth0", "subnet": "s", "addresses": own, "mac": mac(number), "security_groups": groups}
            yield {"name": f"ecs-{number}", "nics": [{**nic, "interface": f"n{number}", "netns": netns}]}
        for number in range(self.nics, self.members):
            own = [address(number), address(number, 6)]
            yield {"name": f"far-{number}", "subnet": "s", "addresses": own, "security_groups": ["g0"]}


def _outbound() -> list[dict[str, Any]]:
    return [{"direction": "egress", "ethertype": f"IPv{family}"} for family in (4, 6)]


def bounds(entry: str) -> tuple[str, str]:
    """Return the first and the last address of an entry that is a range, else the entry twice."""
    first, _, last = entry.partition("-")
    return (str(ip_address(first)), str(ip_address(last))) if last else (entry, entry)
