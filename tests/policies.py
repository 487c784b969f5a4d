"""Policies for tests: short texts with fixed hosts, and random ones that live at the edges of the format."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from textwrap import dedent
from typing import Any

import yaml
from hypothesis import strategies as st

from enforcer.compiler import compile_policy, verify
from enforcer.compiler.program import NamespaceProgram
from enforcer.model import IPAddress, Policy, lab_layout, parse_policy

# Three hosts of one subnet, both families: ecs-a has Sg-A, ecs-b Sg-B, ecs-c Sg-C. Tests say what the groups hold.
HOSTS = """
version: 1
vpcs: [{name: vpc-x, subnets: [{name: subnet-a, cidr: 10.0.0.0/24, ipv6_cidr: "2001:db8::/64"}]}]
ecs:
  - {name: ecs-a, subnet: subnet-a, addresses: [10.0.0.11, "2001:db8::11"], security_groups: [Sg-A]}
  - {name: ecs-b, subnet: subnet-a, addresses: [10.0.0.12, "2001:db8::12"], security_groups: [Sg-B]}
  - {name: ecs-c, subnet: subnet-a, addresses: [10.0.0.13, "2001:db8::13"], security_groups: [Sg-C]}
"""


def three_hosts(*texts: str) -> Policy:
    """Parse HOSTS with what `texts` add; Sg-A, Sg-B and Sg-C have no rule unless they are given."""
    document = yaml.safe_load(HOSTS)
    for text in texts:
        document |= yaml.safe_load(dedent(text)) or {}
    groups = document.setdefault("security_groups", [])
    names = {group["name"] for group in groups}
    groups += [{"name": name, "rules": []} for name in ("Sg-A", "Sg-B", "Sg-C") if name not in names]
    return parse_policy(json.dumps(document))


def compiled(policy: Policy, namespace: int = 0) -> NamespaceProgram:
    """Compile for the lab and take one namespace; the Program must satisfy its checker."""
    program = compile_policy(policy, lab_layout(policy))
    assert verify(program) == []
    return program.namespaces[namespace]


# --- random policies -------------------------------------------------------------------------------------------------

PORTS = (1, 2, 21, 22, 23, 80, 65534, 65535)
NUMBERS = ("tcp", "udp", "gre", "all", 0, 5, 7, 16, 18, 46, 48, 132, 255)
# fmt: off
PREFIXES = {
    4: [
        "0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8", "10.0.0.0/24", "10.0.0.0/28", "10.0.0.10/31",
        "10.0.0.8/30", "10.0.0.16/28", "10.0.0.11", "10.0.0.12", "10.0.0.13", "0.0.0.0", "255.255.255.255",
    ],
    6: [
        "::/0", "::/1", "8000::/1", "2001:db8::/32", "2001:db8::/64", "2001:db8::10/126", "2001:db8::10/127",
        "2001:db8::11", "2001:db8::12", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ],
}
RANGES = {
    4: [
        "10.0.0.11-10.0.0.12", "10.0.0.12-10.0.0.40", "9.255.255.255-10.0.0.0", "10.0.0.13", "0.0.0.0-10.0.0.10",
        "10.0.0.14-255.255.255.255", "10.0.0.0/29", "0.0.0.0/0",
    ],
    6: [
        "2001:db8::11-2001:db8::12", "2001:db8::", "::-2001:db8::10", "2001:db8::/120",
    ],
}
# fmt: on
FLAVORS = ("S1", "c1", "C2", "m1", "H1", "d1", "g1", "G2", "e1", "E2", "et2", "kai1", "Kai1")
TYPES = (None, "s6.large.2", "s1x.odd", *(f"{flavor}.x" for flavor in FLAVORS))
GROUPS = ("Sg-A", "Sg-B", "Sg-C", "Sg-D")


def port_groups() -> st.SearchStrategy[str]:
    pair = st.tuples(st.sampled_from(PORTS), st.sampled_from(PORTS))
    group = pair.map(lambda p: str(p[0]) if p[0] == p[1] else f"{min(p)}-{max(p)}")
    return st.lists(group, min_size=1, max_size=3, unique=True).map(",".join)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    family = draw(st.sampled_from((4, 4, 6)))
    rule: dict[str, Any] = {
        "direction": draw(st.sampled_from(("ingress", "egress"))),
        "action": draw(st.sampled_from(("allow", "allow", "deny"))),
        "priority": draw(st.sampled_from((1, 1, 2, 100))),
        "ethertype": f"IPv{family}",
        "enabled": draw(st.sampled_from((True, True, True, True, False))),
        "protocol": draw(st.sampled_from((*NUMBERS, "tcp", "tcp", "icmp" if family == 4 else "icmpv6"))),
    }
    if rule["protocol"] in ("tcp", "udp") and draw(st.booleans()):
        rule["multiport"] = draw(port_groups())
    if str(rule["protocol"]).startswith("icmp") and draw(st.booleans()):
        rule["icmp_type"] = draw(st.sampled_from((8, 13, 128, 0, 3, 255)))
        if draw(st.booleans()):
            rule["icmp_code"] = draw(st.sampled_from((0, 1, 255)))
    match draw(st.sampled_from(("none", "prefix", "prefix", "group", "group", "address group"))):
        case "prefix":
            everyone_and_one = ("::/0", "2001:db8::11") if family == 6 else ("0.0.0.0/0", "10.0.0.11")
            rule["remote_ip_prefix"] = draw(st.sampled_from((*PREFIXES[family], *everyone_and_one)))
        case "group":
            rule["remote_group"] = draw(st.sampled_from(GROUPS))
        case "address group":
            rule["remote_address_group"] = draw(st.sampled_from((f"ag-{family}", f"ag-{family}b")))
    return rule


@st.composite
def rule_lists(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw the rules of a group; most groups end in a rule that opens a direction, or hardly a packet would pass."""
    if draw(st.sampled_from(range(12))) == 11:
        return []
    found = draw(st.lists(rules(), max_size=6))
    for direction in ("ingress", "egress"):
        for ethertype in ("IPv4", "IPv6"):
            floor = {"direction": direction, "ethertype": ethertype, "priority": 100}
            match draw(st.sampled_from(("all", "all", "group", "tcp", "nothing"))):
                case "all":
                    found.append(floor)
                case "group":
                    found.append({**floor, "remote_group": draw(st.sampled_from(GROUPS[:3]))})
                case "tcp":
                    found.append({**floor, "protocol": "tcp"})
    return found


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a policy file: a VPC of three or four hosts, a second VPC with the same addresses, and a peered one."""
    subnet_a = {"name": "subnet-a", "cidr": "10.0.0.0/24", "ipv6_cidr": "2001:db8::/64"}
    hosts = []
    for name, vpc, last in (("ecs-a", "a", 11), ("ecs-b", "a", 12), ("ecs-c", "a", 13), ("ecs-d", "b", 11)):
        groups = draw(st.lists(st.sampled_from(GROUPS[:3]), min_size=1, max_size=3, unique=True))
        addresses = [f"10.0.0.{last}", *([f"2001:db8::{last}"] if draw(st.booleans()) else [])]
        host = {"name": name, "subnet": f"subnet-{vpc}", "addresses": addresses, "security_groups": groups}
        if flavor := draw(st.sampled_from(TYPES)):
            host["type"] = flavor
        hosts.append(host)
    hosts.append({"name": "ecs-e", "subnet": "subnet-c", "addresses": ["10.0.1.11"], "security_groups": ["Sg-B"]})
    # Some of them are empty, and match nothing (S19).
    address_groups = [
        {"name": f"ag-{family}{suffix}", "ip_version": family, "entries": entries}
        for family in (4, 6)
        for suffix in ("", "b")
        if (entries := draw(st.lists(st.sampled_from(RANGES[family]), max_size=3, unique=True))) is not None
    ]
    return {
        "version": 1,
        "limits": {"costly_rules": draw(st.sampled_from((0, 1, 2, 120)))},
        "revoke": draw(st.sampled_from(("inbound", "both"))),
        "vpcs": [
            {"name": "vpc-a", "subnets": [subnet_a]},
            {"name": "vpc-b", "subnets": [{**subnet_a, "name": "subnet-b"}]},
            {"name": "vpc-c", "subnets": [{"name": "subnet-c", "cidr": "10.0.1.0/24"}]},
        ],
        "peerings": [{"name": "peering-ac", "vpcs": ["vpc-a", "vpc-c"]}],
        "address_groups": address_groups,
        "security_groups": [{"name": name, "rules": draw(rule_lists())} for name in draw(st.permutations(GROUPS))],
        "ecs": hosts,
    }


def random_policies() -> st.SearchStrategy[Policy]:
    return documents().map(lambda document: parse_policy(json.dumps(document)))


def borders(policy: Policy, family: int) -> tuple[IPAddress, ...]:
    """Return the addresses around every border that the random policies can draw, and every member."""
    most = 2**32 - 1 if family == 4 else 2**128 - 1
    found = {0, most}
    for text in PREFIXES[family]:
        network = ip_network(text)
        found |= {int(network.network_address) - 1, int(network.network_address), int(network.broadcast_address) + 1}
    for group in policy.address_groups:
        for entry in group.ranges:
            if entry.first.version == family:
                found |= {int(entry.first) - 1, int(entry.first), int(entry.last), int(entry.last) + 1}
    found |= {int(a) for ref in policy.nics() for a in ref.nic.addresses if a.version == family}
    size = 4 if family == 4 else 16
    return tuple(ip_address(value.to_bytes(size, "big")) for value in sorted(found) if 0 <= value <= most)


def probes(family: int) -> tuple[tuple[int, int], ...]:
    """Return (protocol, sub-key) at every edge: ports, ICMP requests with codes, protocols without ports."""
    ports = tuple((protocol, port) for protocol in (6, 17) for port in (*PORTS, 3, 20, 24, 79, 81, 1000))
    icmp, requests = (1, (8, 13, 15, 17)) if family == 4 else (58, (128, 139))
    asked = tuple((icmp, kind << 8 | code) for kind in requests for code in (0, 1, 2, 255))
    return (*ports, *asked, *((number, 0) for number in (0, 2, 5, 7, 16, 18, 41, 46, 47, 48, 132, 254, 255)))
