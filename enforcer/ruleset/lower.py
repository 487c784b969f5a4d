"""Program → Ruleset: the objects of the two tables, in an order in which nft can create them.

What changes often comes first: the kernel looks for a set by its name from the first one on. A `Lowering` remembers
what it has made: what is the same in the next Program is the very same object in the next Ruleset.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from enforcer.compiler.program import AddressMap, NamespaceProgram, SidePolicy, Sides
from enforcer.model import Family
from enforcer.model.runs import Runs
from enforcer.ruleset import names
from enforcer.ruleset.around import Around, MadeFor
from enforcer.ruleset.classify import Classifier, classifier, spliced_hosts
from enforcer.ruleset.nft import Chain, Ruleset, Set, Table
from enforcer.ruleset.nics import ProfileKey
from enforcer.ruleset.policies import Judge, Life, Lowered, lower_policy, with_locals
from enforcer.ruleset.profiles import Profile, lower_profile
from enforcer.ruleset.skeleton import TIMEOUT_OBJECTS
from enforcer.ruleset.stamps import forwards, in_force, mark_chains


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
    return Lowering().lower(namespace, generation, absent, closed, edition)


Users = Mapping[str, frozenset[ProfileKey]]
"""The profiles that a policy judges, by the policy's key: lists that say the same share one."""


def users_of(sides: Iterable[Sides]) -> Users:
    """Return who is judged by each policy."""
    found: dict[str, set[ProfileKey]] = {}
    for each in sides:
        for key in (each.ingress, each.egress):
            found.setdefault(key, set()).add((each.family, each.profile))
    return {key: frozenset(profiles) for key, profiles in found.items()}


@dataclass(frozen=True, slots=True)
class _Judging:
    """Policies and classifiers lowered, each map and chain once; and what they were made of."""

    policies: tuple[SidePolicy, ...]
    users: Users
    classifiers: dict[Family, Classifier]
    judges: dict[str, Judge]
    sets: tuple[Set, ...]
    chains: tuple[Chain, ...]


@dataclass(slots=True)
class Lowering:
    """Lowers one Program of a namespace after the other.

    Between one `begin` and the next it has a life of its own: what changes in place is named by it (`lower_policy`).
    """

    _policies: dict[str, Lowered] = field(default_factory=dict)
    _made: dict[str, Lowered] = field(default_factory=dict)
    _classifiers: dict[Family, tuple[AddressMap, int, Classifier]] = field(default_factory=dict)
    _profiles: dict[ProfileKey, tuple[tuple[object, ...], Profile]] = field(default_factory=dict)
    _judging: _Judging | None = None
    _around: Around | None = None
    _last: tuple[NamespaceProgram, Ruleset] | None = None
    _life: Life | None = None

    def begin(
        self,
        namespace: NamespaceProgram,
        generation: int,
        absent: Collection[str] = (),
        closed: Collection[str] = (),
        edition: int = 1,
    ) -> Ruleset:
        """Lower the first Program that is loaded; there is nothing of its edition yet, and later ones change it."""
        self._life, self._policies = Life(edition, edition), {}
        self._last = self._judging = None
        return self.lower(namespace, generation, absent, closed, edition)

    def lower(
        self,
        namespace: NamespaceProgram,
        generation: int,
        absent: Collection[str] = (),
        closed: Collection[str] = (),
        edition: int = 1,
    ) -> Ruleset:
        """Lower a Program, as `lower` does."""
        made_for = (frozenset(absent), frozenset(closed), edition)
        ruleset = self._with_hosts(namespace, generation, made_for) or self._whole(namespace, generation, made_for)
        self._last = (namespace, ruleset)
        return ruleset

    def let_go(self, beyond: int = 0) -> None:
        """Forget what verdict maps say, which the kernel has by now, if it is that of more lists than some.

        What must be known of it is made again, which takes longer than a small change does.
        """
        if len(self._made) <= beyond:
            return
        for each in (said for lowered in self._made.values() for said in lowered.said):
            each.let_go()
        self._made = {}

    def afresh(self) -> Lowering:
        """Return one that knows nothing of policies; what NICs have is the same, whatever was done to the kernel."""
        return Lowering(_around=self._around)

    def _with_hosts(self, namespace: NamespaceProgram, generation: int, made_for: MadeFor) -> Ruleset | None:
        """Lower a Program that differs from the last one in its hosts alone: the time does not depend on the rest."""
        if self._last is None or self._around is None or self._around.made_for != made_for:
            return None
        before, ruleset = self._last
        if any(getattr(before, field) is not getattr(namespace, field) for field in ("policies", "nics", "sides")):
            return None
        if replace(before, addresses=namespace.addresses) != namespace:
            return None
        inet = ruleset.tables[0]
        sets = Runs.of(inet.sets).spliced(0, 1, (in_force(namespace, generation),))
        for old, new in zip(before.addresses, namespace.addresses, strict=True):
            if old.pieces is not new.pieces or bool(old.hosts) is not bool(new.hosts):
                return None
            if old.hosts is not new.hosts and old.hosts:
                there = self._classifiers[old.family][2].sets[0]
                at = next(at for at, entry in enumerate(sets) if entry is there)
                sets = sets.spliced(at, at + 1, self._classifier(new, made_for[2]).sets[:1])
        marks = mark_chains(namespace, generation)
        chains = Runs.of(inet.chains).spliced(0, len(marks), marks)
        chains = chains.spliced(len(chains) - 1, len(chains), (_named(generation),))
        tables = (replace(inet, sets=sets, chains=chains), *ruleset.tables[1:])
        return Ruleset(namespace.name, tables, generation)

    def _whole(self, namespace: NamespaceProgram, generation: int, made_for: MadeFor) -> Ruleset:
        edition = made_for[2]
        judging = self._judged(namespace, edition)
        profiles = self._profiles_of(namespace, judging.judges, edition)
        last = self._around
        around = last.after(namespace, profiles, made_for) if last else Around.of(namespace, profiles, made_for)
        self._around = around
        inet = Table(
            "inet",
            names.TABLE,
            () if namespace.owned else TIMEOUT_OBJECTS,
            Runs.of((in_force(namespace, generation), *around.sets, *judging.sets)),
            Runs.of(
                (
                    *mark_chains(namespace, generation),
                    *judging.chains,
                    *around.balancer_chains,
                    *{chain.name: chain for profile in profiles.values() for chain in profile.chains}.values(),
                    *around.way,
                    Chain(names.FORM, ()),
                    _named(generation),
                )
            ),
        )
        return Ruleset(namespace.name, (inet, around.netdev), generation)

    def _judged(self, namespace: NamespaceProgram, edition: int) -> _Judging:
        """Lower what judges; NICs that come and go make no difference to it."""
        classifiers = {addresses.family: self._classifier(addresses, edition) for addresses in namespace.addresses}
        last = self._judging
        same = last is not None and all(last.classifiers[each] is found for each, found in classifiers.items())
        if last is not None and same and last.policies is namespace.policies:
            return last
        judges: dict[str, Judge] = {}
        sets: dict[str, Set] = {}
        chains: dict[str, Chain] = {}
        known, self._policies = self._policies, {}
        lists = {each.policy.lineage: each for each in known.values()}
        users, before = users_of(namespace.sides), last.users if last else {}
        self._life = replace(self._life, turn=self._life.turn + 1) if self._life and known else self._life
        for policy in namespace.policies:
            was = lists.get(policy.lineage)
            together = was is None or before.get(was.policy.key, frozenset()) <= users[policy.key]
            lowered = self._policy(policy, known, was, together=together)
            judges[policy.key] = lowered.judge
            sets.update((entry.name, entry) for entry in lowered.sets)
            chains.update((chain.name, chain) for chain in lowered.chains)
        asked = {policy.family for policy in namespace.policies if judges[policy.key].by_address}
        classify = [classifiers[family] for family in sorted(asked)]
        sets = {entry.name: entry for each in classify for entry in each.sets} | sets
        chains = {chain.name: chain for each in classify for chain in each.chains} | chains
        made = _Judging(namespace.policies, users, classifiers, judges, tuple(sets.values()), tuple(chains.values()))
        self._judging = made
        return made

    def _classifier(self, addresses: AddressMap, edition: int) -> Classifier:
        known = self._classifiers.get(addresses.family)
        if known is not None and known[1] == edition and known[0].pieces is addresses.pieces:
            classify = spliced_hosts(known[2], known[0], addresses)
        else:
            classify = classifier(addresses, edition, (known[0], known[2]) if known else None)
        self._classifiers[addresses.family] = (addresses, edition, classify)
        return classify

    def _policy(
        self, policy: SidePolicy, known: Mapping[str, Lowered], was: Lowered | None, *, together: bool
    ) -> Lowered:
        """Lower a side policy; under one key, nothing but its local classes can differ.

        `was` is what its list said before, which another list may have said as well: that one's maps are the list's
        that the policy stood for then. If not all lists that said so change `together`, nothing of it changes in place.
        """
        before = known.get(policy.key)
        if before is None or before.policy.lineage != policy.lineage:
            lowered = lower_policy(policy, self._life, was, in_place=together)
            self._made[policy.lineage] = lowered
        else:
            lowered = before if before.policy is policy else with_locals(before, policy)
        self._policies[policy.key] = lowered
        return lowered

    def _profiles_of(
        self, namespace: NamespaceProgram, judges: dict[str, Judge], edition: int
    ) -> dict[ProfileKey, Profile]:
        balanced = frozenset(exemption.address.version for exemption in namespace.exemptions)
        ours = (namespace.owned, namespace.marks.connection_mask, namespace.revoke_both)
        constants = (*ours, balanced, forwards(namespace), edition)
        known, self._profiles = self._profiles, {}
        profiles: dict[ProfileKey, Profile] = {}
        for sides in namespace.sides:
            key = (sides.family, sides.profile)
            content = (sides, judges[sides.ingress], judges[sides.egress], constants)
            was = known.get(key)
            profile = was[1] if was and was[0] == content else lower_profile(sides, judges, namespace, edition)
            self._profiles[key], profiles[key] = (content, profile), profile
        return profiles


def _named(generation: int) -> Chain:
    """Build the chain that says which generation is in force."""
    return Chain(names.GENERATION.format(generation), ())
