"""The wires that all policies share: only rules, groups, memberships and NIC settings differ between scenes.

    vpc-a  10.0.0.0/24, 2001:db8::/64       a b c f and r;  everything unknown is routed to r
    vpc-c  10.0.1.0/24, 2001:db8:0:1::/64   e g and q;      everything unknown is routed to q; peered with vpc-a
    vpc-b  the addresses of vpc-a again     d only; in the policy but without wires: it must never leak in (S18)

r and q have `port_security: false`: they are the world outside, send with any address, and carry the barrier. f is a
forwarder. To a and b, networks are routed that are not (a) or may be (b) theirs: who is asked is for S6 and S16.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from enforcer.model import IPAddress

ADDRESSES = {
    "a": ("10.0.0.11", "2001:db8::11"),
    "b": ("10.0.0.12", "2001:db8::12"),
    "c": ("10.0.0.13", "2001:db8::13"),
    "f": ("10.0.0.14", "2001:db8::14"),
    "r": ("10.0.0.15", "2001:db8::15"),
    "e": ("10.0.1.11", "2001:db8:0:1::11"),
    "g": ("10.0.1.12", "2001:db8:0:1::12"),
    "q": ("10.0.1.15", "2001:db8:0:1::15"),
}
VPC = {name: "c" if name in "egq" else "a" for name in ADDRESSES}
OUTSIDE = {"a": "r", "c": "q"}
"""Who stands for the rest of the world in each VPC."""
GUARDED = tuple(name for name in ADDRESSES if name not in OUTSIDE.values())
VIRTUAL_IPS = ("10.0.0.40", "2001:db8::40")
ROUTED = {
    "a": ("10.77.0.0/24", "2001:db8:77::/64"),
    "b": ("10.9.0.0/24", "2001:db8:9::/64"),
    "f": ("10.88.0.0/24", "2001:db8:88::/64"),
}
SUBNETS = {"a": ("10.0.0.0/24", "2001:db8::/64"), "c": ("10.0.1.0/24", "2001:db8:0:1::/64")}
EVERYWHERE = ("0.0.0.0/0", "::/0")

_NICS = {ip_address(address): name for name, addresses in ADDRESSES.items() for address in addresses}
_NICS |= {ip_address(address): "b" for address in VIRTUAL_IPS}
_ROUTED = [(ip_network(network), name) for name, networks in ROUTED.items() for network in networks]
_HOLES = [ip_network(network) for networks in SUBNETS.values() for network in networks]
# What the kernel itself does not forward, and the routers' own addresses.
_ODD = [ip_network(n) for n in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "10.0.0.1", "10.0.1.1")]
_ODD += [ip_network(n) for n in ("::/8", "fe80::/10", "ff00::/8")]


def forwarded(address: IPAddress) -> bool:
    """Say whether a router forwards packets from or to the address at all."""
    return not any(address in network for network in _ODD if network.version == address.version)


def way(vpc: str, destination: IPAddress) -> str | None:
    """Return the NIC where a packet comes out that was sent in a VPC; None: nowhere."""
    if not forwarded(destination):
        return None
    if (name := _NICS.get(destination)) is not None:
        return name
    if any(destination in network for network in _HOLES if network.version == destination.version):
        return None
    routed = {name: network for network, name in _ROUTED if vpc == "a" and network.version == destination.version}
    return next((name for name, network in routed.items() if destination in network), OUTSIDE[vpc])


def document(scene: dict[str, Any]) -> dict[str, Any]:
    """Return the policy file of a scene: its groups and NIC settings on the common wires."""
    ecs = []
    for name, addresses in ADDRESSES.items():
        settings = dict(scene["nics"].get(name, {}))
        if name in OUTSIDE.values():
            settings = {"port_security": False}
        ecs.append({"name": name, "subnet": f"subnet-{VPC[name]}", "addresses": list(addresses), **settings})
    ecs.append({"name": "d", "subnet": "subnet-b", "addresses": ["10.0.0.12"], **scene["nics"].get("d", {})})
    vpcs = [{"name": f"vpc-{vpc}", "subnets": [_subnet(vpc, vpc)], "routes": _routes(vpc)} for vpc in sorted(OUTSIDE)]
    return {
        "version": 1,
        "limits": {"costly_rules": scene.get("costly_rules", 120)},
        "revoke": scene.get("revoke", "inbound"),
        "vpcs": [*vpcs, {"name": "vpc-b", "subnets": [_subnet("b", "a")]}],
        "peerings": [{"name": "ac", "vpcs": ["vpc-a", "vpc-c"]}],
        "address_groups": scene.get("address_groups", []),
        "security_groups": scene["security_groups"],
        "ecs": ecs,
    }


def _subnet(name: str, like: str) -> dict[str, str]:
    return {"name": f"subnet-{name}", "cidr": SUBNETS[like][0], "ipv6_cidr": SUBNETS[like][1]}


def _routes(vpc: str) -> list[dict[str, str]]:
    routes = [(network, name) for name, networks in ROUTED.items() if VPC[name] == vpc for network in networks]
    routes += [(network, OUTSIDE[vpc]) for network in EVERYWHERE]
    return [{"destination": network, "next_hop": name} for network, name in routes]


WIRES: dict[str, Any] = {
    "security_groups": [],
    "nics": {"b": {"allowed_addresses": list(VIRTUAL_IPS)}, "f": {"source_dest_check": False}},
}
"""The scene from which the lab is built; b holds the virtual IPs."""
