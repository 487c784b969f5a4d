"""Where packets end that may not pass: counted for their NIC, logged below the NIC's own limit, dropped (S17).

    a policy's "no" ──goto──▶ denied       ──jump──▶ denial_log        counts revoked flows, too
    a check's "no"  ──goto──▶ refused_KEY  ──jump──▶ refused_KEY_log   KEY stands for the reason

Chains that drop have the same content for ever, so that no transaction ever finds them empty; what differs with the
configuration is in the chains of the log. A packet from a NIC meets them where there is no interface to go to yet.
"""

from __future__ import annotations

from collections.abc import Iterator

from enforcer.compiler.program import NamespaceProgram
from enforcer.ruleset import names
from enforcer.ruleset.nft import DROP, Chain, Counter, Field, InSet, Log, Match, Rule, SetMark, Throttle, jump, rule
from enforcer.ruleset.skeleton import fixed
from enforcer.ruleset.stamps import ALL_BITS, cut_bits, forwards, generation_mask, reached_bits, through_bits

FROM_NIC, TO_NIC, REPLY = "from", "to", "-reply"
"""Prefixes of the deny log: whose NIC denied the packet, and whether it answers a flow that the other side opened."""
REFUSED = ":"
"""Stands between the prefix and the key of a refusal."""
REASONS = {
    "source": "spoofed source",
    "mac": "spoofed MAC",
    "syn": "no SYN",
    "flow": "invalid, or related to no flow in force",
    "dhcp": "an instance is no DHCP server",
}
"""Why checks refuse a packet that no policy was asked about (S13, S15, S16), by the keys of their chains."""
IN_NETDEV = frozenset(("source", "mac"))
LOGGED_BYTES = 128
"""Enough for an IPv6 header, extensions and the ports behind them."""

_WAYS = ((FROM_NIC, Field.IIF, Match(Field.OIF, 0)), (TO_NIC, Field.OIF, Match(Field.OIF, 0, "!=")))


def denied_chains(namespace: NamespaceProgram) -> tuple[Chain, ...]:
    """Build where the "no" of every policy ends; "reply": the flow was opened by the other side.

    A flow that passed under an earlier policy is counted as revoked, once: its stamp gives way to one that is never in
    force. If a later change lets it pass again, it is stamped again.
    """
    rules = [*_revoked(namespace)]
    for prefix, nic, where in _WAYS:
        for direction, suffix in (("original", ""), ("reply", REPLY)):
            told = _told(namespace, nic, names.DENIALS, prefix + suffix)
            rules.append(rule(where, Match(Field.CT_DIRECTION, direction), *told))
    return (
        fixed(names.DENIAL_LOG, *rules),
        Chain(names.DENIED, (rule(jump(names.DENIAL_LOG)), rule(DROP))),
    )


def refused_chains(namespace: NamespaceProgram, *, netdev: bool) -> Iterator[Chain]:
    """Build where packets end that checks refuse, in the table of one family."""
    for key, reason in REASONS.items():
        if (key in IN_NETDEV) is netdev:
            log = names.REFUSED_LOG.format(key)
            told = [(where, _told(namespace, nic, names.REFUSALS, way + REFUSED + key)) for way, nic, where in _WAYS]
            yield fixed(log, rule(*told[0][1])) if netdev else fixed(log, *(rule(where, *each) for where, each in told))
            yield Chain(names.REFUSED.format(key), (rule(jump(log)), rule(Counter(), DROP, comment=reason)))


def _revoked(namespace: NamespaceProgram) -> Iterator[Rule]:
    mask, bits = namespace.marks.connection_mask, generation_mask(namespace.marks)
    revoked, keep = mask, ALL_BITS ^ mask  # no generation: `stamps`
    for _, nic, where in _WAYS:
        counted = Throttle(nic, names.REVOKED)
        if forwards(namespace):
            cut = counted, SetMark(Field.CT_MARK, keep, cut_bits(namespace.marks))
            yield rule(where, Match(Field.CT_MARK, through_bits(namespace.marks), "==", mask), *cut)
            if nic is Field.OIF:  # behind a forwarder it may be the first packet, which nobody has let pass everywhere
                first = InSet((Field.OIF,), names.FORWARDER_IFS), InSet((Field.IIF,), names.FORWARDER_IFS, negated=True)
                yield rule(where, Match(Field.CT_MARK, reached_bits(namespace.marks), "==", mask), *first, *cut)
        passed = Match(Field.CT_MARK, 0, "!=", mask), Match(Field.CT_MARK, bits, "!=", bits)
        yield rule(where, *passed, counted, SetMark(Field.CT_MARK, keep, revoked))


def _told(namespace: NamespaceProgram, nic: Field, counted_in: str, prefix: str) -> tuple[Throttle | Log, ...]:
    config = namespace.deny_log
    if not config.enabled:
        return (Throttle(nic, counted_in),)
    return Throttle(nic, counted_in, config.per_second, config.burst), Log(config.group, prefix, LOGGED_BYTES)
