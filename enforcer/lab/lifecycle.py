"""Labs as a user has them: `up`, `apply`, `down`, and what is running.

    lab = up(policy, "demo", text, enforce=lambda: …, progress=print)
    apply(changed, "demo", changed_text, enforce=…, progress=…)
    down("demo")

A lab stands or it is gone: `up` that fails or is interrupted takes everything away again. What `apply` could not finish
stays closed rather than open, is remembered, and is finished by the next `apply` or taken away by `down`.
Rules are somebody else's: `enforce` is called when the interfaces are there and before any new NIC is up.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from enforcer.dataplane import namespaces
from enforcer.errors import EnforcerError, SystemRefused, UsageError
from enforcer.lab import floating, state
from enforcer.lab.build import Progress, realise, remove_hosts
from enforcer.lab.plan import Changes, Plan, Role, changes
from enforcer.lab.state import LabState
from enforcer.lab.wiring import wire
from enforcer.model import IPAddress, Policy, lab_layout
from enforcer.model.parse import parse_policy


@dataclass(frozen=True, slots=True)
class LabHost:
    """A host as a user sees it; `kind` is "ecs" or "external"."""

    name: str
    kind: str
    netns: str
    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab that stands."""

    name: str
    policy: Policy
    plan: Plan

    def hosts(self) -> tuple[LabHost, ...]:
        """List the hosts, in the order of the policy."""
        addresses: dict[tuple[Role, str], tuple[IPAddress, ...]] = {
            (Role.ECS, ecs.name): tuple(address for nic in ecs.nics for address in nic.addresses)
            for ecs in self.policy.ecs
        }
        addresses |= {(Role.EXTERNAL, host.name): host.addresses for host in self.policy.external_hosts}
        found = {(host.role, host.owner): host.netns for host in self.plan.hosts}
        return tuple(
            LabHost(owner, role.value, found[role, owner], listed) for (role, owner), listed in addresses.items()
        )

    def dataplanes(self) -> tuple[tuple[str, str], ...]:
        """List each VPC with the namespace of its router."""
        return tuple((space.vpcs[0], space.name) for space in lab_layout(self.policy, self.name).namespaces)

    def netns(self, host: str) -> str:
        """Return the namespace of an ECS or external host; UsageError names the hosts there are."""
        for each in self.hosts():
            if each.name == host:
                return each.netns
        names = ", ".join(each.name for each in self.hosts()) or "none"
        raise UsageError(f"host {host!r}: is not in lab {self.name}; its hosts are {names}")


def running(name: str) -> Lab:
    """Return the lab `name`; UsageError if it does not stand."""
    found = state.load(state.checked_name(name))
    if found is None:
        others = ", ".join(state.known()) or "none"
        raise UsageError(f"lab {name}: is not running (running: {others}); start it with `lab up POLICY --name {name}`")
    if found.applied is None:
        raise UsageError(f"lab {name}: was never finished; remove what there is of it with `lab down --name {name}`")
    policy = parse_policy(found.applied, source=f"lab {name}")
    return Lab(name, policy, wire(policy, name))


def up(policy: Policy, name: str, text: str, enforce: Callable[[], None], progress: Progress) -> Lab:
    """Build a lab under a free name; `text` is the policy as written. On any failure nothing stays behind."""
    plan = wire(policy, state.checked_name(name))
    with _steady(), state.locked(name):
        if state.load(name) is not None or namespaces.names(f"{name}-"):
            raise UsageError(
                f"lab {name}: exists already; change it with `lab apply POLICY`, or remove it with "
                f"`lab down --name {name}`, or choose another --name"
            )
        state.save(LabState(name, pending=text))
        try:
            _change((), plan, changes((), plan), enforce, progress)
        except BaseException:
            with _unbreakable():
                _remove_all(name, (plan,))
            raise
        state.save(LabState(name, applied=text))
    return Lab(name, policy, plan)


def apply(policy: Policy, name: str, text: str, enforce: Callable[[], None], progress: Progress) -> tuple[str, ...]:
    """Change a lab in place and tell what changed; what both policies have is not touched.

    `enforce` is called even where no wire changed: the rules may have.
    """
    with _steady(), state.locked(name):
        found = state.load(name)
        if found is None or found.applied is None:
            running(name)  # raises, with the way out
            raise AssertionError(name)
        olds = tuple(wire(parse_policy(each, source=f"lab {name}"), name) for each in found.texts)
        plan = wire(policy, name)
        steps = changes(olds, plan)
        state.save(LabState(name, found.applied, pending=text))
        try:
            _change(olds, plan, steps, enforce, progress)
        except EnforcerError as error:
            error.add_note(f"lab {name} is partly changed, what is new stays closed; `lab apply` again, or `lab down`")
            raise
        state.save(LabState(name, applied=text))
    return _words(steps)


def down(name: str) -> None:
    """Remove everything of a lab, whatever state it is in; UsageError if there is nothing."""
    with _steady(), state.locked(state.checked_name(name)):
        try:
            found = state.load(name)
        except SystemRefused:
            found = LabState(name)
        if found is None and not namespaces.names(f"{name}-"):
            raise UsageError(f"lab {name}: is not running (running: {', '.join(state.known()) or 'none'})")
        plans = []
        for text in found.texts if found is not None else ():
            try:
                plans.append(wire(parse_policy(text, source=f"lab {name}"), name))
            except EnforcerError:  # written by another version; the names tell enough
                continue
        with _unbreakable():
            _remove_all(name, tuple(plans))


def move_virtual_ip(name: str, address: IPAddress, host: str) -> None:
    """Let a NIC (`ecs` or `ecs:nic`) take over a virtual IP."""
    with _steady(), state.locked(name):
        floating.move(running(name).plan, address, host)


def _change(
    olds: tuple[Plan, ...], plan: Plan, steps: Changes, enforce: Callable[[], None], progress: Progress
) -> None:
    before = floating.held(olds)

    def settle() -> None:
        floating.place(olds, plan, before)
        enforce()

    realise(steps, settle, progress)
    floating.follow(plan)


def _remove_all(name: str, plans: tuple[Plan, ...]) -> None:
    """Remove the namespaces that the plans have or that bear the lab's name, then the memory of it."""
    planned = (host.netns for plan in plans for host in plan.hosts)
    remove_hosts(dict.fromkeys((*planned, *namespaces.names(f"{name}-"))))
    state.forget(name)


def _words(steps: Changes) -> tuple[str, ...]:
    """Name what changed, hosts first, then what changed on hosts that were there before."""
    words = [f"removed {host.role} {host.owner}".rstrip() for host in steps.hosts.removed]
    words += [f"added {host.role} {host.owner}".rstrip() for host in steps.hosts.added]
    moved = {host.netns for host in (*steps.hosts.removed, *steps.hosts.added)}
    for verb, links in (("removed", steps.links.removed), ("added", steps.links.added)):
        words += [
            f"{verb} interface {link.far_interface} of {link.far_netns}"
            for link in links
            if not {link.netns, link.far_netns} & moved
        ]
    for verb, addresses in (("removed", steps.addresses.removed), ("added", steps.addresses.added)):
        words += [
            f"{verb} address {address.ip.ip} of {address.netns}"
            for address in addresses
            if address.netns not in moved and not address.ip.is_link_local
        ]
    words += [f"changed translation in {netns}" for netns in {table.netns for table in steps.nat.added} - moved]
    return tuple(words)


@contextmanager
def _steady() -> Iterator[None]:
    """Let SIGTERM end the block like Ctrl-C, so that what is half built is taken away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _unbreakable() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM for the length of the block: a second one must not leave half of a lab."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
