"""Which NIC and which protocol a trace is to be about: words that no line could ever fit are errors, not silence."""

from __future__ import annotations

import pytest

from enforcer.agent.seeing.tracing import nic_of, protocol_of
from enforcer.errors import UsageError
from enforcer.model import parse_policy

POLICY = parse_policy("""
version: 1
vpcs: [{name: x, subnets: [{name: s, cidr: 10.0.0.0/24}]}]
ecs:
  - {name: one, subnet: s, addresses: [10.0.0.1], interface: tap-1}
  - name: two
    nics:
      - {name: eth0, subnet: s, addresses: [10.0.0.2], interface: tap-2}
      - {name: eth1, subnet: s, addresses: [10.0.0.3], interface: tap-3}
  - {name: far, subnet: s, addresses: [10.0.0.4]}
""")


@pytest.mark.parametrize(("word", "label"), [("", ""), ("one", "one"), ("one:eth0", "one"), ("two:eth1", "two:eth1")])
def test_a_nic_is_called_as_lines_call_it(word: str, label: str):
    assert nic_of(POLICY, word) == label


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("ome", "'ome' is no NIC of the policy in force; did you mean 'one'?"),
        ("zzz", "'zzz' is no NIC of the policy in force; `enforcer status --json` lists them"),
        ("two", "'two' has the NICs two:eth0, two:eth1; say which"),
        ("far", "'far' has no interface on this host, so nothing of it is seen here"),
    ],
)
def test_a_nic_that_is_never_seen_is_an_error(word: str, said: str):
    with pytest.raises(UsageError) as raised:
        nic_of(POLICY, word)
    assert str(raised.value) == said


@pytest.mark.parametrize(
    ("word", "beginning"),
    [
        ("", ""),
        ("TCP", "tcp"),
        ("6", "tcp"),
        ("tcp/22", "tcp/22"),
        ("ssh", "tcp/22"),
        ("udp", "udp"),
        ("icmp", "icmp"),
        ("icmp/8", "icmp/8"),
        ("47", "gre"),
        ("200", "200"),
        ("arp", "arp"),
    ],
)
def test_a_protocol_is_written_as_lines_write_it(word: str, beginning: str):
    assert protocol_of(word) == beginning


@pytest.mark.parametrize("word", ["foo", "tcp/99999", "tcp/22/1", "gre/1", "256", "ssh/1", "/"])
def test_a_protocol_that_is_none_is_an_error(word: str):
    with pytest.raises(UsageError):
        protocol_of(word)
