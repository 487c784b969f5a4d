"""Connection tracking as it is read by hand, beside what the kernel's own tool and a general parser say."""

from __future__ import annotations

import re
import socket
from ipaddress import ip_address

import pytest
from scratch import Scratch

from enforcer.dataplane import conntrack, flows, libnftables, observe
from enforcer.dataplane.namespaces import entered
from enforcer.dataplane.netlink.wire import nest
from enforcer.dataplane.ways import ways

pytestmark = pytest.mark.kernel

TRACKING = """
table inet tracking {
	chain out {
		type filter hook output priority 0; policy accept;
		ct state new ct mark set 0x300
	}
	chain nat {
		type nat hook output priority -100; policy accept;
		udp dport 53 dnat ip to 127.0.0.2:5353
	}
}
"""


@pytest.fixture
def talking(scratch: Scratch) -> Scratch:
    """A namespace whose loopback has talked: UDP answered and translated, TCP, ping, over both families."""
    scratch.ip("link", "set", "lo", "up")
    libnftables.run(scratch.name, TRACKING)
    with entered(scratch.name), socket.create_server(("127.0.0.3", 80)) as listening:
        for family, address in ((socket.AF_INET, "127.0.0.9"), (socket.AF_INET6, "::1")):
            with socket.socket(family, socket.SOCK_DGRAM) as one, socket.socket(family, socket.SOCK_DGRAM) as other:
                other.bind((address, 7000))
                one.sendto(b"?", (address, 7000))
                other.sendto(b"!", other.recvfrom(1)[1])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.sendto(b"?", ("127.0.0.1", 53))
        socket.create_connection(("127.0.0.3", 80)).close()
        listening.accept()[0].close()
    scratch.run("ping", "-c1", "-W2", "127.0.0.5")
    scratch.run("ping", "-c1", "-W2", "::1")
    return scratch


def test_every_conversation_is_read_as_the_kernels_tool_prints_it(talking: Scratch):
    printed = [
        line
        for family in ("ipv4", "ipv6")
        for line in talking.run("conntrack", "-L", "-f", family, "-o", "extended,id").splitlines()
    ]
    read = list(conntrack.conversations(talking.name))
    assert sorted(map(_printed, printed)) == sorted(map(_read, read))
    assert {each.protocol for each in read} == {1, 6, 17, 58}
    assert {each.mark for each in read} == {0x300}


def test_a_translated_destination_and_an_answer_are_seen(talking: Scratch):
    read = list(conntrack.conversations(talking.name))
    (redirected,) = [each for each in read if each.redirected]
    assert (str(redirected.original.destination), redirected.original.destination_port) == ("127.0.0.1", 53)
    assert (str(redirected.reply.source), redirected.reply.source_port) == ("127.0.0.2", 5353)
    assert {each.answered for each in read if each.protocol == 17 and not each.redirected} == {True}


def test_ending_an_address_ends_its_conversations_and_no_others(talking: Scratch):
    before = list(conntrack.conversations(talking.name))
    assert {each.original.source.version for each in before} == {4, 6}
    flows.end(talking.name, [ip_address("127.0.0.2")])
    left = {_read(each) for each in conntrack.conversations(talking.name)}
    assert left == {_read(each) for each in before if not each.redirected}
    flows.end(talking.name, [ip_address("2001:db8::99"), ip_address("127.0.0.77")])
    assert {_read(each) for each in conntrack.conversations(talking.name)} == left
    flows.end(talking.name, [ip_address("::1")])
    assert {each.original.source.version for each in conntrack.conversations(talking.name)} == {4}


@pytest.mark.parametrize("other", ["ipv4", "ipv6"])
def test_a_stamp_is_seen_that_only_flows_of_one_family_bear_s14(talking: Scratch, other: str):
    talking.run("conntrack", "-D", "-f", other)
    assert len({each.original.source.version for each in conntrack.conversations(talking.name)}) == 1
    assert observe.stamped(talking.name, 0x300, 0xFF00)
    assert not observe.stamped(talking.name, 0x400, 0xFF00)
    assert not observe.stamped(talking.name, 0x200, 0xFF00)


@pytest.mark.parametrize("cannot", [True, False])
def test_a_kernel_that_cannot_delete_by_address_or_takes_long_is_read(
    talking: Scratch, monkeypatch: pytest.MonkeyPatch, cannot: bool
):
    if cannot:
        monkeypatch.setattr(flows, "_flushes", lambda address: [flows._message(bytes((2, 1, 0, 0)) + nest(1, nest(1)))])
    else:
        monkeypatch.setattr(flows, "_LONG", -1.0)
    before = list(conntrack.conversations(talking.name))
    flows.end(talking.name, [ip_address("127.0.0.2"), ip_address("127.0.0.77")])
    assert {_read(each) for each in conntrack.conversations(talking.name)} == {
        _read(each) for each in before if not each.redirected
    }


def test_where_nothing_is_tracked_nothing_is_ended(scratch: Scratch):
    with conntrack.opened(scratch.name) as opened:
        assert conntrack.tracked(opened) == 0
    flows.end(scratch.name, [ip_address("127.0.0.2")])


def test_conversations_are_counted(talking: Scratch):
    with conntrack.opened(talking.name) as opened:
        assert conntrack.tracked(opened) == len(list(conntrack.conversations(talking.name)))


def test_a_way_is_the_interface_of_the_route(scratch: Scratch):
    scratch.add("one", "two")
    scratch.ip("link", "set", "lo", "up")
    scratch.ip("address", "add", "10.0.0.1/24", "dev", "one")
    scratch.ip("route", "add", "10.9.0.0/16", "dev", "two")
    scratch.ip("-6", "route", "add", "2001:db8::/64", "dev", "two")
    many = [ip_address("10.9.0.1") + number for number in range(250)]
    asked = [*map(ip_address, ("10.0.0.7", "10.0.0.1", "2001:db8::7", "192.0.2.1", "2001:db8:1::")), *many]
    expected = {"10.0.0.7": "one", "10.0.0.1": "lo", "2001:db8::7": "two", **{str(each): "two" for each in many}}
    assert {str(address): interface for address, interface in ways(scratch.name, asked).items()} == expected


def _printed(line: str) -> tuple[object, ...]:
    protocol = int(line.split()[3])
    addresses = tuple(str(ip_address(each)) for each in re.findall(r" (?:src|dst)=(\S+)", line))
    ports = tuple(map(int, re.findall(r" [sd]port=(\d+)", line))) or (0, 0, 0, 0)
    icmp = tuple(map(int, re.findall(r" (?:type|code|id)=(\d+)", line)[:3])) if " type=" in line else ()
    number = int(re.findall(r" id=(\d+)", line)[-1])
    return protocol, addresses, ports, icmp, int(re.findall(r" mark=(\d+)", line)[0]), number


def _read(each: conntrack.Tracked) -> tuple[object, ...]:
    addresses = (each.original.source, each.original.destination, each.reply.source, each.reply.destination)
    ports = (*each.original[2:], *each.reply[2:])
    return each.protocol, tuple(map(str, addresses)), ports, each.icmp or (), each.mark, each.identity
