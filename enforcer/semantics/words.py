"""How rules and packets are named in a reason: like a colleague would, in the policy's own words.

Example: `rule A01 of Sg-A allows tcp 22 from 172.16.0.0/24`. Decides nothing.
"""

from __future__ import annotations

from enforcer.model import ICMP, ICMPV6, PROTOCOL_NAMES, TCP, UDP, Action, Direction, Rule, Traffic


def rule_words(group: str, rule: Rule) -> str:
    """Say what a rule does: `rule A01 of Sg-A allows tcp 22 from 172.16.0.0/24`."""
    verb = "allows" if rule.action == Action.ALLOW else "denies"
    to_or_from = "from" if rule.direction == Direction.INGRESS else "to"
    return f"rule {rule.id} of {group} {verb} {_what(rule)} {to_or_from} {_whom(rule)}"


def traffic_words(traffic: Traffic) -> str:
    """Say what is sent: `tcp 22`, `icmp 8/0`, `gre`, `protocol 50`."""
    protocol = PROTOCOL_NAMES.get(traffic.protocol, f"protocol {traffic.protocol}")
    if traffic.protocol in (TCP, UDP) and traffic.port is not None:
        return f"{protocol} {traffic.port}"
    if traffic.protocol in (ICMP, ICMPV6) and traffic.icmp_type is not None:
        return f"{protocol} {traffic.icmp_type}" + (f"/{traffic.icmp_code}" if traffic.icmp_code is not None else "")
    return protocol


def _what(rule: Rule) -> str:
    if rule.protocol is None:
        return f"all IPv{rule.family}"
    words = PROTOCOL_NAMES.get(rule.protocol, f"protocol {rule.protocol}")
    if rule.ports:
        words += " " + ",".join(f"{p.first}" if p.first == p.last else f"{p.first}-{p.last}" for p in rule.ports)
    if rule.icmp_type is not None:
        words += f" {rule.icmp_type}" + (f"/{rule.icmp_code}" if rule.icmp_code is not None else "")
    return words


def _whom(rule: Rule) -> str:
    if rule.remote_group is not None:
        return f"group {rule.remote_group}"
    if rule.remote_address_group is not None:
        return f"address group {rule.remote_address_group}"
    if rule.remote_ip_prefix is None:
        return "anywhere"
    whole = rule.remote_ip_prefix.num_addresses == 1
    return str(rule.remote_ip_prefix.network_address if whole else rule.remote_ip_prefix)
