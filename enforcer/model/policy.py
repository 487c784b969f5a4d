"""The policy: everything an operator declares, as one frozen object with the questions that the program asks of it.

`parse.parse_policy` is the only way to make one; by then every name in it exists and every object fits the others.
It does not know about rules in effect, packets or the kernel. Example: `policy.members("Sg-A")`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address
from typing import Annotated, Literal, Self

from pydantic import PlainValidator, WithJsonSchema

from enforcer.model.groups import AddressGroup, SecurityGroup
from enforcer.model.instances import ONLY_NIC, Ecs, ExternalHost, Nic
from enforcer.model.topology import Eip, LoadBalancer, Peering, Subnet, Vpc
from enforcer.model.words.addresses import IPAddress
from enforcer.model.words.codes import PolicySilence
from enforcer.model.words.scalars import Flag, number, one_of
from enforcer.model.words.wording import Item, shown, wrong


def _version(value: object) -> int:
    if isinstance(value, bool) or value != 1 or not isinstance(value, int):
        raise wrong(f"{shown(value)} is not a version of this file format; write version: 1")
    return 1


def _packet_bit(value: object) -> int:
    bit = _mask(value)
    if bit.bit_count() != 1:
        raise wrong(f"{bit:#x} has {bit.bit_count()} bits; write a mask with exactly one, like 0x1000")
    return bit


def _connection_mask(value: object) -> int:
    mask = _mask(value)
    low = mask & -mask
    if mask.bit_count() < 8 or (mask + low) & mask:
        raise wrong(f"{mask:#x} is not 8 or more neighbouring bits; write a mask like 0xffffff00")
    return mask


def _mask(value: object) -> int:
    if isinstance(value, str) and value.startswith("0x") and len(value) <= 10:
        try:
            value = int(value, 16)
        except ValueError:
            raise wrong(f"{shown(value)} is not a mask; write 32 bits like 0x1000") from None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 32:
        raise wrong(f"{shown(value)} is not a mask; write 32 bits like 0x1000")
    return value


MASK_SCHEMA = WithJsonSchema({"type": ["integer", "string"], "pattern": "^0x[0-9A-Fa-f]{1,8}$", "maximum": 0xFFFFFFFF})


class Limits(Item):
    """Limits of the cloud that an operator may set otherwise; the defaults are those of the specification."""

    costly_rules: Annotated[int, *number(0, 1_000_000)] = 120


class Marks(Item):
    """The mark bits that the enforcer uses; change them where other software uses the same bits."""

    packet_bit: Annotated[int, PlainValidator(_packet_bit), MASK_SCHEMA] = 0x1000
    connection_mask: Annotated[int, PlainValidator(_connection_mask), MASK_SCHEMA] = 0xFFFFFF00


class DenyLog(Item):
    """The log of denied packets: so many a second for each NIC go to an NFLOG group."""

    enabled: Flag = True
    group: Annotated[int, *number(0, 65535)] = 5371
    per_second: Annotated[int, *number(1, 100_000)] = 10
    burst: Annotated[int, *number(1, 100_000)] = 50


@dataclass(frozen=True, slots=True)
class NicRef:
    """One NIC with what it belongs to."""

    ecs: Ecs
    nic: Nic
    vpc: Vpc

    def __hash__(self) -> int:  # by identity in the policy: hashing whole VPCs would make every dictionary slow
        return hash((self.ecs.name, self.nic.name))

    @property
    def label(self) -> str:
        """The NIC as the command line names it: the ECS if it is its only NIC, else `ecs:nic`."""
        return self.ecs.name if len(self.ecs.nics) == 1 else f"{self.ecs.name}:{self.nic.name}"

    @property
    def place(self) -> str:
        """Where errors and warnings say that the NIC stands in the file."""
        flat = len(self.ecs.nics) == 1 and self.nic.name == ONLY_NIC
        return f"ecs[{self.ecs.name}]" if flat else f"ecs[{self.ecs.name}].nics[{self.nic.name}]"


class Policy(Item):
    """A whole policy; `security_groups` always has `default`, last if the file does not define it (S2).

    Where one policy follows the other, what is a tuple here may be in runs (`model.runs`): read it as a sequence.
    """

    version: Annotated[Literal[1], PlainValidator(_version), WithJsonSchema({"const": 1})]
    limits: Limits = Limits()
    marks: Marks = Marks()
    deny_log: DenyLog = DenyLog()
    revoke: Annotated[
        Literal["inbound", "both"],
        PlainValidator(one_of("inbound", "both")),
        WithJsonSchema({"type": "string", "enum": ["inbound", "both"]}),
    ] = "inbound"
    silence: PolicySilence = ()
    vpcs: tuple[Vpc, ...] = ()
    peerings: tuple[Peering, ...] = ()
    address_groups: tuple[AddressGroup, ...] = ()
    security_groups: tuple[SecurityGroup, ...] = ()
    ecs: tuple[Ecs, ...] = ()
    external_hosts: tuple[ExternalHost, ...] = ()
    eips: tuple[Eip, ...] = ()
    load_balancers: tuple[LoadBalancer, ...] = ()

    def __copy__(self) -> Self:
        """Return a copy without the cached look-ups, which `model_copy` would otherwise carry into a changed policy."""
        fields = {field: getattr(self, field) for field in type(self).model_fields}
        return self.model_construct(set(self.model_fields_set), **fields)

    def group(self, name: str) -> SecurityGroup:
        """Return the security group `name`; KeyError if there is none, like all look-ups here."""
        return self._groups[name]

    def address_group(self, name: str) -> AddressGroup:
        """Return the address group `name`."""
        return self._address_groups[name]

    def find_ecs(self, name: str) -> Ecs:
        """Return the ECS `name`."""
        return self._ecs[name]

    def vpc(self, name: str) -> Vpc:
        """Return the VPC `name`."""
        return self._vpcs[name]

    def subnet(self, name: str) -> Subnet:
        """Return the subnet `name`; subnet names are unique in the region."""
        return self._subnets[name][1]

    def vpc_of_subnet(self, name: str) -> Vpc:
        """Return the VPC that has the subnet `name`."""
        return self._subnets[name][0]

    def nics(self) -> tuple[NicRef, ...]:
        """Return every NIC, in file order."""
        return self._nics

    def members(self, group: str) -> tuple[NicRef, ...]:
        """Return the NICs that have the security group, in file order (S6)."""
        return self._members.get(group, ())

    def peers_of(self, vpc: str) -> tuple[str, ...]:
        """Return the names of the VPCs that `vpc` is peered with, sorted."""
        return self._peers.get(vpc, ())

    def reachable_from(self, vpc: str) -> frozenset[str]:
        """Return `vpc` and its peers: where a packet gets without leaving the cloud (S18)."""
        return frozenset((vpc, *self.peers_of(vpc)))

    def nic_ref(self, name: str) -> NicRef:
        """Return the NIC that `ecs` (its first) or `ecs:nic` names."""
        return self._nic_refs[name]

    def eip_of(self, ref: NicRef) -> IPv4Address | None:
        """Return the EIP that is bound to a NIC."""
        return self._eips_of.get(f"{ref.ecs.name}:{ref.nic.name}")

    def is_eip(self, address: IPAddress) -> bool:
        """Return whether an address is an EIP of the policy."""
        return address in self._eips_of.values()

    @cached_property
    def hosts(self) -> dict[str, NicRef | ExternalHost | LoadBalancer]:
        """Everything that SRC and DST can name: ECSs (their first NIC), `ecs:nic`, external hosts, load balancers."""
        balancers = {balancer.name: balancer for balancer in self.load_balancers}
        return {**self._nic_refs, **{host.name: host for host in self.external_hosts}, **balancers}

    @cached_property
    def _eips_of(self) -> dict[str, IPv4Address]:
        refs = ((self.nic_ref(eip.ecs), eip.address) for eip in self.eips)
        return {f"{ref.ecs.name}:{ref.nic.name}": address for ref, address in refs}

    @cached_property
    def _groups(self) -> dict[str, SecurityGroup]:
        return {group.name: group for group in self.security_groups}

    @cached_property
    def _address_groups(self) -> dict[str, AddressGroup]:
        return {group.name: group for group in self.address_groups}

    @cached_property
    def _ecs(self) -> dict[str, Ecs]:
        return {ecs.name: ecs for ecs in self.ecs}

    @cached_property
    def _vpcs(self) -> dict[str, Vpc]:
        return {vpc.name: vpc for vpc in self.vpcs}

    @cached_property
    def _subnets(self) -> dict[str, tuple[Vpc, Subnet]]:
        return {subnet.name: (vpc, subnet) for vpc in self.vpcs for subnet in vpc.subnets}

    @cached_property
    def _nics(self) -> tuple[NicRef, ...]:
        return tuple(NicRef(ecs, nic, self.vpc_of_subnet(nic.subnet)) for ecs in self.ecs for nic in ecs.nics)

    @cached_property
    def _nic_refs(self) -> dict[str, NicRef]:
        refs = {f"{ref.ecs.name}:{ref.nic.name}": ref for ref in self._nics}
        return refs | {ecs.name: refs[f"{ecs.name}:{ecs.nics[0].name}"] for ecs in self.ecs}

    @cached_property
    def _members(self) -> dict[str, tuple[NicRef, ...]]:
        members: defaultdict[str, list[NicRef]] = defaultdict(list)
        for ref in self._nics:
            for group in ref.nic.security_groups:
                members[group].append(ref)
        return {group: tuple(refs) for group, refs in members.items()}

    @cached_property
    def _peers(self) -> dict[str, tuple[str, ...]]:
        peers: defaultdict[str, set[str]] = defaultdict(set)
        for peering in self.peerings:
            one, other = peering.vpcs
            peers[one].add(other)
            peers[other].add(one)
        return {vpc: tuple(sorted(names)) for vpc, names in peers.items()}
