"""Address → class: the step that all side policies of a namespace and family share (docs/design.md §2).

Single addresses are in a hash map, which changes in place; everything else is in interval maps, which do not
(`pieces`). What asks them leaves the class in the packet's priority.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from enforcer.compiler.program import AddressMap
from enforcer.compiler.space import same_ends
from enforcer.model import Family
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
