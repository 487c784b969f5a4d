"""Short forms in which the tests of `enforcer.model` ask: a policy from pieces, or the errors of one, line by line."""

from __future__ import annotations

from textwrap import dedent

import pytest

from enforcer.errors import PolicyError, Problem
from enforcer.model import Policy, parse_policy

# A region with two peered VPCs and one apart, whose range overlaps; tests add hosts and groups.
REGION = """
version: 1
vpcs:
  - {name: vpc-x, subnets: [{name: subnet-a, cidr: 192.168.0.0/24, ipv6_cidr: "2001:db8:a::/64"}]}
  - {name: vpc-y, subnets: [{name: subnet-y, cidr: 10.1.0.0/24}]}
  - {name: vpc-z, subnets: [{name: subnet-z, cidr: 192.168.0.0/24}]}
peerings: [{name: peering-xy, vpcs: [vpc-x, vpc-y]}]
"""


def parsed(*texts: str) -> Policy:
    """Parse a policy that is written in several pieces."""
    return parse_policy("\n".join(dedent(text) for text in texts))


def region(*texts: str) -> Policy:
    """Parse REGION with more sections."""
    return parsed(REGION, *texts)


def problems(*texts: str | bytes) -> tuple[Problem, ...]:
    """Return what is wrong with a text; fail if nothing is."""
    text = texts[0] if isinstance(texts[0], bytes) else "\n".join(dedent(str(text)) for text in texts)
    with pytest.raises(PolicyError) as raised:
        parse_policy(text)
    assert raised.value.exit_status == 3
    return raised.value.problems


def errors(*texts: str | bytes) -> list[str]:
    """Return the errors of a text as the program prints them."""
    return [str(problem) for problem in problems(*texts)]
