"""Side policies as lookups: a fixed number of rules and sets each, whatever the number of security-group rules (§2).

    classify   address ──▶ class         two maps, shared by all policies of a namespace and family
    local      class ──▶ local class     one small map per policy
    regions    local class . protocol . sub-key ──▶ return | drop     one verdict map per policy

The packet's priority is the register that carries the class from one lookup to the next: at these hooks it decides
nothing yet, while the packet mark does (policy routing). It is set back to 0 after a judgement that used it.

What a chain leaves behind: it *returns* for allowed traffic and drops everything else. Every element names its
deciding rule and counts its packets; a listing reads like the policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from enforcer.compiler.program import ANY_PROTOCOL, ANY_SUBKEY, REST, UNCLASSED, AddressMap, Region, SidePolicy, Span
from enforcer.compiler.sides import digest
from enforcer.model import ICMP, ICMPV6, TCP, UDP, Action, Direction, Family
from enforcer.ruleset import names
from enforcer.ruleset.nft import (
    DROP,
    RETURN,
    Chain,
    Counter,
    Dispatch,
    Element,
    Field,
    Interval,
    Load,
    Match,
    Rule,
    Set,
    SetPriority,
    Verdict,
    jump,
    rule,
)

SOURCE: dict[Family, Field] = {4: Field.IPV4_SOURCE, 6: Field.IPV6_SOURCE}
DESTINATION: dict[Family, Field] = {4: Field.IPV4_DESTINATION, 6: Field.IPV6_DESTINATION}
ICMP_OF: dict[Family, int] = {4: ICMP, 6: ICMPV6}
NO_MATCH = "no rule matches"


@dataclass(frozen=True, slots=True)
class Judge:
    """The two chains that judge by a side policy; `scratch`: they leave a class in the packet's priority."""

    chain: str
    reply: str
    scratch: bool


@dataclass(frozen=True, slots=True)
class Classifier:
    """The shared address → class step of one family."""

    source: str
    destination: str
    sets: tuple[Set, ...]
    chains: tuple[Chain, ...]


def classifier(addresses: AddressMap) -> Classifier:
    """Lower an address map: single addresses in a hash map, everything else in one interval map without gaps."""
    family = addresses.family
    key = SOURCE[family]
    hosts = Set(
        names.HOSTS.format(family, digest(addresses.hosts)),
        (key,),
        tuple(Element((address,), number) for address, number in addresses.hosts),
        "classid",
    )
    pieces = Set(
        names.PIECES.format(family, digest(addresses.pieces)),
        (key,),
        tuple(Element((Interval(*piece),), number) for piece, number in addresses.pieces),
        "classid",
        interval=True,
    )
    content = digest(hosts.name, pieces.name)
    source = names.CLASSIFY_SOURCE.format(family, content)
    destination = names.CLASSIFY_DESTINATION.format(family, content)
    chains = tuple(
        Chain(name, tuple(_classify(addresses, field, hosts, pieces)))
        for name, field in ((source, SOURCE[family]), (destination, DESTINATION[family]))
    )
    used = tuple(entry for entry, size in ((hosts, 1), (pieces, 2)) if len(entry.elements) >= size)
    return Classifier(source, destination, used, chains)


def _classify(addresses: AddressMap, field: Field, hosts: Set, pieces: Set) -> Iterator[Rule]:
    if len(addresses.pieces) == 1:
        yield rule(SetPriority(addresses.pieces[0][1]))
        if addresses.hosts:
            yield rule(Load(field, hosts.name))
        return
    if not addresses.hosts:
        yield rule(Load(field, pieces.name))
        return
    yield rule(SetPriority(0))
    yield rule(Load(field, hosts.name))
    yield rule(Match(Field.PRIORITY, 0), Load(field, pieces.name))


def by_address(policy: SidePolicy) -> bool:
    """Say whether the peer's address makes a difference to the policy."""
    return bool(policy.locals)


def lower_policy(policy: SidePolicy, classify: Classifier) -> tuple[Judge, tuple[Set, ...], tuple[Chain, ...]]:
    """Lower a side policy to its maps and its two chains.

    The reply direction asks the same maps in reverse: the peer is at the other end, the port is the source port.
    """
    scratch = by_address(policy)
    content = digest(policy.key, classify.source if scratch else "")
    chain, reply = names.POLICY.format(content), names.POLICY_REPLY.format(content)
    sets = tuple(_sets(policy))
    inward = policy.direction is Direction.INGRESS
    comment = f"{policy.direction} IPv{policy.family}: {', '.join(policy.groups)}"
    chains = (
        Chain(chain, tuple(_chain(policy, sets, classify.source if inward else classify.destination)), None, comment),
        Chain(
            reply,
            tuple(_chain(policy, sets, classify.destination if inward else classify.source, reply=True)),
            None,
            f"{comment} (replies)",
        ),
    )
    return Judge(chain, reply, scratch), sets, chains


def _chain(policy: SidePolicy, sets: tuple[Set, ...], classify: str, *, reply: bool = False) -> Iterator[Rule]:
    uniform = _uniform(policy)
    if uniform is not None:
        yield rule(Counter(), _verdict(uniform), comment=str(uniform.decider))
        return
    prefix: tuple[Field, ...] = ()
    if by_address(policy):
        prefix = (Field.PRIORITY,)
        yield rule(jump(classify))
        yield rule(Load(Field.PRIORITY, names.LOCAL.format(_local_digest(policy))))
        yield rule(Match(Field.PRIORITY, UNCLASSED, ">="), SetPriority(REST))
    for entry in sets:
        if entry.value != "verdict":
            continue
        if len(entry.key) == len(prefix) + 1:
            yield rule(Dispatch((*prefix, Field.L4PROTO), entry.name))
        elif reply:
            yield rule(Dispatch((*prefix, Field.L4PROTO, Field.SOURCE_PORT), entry.name))
        else:
            icmp = ICMP_OF[policy.family]
            key = (*prefix, Field.L4PROTO)
            yield rule(Match(Field.L4PROTO, icmp, "!="), Dispatch((*key, Field.DESTINATION_PORT), entry.name))
            yield rule(Match(Field.L4PROTO, icmp), Dispatch((*key, Field.SOURCE_PORT), entry.name))
    yield rule(Counter(), DROP, comment=NO_MATCH)


def _uniform(policy: SidePolicy) -> Region | None:
    """Return the one region that covers everything, if there is one."""
    regions = policy.classes[0].regions
    if by_address(policy) or len(regions) != 1:
        return None
    whole = regions[0].protocols == ANY_PROTOCOL and regions[0].subkeys == ANY_SUBKEY
    return regions[0] if whole else None


def _verdict(region: Region) -> Verdict:
    return RETURN if region.decider.action is Action.ALLOW else DROP


def _local_digest(policy: SidePolicy) -> str:
    return digest(policy.locals)


def _sets(policy: SidePolicy) -> Iterator[Set]:
    """Yield the maps of a policy: local classes, regions, and regions of portless protocols alone.

    The last is for packets too short to have a port where another protocol has one: reading it would end the rule.
    """
    if _uniform(policy):
        return
    prefix: tuple[Field, ...] = ()
    if by_address(policy):
        prefix = (Field.PRIORITY,)
        elements = tuple(Element((number,), local) for number, local in policy.locals)
        yield Set(names.LOCAL.format(_local_digest(policy)), prefix, elements, "classid")
    for suffix, fields, elements in (
        ("", (Field.L4PROTO, Field.DESTINATION_PORT), tuple(_regions(policy, prefix))),
        ("_portless", (Field.L4PROTO,), tuple(_portless(policy, prefix))),
    ):
        if elements:
            name = names.REGIONS.format(digest(prefix, elements)) + suffix
            yield Set(name, (*prefix, *fields), elements, "verdict", interval=True, counted=True)


def _regions(policy: SidePolicy, prefix: tuple[Field, ...]) -> Iterator[Element]:
    for entry in policy.classes:
        for region in entry.regions:
            head = (entry.number,) if prefix else ()
            key = (*head, Interval(*region.protocols), Interval(*region.subkeys))
            yield Element(key, _verdict(region), str(region.decider))


def _portless(policy: SidePolicy, prefix: tuple[Field, ...]) -> Iterator[Element]:
    ported = (TCP, UDP, ICMP_OF[policy.family])
    for entry in policy.classes:
        for region in entry.regions:
            for span in without(region.protocols, ported):
                head = (entry.number,) if prefix else ()
                yield Element((*head, Interval(*span)), _verdict(region), str(region.decider))


def without(span: Span, numbers: tuple[int, ...]) -> Iterator[Span]:
    """Yield what is left of a span without some numbers."""
    first = span.first
    for number in sorted(numbers):
        if first <= number <= span.last:
            if first < number:
                yield Span(first, number - 1)
            first = number + 1
    if first <= span.last:
        yield Span(first, span.last)
