"""Stamps: how a flow bears the generation under which it was judged, in its connection mark (design §3).

    revoked 11…11 11      a change has cut it; never in force
    whole   generation 00 judged on all of its way: the one that is in force passes unasked (`in_force`)
    answer  generation 01 an answer was let in by the rules that keep the flow, and has not left yet
    opening generation 10 `revoke: both`: the same for a packet that goes the way of those who opened it

What an instance sends is judged at prerouting, but the stamp is given where it leaves. A packet that passed under the
old rules and meets the new ones there must not bring the new stamp: a change would not hold for its flow. So prerouting
leaves half a stamp in the flow, and only that of the generation in force is made whole. Where there is none the packet
passes – it was on its way when the change came – and the flow's next one is judged.

Without `revoke: both` only answers need that: a flow goes on under its old outbound rules, and its inbound rules are
asked where the stamp is given. A flow that never passed gets no stamp from answers: its outbound rules are asked, too.
"""

from __future__ import annotations

from collections.abc import Iterator

from enforcer.compiler.program import NamespaceProgram
from enforcer.model import Marks
from enforcer.ruleset import names
from enforcer.ruleset.nft import ACCEPT, Chain, Element, Field, InSet, Match, Rule, Set, SetMark, goto, jump, rule

ALL_BITS = 0xFFFF_FFFF


def stamping_chains(namespace: NamespaceProgram) -> Iterator[Chain]:
    """Build the chains that stamp a flow, at once or in two halves, and accept the packet."""
    yield _chain(names.STAMP, rule(jump(names.MARK)), rule(ACCEPT))
    from_nic = InSet((Field.IIF,), names.NIC_IFS)
    passed = Match(Field.CT_MARK, 0, "!=", namespace.marks.connection_mask)
    marked = rule(jump(names.MARK_ANSWERING)) if namespace.revoke_both else rule(passed, jump(names.MARK_ANSWERING))
    yield _chain(names.ANSWERING, marked, rule(ACCEPT))
    yield _chain(names.ANSWERED, rule(jump(names.MARK_ANSWERED)), rule(from_nic, ACCEPT), rule(goto(names.STAMP)))
    if namespace.revoke_both:
        yield _chain(names.OPENING, rule(jump(names.MARK_OPENING)), rule(ACCEPT))
        yield _chain(names.OPENED, rule(jump(names.MARK_OPENED)), rule(from_nic, ACCEPT), rule(goto(names.STAMP)))


def opened(namespace: NamespaceProgram) -> str:
    """Name the chain that stamps what goes the way of those who opened the flow."""
    return names.OPENED if namespace.revoke_both else names.STAMP


def mark_chains(namespace: NamespaceProgram, generation: int) -> tuple[Chain, ...]:
    """Build the chains that mark a flow: with its stamp, with half of it, and with the other half.

    Their only rules have no verdict and ask no set: replacing them does not make the kernel walk all chains and maps
    again.
    """
    mask = namespace.marks.connection_mask
    keep, stamp, low = ALL_BITS ^ mask, stamp_bits(namespace.marks, generation), mask & -mask
    chains = [_chain(names.MARK, rule(SetMark(Field.CT_MARK, keep, stamp)))]
    for begin, end, half in (
        (names.MARK_ANSWERING, names.MARK_ANSWERED, stamp | low),
        (names.MARK_OPENING, names.MARK_OPENED, stamp | low << 1),
    ):
        if begin == names.MARK_ANSWERING or namespace.revoke_both:
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


def stamp_bits(marks: Marks, generation: int) -> int:
    """Shift a generation into the connection mark's own bits; all of them set is no generation, but a revoked flow."""
    bits = generation_mask(marks)
    stamp = generation * (bits & -bits)
    if generation < 1 or stamp & ~bits or stamp == bits:
        raise ValueError(f"generation {generation} does not fit the mask 0x{marks.connection_mask:08x}")
    return stamp


def _chain(name: str, *rules: Rule) -> Chain:
    return Chain(name, rules, fixed=True)
