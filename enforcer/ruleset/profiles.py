"""Profiles: what happens to a packet from or to a NIC once its interface is known (design §3).

A profile is a pair of side policies of one family; NICs with the same groups and ECS type share its five chains, whose
names stay while the policies change: a changed rule touches its profiles, not their NICs.

    from       original direction: opened by the instance      → egress policy
    from_reply reply direction: somebody opened it to us       → *ingress* policy, read in reverse (S14)
    to         first packet: somebody opens it to us           → ingress policy
    to_known   original direction, opened before               → ingress policy, once more
    to_reply   reply direction: the instance opened it         → passes (S13); `revoke: both`: egress policy

Only flows without the current stamp come here. A flow that the instance opened and that once passed (any stamp) goes
on under the old outbound rules (S14); one that bears no stamp at all was never judged, and is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from enforcer.compiler.program import NamespaceProgram, Sides
from enforcer.model import Family
from enforcer.ruleset import names
from enforcer.ruleset.nft import ACCEPT, Chain, Dispatch, Field, Match, Rule, SetPriority, Verdict, goto, jump, rule
from enforcer.ruleset.policies import Judge
from enforcer.ruleset.skeleton import begins
from enforcer.ruleset.stamps import forwards, opened, passing


@dataclass(frozen=True, slots=True)
class Profile:
    """The entry chains of a pair of side policies."""

    from_chain: str
    to_chain: str
    chains: tuple[Chain, ...]


def lower_profile(sides: Sides, judges: Mapping[str, Judge], namespace: NamespaceProgram, edition: int = 1) -> Profile:
    """Lower a pair of side policies to its five chains."""
    ingress, egress = judges[sides.ingress], judges[sides.egress]
    balanced = any(exemption.address.version == sides.family for exemption in namespace.exemptions)
    place = (sides.family, sides.profile, edition)
    mask = namespace.marks.connection_mask
    exempt = {
        way: (rule(Match(Field.CT_STATUS, "dnat"), jump(names.BALANCED.format(way))),) if balanced else ()
        for way in (names.TO_BACKEND, names.FROM_BACKEND)
    }
    lenient = not namespace.revoke_both
    once_passed = Match(Field.CT_MARK, 0, "!=", mask)
    from_reply, to_reply = names.PROFILE_FROM_REPLY.format(*place), names.PROFILE_TO_REPLY.format(*place)
    to_known, family = names.PROFILE_TO_KNOWN.format(*place), sides.family
    asked = partial(judged, family=family, edition=edition)
    dhcp = Dispatch((Field.UDP_SOURCE_PORT,), names.DHCP_FROM)
    answering = goto(names.ANSWERING)
    is_reply = Match(Field.CT_DIRECTION, "reply")
    chains = (
        Chain(
            names.PROFILE_FROM.format(*place),
            (
                rule(is_reply, goto(from_reply)),
                # Not by `ct state`: to conntrack a flow stays new until it is answered, and some never are.
                *((rule(once_passed, jump(names.PASSED) if forwards(namespace) else ACCEPT),) if lenient else ()),
                *asked(egress, ACCEPT if lenient else goto(names.OPENING)),
            ),
        ),
        # A DHCP server's unicast answer may have begun the flow that the client's next request belongs to (S15).
        Chain(from_reply, (rule(dhcp), *exempt[names.FROM_BACKEND], *asked(ingress, answering, reply=True))),
        Chain(
            names.PROFILE_TO.format(*place),
            (
                rule(Match(Field.CT_STATE, "new", "!="), goto(to_known)),
                *begins(names.DHCP_TO),
                *exempt[names.TO_BACKEND],
                *asked(ingress, *passing(namespace, opened(namespace) if namespace.owned else names.BEGUN[family])),
            ),
        ),
        Chain(
            to_known,
            (
                rule(jump(names.KNOWN_TO)),
                rule(is_reply, goto(to_reply)),
                *exempt[names.TO_BACKEND],
                *asked(ingress, *passing(namespace, opened(namespace))),
            ),
        ),
        Chain(
            to_reply,
            (
                *((rule(once_passed, goto(names.ANSWERED)),) if lenient else ()),
                *asked(egress, goto(names.ANSWERED), reply=True),
            ),
        ),
    )
    return Profile(chains[0].name, chains[2].name, chains)


def judged(judge: Judge, *passed: Verdict, family: Family, edition: int, reply: bool = False) -> Iterator[Rule]:
    """Have the peer classed, if that matters, and ask a policy chain: it comes back only for allowed traffic.

    Both are of one generation wherever a packet's way crosses a commit, for the profile is; a policy that called for
    the class itself could be a new one and get a class of the old ones.
    """
    if judge.by_address:
        classify = names.CLASSIFY_SOURCE if judge.inward is not reply else names.CLASSIFY_DESTINATION
        yield rule(jump(classify.format(family, edition)))
    yield rule(jump(judge.reply if reply else judge.chain))
    first, *others = passed
    yield rule(SetPriority(0), first) if judge.scratch else rule(first)
    yield from map(rule, others)
