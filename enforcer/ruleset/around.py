"""What of a Ruleset does not depend on the policies: the packet's way, and what knows NICs; and how NICs come and go.

    around = Around.of(namespace, profiles, made_for)
    around.after(namespace, profiles, made_for)     the same with other NICs: only their own elements are made

Elements of NICs that stay are the very same; those of NICs that come stand behind them, whatever their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from enforcer.compiler.program import NamespaceProgram, NicProgram
from enforcer.model.runs import same_ends
from enforcer.ruleset import names
from enforcer.ruleset.denials import denied_chains, refused_chains
from enforcer.ruleset.nft import Chain, Set, Table
from enforcer.ruleset.nics import ProfileKey, balancer_objects, closed_chains, inet_sets, netdev_sets, nic_chain
from enforcer.ruleset.profiles import Profile
from enforcer.ruleset.skeleton import inet_chains
from enforcer.ruleset.sources import checked_mark, source_chains

MadeFor = tuple[frozenset[str], frozenset[str], int]
"""Absent interfaces, closed ones, and the edition."""

_CONSTANT = ("owned", "declared", "exemptions", "marks", "revoke_both", "deny_log")


@dataclass(frozen=True, slots=True)
class Around:
    """The netdev table, and of the inet table all but policies and profiles; and what they were made for."""

    namespace: NamespaceProgram
    made_for: MadeFor
    profiles: Mapping[ProfileKey, Profile]
    netdev: Table
    sets: tuple[Set, ...]
    balancer_chains: tuple[Chain, ...]
    way: tuple[Chain, ...]

    @classmethod
    def of(cls, namespace: NamespaceProgram, profiles: Mapping[ProfileKey, Profile], made_for: MadeFor) -> Around:
        """Make all of it."""
        absent, closed, _ = made_for
        present = tuple(nic for nic in namespace.nics if nic.interface not in absent)
        nic_chains = (nic_chain(nic, checked_mark(namespace)) for nic in present)
        chains = (*refused_chains(namespace, netdev=True), *source_chains(namespace), *nic_chains, *_shut(closed))
        netdev = Table("netdev", names.TABLE, (), netdev_sets(present), chains)
        balancer_sets, balancer_chains = balancer_objects(namespace)
        sets = (*inet_sets(namespace, present, profiles), *balancer_sets)
        return cls(namespace, made_for, profiles, netdev, sets, balancer_chains, _way(namespace))

    def after(self, namespace: NamespaceProgram, profiles: Mapping[ProfileKey, Profile], made_for: MadeFor) -> Around:
        """Return what it is for another program, or for other interfaces."""
        old, (absent, closed, edition) = self.namespace, self.made_for
        same = all(getattr(old, name) == getattr(namespace, name) for name in _CONSTANT)
        if not same or edition != made_for[2]:
            return Around.of(namespace, profiles, made_for)
        gone, come = differing_nics(old.nics, namespace.nics)
        moved = (absent ^ made_for[0]) - {nic.interface for nic in (*gone, *come)}
        stay = tuple(nic for nic in namespace.nics if nic.interface in moved) if moved else ()
        if not gone and not come and not stay and closed == made_for[1]:
            return replace(self, namespace=namespace, made_for=made_for, profiles=profiles)
        left = tuple(nic for nic in (*gone, *stay) if nic.interface not in absent)
        here = tuple(nic for nic in (*come, *stay) if nic.interface not in made_for[0])
        before = inet_sets(replace(old, nics=gone), left, self.profiles)
        now = inet_sets(replace(namespace, nics=come), here, profiles)
        return replace(
            self,
            namespace=namespace,
            made_for=made_for,
            profiles=profiles,
            netdev=self._netdev(left, here, tuple(_shut(closed - made_for[1])), tuple(_shut(made_for[1] - closed))),
            sets=_spliced(self.sets, before, now),
            way=self.way if all(map(_plain, (*gone, *come))) else self._way_of(namespace),
        )

    def _way_of(self, namespace: NamespaceProgram) -> tuple[Chain, ...]:
        return tuple(old if old == new else new for old, new in zip(self.way, _way(namespace), strict=True))

    def _netdev(
        self,
        left: tuple[NicProgram, ...],
        here: tuple[NicProgram, ...],
        opened: tuple[Chain, ...],
        shut: tuple[Chain, ...],
    ) -> Table:
        checked = checked_mark(self.namespace)
        loose = {*(names.NIC_CHAIN.format(nic.interface) for nic in left), *(chain.name for chain in opened)}
        kept = [chain for chain in self.netdev.chains if chain.name not in loose] if loose else self.netdev.chains
        sets = _spliced(self.netdev.sets, netdev_sets(left), netdev_sets(here))
        return replace(self.netdev, sets=sets, chains=(*kept, *(nic_chain(nic, checked) for nic in here), *shut))


def _shut(closed: Iterable[str]) -> Iterator[Chain]:
    """Build the chains of closed interfaces."""
    return (chain for interface in sorted(closed) for chain in closed_chains(interface))


def _plain(nic: NicProgram) -> bool:
    """Say whether a NIC is reached by single addresses alone: then the fixed chains do not ask about it."""
    return nic.source_dest_check and all(network.num_addresses == 1 for network in nic.addresses)


def _way(namespace: NamespaceProgram) -> tuple[Chain, ...]:
    """Build the fixed chains; which ways NICs can be reached decides a little about them."""
    return (*denied_chains(namespace), *refused_chains(namespace, netdev=False), *inet_chains(namespace))


def differing_nics(
    before: tuple[NicProgram, ...], after: tuple[NicProgram, ...]
) -> tuple[tuple[NicProgram, ...], tuple[NicProgram, ...]]:
    """Return the NICs that have gone and that have come; one that has changed has gone and has come."""
    if before is after:
        return (), ()
    first, last = same_ends(before, after)
    between = before[first : len(before) - last], after[first : len(after) - last]
    same = {id(nic) for nic in between[0]} & {id(nic) for nic in between[1]}
    old, new = ({nic.interface: nic for nic in nics if id(nic) not in same} for nics in between)
    equal = {name for name, nic in old.items() if new.get(name) == nic}
    gone, come = (tuple(nic for name, nic in nics.items() if name not in equal) for nics in (old, new))
    return gone, come


def _spliced(sets: Iterable[Set], gone: Iterable[Set], come: Iterable[Set]) -> tuple[Set, ...]:
    """Take elements out of sets and put others in; what both have stays where it is."""
    left, new = ({entry.name: {e.key: e for e in entry.elements} for entry in each} for each in (gone, come))
    found = []
    for entry in sets:
        old, more = left.get(entry.name, {}), new.get(entry.name, {})
        stay = {key for key in old.keys() & more.keys() if old[key] == more[key]}
        if len(stay) < max(len(old), len(more)):
            kept = list(entry.elements)
            for key, element in old.items():
                if key not in stay:
                    kept.remove(element)
            added = (element for key, element in more.items() if key not in stay)
            found.append(replace(entry, elements=(*kept, *added)))
        else:
            found.append(entry)
    return tuple(found)
