"""Stamps: how a flow bears the generation under which it was judged, in its connection mark (design §3).

    revoked 11…11 11      a change has cut it; never in force
    whole   generation 00 judged on all of its way: the one that is in force passes unasked (`in_force`)
    answer  generation 01 an answer was let in by the rules that keep the flow, and has not left yet
    opening generation 10 `revoke: both`: the same for a packet that goes the way of those who opened it
    through 11…11 01      came out of a forwarder and reached an end; reached 11…11 10: came to one; cut 11…11 00

What an instance sends is judged at prerouting, but the stamp is given where it leaves. A packet that passed under the
old rules and meets the new ones there must not bring the new stamp: a change would not hold for its flow. So prerouting
leaves half a stamp in the flow, and only that of the generation in force is made whole. Where there is none the packet
passes – it was on its way when the change came – and the flow's next one is judged.

Without `revoke: both` only answers need that: a flow goes on under its old outbound rules, and its inbound rules are
asked where the stamp is given. A flow that never passed gets no stamp from answers: its outbound rules are asked, too.

**Flows that meet a forwarder** (an instance without `source_dest_check`) get no stamp at all. To the kernel they are
one flow before and behind it, and whoever lets them pass at one place must not spare them the others; answers may even
come another way. Each packet is judged wherever it goes; the mark says only whether the flow once passed (S14).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from enforcer.compiler.program import NamespaceProgram, NicProgram
from enforcer.model import Marks
from enforcer.ruleset import names
from enforcer.ruleset.nft import (
    ACCEPT,
    RETURN,
    Chain,
    Element,
    Field,
    InSet,
    Match,
    Rule,
    Set,
    SetMark,
    Verdict,
    goto,
    jump,
    rule,
)

ALL_BITS = 0xFFFF_FFFF


def stamping_chains(namespace: NamespaceProgram) -> Iterator[Chain]:
    """Build the chains that stamp a flow, at once or in two halves, and accept the packet."""
    through = forwards(namespace)
    mask, special = namespace.marks.connection_mask, rule(*_special(namespace), ACCEPT)
    of_forwarder = {way: InSet((way,), names.FORWARDER_IFS) for way in (Field.IIF, Field.OIF)}
    whole = (rule(jump(names.MARK)), rule(ACCEPT))
    yield _chain(names.STAMP, *(_through(namespace) if through else ()), *whole)
    passed = Match(Field.CT_MARK, 0, "!=", mask)
    marked = rule(jump(names.MARK_ANSWERING)) if namespace.revoke_both else rule(passed, jump(names.MARK_ANSWERING))
    yield _chain(names.ANSWERING, *((special,) if through else ()), marked, rule(ACCEPT))
    ways = of_forwarder.values() if through else ()
    end = (rule(InSet((Field.IIF,), names.NIC_IFS), ACCEPT), rule(goto(names.STAMP)))
    yield _chain(names.ANSWERED, *(rule(way, ACCEPT) for way in ways), rule(jump(names.MARK_ANSWERED)), *end)
    if namespace.revoke_both:
        yield _chain(names.OPENING, *((special,) if through else ()), rule(jump(names.MARK_OPENING)), rule(ACCEPT))
        stamped = (rule(way, goto(names.STAMP)) for way in ways)
        yield _chain(names.OPENED, *stamped, rule(jump(names.MARK_OPENED)), *end)
    yield _chain(names.PASSED, *(_not_through(namespace) if through else ()), rule(ACCEPT))


def _through(namespace: NamespaceProgram) -> Iterator[Rule]:
    """Say how far a flow has come that meets a forwarder; without a stamp, each of its packets is judged everywhere."""
    keep = ALL_BITS ^ namespace.marks.connection_mask
    through = Match(Field.CT_MARK, through_bits(namespace.marks), "==", namespace.marks.connection_mask)
    to, from_ = InSet((Field.OIF,), names.FORWARDER_IFS), InSet((Field.IIF,), names.FORWARDER_IFS)
    yield rule(to, through, ACCEPT)
    yield rule(to, SetMark(Field.CT_MARK, keep, reached_bits(namespace.marks)), ACCEPT)
    yield rule(from_, SetMark(Field.CT_MARK, keep, through_bits(namespace.marks)), ACCEPT)
    yield rule(*_special(namespace), ACCEPT)


def _not_through(namespace: NamespaceProgram) -> Iterator[Rule]:
    """Let a forwarder's outbound rules be asked about what others opened, until it once came through."""
    mask = namespace.marks.connection_mask
    for field, own in ((Field.IPV4_SOURCE, names.FORWARDER_OWN[4]), (Field.IPV6_SOURCE, names.FORWARDER_OWN[6])):
        yield rule(InSet((Field.IIF, field), own), ACCEPT)
    for bits in (reached_bits(namespace.marks), cut_bits(namespace.marks)):
        yield rule(InSet((Field.IIF,), names.FORWARDER_IFS), Match(Field.CT_MARK, bits, "==", mask), RETURN)


def _special(namespace: NamespaceProgram) -> tuple[Match, Match]:
    """Match what is marked as a flow that meets a forwarder: no generation, and not `revoked`."""
    mask, bits = namespace.marks.connection_mask, generation_mask(namespace.marks)
    return Match(Field.CT_MARK, bits, "==", bits), Match(Field.CT_MARK, mask, "!=", mask)


def told_of_forwarders(namespace: NamespaceProgram) -> Iterator[Rule]:
    """Let ICMP errors pass about flows that meet a forwarder and pass: these bear no stamp by which they would."""
    if forwards(namespace):
        for bits in (reached_bits(namespace.marks), through_bits(namespace.marks)):
            passes = Match(Field.CT_MARK, bits, "==", namespace.marks.connection_mask)
            yield rule(Match(Field.CT_STATE, "related"), passes, ACCEPT)


def forwards(namespace: NamespaceProgram) -> bool:
    """Say whether a flow may pass through an instance here, to be judged on its way in and on its way out."""
    asked, found = _LAST_ASKED[0]
    if asked is not namespace.nics:
        found = any(not nic.source_dest_check for nic in namespace.nics)
        _LAST_ASKED[0] = (namespace.nics, found)
    return found


_LAST_ASKED: list[tuple[Sequence[NicProgram], bool]] = [((), False)]
"""The NICs that were asked about last, and the answer: to lower a Program asks several times about thousands."""


def opened(namespace: NamespaceProgram) -> str:
    """Name the chain that stamps what goes the way of those who opened the flow."""
    return names.OPENED if namespace.revoke_both else names.STAMP


def passing(namespace: NamespaceProgram, chain: str) -> tuple[Verdict, ...]:
    """Let a packet pass by a chain that stamps its flow; where that does nothing else, without going there.

    To go to a chain costs a first packet a hundredth of what all of its way does.
    """
    at_once = chain == names.STAMP and not forwards(namespace)
    return (jump(names.MARK), ACCEPT) if at_once else (goto(chain),)


def mark_chains(namespace: NamespaceProgram, generation: int) -> tuple[Chain, ...]:
    """Build the chains that mark a flow: with its stamp, with half of it, and with the other half.

    Their only rules have no verdict and ask no set: replacing them does not make the kernel walk all chains and maps
    again.
    """
    marks = namespace.marks
    return _mark_chains(marks.connection_mask, stamp_bits(marks, generation), namespace.revoke_both)


@lru_cache(64)
def _mark_chains(mask: int, stamp: int, both: bool) -> tuple[Chain, ...]:
    keep, low = ALL_BITS ^ mask, mask & -mask
    chains = [_chain(names.MARK, rule(SetMark(Field.CT_MARK, keep, stamp)))]
    for begin, end, half in (
        (names.MARK_ANSWERING, names.MARK_ANSWERED, stamp | low),
        (names.MARK_OPENING, names.MARK_OPENED, stamp | low << 1),
    ):
        if begin == names.MARK_ANSWERING or both:
            chains.append(_chain(begin, rule(SetMark(Field.CT_MARK, keep, half))))
            chains.append(
                _chain(end, rule(Match(Field.CT_MARK, half, "==", mask), SetMark(Field.CT_MARK, keep, stamp)))
            )
    return tuple(chains)


def in_force(namespace: NamespaceProgram, generation: int) -> Set:
    """Build the set of the one stamp that lets a packet pass unasked; two fit, for the moment of a change."""
    stamp = Element((stamp_bits(namespace.marks, generation),))
    return Set(names.IN_FORCE, (Field.CT_MARK,), (stamp,), fixed=True, size=2)


def generation_mask(marks: Marks) -> int:
    """Return the bits of the connection mark that tell the generation: all of ours but the lowest two."""
    mask = marks.connection_mask
    return mask & ~((mask & -mask) * 3)


def last_generation(marks: Marks) -> int:
    """Return the largest generation that fits; the next one would have all bits set, as a revoked flow has."""
    bits = generation_mask(marks)
    return bits // (bits & -bits) - 1


def reached_bits(marks: Marks) -> int:
    """Return the mark of a flow that came to a forwarder."""
    return generation_mask(marks) | (marks.connection_mask & -marks.connection_mask) << 1


def through_bits(marks: Marks) -> int:
    """Return the mark of a flow that came out of a forwarder and reached an end."""
    return generation_mask(marks) | marks.connection_mask & -marks.connection_mask


def cut_bits(marks: Marks) -> int:
    """Return the mark of a flow that met a forwarder, and that a change has cut."""
    return generation_mask(marks)


def stamp_bits(marks: Marks, generation: int) -> int:
    """Shift a generation into the connection mark's own bits; all of them set is no generation, but a revoked flow."""
    bits = generation_mask(marks)
    stamp = generation * (bits & -bits)
    if generation < 1 or stamp & ~bits or stamp == bits:
        raise ValueError(f"generation {generation} does not fit the mask 0x{marks.connection_mask:08x}")
    return stamp


def _chain(name: str, *rules: Rule) -> Chain:
    return Chain(name, rules, fixed=True)
