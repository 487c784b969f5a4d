"""What every dataplane promises: run against the kernel, and against the fake that stands for it elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

import pytest
from policies import compiled, three_hosts
from scratch import Scratch, scratch_namespace

from enforcer import dataplane
from enforcer.compiler.program import NamespaceProgram
from enforcer.dataplane import Committed, Step, observe
from enforcer.dataplane.fake import FakeDataplane, holds
from enforcer.errors import AttachmentRefused, TransactionRefused
from enforcer.ruleset import Present, lower, next_edition
from enforcer.ruleset.skeleton import stamp_bits

NICS = ("v-ecs-a", "v-ecs-b", "v-ecs-c")
RULES = """
security_groups:
  - name: Sg-A
    rules:
      - {id: ssh, direction: ingress, protocol: tcp, multiport: "22,80-90", remote_group: Sg-B}
      - {id: net, direction: ingress, protocol: udp, remote_ip_prefix: 10.9.0.0/16}
      - {id: out, direction: egress}
  - {name: Sg-B, rules: [{id: out6, direction: egress, ethertype: IPv6}]}
"""
ONE = compiled(three_hosts(RULES))
OTHER = compiled(three_hosts(RULES.replace("22", "443")))


class Dataplane(Protocol):
    """What the contract is about: the verbs, and what the world around them does."""

    netns: str

    def replace(self, program: NamespaceProgram, **how: object) -> Committed: ...
    def clear(self) -> bool: ...
    def present(self) -> dict[str, Present]: ...
    def add(self, *interfaces: str) -> None: ...
    def enslave(self, interface: str, bridge: str) -> None: ...
    def a_flow_bears(self, stamp: int) -> None: ...


class Fake:
    netns = "fake"

    def __init__(self) -> None:
        self.fake = FakeDataplane({self.netns: ()})

    def replace(self, program: NamespaceProgram, **how: object) -> Committed:
        return self.fake.replace(replace(program, name=self.netns), **how)

    def clear(self) -> bool:
        return self.fake.clear(self.netns)

    def present(self) -> dict[str, Present]:
        return self.fake.present(self.netns)

    def add(self, *interfaces: str) -> None:
        self.fake.interfaces[self.netns] |= set(interfaces)

    def enslave(self, interface: str, bridge: str) -> None:
        self.fake.ports[interface] = bridge

    def a_flow_bears(self, stamp: int) -> None:
        self.fake.stamps.add(stamp)


class Kernel:
    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch
        self.netns = scratch.name

    def replace(self, program: NamespaceProgram, **how: object) -> Committed:
        return dataplane.replace(replace(program, name=self.netns), **how)

    def clear(self) -> bool:
        return dataplane.clear(self.netns)

    def present(self) -> dict[str, Present]:
        return observe.present(self.netns)

    def add(self, *interfaces: str) -> None:
        self.scratch.add(*interfaces)

    def enslave(self, interface: str, bridge: str) -> None:
        self.scratch.ip("link", "add", bridge, "type", "bridge")
        self.scratch.ip("link", "set", interface, "master", bridge)

    def a_flow_bears(self, stamp: int) -> None:
        flow = f"-p udp -s 192.0.2.1 -d 192.0.2.2 --sport {stamp >> 8} --dport 2 -t 300"
        self.scratch.run("conntrack", "-I", *flow.split(), "-m", hex(stamp))


@pytest.fixture(params=["fake", pytest.param("kernel", marks=pytest.mark.kernel)])
def bare(request: pytest.FixtureRequest) -> Iterator[Dataplane]:
    """A namespace without interfaces."""
    if request.param == "fake":
        yield Fake()
    else:
        for scratch in scratch_namespace():
            yield Kernel(scratch)


@pytest.fixture
def plane(bare: Dataplane) -> Dataplane:
    """A namespace with an interface for each NIC."""
    bare.add(*NICS)
    return bare


def expected(plane: Dataplane, program: NamespaceProgram, generation: int, *absent: str) -> dict[str, Present]:
    """What is there when the program is in force, all of one edition."""
    return holds(lower(program, generation, absent, edition=next_edition(plane.present()) - 1))


def test_the_first_load_is_whole_and_later_ones_are_differences(plane: Dataplane):
    assert plane.replace(ONE) == Committed(plane.netns, 1, whole=True, swept=True, absent=())
    assert plane.replace(ONE) == Committed(plane.netns, 2, whole=False, swept=True, absent=())
    assert plane.replace(OTHER) == Committed(plane.netns, 3, whole=False, swept=True, absent=())


def test_exactly_the_ruleset_is_there_whatever_was_there_before(plane: Dataplane):
    assert plane.present() == {}
    for generation, program in enumerate((ONE, OTHER, replace(ONE, nics=ONE.nics[:1]), ONE), start=1):
        plane.replace(program)
        assert plane.present() == expected(plane, program, generation)


def test_clearing_takes_everything_away_and_says_whether_there_was_something(plane: Dataplane):
    plane.replace(ONE)
    assert plane.clear() is True
    assert plane.present() == {}
    assert plane.clear() is False
    assert plane.replace(ONE).whole


def test_an_interface_that_does_not_exist_is_reported_and_closed_s19(bare: Dataplane):
    bare.add("v-ecs-b")
    assert bare.replace(ONE).absent == ("v-ecs-a", "v-ecs-c")
    assert bare.present() == expected(bare, ONE, 1, "v-ecs-a", "v-ecs-c")
    bare.add("v-ecs-a", "v-ecs-c")
    assert bare.replace(ONE).absent == ()
    assert bare.present() == expected(bare, ONE, 2)


def test_who_requires_all_interfaces_is_refused_and_nothing_changes_s19(bare: Dataplane):
    bare.add("v-ecs-b")
    bare.replace(OTHER)
    before = bare.present()
    with pytest.raises(AttachmentRefused, match=r"v-ecs-a, v-ecs-c: does not exist"):
        bare.replace(ONE, require=True)
    assert bare.present() == before


def test_a_port_of_a_bridge_is_refused_and_nothing_changes(plane: Dataplane):
    plane.replace(OTHER)
    before = plane.present()
    plane.enslave("v-ecs-b", "br-x")
    with pytest.raises(AttachmentRefused, match=r"v-ecs-b: is a port of the bridge br-x"):
        plane.replace(ONE)
    assert plane.present() == before


def test_a_port_of_a_bridge_can_be_closed_and_the_others_are_in_force_s19(plane: Dataplane):
    plane.replace(OTHER)
    plane.enslave("v-ecs-b", "br-x")
    assert plane.replace(ONE, closed=("v-ecs-b",)).absent == ()
    assert plane.present() == holds(lower(ONE, 2, ("v-ecs-b",), ("v-ecs-b",), 2))
    assert "closed_in_v-ecs-b" in plane.present()["netdev"].chains
    assert "nic_v-ecs-a" in plane.present()["netdev"].chains


@pytest.mark.kernel
def test_where_the_kernel_has_no_egress_hook_a_closed_interface_is_closed_on_the_way_in(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
):
    plane = Kernel(scratch)
    plane.add(*NICS)
    assert observe.egress_hook(), "this kernel has it"
    monkeypatch.setattr(observe, "egress_hook", lambda: False)
    plane.replace(ONE, closed=("v-ecs-b",))
    chains = plane.present()["netdev"].chains
    assert "closed_in_v-ecs-b" in chains
    assert "closed_out_v-ecs-b" not in chains


def test_a_whole_replacement_can_be_asked_for_and_says_what_it_has_done(plane: Dataplane):
    steps: list[Step] = []
    plane.replace(ONE)
    assert plane.replace(OTHER, whole=True, passed=steps.append).whole
    assert steps == [Step.OBSERVED, Step.REPLACED]
    steps.clear()
    plane.replace(ONE, passed=steps.append)
    assert steps == [Step.OBSERVED, Step.PREPARED, Step.SWITCHED, Step.SWEPT]


def broken() -> Iterator[tuple[str, Callable[[NamespaceProgram], NamespaceProgram]]]:
    yield "two NICs at one interface", lambda p: replace(p, nics=(p.nics[0], replace(p.nics[1], interface="v-ecs-a")))
    yield "an address that is none", lambda p: replace(p, addresses=(damaged(p), p.addresses[1]))


def damaged(program: NamespaceProgram):
    """Let two pieces of the address map overlap."""
    (first, number), (second, other), *rest = program.addresses[0].pieces
    assert number != other
    wide = second._replace(first=second.first - 10)
    return replace(program.addresses[0], pieces=((first, number), (wide, other), *rest))


@pytest.mark.parametrize(("what", "change"), list(broken()), ids=[what for what, _ in broken()])
def test_a_ruleset_that_the_kernel_refuses_changes_nothing_s19(
    plane: Dataplane, what: str, change: Callable[[NamespaceProgram], NamespaceProgram]
):
    with pytest.raises(TransactionRefused, match=plane.netns):
        plane.replace(change(ONE))
    assert plane.present() == {}, "nor on a first load"
    plane.replace(OTHER)
    before = plane.present()
    with pytest.raises(TransactionRefused, match=plane.netns):
        plane.replace(change(ONE))
    assert without_left_overs(plane.present(), before) == before
    assert plane.replace(ONE).generation == 2
    assert plane.present() == expected(plane, ONE, 2)


def without_left_overs(now: dict[str, Present], before: dict[str, Present]) -> dict[str, Present]:
    """Objects that nothing refers to may have been prepared; all that was there must still be."""
    return {f: Present(now[f].sets & p.sets, now[f].maps & p.maps, now[f].chains & p.chains) for f, p in before.items()}


def test_a_generation_that_live_flows_bear_is_skipped_s14(plane: Dataplane):
    plane.a_flow_bears(stamp_bits(ONE, 1))
    assert plane.replace(ONE).generation == 2, "an earlier life of ours gave stamp 1: those flows are judged again"
    plane.a_flow_bears(stamp_bits(ONE, 3))
    assert plane.replace(ONE).generation == 4
    plane.clear()
    assert plane.replace(ONE).generation == 2, "the next that no live flow bears"
