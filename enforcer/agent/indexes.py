"""What NICs have taken – addresses, MACs, interfaces – and who is named, so that one more NIC is checked by look-up.

Says only whether something is free; what to say to a person if it is not is said by the checks of the whole policy.
Example: `indexes.moved(gone=[], come=[(ecs, nic)])` is None if the NIC's address is somebody else's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from enforcer.model.instances import Ecs, Nic
from enforcer.model.policy import Policy
from enforcer.model.reading.placement import address_fault
from enforcer.model.topology import Subnet

Thing = tuple[str, str, object]
MOST_LATELY = 256
"""How many things may come and go before the large set of them is made anew."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A large set that changes a little: what is in it, less what has gone lately, and what has come."""

    base: frozenset[Thing]
    gone: frozenset[Thing] = frozenset()
    come: frozenset[Thing] = frozenset()

    def __contains__(self, thing: Thing) -> bool:
        return thing in self.come or (thing in self.base and thing not in self.gone)

    def __iter__(self) -> Iterator[Thing]:
        return iter((self.base - self.gone) | self.come)

    def changed(self, gone: set[Thing], come: set[Thing]) -> Taken:
        """Return the set after things have gone and come."""
        found = Taken(self.base, (self.gone | gone) - come, (self.come - gone) | come)
        small = len(found.gone) + len(found.come) <= MOST_LATELY
        return found if small else Taken(frozenset(found))


@dataclass(frozen=True, slots=True)
class Indexes:
    """Of one policy: its subnets with their VPCs, what is taken, and the ECSs that routes, EIPs and balancers name.

    `spaces` are the VPCs of each namespace of this host, perhaps with some whose last NIC has gone: a NIC of one of
    them may come in, all else is asked elsewhere (S18).
    """

    subnets: dict[str, tuple[str, Subnet]]
    taken: Taken
    named: frozenset[str]
    spaces: dict[str, frozenset[str]]

    @classmethod
    def of(cls, policy: Policy) -> Indexes:
        """Return the indexes of a valid policy."""
        subnets = {subnet.name: (vpc.name, subnet) for vpc in policy.vpcs for subnet in vpc.subnets}
        taken = {what for ecs in policy.ecs for nic in ecs.nics for what in _takes(nic, subnets[nic.subnet][0])}
        taken |= {("address", subnets[each.subnet][0], each.address) for each in policy.load_balancers}
        spaces: dict[str, frozenset[str]] = {}
        for ecs in policy.ecs:
            for nic in ecs.nics:
                if nic.interface is not None:
                    spaces[nic.netns] = spaces.get(nic.netns, frozenset()) | {subnets[nic.subnet][0]}
        named = frozenset(name.partition(":")[0] for name in _names(policy))
        return cls(subnets, Taken(frozenset(taken)), named, spaces)

    def moved(self, gone: Collection[Nic], come: Collection[Nic]) -> Indexes | None:
        """Return the indexes after NICs have gone and come; None if one that comes does not fit in."""
        left = {what for nic in gone for what in _takes(nic, self.subnets[nic.subnet][0])}
        found: set[Thing] = set()
        spaces = self.spaces
        for nic in come:
            vpc, subnet = self.subnets.get(nic.subnet, ("", None))
            if subnet is None or any(address_fault(address, subnet) for address in nic.addresses):
                return None
            if nic.interface is not None and vpc not in spaces.get(nic.netns, {vpc}):
                return None
            if nic.interface is not None and nic.netns not in spaces:
                spaces = {**spaces, nic.netns: frozenset((vpc,))}
            for what in _takes(nic, vpc):
                if what in found or (what in self.taken and what not in left):
                    return None
                found.add(what)
        if left == found:
            return self
        return replace(self, taken=self.taken.changed(left, found), spaces=spaces)


def _takes(nic: Nic, vpc: str) -> Iterator[Thing]:
    yield from (("address", vpc, address) for address in nic.addresses)
    if nic.mac is not None:
        yield ("mac", vpc, nic.mac)
    if nic.interface is not None:
        yield ("interface", nic.netns, nic.interface)


def _names(policy: Policy) -> Iterator[str]:
    """Yield every name of a NIC that something else in the policy depends on."""
    yield from (route.next_hop for vpc in policy.vpcs for route in vpc.routes)
    yield from (eip.ecs for eip in policy.eips)
    for balancer in policy.load_balancers:
        yield from (backend.ecs for listener in balancer.listeners for backend in listener.backends)


def same_place(one: Nic, other: Nic) -> bool:
    """Return whether two NICs take the same and lie in the same subnet."""
    here = (one.subnet, one.addresses, one.mac, one.interface, one.netns)
    return here == (other.subnet, other.addresses, other.mac, other.interface, other.netns)


def nics_of(ecs: Ecs | None) -> dict[str, Nic]:
    """Return the NICs of an ECS by name; none of none."""
    return {} if ecs is None else {nic.name: nic for nic in ecs.nics}
