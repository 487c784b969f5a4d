"""Address → class: the step that all side policies of a namespace and family share (docs/design.md §2).

Single addresses are in a hash map, which changes in place; everything else is in interval maps, which do not
(`pieces`). What asks them leaves the class in the packet's priority.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

from enforcer.compiler.program import AddressMap
from enforcer.model import Family
from enforcer.model.runs import Runs, differing
from enforcer.ruleset import names
from enforcer.ruleset.nft import Chain, Element, Field, Load, Match, Rule, Set, SetPriority, rule
from enforcer.ruleset.pieces import PieceMaps, piece_maps

SOURCE: dict[Family, Field] = {4: Field.IPV4_SOURCE, 6: Field.IPV6_SOURCE}
DESTINATION: dict[Family, Field] = {4: Field.IPV4_DESTINATION, 6: Field.IPV6_DESTINATION}


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
        return Set(name, (SOURCE[addresses.family],), HostElements(addresses.hosts), "classid")
    old = before[1].sets[0]
    return (
        old
        if addresses.hosts == before[0].hosts and old.name == name
        else replace(old, name=name, elements=HostElements(addresses.hosts))
    )


class HostElements(Sequence[Element]):
    """The elements of a host map, address → class, made when somebody asks for them: of most nobody does."""

    __slots__ = ("_hosts",)

    def __init__(self, hosts: Runs[tuple[int, int]]) -> None:
        self._hosts = hosts

    def __len__(self) -> int:
        return len(self._hosts)

    def __iter__(self) -> Iterator[Element]:
        return map(_element, self._hosts)

    @overload
    def __getitem__(self, at: int) -> Element: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Element, ...]: ...
    def __getitem__(self, at: int | slice) -> Element | tuple[Element, ...]:
        return tuple(map(_element, self._hosts[at])) if isinstance(at, slice) else _element(self._hosts[at])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, HostElements):
            return self._hosts == other._hosts
        return tuple(self) == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._hosts)

    def differing(self, other: HostElements) -> tuple[list[Element], list[Element]]:
        """Return the elements that one of both has alone."""
        one, two = differing(self._hosts, other._hosts)
        same = {*one} & {*two}
        mine, its = ([_element(host) for host in hosts if host not in same] for hosts in (one, two))
        return mine, its


def _element(host: tuple[int, int]) -> Element:
    return Element((host[0],), host[1])


def spliced_hosts(classify: Classifier, before: AddressMap, after: AddressMap) -> Classifier:
    """Lower an address map that differs in its hosts alone; elements that stay are the very same."""
    if before.hosts is after.hosts:
        return classify
    if not before.hosts or not after.hosts:
        return classifier(after, classify.edition, (before, classify))
    hosts = replace(classify.sets[0], elements=HostElements(after.hosts))
    return replace(classify, sets=(hosts, *classify.sets[1:]))


def _classify(addresses: AddressMap, field: Field, hosts: Set, pieces: PieceMaps) -> Iterator[Rule]:
    host = (Load((field,), hosts.name),) if addresses.hosts else ()
    if len(addresses.pieces) == 1:
        yield rule(SetPriority(addresses.pieces[0][1]), *host)
    elif not host:
        yield rule(pieces.ask(field))
    else:
        yield rule(SetPriority(0), *host)
        yield rule(Match(Field.PRIORITY, 0), pieces.ask(field))
