"""Layout: which NIC sits behind which interface of which network namespace.

Pure naming: nothing is created or looked up here. In the *lab* every VPC has a router namespace of ours and every NIC
an interface in it; on a *host* only the NICs whose interface the policy names are there, in namespaces of others.
Example: `lab_layout(policy)` puts ecs-a of vpc-x at interface `v-ecs-a` of namespace `lab-vpc-vpc-x`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from hashlib import blake2s

from enforcer.errors import PolicyError, Problem, UsageError
from enforcer.model.policy import NicRef, Policy
from enforcer.model.words.wording import shown

UPLINK = "up-inet"


@dataclass(frozen=True, slots=True)
class Attachment:
    """One NIC at one interface; `mac` None means that its source MAC cannot be checked."""

    ref: NicRef
    interface: str
    mac: str | None


@dataclass(frozen=True, slots=True)
class Namespace:
    """One network namespace, "" being the enforcer's own.

    In an `owned` one every interface that is neither attached nor `infrastructure` is a stranger and dropped.
    """

    name: str
    vpcs: tuple[str, ...]
    attachments: tuple[Attachment, ...]
    owned: bool
    infrastructure: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """All namespaces that hold NICs, in the order in which the policy first names them."""

    namespaces: tuple[Namespace, ...]


def lab_layout(policy: Policy, lab: str = "lab") -> Layout:
    """Return the lab's layout: one owned router namespace for each VPC, with or without NICs."""
    refs: defaultdict[str, list[NicRef]] = defaultdict(list)
    for ref in policy.nics():
        refs[ref.vpc.name].append(ref)
    namespaces = []
    for vpc in policy.vpcs:
        peers = [peer_interface(peering.name) for peering in policy.peerings if vpc.name in peering.vpcs]
        infrastructure = (UPLINK, *peers)
        attachments = _lab_attachments(refs[vpc.name], set(infrastructure))
        namespaces.append(Namespace(vpc_namespace(lab, vpc.name), (vpc.name,), attachments, True, infrastructure))
    return Layout(tuple(namespaces))


def _lab_attachments(refs: list[NicRef], taken: set[str]) -> tuple[Attachment, ...]:
    """Name each NIC's interface once: readable if the name is free, hashed if another NIC was there first."""
    attachments = []
    for ref in refs:
        interface = host_interface(ref)
        if interface in taken:
            interface = f"v-{_digest(_full_name(ref), 12)}"
        taken.add(interface)
        attachments.append(Attachment(ref, interface, nic_mac(ref)))
    return tuple(attachments)


def host_layout(policy: Policy) -> Layout:
    """Return the layout on a host: the NICs that name their `interface`, by `netns`.

    Raise PolicyError when one namespace would join VPCs that are not peered: their addresses may overlap (S18).
    """
    refs: defaultdict[str, list[NicRef]] = defaultdict(list)
    for ref in policy.nics():
        if ref.nic.interface is not None:
            refs[ref.nic.netns].append(ref)
    problems = [problem for netns, members in refs.items() for problem in _strangers(policy, netns, members)]
    if problems:
        raise PolicyError(tuple(problems))
    return Layout(tuple(_host_namespace(netns, members) for netns, members in refs.items()))


def _host_namespace(netns: str, refs: list[NicRef]) -> Namespace:
    vpcs = tuple(dict.fromkeys(ref.vpc.name for ref in refs))
    attachments = tuple(Attachment(ref, ref.nic.interface or "", ref.nic.mac) for ref in refs)
    return Namespace(netns, vpcs, attachments, owned=False, infrastructure=())


def _strangers(policy: Policy, netns: str, refs: list[NicRef]) -> list[Problem]:
    """Return a problem for each VPC of a namespace that is not peered with one that was there before it."""
    problems: list[Problem] = []
    first_of: dict[str, NicRef] = {}
    for ref in refs:
        if ref.vpc.name in first_of:
            continue
        reach = policy.reachable_from(ref.vpc.name)
        if (stranger := next((vpc for vpc in first_of if vpc not in reach), None)) is not None:
            place = f"namespace {shown(netns)}" if netns else "the enforcer's own namespace ('')"
            message = f"{place} would join {ref.vpc.name} and {stranger} (NIC {first_of[stranger].label}), not peered"
            problems.append(
                Problem(f"{ref.place}.netns", f"{message}; give each VPC its own namespace or peer them", code="S18")
            )
        first_of[ref.vpc.name] = ref
    return problems


def host_interface(ref: NicRef) -> str:
    """Return the lab's name for the host end of a NIC, before collisions: at most 15 characters."""
    if ref.nic.interface is not None:
        return ref.nic.interface
    readable = "v-" + ref.label.replace(":", "-")
    return readable if _fits(readable, 15) else f"v-{_digest(_full_name(ref), 12)}"


def nic_mac(ref: NicRef) -> str:
    """Return the NIC's MAC address in the lab: its own, or one that always comes out the same."""
    if ref.nic.mac is not None:
        return ref.nic.mac
    digest = _digest(_full_name(ref), 6)
    return ":".join(("fa", "16", "3e", digest[0:2], digest[2:4], digest[4:6]))


def peer_interface(peering: str) -> str:
    """Return the name that a peering's link has at both ends."""
    return f"peer-{peering if _fits(peering, 10) else _digest(peering, 10)}"


def vpc_namespace(lab: str, vpc: str) -> str:
    """Return the name of a VPC's router namespace."""
    return f"{_lab_name(lab)}-vpc-{slug(vpc)}"


def ecs_namespace(lab: str, ecs: str) -> str:
    """Return the name of an ECS's namespace."""
    return f"{_lab_name(lab)}-ecs-{slug(ecs)}"


def external_namespace(lab: str, host: str) -> str:
    """Return the name of an external host's namespace."""
    return f"{_lab_name(lab)}-ext-{slug(host)}"


def internet_namespace(lab: str) -> str:
    """Return the name of the namespace that stands for the Internet."""
    return f"{_lab_name(lab)}-internet"


def slug(name: str) -> str:
    """Return `name` as a part of a file name: itself where it can be, else `x` and twelve hexadecimal digits."""
    return name if _fits(name, 40) else f"x{_digest(name, 12)}"


def _lab_name(lab: str) -> str:
    if not re.fullmatch(r"[a-z0-9]{1,12}", lab):
        raise UsageError(f"{shown(lab)} is not a lab's name; write 1 to 12 of a-z and 0-9")
    return lab


def _fits(name: str, length: int) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_.-]+", name) is not None and len(name) <= length


def _full_name(ref: NicRef) -> str:
    return f"{ref.ecs.name}/{ref.nic.name}"


def _digest(name: str, length: int) -> str:
    return blake2s(name.encode()).hexdigest()[:length]
