"""What connects instances: VPCs, subnets, routes, peerings, EIPs and load balancers.

Only what one object says is checked here; whether objects fit together is asked in `checks`.
Example: `{name: vpc-x, subnets: [{name: subnet-a, cidr: 192.168.0.0/24}]}`.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal

from pydantic import BeforeValidator, PlainValidator, WithJsonSchema, model_validator

from enforcer.model.words.addresses import Address, IPAddress, IPNetwork, Ipv4Address, Ipv4Cidr, Ipv6Cidr, Network
from enforcer.model.words.scalars import Flag, HostName, Name, NicName, Port, one_of
from enforcer.model.words.wording import BOUNDED, Item, repeated, shown, wrong, wrong_fields


class Subnet(Item):
    """A subnet: an IPv4 network, an IPv6 network, or both. Its name is unique in the region."""

    name: Name
    cidr: Annotated[IPv4Network | None, *Ipv4Cidr.__metadata__] = None
    ipv6_cidr: Annotated[IPv6Network | None, *Ipv6Cidr.__metadata__] = None

    @property
    def networks(self) -> tuple[IPNetwork, ...]:
        """The subnet's networks, IPv4 first."""
        return tuple(network for network in (self.cidr, self.ipv6_cidr) if network is not None)

    def __contains__(self, address: IPAddress) -> bool:
        return any(address in network for network in self.networks)

    @model_validator(mode="after")
    def _networks_are_usable(self) -> Subnet:
        problems = []
        if not self.networks:
            problems.append((("cidr",), "is missing; write cidr, ipv6_cidr or both"))
        for field, network in (("cidr", self.cidr), ("ipv6_cidr", self.ipv6_cidr)):
            if network is not None and not _unicast(network):
                message = f"{shown(str(network))} is not a network of instances; write a unicast network"
                problems.append(((field,), message))
        if problems:
            raise wrong_fields(problems)
        return self


def _unicast(network: IPNetwork) -> bool:
    ends = (network.network_address, network.broadcast_address)
    return network.prefixlen > 0 and not any(
        end.is_multicast or end.is_loopback or end.is_link_local or end.is_unspecified for end in ends
    )


class Route(Item):
    """A custom route of a VPC through one of its instances."""

    destination: Network
    next_hop: NicName


class Vpc(Item):
    """A VPC: one routing domain; its subnets reach each other (S18)."""

    name: Name
    subnets: Annotated[tuple[Subnet, ...], BOUNDED] = ()
    routes: Annotated[tuple[Route, ...], BOUNDED] = ()

    @model_validator(mode="after")
    def _routes_agree(self) -> Vpc:
        destinations = [route.destination for route in self.routes]
        if problems := repeated("routes", destinations, "write one route for each destination"):
            raise wrong_fields([((*place, "destination"), message) for place, message in problems])
        return self


def _two(value: object) -> object:
    if isinstance(value, list) and len(value) != 2:
        raise wrong(f"the list has {len(value)} {'item' if len(value) == 1 else 'items'}; write the two VPCs")
    return value


class Peering(Item):
    """A peering connection: both sides get routes to each other's subnets."""

    name: Name
    vpcs: Annotated[tuple[Name, Name], BeforeValidator(_two)]

    @model_validator(mode="after")
    def _two_sides(self) -> Peering:
        if self.vpcs[0] == self.vpcs[1]:
            raise wrong_fields([(("vpcs", 1), f"{shown(self.vpcs[1])} is both sides; write two different VPCs")])
        return self


class Eip(Item):
    """An elastic IP: 1:1 NAT between a public address and a NIC's first private IPv4 address."""

    address: Ipv4Address
    ecs: NicName


class Backend(Item):
    """A backend server of a listener."""

    ecs: NicName
    port: Port


class Listener(Item):
    """What a load balancer listens on; `transfer_client_ip` decides S12."""

    protocol: Annotated[
        Literal["tcp", "udp"], PlainValidator(one_of("tcp", "udp")), WithJsonSchema({"enum": ["tcp", "udp"]})
    ]
    port: Port
    transfer_client_ip: Flag = False
    backends: Annotated[tuple[Backend, ...], BOUNDED] = ()

    @model_validator(mode="after")
    def _backends_agree(self) -> Listener:
        backends = [f"{backend.ecs} port {backend.port}" for backend in self.backends]
        if problems := repeated("backends", backends, "write each backend once"):
            raise wrong_fields(problems)
        return self


class LoadBalancer(Item):
    """A load balancer inside a subnet."""

    name: HostName
    subnet: Name
    address: Address
    listeners: Annotated[tuple[Listener, ...], BOUNDED] = ()

    @model_validator(mode="after")
    def _listeners_agree(self) -> LoadBalancer:
        listeners = [f"{listener.protocol} {listener.port}" for listener in self.listeners]
        if problems := repeated("listeners", listeners, "a balancer listens on each port once"):
            raise wrong_fields(problems)
        return self
