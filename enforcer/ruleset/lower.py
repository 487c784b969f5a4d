"""Program → Ruleset: the objects of the two tables, in an order in which nft can create them.

Sets that change often come first: the kernel looks for a set by its name from the first one on.
"""

from __future__ import annotations

from collections.abc import Collection

from enforcer.compiler.program import NamespaceProgram, NicProgram
from enforcer.ruleset import names
from enforcer.ruleset.nft import Chain, Ruleset, Set, Table
from enforcer.ruleset.nics import ProfileKey, balancer_objects, closed_chains, inet_sets, netdev_sets, nic_chain
from enforcer.ruleset.policies import DECIDED, Judge, classifier, denied_chains, lower_policy
from enforcer.ruleset.profiles import Profile, lower_profile
from enforcer.ruleset.skeleton import TIMEOUT_OBJECTS, in_force, inet_chains
from enforcer.ruleset.sources import checked_mark, source_chains


def lower(
    namespace: NamespaceProgram,
    generation: int = 1,
    absent: Collection[str] = (),
    closed: Collection[str] = (),
    edition: int = 1,
) -> Ruleset:
    """Lower one namespace of a Program.

    `generation` (≥ 1) stamps the flows that pass; a new one has every flow judged again (S14). `absent` names
    interfaces that do not exist: nothing can be bound to them, so they stay closed (S19). Of the absent, `closed` ones
    do exist, and are closed at the device itself. `edition` is part of the names of what changes in place later.
    """
    present = tuple(nic for nic in namespace.nics if nic.interface not in absent)
    netdev = Table(
        "netdev",
        names.TABLE,
        (),
        netdev_sets(present),
        (
            *source_chains(namespace),
            *(nic_chain(nic, checked_mark(namespace)) for nic in present),
            *(chain for interface in sorted(set(closed)) for chain in closed_chains(interface)),
        ),
    )
    return Ruleset(namespace.name, (_inet(namespace, present, generation, edition), netdev), generation)


def _inet(namespace: NamespaceProgram, present: tuple[NicProgram, ...], generation: int, edition: int) -> Table:
    judges: dict[str, Judge] = {}
    sets: dict[str, Set] = {}
    chains: dict[str, Chain] = {}
    classifiers = {addresses.family: classifier(addresses, edition) for addresses in namespace.addresses}
    for policy in namespace.policies:
        classify = classifiers[policy.family]
        judge, policy_sets, policy_chains = lower_policy(policy, classify)
        judges[policy.key] = judge
        if judge.scratch:
            sets.update((entry.name, entry) for entry in classify.sets)
            chains.update((chain.name, chain) for chain in classify.chains)
        sets.update((entry.name, entry) for entry in policy_sets)
        chains.update((chain.name, chain) for chain in policy_chains)
    profiles: dict[ProfileKey, Profile] = {}
    for nic in namespace.nics:
        for sides in nic.sides:
            if (key := (sides.family, sides.profile)) not in profiles:
                profiles[key] = lower_profile(sides, judges, namespace, edition)
    profile_chains = {chain.name: chain for profile in profiles.values() for chain in profile.chains}
    balancer_sets, balancer_chains = balancer_objects(namespace)
    return Table(
        "inet",
        names.TABLE,
        () if namespace.owned else TIMEOUT_OBJECTS,
        (in_force(namespace, generation), *inet_sets(namespace, present, profiles), *balancer_sets, *sets.values()),
        (
            *denied_chains(namespace),
            DECIDED,
            *chains.values(),
            *balancer_chains,
            *profile_chains.values(),
            *inet_chains(namespace, generation),
            Chain(names.GENERATION.format(generation), ()),
        ),
    )
