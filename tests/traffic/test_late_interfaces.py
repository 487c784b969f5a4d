"""S19 with packets: an interface that comes late, or comes back, is closed both ways until its rules are in force."""

from __future__ import annotations

import frames
import pytest
from byhand import Host, by_hand
from harness import ANY_IN, OUT, drain, groups, reaches, until

pytestmark = pytest.mark.traffic

OPEN = groups(A=f"{ANY_IN}, {OUT}", B=f"{ANY_IN}, {OUT}")
FAMILIES = (4, 6)


def passes(host: Host, sender: str, receiver: str) -> list[bool]:
    """Say for both families whether a datagram gets from one guest to another."""
    return [
        reaches(host.udp(sender, 0, family), receiving, (host.address(receiver, family), receiving.getsockname()[1]))
        for family in FAMILIES
        for receiving in [host.udp(receiver, 0, family)]
    ]


def opens(host: Host, *pairs: tuple[str, str]) -> None:
    """Wait until both families pass: neighbours that were not found while it was closed are asked for again."""
    for sender, receiver in pairs:
        until(lambda pair=(sender, receiver): all(passes(host, *pair)), f"{sender} reaches {receiver}")


def reachable(host: Host, guest: str) -> list[bool]:
    """Say whether the host itself reaches the guest: nobody else's rules are in the way."""
    found = []
    for family in FAMILIES:
        receiver = host.udp(guest, 0, family)
        to = host.address(guest, family), receiver.getsockname()[1]
        try:
            found.append(reaches(host.udp("", 0, family), receiver, to))
        except PermissionError:  # what postrouting drops, its sender hears of
            found.append(False)
    return found


def test_an_interface_that_comes_late_is_closed_until_its_rules_are_there() -> None:
    """S19: known by name only, it passes nothing; once put in force, it passes what the rules say."""
    with by_hand("b", "o") as host:
        assert host.apply(OPEN).absent == ("tap-a",)
        host.plug("a")
        assert passes(host, "a", "b") == [False, False]
        assert passes(host, "a", "o") == [False, False]
        assert passes(host, "b", "a") == [False, False]
        assert passes(host, "o", "a") == [False, False]
        assert reachable(host, "a") == [False, False]
        assert passes(host, "b", "o") == [True, True]
        assert host.apply(OPEN).absent == ()
        opens(host, ("a", "b"), ("b", "a"), ("o", "a"))


def test_an_interface_that_comes_back_is_closed_until_its_rules_are_there() -> None:
    """S19: the name is the same, the interface is another one; its first packet does not pass either."""
    with by_hand("a", "b", "o") as host:
        host.apply(OPEN)
        assert passes(host, "a", "b") == passes(host, "b", "a") == [True, True]
        host.unplug("a")
        host.plug("a", up=False)
        receivers = [host.udp("b", 7000, family) for family in FAMILIES]
        host.start("a")  # the very first packets: sent as soon as the wire is there
        wire, router = host.frames("a"), host.mac("tap-a")
        for family in FAMILIES:
            packet = frames.udp(host.address("a", family), host.address("b", family), 7000, b"first")
            wire.send(frames.frame(packet, source="fa:16:3e:00:00:0a", to=router))
        assert passes(host, "a", "b") == passes(host, "b", "a") == [False, False]
        assert passes(host, "a", "o") == passes(host, "o", "a") == reachable(host, "a") == [False, False]
        assert [drain(receiver) for receiver in receivers] == [[], []]
        assert passes(host, "b", "o") == [True, True]
        host.apply(OPEN)
        opens(host, ("a", "b"), ("b", "a"))


def test_a_conversation_does_not_outlive_its_interface() -> None:
    """S14, S19: the guest that comes back under the same name, address and port goes on with nothing."""
    with by_hand("a", "b") as host:
        host.apply(OPEN)
        near, far = host.udp("a", 7000), host.udp("b", 7001)
        assert reaches(near, far, ("10.0.0.12", 7001))
        host.unplug("a")
        host.plug("a")
        host.apply(groups(A="", B=f"{ANY_IN}, {OUT}"))
        assert not reaches(near, far, ("10.0.0.12", 7001)), "it may begin nothing, and has nothing to go on with"
        assert not reaches(far, near, ("10.0.0.11", 7000))


def test_a_renamed_interface_is_closed() -> None:
    """S19: another interface that takes a NIC's name is not the NIC until it is put in force."""
    with by_hand("a", "b", "o") as host:
        host.apply(OPEN)
        for words in (("tap-a", "down"), ("tap-a", "name", "gone"), ("gone", "up")):
            host.run(host.router, "ip", "link", "set", *words)
        host.run(host.router, "ip", "route", "replace", "10.0.0.11", "dev", "gone")
        assert passes(host, "b", "o") == [True, True]
        host.run(host.router, "ip", "link", "set", "other", "down")
        host.run(host.router, "ip", "link", "set", "other", "name", "tap-a")
        host.run(host.router, "ip", "link", "set", "tap-a", "up")
        host.run(host.router, "ip", "route", "replace", "10.0.9.2", "dev", "tap-a")
        until(lambda: "UP" in host.run(host.router, "ip", "link", "show", "tap-a"), "the interface is up")
        assert passes(host, "o", "b")[0] is False
        assert passes(host, "b", "o")[0] is False
