"""Short forms in which the tests of `enforcer.semantics` ask: one line for one packet, one word for one answer.

`allow Sg-A/A01` is a rule's verdict; `deny (S7)` is a verdict without a rule, with the S-number that its reason cites.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from textwrap import dedent

from enforcer.model import Direction, Policy, endpoints, parse_policy, parse_traffic
from enforcer.semantics import Explanation, Packet, PacketVerdict, SideVerdict, evaluate_side
from enforcer.semantics import explain as explain_endpoints

# Two hosts of one subnet: ecs-a has Sg-A, ecs-b has Sg-B. Tests add what the groups say.
TWO_HOSTS = """
version: 1
vpcs: [{name: vpc-x, subnets: [{name: subnet-a, cidr: 192.168.0.0/24, ipv6_cidr: "2407:c080:802:469::/64"}]}]
ecs:
  - {name: ecs-a, subnet: subnet-a, addresses: [192.168.0.11, "2407:c080:802:469::11"], security_groups: [Sg-A]}
  - {name: ecs-b, subnet: subnet-a, addresses: [192.168.0.12, "2407:c080:802:469::12"], security_groups: [Sg-B]}
"""


def parsed(*texts: str) -> Policy:
    """Parse a policy that is written in several pieces."""
    return parse_policy("\n".join(dedent(text) for text in texts))


def two_hosts(*groups: str) -> Policy:
    """Parse TWO_HOSTS with these security groups (and address groups)."""
    return parsed(TWO_HOSTS, *groups)


def side(policy: Policy, nic: str, direction: str, peer: str, traffic: str, own: str | None = None) -> SideVerdict:
    address = None if own is None else ip_address(own)
    ref = policy.nic_ref(nic)
    return evaluate_side(policy, ref, Direction(direction), ip_address(peer), parse_traffic(traffic), own=address)


def ingress(policy: Policy, nic: str, peer: str, traffic: str, destination: str | None = None) -> str:
    return answer(side(policy, nic, "ingress", peer, traffic, destination))


def egress(policy: Policy, nic: str, peer: str, traffic: str, source: str | None = None) -> str:
    return answer(side(policy, nic, "egress", peer, traffic, source))


def answer(verdict: SideVerdict | None) -> str:
    if verdict is None:
        return "not asked"
    if verdict.rule is not None:
        return f"{verdict.verdict.value} {verdict.group}/{verdict.rule.id}"
    cited = re.search(r"\(S\d+\)", verdict.reason)
    return f"{verdict.verdict.value} {cited.group() if cited else verdict.reason}"


def passed_over(verdict: SideVerdict) -> list[str]:
    return [f"{one.group}/{one.rule.id}: {one.reason}" for one in verdict.passed_over]


def explain(policy: Policy, src: str, dst: str, traffic: str) -> Explanation:
    return explain_endpoints(policy, *endpoints(policy, src, dst), parse_traffic(traffic))


def passes(policy: Policy, src: str, dst: str, traffic: str) -> bool:
    return explain(policy, src, dst, traffic).allowed


def packet(
    source: str, destination: str, traffic: str, sender: str | None = None, receiver: str | None = None
) -> Packet:
    return Packet(ip_address(source), ip_address(destination), parse_traffic(traffic), sender, receiver)


def both(verdict: PacketVerdict) -> str:
    return f"{verdict.verdict.value}: egress {answer(verdict.egress)}, ingress {answer(verdict.ingress)}"
