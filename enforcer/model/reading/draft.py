"""A policy on its way: the sound items of a file beside its raw data, and which names the file defines.

A name that only a broken item has still counts as defined, so that one mistake is reported once and not at every
place that refers to it. Example: `draft.names("security_groups").missing("Sg-Q")`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from enforcer.model.groups import AddressGroup, SecurityGroup
from enforcer.model.instances import DEFAULT_GROUP, ONLY_NIC, Ecs, ExternalHost, Nic
from enforcer.model.topology import Eip, LoadBalancer, Peering, Subnet, Vpc
from enforcer.model.words.wording import Place, shown, suggestion

MOST_SUGGESTIONS = 50  # each compares a word with every name: enough for people, bounded for hostile files


@dataclass(slots=True)
class Names:
    """The names of one kind, and what to say of one that is not among them."""

    section: str
    known: frozenset[str]
    asked: dict[str, str] = field(default_factory=dict)

    def missing(self, name: str) -> str | None:
        """Return what is wrong with a reference to `name`, or None."""
        if name in self.known:
            return None
        if name not in self.asked:
            near = suggestion(name, self.known) if len(self.asked) < MOST_SUGGESTIONS else ""
            self.asked[name] = f"{shown(name)} is not defined{near or f'; define it under {self.section}'}"
        return self.asked[name]


@dataclass(frozen=True, slots=True)
class PlacedNic:
    """A sound NIC with its place in the file, and its subnet and VPC where those are sound."""

    ecs: Ecs
    nic: Nic
    place: Place
    subnet: Subnet | None
    vpc: Vpc | None


class Draft:
    """The items that are sound by themselves, each with its position in its section."""

    def __init__(self, source: dict[str, Any]) -> None:
        self.source = source
        self.items: dict[str, list[tuple[int, Any]]] = {}
        self._names: dict[str, Names] = {}

    @property
    def vpcs(self) -> list[tuple[int, Vpc]]:
        return self.items["vpcs"]

    @property
    def peerings(self) -> list[tuple[int, Peering]]:
        return self.items["peerings"]

    @property
    def address_groups(self) -> list[tuple[int, AddressGroup]]:
        return self.items["address_groups"]

    @property
    def security_groups(self) -> list[tuple[int, SecurityGroup]]:
        return self.items["security_groups"]

    @property
    def ecs(self) -> list[tuple[int, Ecs]]:
        return self.items["ecs"]

    @property
    def external_hosts(self) -> list[tuple[int, ExternalHost]]:
        return self.items["external_hosts"]

    @property
    def eips(self) -> list[tuple[int, Eip]]:
        return self.items["eips"]

    @property
    def load_balancers(self) -> list[tuple[int, LoadBalancer]]:
        return self.items["load_balancers"]

    @cached_property
    def subnets(self) -> dict[str, tuple[Vpc, Subnet]]:
        """The sound subnets by name, with their VPCs."""
        return {subnet.name: (vpc, subnet) for _, vpc in self.vpcs for subnet in vpc.subnets}

    @cached_property
    def peered(self) -> frozenset[tuple[str, str]]:
        """The pairs of VPCs that are peered, in both orders."""
        sides = [peering.vpcs for _, peering in self.peerings]
        return frozenset((*sides, *((other, one) for one, other in sides)))

    @cached_property
    def nics(self) -> tuple[PlacedNic, ...]:
        """The sound NICs, in file order."""
        return tuple(self._placed_nics())

    @cached_property
    def nics_by_name(self) -> dict[str, PlacedNic]:
        """The sound NICs by `ecs:nic`, and the first NIC of each ECS by the ECS."""
        found = {f"{placed.ecs.name}:{placed.nic.name}": placed for placed in self.nics}
        for placed in self.nics:
            found.setdefault(placed.ecs.name, placed)
        return found

    def names(self, section: str) -> Names:
        """Return the names that the items of a section have in the file, `default` among the security groups (S2)."""
        if section not in self._names:
            listed = {name for _, name in self.listed_names(section)}
            known = listed | {DEFAULT_GROUP} if section == "security_groups" else listed
            self._names[section] = Names(section, frozenset(known))
        return self._names[section]

    @cached_property
    def subnet_names(self) -> Names:
        """The names of the subnets of all VPCs."""
        listed = (subnet.get("name") for vpc in self._mappings("vpcs") for subnet in _mappings_in(vpc.get("subnets")))
        return Names("a VPC's subnets", frozenset(name for name in listed if isinstance(name, str)))

    @cached_property
    def nic_names(self) -> Names:
        """The ways to name a NIC: the ECS, or `ecs:nic`."""
        known: set[str] = set()
        for ecs in self._mappings("ecs"):
            if isinstance(name := ecs.get("name"), str):
                nics = [nic.get("name") for nic in _mappings_in(ecs.get("nics", [{"name": ONLY_NIC}]))]
                known |= {name, *(f"{name}:{nic}" for nic in nics)}
        return Names("ecs", frozenset(known))

    def listed_names(self, section: str) -> Iterator[tuple[int, str]]:
        """Yield position and name of each item of a section that has a name."""
        listed = self.source.get(section)
        for index, item in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(item, dict) and isinstance(name := item.get("name"), str):
                yield index, name

    def _mappings(self, section: str) -> Iterator[dict[str, Any]]:
        return _mappings_in(self.source.get(section))

    def _placed_nics(self) -> Iterator[PlacedNic]:
        for index, ecs in self.ecs:
            for position, nic in enumerate(ecs.nics):
                vpc, subnet = self.subnets.get(nic.subnet, (None, None))
                yield PlacedNic(ecs, nic, ("ecs", index, "nics", position), subnet, vpc)


def _mappings_in(value: Any) -> Iterator[dict[str, Any]]:
    return (item for item in (value if isinstance(value, list) else ()) if isinstance(item, dict))
