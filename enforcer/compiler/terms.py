"""Address terms: the sets of peer addresses that rules speak of, as sorted disjoint spans (S5, S8).

A rule for any address has no term: "any address" (None) and "an empty set" (no spans) are different things (S19).

    rule.remote_group = Sg-B  ──▶  "group Sg-B"  ──▶  Term("group Sg-B", ((3232235532, 3232235532), …))
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from enforcer.compiler.program import Span
from enforcer.model import Family, Policy, Rule

GROUP, ADDRESS_GROUP = "group ", "address group "
"""How the names of terms begin that are no prefix."""


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


def term_name(rule: Rule) -> str | None:
    """Return the name of the rule's term, None for "any address"."""
    if anywhere(rule):
        return None
    if rule.remote_group is not None:
        return f"{GROUP}{rule.remote_group}"
    if rule.remote_address_group is not None:
        return f"{ADDRESS_GROUP}{rule.remote_address_group}"
    return str(rule.remote_ip_prefix)


def visible(policy: Policy, vpcs: tuple[str, ...]) -> frozenset[str]:
    """Return the VPCs whose addresses mean the same in a namespace of these VPCs: themselves and their peers (S18)."""
    return frozenset((*vpcs, *(peer for vpc in vpcs for peer in policy.peers_of(vpc))))


class Terms:
    """The terms of one policy as seen from the VPCs of one namespace, by their names.

    Members of a group count where their packets can come from with their own address: in these VPCs and the ones
    peered with them. Equal addresses in other VPCs belong to others and never leak in (S8, S18).
    """

    def __init__(self, policy: Policy, vpcs: tuple[str, ...]) -> None:
        self._policy = policy
        self._visible = visible(policy, vpcs)

    def named(self, name: str, family: Family) -> Term:
        """Return the term that `term_name` has named for some rule."""
        if name.startswith(GROUP):
            return Term(name, self._members(name.removeprefix(GROUP), family))
        if name.startswith(ADDRESS_GROUP):
            return Term(name, self._entries(name.removeprefix(ADDRESS_GROUP), family))
        network = ip_network(name)
        return Term(name, (Span(int(network.network_address), int(network.broadcast_address)),))

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
