"""The cloud in which the tests of `enforcer.answers` ask: three VPCs, two with the same addresses, no peering."""

from __future__ import annotations

from textwrap import dedent

from enforcer.model import Policy, parse_policy

CLOUD = """\
version: 1
vpcs:
  - {name: vpc-a, subnets: [{name: subnet-a, cidr: 10.0.0.0/24, ipv6_cidr: "2001:db8::/64"}]}
  - {name: vpc-b, subnets: [{name: subnet-b, cidr: 10.0.1.0/24}]}
  - {name: vpc-c, subnets: [{name: subnet-c, cidr: 10.0.0.0/24}]}
"""


def policy(text: str) -> Policy:
    """Parse groups and hosts in this cloud."""
    return parse_policy(CLOUD + dedent(text))
