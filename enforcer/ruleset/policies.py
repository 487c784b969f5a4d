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

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from enforcer.compiler.program import REST, UNCLASSED, Decider, SidePolicy
from enforcer.model import ICMP, ICMPV6, Action, Direction, Family
from enforcer.ruleset import names
from enforcer.ruleset.levels import CLASS, POINT, PROTOCOL, RANGE
from enforcer.ruleset.nft import (
    RETURN,
    Chain,
    Counter,
    Element,
    Field,
    Load,
    Match,
    Rule,
    Set,
    SetPriority,
    Statement,
    Verdict,
    goto,
    rule,
)
from enforcer.ruleset.verdicts import (
    ALLOWED,
    DENIED,
    Said,
    Verdicts,
    counterparts,
    may_change,
    said_by,
)

ICMP_OF: dict[Family, int] = {4: ICMP, 6: ICMPV6}
NO_MATCH = "no rule matches"
DENY = goto(names.DENIED)


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


def by_address(policy: SidePolicy) -> bool:
    """Say whether the peer's address makes a difference to the policy."""
    return bool(policy.locals)


@dataclass(frozen=True, slots=True)
class Lowered:
    """A side policy lowered; `said` is what its verdict maps say about each local class."""

    policy: SidePolicy
    judge: Judge
    said: tuple[Said, ...]
    sets: tuple[Set, ...]
    chains: tuple[Chain, ...]
    name: str


@dataclass(frozen=True, slots=True)
class Life:
    """The names of what may change in place: verdict maps are called after `began`, the rest after `turn`."""

    began: int
    turn: int


def lower_policy(
    policy: SidePolicy, life: Life | None = None, before: Lowered | None = None, *, in_place: bool = True
) -> Lowered:
    """Lower a side policy to its maps and its two chains; if addresses matter, the peer's class is known before.

    The reply direction asks the same maps in reverse: the peer is at the other end, the port is the source port.
    With a `life` what its list has in the kernel changes in place as far as packets in flight allow; `before` is what
    that is – with `in_place`, else what is said otherwise stands beside it. Without a life names stand for content, as
    other names do.
    """
    if life is None or not by_address(policy):
        return _lowered(policy, said_by(policy), policy.key, policy.key)
    maps, turn = (f"{policy.lineage}_{number}" for number in (life.began, life.turn))
    if before is None or not before.judge.by_address:
        return _lowered(policy, said_by(policy), maps, turn)
    said = said_by(policy, before.said)
    kept = _kept(policy, said, before) if in_place else []
    if kept or (in_place and _locals_in_place(policy, said, before)):
        under = {id(each): each.under(number) for each, number in kept}
        lowered = _lowered(policy, tuple(under.get(id(each), each) for each in said), maps, before.name)
        if lowered.chains == before.chains:
            return replace(lowered, chains=before.chains)
    return _lowered(policy, said, maps, turn)


def _kept(policy: SidePolicy, said: tuple[Said, ...], before: Lowered) -> list[tuple[Said, int]]:
    """Return what may stand under the number of something else that was said of the same classes; none: not all may.

    A packet in flight reads its local class before the commit or behind it, and then what is said of that and of the
    rest. If the rest is the same, it finds the old judgement or the new one, whichever number its class has. If the
    rest differs, so that it changes in place, each class has to keep its number.
    """
    was = counterparts(before.policy, policy, before.said)
    if was is None:
        return []
    pairs = [(was[each.local.number], each) for each in said if each.local.number in was]
    others = [(old, new) for old, new in pairs if old is not new]
    rest = said[0] is before.said[0]
    fit = all(may_change(old, new, alone=rest or new is said[0]) for old, new in others)
    return [(new, old.number) for old, new in others] if fit else []


def _locals_in_place(policy: SidePolicy, said: tuple[Said, ...], before: Lowered) -> bool:
    """Say whether classes may get other numbers: the rest is the same, and none comes to be like the rest.

    That one would keep what was said of it until the sweep, for so long has what nobody asks for any more.
    """
    known = {number for number, _ in policy.locals}
    return said[0] is before.said[0] and all(number in known for number, _ in before.policy.locals)


def with_locals(lowered: Lowered, policy: SidePolicy) -> Lowered:
    """Lower a side policy that differs from one in nothing but which class has which local class."""
    if not by_address(policy):
        return replace(lowered, policy=policy)
    local = replace(lowered.sets[0], elements=local_elements(policy, lowered.said))
    return replace(lowered, policy=policy, sets=(local, *lowered.sets[1:]))


def _lowered(policy: SidePolicy, said: tuple[Said, ...], maps: str, name: str) -> Lowered:
    chain, reply = names.POLICY.format(name), names.POLICY_REPLY.format(name)
    asked = tuple(_asked(policy, said, maps))
    local = Set(names.LOCAL.format(name), _prefix(policy), local_elements(policy, said), "classid", grows=True)
    sets = (*((local,) if by_address(policy) else ()), *(each.map for each in asked))
    alone = said[0].levels.classes if not by_address(policy) else ()
    inward = policy.direction is Direction.INGRESS
    comment = f"{policy.direction} IPv{policy.family}: {', '.join(policy.groups)}"
    rest = said[0].number if by_address(policy) else REST
    way = (policy, asked, names.LOCAL.format(name), rest, alone[0][0] if alone else None)
    chains = (
        Chain(chain, tuple(_chain(*way)), None, comment),
        Chain(reply, tuple(_chain(*way, reply=True)), None, f"{comment} (replies)"),
    )
    return Lowered(policy, Judge(chain, reply, bool(sets), by_address(policy), inward), said, sets, chains, name)


def _chain(
    policy: SidePolicy,
    asked: tuple[_Asked, ...],
    local: str,
    rest: int,
    default: Decider | None,
    *,
    reply: bool = False,
) -> Iterator[Rule]:
    """Build the rules of a judgement; most packets meet one, for a rule costs the kernel more than what is in it."""
    ask = partial(_ask, prefix=_prefix(policy), icmp=ICMP_OF[policy.family], reply=reply)
    if by_address(policy):
        yield from _ask_for_class_and_rest(asked, local, rest, ask)
    else:
        for each in asked:
            yield from ask(each.map, each.protocols, (SetPriority(rest),) if each is asked[0] else ())
    if default is None:
        yield rule(Counter(), DENY, comment=NO_MATCH)
    else:
        yield rule(Counter(), _verdict(default), comment=str(default))


def _ask_for_class_and_rest(
    asked: tuple[_Asked, ...], local: str, rest: int, ask: Callable[..., Iterator[Rule]]
) -> Iterator[Rule]:
    """Ask all maps for the packet's local class, and then for the rest; a class that nobody knows here is the rest."""
    unknown = (Match(Field.PRIORITY, UNCLASSED, "==", UNCLASSED), SetPriority(rest))
    for first in asked[:1]:
        yield from ask(first.map, first.protocols, (Load((Field.PRIORITY,), local),))
        yield from ask(first.map, first.of_rest, unknown) if first.of_rest else (rule(*unknown),)
    for each in asked[1:]:
        yield from ask(each.map, each.protocols)
    if for_all := [each for each in asked if each.of_rest]:
        yield rule(Match(Field.PRIORITY, rest), Counter(), DENY, comment=NO_MATCH)
    for each in for_all:
        yield from ask(each.map, each.of_rest, (SetPriority(rest),) if each is for_all[0] else ())


def _ask(
    entry: Set,
    protocols: frozenset[int],
    before: tuple[Statement, ...] = (),
    *,
    prefix: tuple[Field, ...],
    icmp: int,
    reply: bool,
) -> Iterator[Rule]:
    """Ask one verdict map, after the statements of `before`, and end if it had an answer."""
    for load in _loads(entry, protocols, prefix, icmp, reply=reply):
        yield rule(*before, *load, Match(Field.PRIORITY, ALLOWED), RETURN)
        before = ()
    yield rule(Match(Field.PRIORITY, DENIED), DENY)


def _loads(
    entry: Set, protocols: frozenset[int], prefix: tuple[Field, ...], icmp: int, *, reply: bool
) -> Iterator[tuple[Statement, ...]]:
    """Load the answer of one verdict map, by the port where it has one.

    The port of a reply is its source port, and so are type and code of ICMP. The protocol is part of the key, so a
    guard is needed only where one map has both kinds: what ICMP has in the place of a port is a checksum.
    """
    if len(entry.key) <= len(prefix) + 1:
        yield (Load(entry.key, entry.name),)
        return
    key = (*prefix, Field.L4PROTO)
    kinds = {protocol == icmp for protocol in protocols}
    if reply:
        yield (Load((*key, Field.SOURCE_PORT), entry.name),)
        return
    if False in kinds:
        guard = (Match(Field.L4PROTO, icmp, "!="),) if True in kinds else ()
        yield (*guard, Load((*key, Field.DESTINATION_PORT), entry.name))
    if True in kinds:
        guard = (Match(Field.L4PROTO, icmp),) if False in kinds else ()
        yield (*guard, Load((*key, Field.SOURCE_PORT), entry.name))


def _prefix(policy: SidePolicy) -> tuple[Field, ...]:
    """Return the part of every key that is the local class; none if addresses make no difference."""
    return (Field.PRIORITY,) if by_address(policy) else ()


def _verdict(decider: Decider) -> Verdict:
    return RETURN if decider.action is Action.ALLOW else DENY


def local_elements(policy: SidePolicy, said: Iterable[Said]) -> tuple[Element, ...]:
    """Return the elements of a policy's map of local classes: class → local class."""
    numbers = {each.local.number: each.number for each in said}
    return tuple(Element((number,), numbers[local]) for number, local in policy.locals)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A verdict map, the protocols that it has, and those that it has for the rest of the addresses.

    A map that knows no protocols has `ANY_PROTOCOL`'s first.
    """

    map: Set
    protocols: frozenset[int]
    of_rest: frozenset[int]


def _asked(policy: SidePolicy, said: tuple[Said, ...], name: str) -> Iterator[_Asked]:
    """Yield the maps of a policy in the order in which they are asked; a level without entries has no map."""
    prefix = _prefix(policy)
    protocol, port = (*prefix, Field.L4PROTO), (*prefix, Field.L4PROTO, Field.DESTINATION_PORT)
    for level, named, key in (
        (POINT, names.POINTS, port),
        (RANGE, names.RANGES, port),
        (PROTOCOL, names.PROTOCOLS, protocol),
        (CLASS, names.CLASSES, prefix),
    ):
        elements = Verdicts(said, level, bool(prefix))
        if key and any(each.counts[level] for each in said):
            asked = Set(named.format(name), key, elements, "classid", interval=level == RANGE, counted=True)
            protocols = frozenset[int]().union(*(each.protocols[level] for each in said))
            yield _Asked(asked, protocols, said[0].protocols[level])
