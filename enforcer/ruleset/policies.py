"""Side policies as lookups: a fixed number of rules and sets each, whatever the number of security-group rules (§2).

    classify   address ──▶ class         two maps, shared by all policies of a namespace and family
    local      class ──▶ local class     one small map per policy
    verdict    local class . protocol . sub-key ──▶ allowed | denied  up to four maps per policy (`levels`)

The verdict maps are asked for the packet's local class and, if that says nothing, for the rest of the addresses. What
they yield is a class too, `ALLOWED` or `DENIED`, and no verdict of nft's: with every transaction that adds a rule the
kernel walks through all verdict maps, element by element, to see where they lead.

The packet's priority is the register that carries the class from one lookup to the next: at these hooks it decides
nothing yet, while the packet mark does (policy routing). It is set back to 0 after a judgement that used it.

What a chain leaves behind: it *returns* for allowed traffic; everything else ends in the chain `denied`. Every element
names its deciding rule and counts its packets; a listing reads like the policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from enforcer.compiler.program import ANY_PROTOCOL, REST, UNCLASSED, AddressMap, Decider, SidePolicy
from enforcer.compiler.space import same_ends
from enforcer.model import ICMP, ICMPV6, Action, Direction, Family
from enforcer.ruleset import names
from enforcer.ruleset.levels import Levels, levels
from enforcer.ruleset.nft import (
    RETURN,
    Chain,
    Counter,
    Element,
    Field,
    Interval,
    Load,
    Match,
    Rule,
    Set,
    SetPriority,
    Verdict,
    goto,
    rule,
)
from enforcer.ruleset.pieces import PieceMaps, piece_maps

SOURCE: dict[Family, Field] = {4: Field.IPV4_SOURCE, 6: Field.IPV6_SOURCE}
DESTINATION: dict[Family, Field] = {4: Field.IPV4_DESTINATION, 6: Field.IPV6_DESTINATION}
ICMP_OF: dict[Family, int] = {4: ICMP, 6: ICMPV6}
NO_MATCH = "no rule matches"
FIRST_VERDICT = 0xFFFF_0000
DENIED, ALLOWED = FIRST_VERDICT, FIRST_VERDICT + 1
"""What verdict maps yield; no local class is as high."""

DENY = goto(names.DENIED)

DECIDED = Chain(names.DECIDED, (rule(Match(Field.PRIORITY, ALLOWED), RETURN), rule(DENY)), fixed=True)


@dataclass(frozen=True, slots=True)
class Judge:
    """The two chains that judge by a side policy; `scratch`: they leave a class in the packet's priority.

    `by_address`: whoever calls them has put the class of the peer there, at the end where `inward` says that it is.
    """

    chain: str
    reply: str
    scratch: bool
    by_address: bool
    inward: bool


@dataclass(frozen=True, slots=True)
class Classifier:
    """The shared address → class step of one family."""

    sets: tuple[Set, ...]
    chains: tuple[Chain, ...]
    pieces: PieceMaps
    edition: int = 1


def classifier(
    addresses: AddressMap, edition: int = 1, before: tuple[AddressMap, Classifier] | None = None
) -> Classifier:
    """Lower an address map: single addresses in a hash map, everything else in interval maps without gaps.

    Members come and go in the hash map, in place: what a lookup finds changes for all addresses of a transaction at
    once. The kernel does not promise that of interval maps, so others take the place of those.
    What of `before` stays is kept.
    """
    family = addresses.family
    hosts = _hosts(addresses, edition, before)
    ends = (SOURCE[family], DESTINATION[family])
    pieces = piece_maps(addresses.pieces, family, ends, before[1].pieces if before else None)
    chains = tuple(
        Chain(name.format(family, edition), tuple(_classify(addresses, field, hosts, pieces)))
        for name, field in zip((names.CLASSIFY_SOURCE, names.CLASSIFY_DESTINATION), ends, strict=True)
    )
    return Classifier((*((hosts,) if hosts.elements else ()), *pieces.sets), (*pieces.chains, *chains), pieces, edition)


def _hosts(addresses: AddressMap, edition: int, before: tuple[AddressMap, Classifier] | None) -> Set:
    name = names.HOSTS.format(addresses.family, edition)
    if before is None or not before[0].hosts or not addresses.hosts:
        return Set(name, (SOURCE[addresses.family],), host_elements(addresses.hosts), "classid")
    old = before[1].sets[0]
    return (
        old
        if addresses.hosts == before[0].hosts and old.name == name
        else replace(old, name=name, elements=_spliced(old, before[0], addresses))
    )


def _spliced(old: Set, before: AddressMap, after: AddressMap) -> tuple[Element, ...]:
    first, last = same_ends(before.hosts, after.hosts)
    middle = host_elements(after.hosts[first : len(after.hosts) - last])
    return (*old.elements[:first], *middle, *old.elements[len(old.elements) - last :])


def host_elements(hosts: Iterable[tuple[int, int]]) -> tuple[Element, ...]:
    """Return the elements of a host map: address → class."""
    return tuple(Element((address,), number) for address, number in hosts)


def spliced_hosts(classify: Classifier, before: AddressMap, after: AddressMap) -> Classifier:
    """Lower an address map that differs in its hosts alone; elements that stay are the very same."""
    if before.hosts is after.hosts:
        return classify
    if not before.hosts or not after.hosts:
        return classifier(after, classify.edition, (before, classify))
    hosts = replace(classify.sets[0], elements=_spliced(classify.sets[0], before, after))
    return replace(classify, sets=(hosts, *classify.sets[1:]))


def _classify(addresses: AddressMap, field: Field, hosts: Set, pieces: PieceMaps) -> Iterator[Rule]:
    if len(addresses.pieces) == 1:
        yield rule(SetPriority(addresses.pieces[0][1]))
        if addresses.hosts:
            yield rule(Load((field,), hosts.name))
        return
    if not addresses.hosts:
        yield rule(pieces.ask(field))
        return
    yield rule(SetPriority(0))
    yield rule(Load((field,), hosts.name))
    yield rule(Match(Field.PRIORITY, 0), pieces.ask(field))


def by_address(policy: SidePolicy) -> bool:
    """Say whether the peer's address makes a difference to the policy."""
    return bool(policy.locals)


def lower_policy(policy: SidePolicy) -> tuple[Judge, tuple[Set, ...], tuple[Chain, ...]]:
    """Lower a side policy to its maps and its two chains; if addresses matter, the peer's class is known before.

    The reply direction asks the same maps in reverse: the peer is at the other end, the port is the source port.
    """
    chain, reply = names.POLICY.format(policy.key), names.POLICY_REPLY.format(policy.key)
    found = levels(policy)
    asked = tuple(_asked(policy, found))
    local = Set(names.LOCAL.format(policy.key), _prefix(policy), local_elements(policy), "classid", grows=True)
    sets = (*((local,) if by_address(policy) else ()), *(each.map for each in asked))
    default = found.classes[0][1] if found.classes and not by_address(policy) else None
    inward = policy.direction is Direction.INGRESS
    comment = f"{policy.direction} IPv{policy.family}: {', '.join(policy.groups)}"
    chains = (
        Chain(chain, tuple(_chain(policy, asked, default)), None, comment),
        Chain(reply, tuple(_chain(policy, asked, default, reply=True)), None, f"{comment} (replies)"),
    )
    return Judge(chain, reply, bool(sets), by_address(policy), inward), sets, chains


def _chain(
    policy: SidePolicy, asked: tuple[_Asked, ...], default: Decider | None, *, reply: bool = False
) -> Iterator[Rule]:
    prefix = _prefix(policy)
    icmp = ICMP_OF[policy.family]
    if prefix:
        yield rule(Load((Field.PRIORITY,), names.LOCAL.format(policy.key)))
        yield rule(Match(Field.PRIORITY, UNCLASSED, "==", UNCLASSED), SetPriority(REST))
    if asked and not prefix:
        yield rule(SetPriority(REST))
    for each in asked:
        yield from _ask(each.map, each.protocols, prefix, icmp, reply=reply)
    if prefix and (for_all := [each for each in asked if each.of_rest]):
        yield rule(Match(Field.PRIORITY, REST), Counter(), DENY, comment=NO_MATCH)
        yield rule(SetPriority(REST))
        for each in for_all:
            yield from _ask(each.map, each.of_rest, prefix, icmp, reply=reply)
    if default is None:
        yield rule(Counter(), DENY, comment=NO_MATCH)
    else:
        yield rule(Counter(), _verdict(default), comment=str(default))


def _ask(entry: Set, protocols: frozenset[int], prefix: tuple[Field, ...], icmp: int, *, reply: bool) -> Iterator[Rule]:
    """Ask one verdict map, and end if it had an answer."""
    yield from _load(entry, protocols, prefix, icmp, reply=reply)
    yield rule(Match(Field.PRIORITY, FIRST_VERDICT, "==", FIRST_VERDICT), goto(names.DECIDED))


def _load(
    entry: Set, protocols: frozenset[int], prefix: tuple[Field, ...], icmp: int, *, reply: bool
) -> Iterator[Rule]:
    """Load the answer of one verdict map, by the port where it has one.

    The port of a reply is its source port, and so are type and code of ICMP. The protocol is part of the key, so a
    guard is needed only where one map has both kinds: what ICMP has in the place of a port is a checksum.
    """
    if len(entry.key) <= len(prefix) + 1:
        yield rule(Load(entry.key, entry.name))
        return
    key = (*prefix, Field.L4PROTO)
    kinds = {protocol == icmp for protocol in protocols}
    if reply:
        yield rule(Load((*key, Field.SOURCE_PORT), entry.name))
        return
    if False in kinds:
        guard = (Match(Field.L4PROTO, icmp, "!="),) if True in kinds else ()
        yield rule(*guard, Load((*key, Field.DESTINATION_PORT), entry.name))
    if True in kinds:
        guard = (Match(Field.L4PROTO, icmp),) if False in kinds else ()
        yield rule(*guard, Load((*key, Field.SOURCE_PORT), entry.name))


def _prefix(policy: SidePolicy) -> tuple[Field, ...]:
    """Return the part of every key that is the local class; none if addresses make no difference."""
    return (Field.PRIORITY,) if by_address(policy) else ()


def _verdict(decider: Decider) -> Verdict:
    return RETURN if decider.action is Action.ALLOW else DENY


def _answer(decider: Decider) -> int:
    return ALLOWED if decider.action is Action.ALLOW else DENIED


def local_elements(policy: SidePolicy) -> tuple[Element, ...]:
    """Return the elements of a policy's map of local classes: class → local class."""
    return tuple(Element((number,), local) for number, local in policy.locals)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A verdict map, the protocols that it has, and those that it has for the rest of the addresses.

    A map that knows no protocols has `ANY_PROTOCOL`'s first.
    """

    map: Set
    protocols: frozenset[int]
    of_rest: frozenset[int]


def _asked(policy: SidePolicy, found: Levels) -> Iterator[_Asked]:
    """Yield the maps of a policy in the order in which they are asked; a level without entries has no map."""
    prefix = _prefix(policy)
    protocol, port = (*prefix, Field.L4PROTO), (*prefix, Field.L4PROTO, Field.DESTINATION_PORT)
    ranges = [(number, proto, Interval(*span), decider) for number, proto, span, decider in found.ranges]
    entries: tuple[tuple[str, tuple[Field, ...], Sequence[tuple[Any, ...]], bool], ...] = (
        (names.POINTS, port, found.points, False),
        (names.RANGES, port, ranges, True),
        (names.PROTOCOLS, protocol, found.protocols, False),
        (names.CLASSES, prefix, found.classes if prefix else (), False),
    )
    skip = 0 if prefix else 1  # where addresses make no difference, keys have no class
    for name, fields, rows, interval in entries:
        if rows:
            deciders = {id(row[-1]): row[-1] for row in rows}
            answers = {key: (_answer(decider), str(decider)) for key, decider in deciders.items()}
            elements = tuple(Element(row[skip:-1], *answers[id(row[-1])]) for row in rows)
            entry = Set(name.format(policy.key), fields, elements, "classid", interval=interval, counted=True)
            known = {(row[0], row[1] if len(row) > 2 else ANY_PROTOCOL.first) for row in rows}
            of_rest = frozenset(protocol for number, protocol in known if number == REST)
            yield _Asked(entry, frozenset(protocol for _, protocol in known), of_rest)
