"""The words of PROTO on the command line."""

from __future__ import annotations

import pytest

from enforcer.errors import UsageError
from enforcer.model import Traffic, parse_traffic, service
from enforcer.model.traffic import SERVICES


@pytest.mark.parametrize(
    ("text", "traffic", "said"),
    [
        ("tcp/22", Traffic(6, port=22), "tcp/22"),
        ("UDP/65535", Traffic(17, port=65535), "udp/65535"),
        ("6/80", Traffic(6, port=80), "tcp/80"),
        ("icmp", Traffic(1, icmp_type=8, icmp_code=0), "icmp/8/0"),
        ("1", Traffic(1, icmp_type=8, icmp_code=0), "icmp/8/0"),
        ("icmp/13", Traffic(1, icmp_type=13, icmp_code=0), "icmp/13/0"),
        ("icmp/3/4", Traffic(1, icmp_type=3, icmp_code=4), "icmp/3/4"),
        ("icmpv6", Traffic(58, icmp_type=128, icmp_code=0), "icmpv6/128/0"),
        ("gre", Traffic(47), "gre"),
        ("47", Traffic(47), "gre"),
        ("132", Traffic(132), "132"),
        ("ssh", Traffic(6, port=22), "tcp/22"),
        ("HTTPS", Traffic(6, port=443), "tcp/443"),
        ("dns", Traffic(17, port=53), "udp/53"),
        ("ping", Traffic(1, icmp_type=8, icmp_code=0), "icmp/8/0"),
    ],
)
def test_what_traffic_is_written_how(text: str, traffic: Traffic, said: str):
    assert parse_traffic(text) == traffic
    assert str(traffic) == said
    assert parse_traffic(said) == traffic


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("tcp", "'tcp' has no port; write one like 'tcp/22'"),
        ("udp", "'udp' has no port; write one like 'udp/22'"),
        ("tcp/0", "'tcp/0' has the port '0'; write a number from 1 to 65535"),
        ("tcp/65536", "'tcp/65536' has the port '65536'; write a number from 1 to 65535"),
        ("tcp/ssh", "'tcp/ssh' has the port 'ssh'; write a number from 1 to 65535"),
        ("tcp/22/23", "'tcp/22/23' has too many parts; write one like 'tcp/22'"),
        ("shh", "'shh' has no known protocol; did you mean 'ssh'?"),
        (
            "ssh/22",
            "'ssh/22' has no known protocol; write tcp/PORT, udp/PORT, icmp, icmpv6, gre or a number from 0 to 255",
        ),
        ("tpc/22", "'tpc/22' has no known protocol; did you mean 'tcp'?"),
        ("icmp/256", "'icmp/256' has the ICMP type '256'; write a number from 0 to 255"),
        ("icmp/8/0/0", "'icmp/8/0/0' has too many parts; write one like 'icmp/8/0'"),
        ("gre/1", "'gre/1' has too many parts; write one like 'gre'"),
        ("256", "'256' has no known protocol; write tcp/PORT, udp/PORT, icmp, icmpv6, gre or a number from 0 to 255"),
        ("", "'' has no known protocol; write tcp/PORT, udp/PORT, icmp, icmpv6, gre or a number from 0 to 255"),
    ],
)
def test_what_is_no_traffic_says_what_would_be(text: str, error: str):
    with pytest.raises(UsageError) as raised:
        parse_traffic(text)
    assert str(raised.value) == error


def test_every_service_is_traffic_and_has_one_name():
    for word in SERVICES:
        assert service(parse_traffic(word)) is not None, word
    assert service(Traffic(6, port=5432)) == "postgres"
    assert service(Traffic(6, port=9)) is None
