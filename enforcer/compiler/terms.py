"""Address terms: the sets of peer addresses that rules speak of, as sorted disjoint spans (S5, S8).

A rule for any address has no term: "any address" (None) and "an empty set" (no spans) are different things (S19).

    rule.remote_group = Sg-B  ──▶  Term("group Sg-B", ((3232235532, 3232235532), …))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from enforcer.compiler.program import Span
from enforcer.model import Family, Policy, Rule

_Spans = Callable[[], tuple[Span, ...]]


def anywhere(rule: Rule) -> bool:
    """Say whether a rule is for any address of its family: without a remote, or with the prefix of all addresses."""
    prefix = rule.remote_ip_prefix
    if prefix is not None:
        return prefix.prefixlen == 0
    return rule.remote_group is None and rule.remote_address_group is None


@dataclass(frozen=True, slots=True)
class Term:
    """A named set of addresses of one family; `spans` are sorted and disjoint.

    Members of a group stay single addresses where they are neighbours too: they come and go one by one, and one that
    does must not change the entry of another.
    """

    name: str
    spans: tuple[Span, ...]

    @property
    def singles(self) -> Iterator[int]:
        """The addresses that it lists one by one."""
        return (span.first for span in self.spans if span.first == span.last)

    @property
    def ranges(self) -> Iterator[Span]:
        """The spans of more than one address."""
        return (span for span in self.spans if span.first != span.last)


def merge(spans: list[Span]) -> tuple[Span, ...]:
    """Sort spans and join those that overlap or touch: nft rejects overlapping intervals."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.first <= merged[-1].last + 1:
            merged[-1] = Span(merged[-1].first, max(merged[-1].last, span.last))
        else:
            merged.append(span)
    return tuple(merged)


class Terms:
    """The terms of one policy as seen from the VPCs of one namespace.

    Members of a group count where their packets can come from with their own address: in these VPCs and the ones
    peered with them. Equal addresses in other VPCs belong to others and never leak in (S8, S18).
    """

    def __init__(self, policy: Policy, vpcs: tuple[str, ...]) -> None:
        self._policy = policy
        self._visible = {*vpcs, *(peer for vpc in vpcs for peer in policy.peers_of(vpc))}
        self._known: dict[tuple[str, Family], Term] = {}

    def of(self, rule: Rule) -> Term | None:
        """Return the rule's term, None for "any address"."""
        if anywhere(rule):
            return None
        if rule.remote_ip_prefix is not None:
            network = rule.remote_ip_prefix
            span = Span(int(network.network_address), int(network.broadcast_address))
            return self._term(str(network), rule.family, lambda: (span,))
        if rule.remote_group is not None:
            group = rule.remote_group
            return self._term(f"group {group}", rule.family, lambda: self._members(group, rule.family))
        if rule.remote_address_group is not None:
            entries = rule.remote_address_group
            return self._term(f"address group {entries}", rule.family, lambda: self._entries(entries, rule.family))
        return None

    def named(self, name: str, family: Family) -> Term:
        """Return a term that `of` has returned for some rule."""
        return self._known[(name, family)]

    def _term(self, name: str, family: Family, spans: _Spans) -> Term:
        known = self._known.get((name, family))
        if known is None:
            known = self._known[(name, family)] = Term(name, spans())
        return known

    def _members(self, group: str, family: Family) -> tuple[Span, ...]:
        addresses = {
            int(address)
            for member in self._policy.members(group)
            if member.vpc.name in self._visible
            for address in member.nic.addresses
            if address.version == family
        }
        return tuple(Span(address, address) for address in sorted(addresses))

    def _entries(self, name: str, family: Family) -> tuple[Span, ...]:
        group = self._policy.address_group(name)
        if group.ip_version != family:
            return ()
        return merge([Span(int(entry.first), int(entry.last)) for entry in group.ranges])
