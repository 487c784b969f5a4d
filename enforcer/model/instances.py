"""Instances: ECSs with their NICs, and hosts outside the cloud (S6).

A NIC says where it is attached and which groups it has, in their order; whether those exist is asked in `checks`.
Example: `{name: ecs-a, subnet: subnet-a, addresses: [192.168.0.11]}` is an ECS with one NIC called `eth0`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import model_validator

from enforcer.model.words.addresses import Address, Interface, IPAddress, Mac, Netns, Network
from enforcer.model.words.protocols import Family
from enforcer.model.words.scalars import Flag, Flavor, HostName, Name
from enforcer.model.words.wording import BOUNDED, Item, repeated, wrong_fields

DEFAULT_GROUP = "default"
ONLY_NIC = "eth0"


class Nic(Item):
    """A NIC: what it is attached to, its private addresses, and its groups in the order in which they are matched."""

    name: Name
    subnet: Name
    addresses: Annotated[tuple[Address, ...], BOUNDED]
    mac: Mac = None
    security_groups: Annotated[tuple[Name, ...], BOUNDED] = (DEFAULT_GROUP,)
    allowed_addresses: Annotated[tuple[Network, ...], BOUNDED] = ()
    source_dest_check: Flag = True
    port_security: Flag = True
    interface: Interface = None
    netns: Netns = ""

    def address(self, family: Family) -> IPAddress | None:
        """Return the first private address of `family`."""
        return next((address for address in self.addresses if address.version == family), None)

    @model_validator(mode="after")
    def _lists_agree(self) -> Nic:
        problems = [
            *repeated("addresses", self.addresses, "write each address once"),
            *repeated("security_groups", self.security_groups, "a NIC has each group once"),
            *repeated("allowed_addresses", self.allowed_addresses, "write each address once"),
        ]
        if not self.addresses:
            problems.append((("addresses",), "is an empty list; write at least one address"))
        if problems:
            raise wrong_fields(problems)
        return self if self.security_groups else self.model_copy(update={"security_groups": (DEFAULT_GROUP,)})


class Ecs(Item):
    """An instance with one or more NICs; in the file, the keys of an only NIC may stand on the ECS itself."""

    name: HostName
    type: Flavor = None
    nics: Annotated[tuple[Nic, ...], BOUNDED]

    @property
    def type_class(self) -> str:
        """The part of the flavor before the first dot, in upper case; empty without a flavor (S10)."""
        return (self.type or "").partition(".")[0].upper()

    @model_validator(mode="before")
    @classmethod
    def _flat_form(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        flat = {key: value for key, value in fields.items() if key in Nic.model_fields and key != "name"}
        if "nics" not in fields:
            rest = {key: value for key, value in fields.items() if key not in flat}
            return {**rest, "nics": [{"name": ONLY_NIC, **flat}]}
        if flat:
            mend = "move it into one of the nics"
            raise wrong_fields([((key,), f"cannot stand on an ECS that lists its nics; {mend}") for key in flat])
        return fields

    @model_validator(mode="after")
    def _nics_agree(self) -> Ecs:
        names = [nic.name for nic in self.nics]
        problems = [((*place, "name"), message) for place, message in repeated("nics", names, "name each NIC once")]
        if not self.nics:
            problems.append((("nics",), "is an empty list; write at least one NIC"))
        if problems:
            raise wrong_fields(problems)
        return self


class ExternalHost(Item):
    """A host on the Internet side (lab, and a word for `explain`)."""

    name: HostName
    addresses: Annotated[tuple[Address, ...], BOUNDED]

    def address(self, family: Family) -> IPAddress | None:
        """Return the first address of `family`."""
        return next((address for address in self.addresses if address.version == family), None)

    @model_validator(mode="after")
    def _has_addresses(self) -> ExternalHost:
        problems = repeated("addresses", self.addresses, "write each address once")
        if not self.addresses:
            problems.append((("addresses",), "is an empty list; write at least one address"))
        if problems:
            raise wrong_fields(problems)
        return self
