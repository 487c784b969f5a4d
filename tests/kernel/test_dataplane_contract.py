"""What every dataplane promises: run against the kernel, a session, and the fake that stands for both elsewhere.

A session remembers what is there. It looks at interfaces when their NICs come, when other ones are to be closed, and
when it is given the very same program once more; between these, notices tell whoever uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import pytest
from kernel_asking import without_editions
from policies import compiled, three_hosts
from scratch import Scratch, scratch_namespace

from enforcer import dataplane
from enforcer.compiler.program import NamespaceProgram
from enforcer.dataplane import Committed, Session, Step, observe
from enforcer.dataplane.fake import FakeDataplane, holds
from enforcer.errors import AttachmentRefused, TransactionRefused
from enforcer.ruleset import Present, Ruleset, lower, next_edition
from enforcer.ruleset.lower import Lowering
from enforcer.ruleset.stamps import stamp_bits

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
FEWER = replace(ONE, nics=ONE.nics[:2], declared=ONE.declared[:2])


class Dataplane(Protocol):
    """What the contract is about: the verbs, and what the world around them does."""

    netns: str
    looks: Sequence[Step]
    """What it does first when it changes what it has put in force itself."""
    lower: Callable[..., Ruleset]
    """What it lowers a program to that is the first one."""

    def replace(self, program: NamespaceProgram, **how: object) -> Committed: ...
    def clear(self) -> bool: ...
    def present(self) -> dict[str, Present]: ...
    def add(self, *interfaces: str) -> None: ...
    def enslave(self, interface: str, bridge: str) -> None: ...
    def release(self, interface: str) -> None: ...
    def a_flow_bears(self, stamp: int) -> None: ...


class Fake:
    netns = "fake"
    looks = (Step.OBSERVED,)
    lower = staticmethod(lower)

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

    def release(self, interface: str) -> None:
        del self.fake.ports[interface]

    def a_flow_bears(self, stamp: int) -> None:
        self.fake.stamps.add(stamp)


class Kernel:
    looks: Sequence[Step] = (Step.OBSERVED,)
    lower: Callable[..., Ruleset] = staticmethod(lower)

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

    def release(self, interface: str) -> None:
        self.scratch.ip("link", "set", interface, "nomaster")

    def a_flow_bears(self, stamp: int) -> None:
        flow = f"-p udp -s 192.0.2.1 -d 192.0.2.2 --sport {stamp >> 8} --dport 2 -t 300"
        self.scratch.run("conntrack", "-I", *flow.split(), "-m", hex(stamp))


class Remembering(Kernel):
    """A session, which is given the same object for the same program, and tidies up after each change.

    Its names of what changes in place say when that began, so they are told without their numbers here.
    """

    looks = ()
    lower = staticmethod(lambda *how: Lowering().begin(*how))

    def __init__(self, scratch: Scratch) -> None:
        super().__init__(scratch)
        self.session = Session(self.netns)
        self._named: dict[int, tuple[NamespaceProgram, NamespaceProgram]] = {}

    def replace(self, program: NamespaceProgram, **how: object) -> Committed:
        _, named = self._named.setdefault(id(program), (program, replace(program, name=self.netns)))
        done = self.session.replace(named, **how)
        self.session.tidy(how.get("passed", lambda _: None))
        return replace(done, swept=not self.session.untidy)

    def clear(self) -> bool:
        self.session.close()
        return super().clear()

    def present(self) -> dict[str, Present]:
        return without_numbers(super().present())


KINDS = {"fake": lambda _: Fake(), "kernel": Kernel, "session": Remembering}
IN_THE_KERNEL = [pytest.param(kind, marks=pytest.mark.kernel) for kind in ("kernel", "session")]


@pytest.fixture(params=["fake", *IN_THE_KERNEL])
def bare(request: pytest.FixtureRequest) -> Iterator[Dataplane]:
    """A namespace without interfaces."""
    if request.param == "fake":
        yield Fake()
    else:
        for scratch in scratch_namespace():
            made = KINDS[request.param](scratch)
            yield made
            made.clear()


looking = pytest.mark.parametrize("bare", ["fake", IN_THE_KERNEL[0]], indirect=True)
"""For what takes a look at every change."""


@pytest.fixture
def plane(bare: Dataplane) -> Dataplane:
    """A namespace with an interface for each NIC."""
    bare.add(*NICS)
    return bare


def expected(
    plane: Dataplane,
    program: NamespaceProgram,
    generation: int,
    absent: Sequence[str] = (),
    closed: Sequence[str] = (),
) -> dict[str, Present]:
    """What is there when the program is in force, all of one edition; some of its interfaces may be closed."""
    edition = next_edition(observe.present(plane.netns) if isinstance(plane, Kernel) else plane.present()) - 1
    found = holds(plane.lower(program, generation, (*absent, *closed), closed, edition))
    return without_numbers(found) if isinstance(plane, Remembering) else found


def without_numbers(present: dict[str, Present]) -> dict[str, Present]:
    """Leave out of names when what has them began."""
    return {
        family: Present(*(frozenset(map(without_editions, each)) for each in (there.sets, there.maps, there.chains)))
        for family, there in present.items()
    }


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
    assert bare.present() == expected(
        bare,
        ONE,
        1,
        (
            "v-ecs-a",
            "v-ecs-c",
        ),
    )
    assert bare.replace(OTHER).absent == ("v-ecs-a", "v-ecs-c")
    assert bare.present() == expected(
        bare,
        OTHER,
        2,
        (
            "v-ecs-a",
            "v-ecs-c",
        ),
    )
    bare.add("v-ecs-a", "v-ecs-c")
    assert bare.replace(OTHER).absent == ()
    assert bare.present() == expected(bare, OTHER, 3)
    assert bare.replace(ONE).absent == ()
    assert bare.present() == expected(bare, ONE, 4)


def test_a_nic_that_comes_behind_an_interface_that_does_not_exist_is_reported_and_closed_s19(bare: Dataplane):
    bare.add("v-ecs-a", "v-ecs-b")
    assert bare.replace(FEWER).absent == ()
    assert bare.replace(ONE).absent == ("v-ecs-c",)
    assert bare.present() == expected(bare, ONE, 2, ("v-ecs-c",))
    assert bare.replace(FEWER).absent == ()
    assert bare.present() == expected(bare, FEWER, 3)


@looking
def test_who_requires_all_interfaces_is_refused_and_nothing_changes_s19(bare: Dataplane):
    bare.add("v-ecs-b")
    bare.replace(OTHER)
    before = bare.present()
    with pytest.raises(AttachmentRefused, match=r"v-ecs-a, v-ecs-c: does not exist"):
        bare.replace(ONE, require=True)
    assert bare.present() == before


def test_a_nic_that_comes_behind_a_port_of_a_bridge_is_refused_and_nothing_changes_s19(plane: Dataplane):
    plane.replace(FEWER)
    before = plane.present()
    plane.enslave("v-ecs-c", "br-x")
    with pytest.raises(AttachmentRefused, match=r"v-ecs-c: is a port of the bridge br-x"):
        plane.replace(ONE)
    assert plane.present() == before
    plane.release("v-ecs-c")
    assert plane.replace(ONE).absent == ()
    assert plane.present() == expected(plane, ONE, 2)


@looking
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
    assert plane.present() == expected(plane, ONE, 2, closed=("v-ecs-b",))
    assert "closed_in_v-ecs-b" in plane.present()["netdev"].chains
    assert "nic_v-ecs-a" in plane.present()["netdev"].chains
    assert plane.replace(OTHER, closed=("v-ecs-b",)).absent == ()
    assert plane.present() == expected(plane, OTHER, 3, closed=("v-ecs-b",))
    plane.release("v-ecs-b")
    assert plane.replace(OTHER).absent == ()
    assert plane.present() == expected(plane, OTHER, 4)


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
    in_place = isinstance(plane, Remembering)
    assert steps == ([Step.SWITCHED] if in_place else [*plane.looks, Step.PREPARED, Step.SWITCHED, Step.SWEPT])


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
    plane.a_flow_bears(stamp_bits(ONE.marks, 1))
    assert plane.replace(ONE).generation == 2, "an earlier life of ours gave stamp 1: those flows are judged again"
    plane.a_flow_bears(stamp_bits(ONE.marks, 3))
    assert plane.replace(ONE).generation == 4
    plane.clear()
    assert plane.replace(ONE).generation == 2, "the next that no live flow bears"
