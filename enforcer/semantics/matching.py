"""Does one rule match one packet (S4, S8)?

Compared are the protocol, the destination port or the ICMP type and code, and the peer's address; nothing else: no
source port, no address of the NIC itself, no state. The peer is the packet's source for ingress rules and its
destination for egress rules. Whether the rule is in effect is not asked here.

A `remote_group` holds the private addresses of its members in the NIC's own VPC and in the VPCs peered with it: an
address of a VPC that has no way here belongs to somebody else's host of the same number (S18). Virtual IPs and EIPs
belong to no group (S6). A group or an address group without members holds nothing, never everything (S19).
"""

from __future__ import annotations

from collections.abc import Set

from enforcer.model import IPAddress, Policy, Rule, Traffic


def matches(policy: Policy, rule: Rule, peer: IPAddress, traffic: Traffic, members: Set[IPAddress]) -> bool:
    """Say whether the rule matches; `members` are the addresses of its `remote_group` as seen from the NIC's VPC."""
    return rule.family == peer.version and speaks_of(rule, traffic) and _peer_matches(policy, rule, peer, members)


def speaks_of(rule: Rule, traffic: Traffic) -> bool:
    """Say whether the rule matches the traffic of some peer."""
    return (
        (rule.protocol is None or rule.protocol == traffic.protocol)
        and _port_matches(rule, traffic)
        and _icmp_matches(rule, traffic)
    )


def _port_matches(rule: Rule, traffic: Traffic) -> bool:
    if not rule.ports:
        return True
    port = traffic.port
    return port is not None and any(ports.first <= port <= ports.last for ports in rule.ports)


def _icmp_matches(rule: Rule, traffic: Traffic) -> bool:
    if rule.icmp_type is not None and rule.icmp_type != traffic.icmp_type:
        return False
    return rule.icmp_code is None or rule.icmp_code == traffic.icmp_code


def _peer_matches(policy: Policy, rule: Rule, peer: IPAddress, members: Set[IPAddress]) -> bool:
    if rule.remote_ip_prefix is not None:
        return peer in rule.remote_ip_prefix
    if rule.remote_address_group is not None:
        ranges = policy.address_group(rule.remote_address_group).ranges
        return any(r.first.version == peer.version and int(r.first) <= int(peer) <= int(r.last) for r in ranges)
    if rule.remote_group is not None:
        return peer in members
    return True


def members_seen_from(policy: Policy, group: str, vpc: str) -> frozenset[IPAddress]:
    """Return the private addresses of the group's NICs in the VPC and in those peered with it (S6, S8, S18)."""
    near = {vpc, *policy.peers_of(vpc)}
    return frozenset(
        address for member in policy.members(group) if member.vpc.name in near for address in member.nic.addresses
    )
