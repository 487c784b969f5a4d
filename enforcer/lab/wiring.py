"""How a policy looks as namespaces and wires: `wire(policy, lab)` gives the `Plan`. Pure.

    ECS ── eth0 ═══ v-ecs-a ── VPC router ── up-inet ═══ vpc-… ── Internet ── ext-… ═══ eth0 ── external host
                                    └── peer-… ═══ peer-… ── VPC router

- A subnet is no bridge: the router has one host route for each NIC address and answers ARP for the others, so every
  packet passes the router, also between neighbours.
- The gateway of a subnet is its first host address, or its last where an instance has the first.
- What no NIC of a subnet has ends in the router (a hole), it never leaves by the uplink.
- IPv6 is routed without NAT; a network that another VPC has too is not known to the Internet (S18).
- A NIC after the first answers through itself: packets from its addresses have a routing table of their own.
"""

from __future__ import annotations

from hashlib import blake2s
from ipaddress import IPv4Address, IPv4Network, IPv6Interface, IPv6Network, ip_interface
from typing import Final

from enforcer.lab import nat
from enforcer.lab.detours import Hop, detours, guest_nat
from enforcer.lab.plan import (
    LINK_LOCAL,
    Address,
    Holder,
    Host,
    Link,
    NatTable,
    Plan,
    PolicyRule,
    Role,
    Route,
    Switch,
    VirtualIp,
    guest_interface,
    network_of,
    single,
    switches_of,
)
from enforcer.model import IPAddress, IPNetwork, LoadBalancer, Nic, NicRef, Policy, Subnet, Vpc
from enforcer.model.layout import (
    UPLINK,
    Attachment,
    Namespace,
    ecs_namespace,
    external_namespace,
    internet_namespace,
    lab_layout,
    peer_interface,
    slug,
    vpc_namespace,
)

EVERYWHERE: Final[tuple[IPNetwork, IPNetwork]] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
PEERING_METRIC, UPLINK_METRIC, HOLE_METRIC = 2000, 3000, 4_000_000_000
"""Which of several routes to one network is taken: the smallest; custom routes and hosts' have smaller ones."""
RETRANSMISSION: Final = 100
"""After how many milliseconds a neighbour is asked for again; these wires are short, and people wait."""
GUEST_TABLES: Final = 100
"""The routing table of an instance's n-th NIC is this plus n."""


def gateway(network: IPNetwork, taken: frozenset[IPAddress]) -> IPAddress | None:
    """Return the router's address in a subnet: the first host address, or the last that is free; None if none is."""
    if network.version == 6:
        return LINK_LOCAL[0]
    inner = 1 if network.prefixlen < 31 else 0
    first, last = int(network.network_address) + inner, int(network.broadcast_address) - inner
    candidates = (IPv4Address(number) for number in (first, *range(last, first, -1)))
    return next((address for address in candidates if address not in taken), None)


def wire(policy: Policy, lab: str) -> Plan:
    """Return the lab that the policy describes."""
    return _Wiring(policy, lab).plan()


class _Wiring:
    """Collects the parts of one plan; each method adds one kind of thing."""

    def __init__(self, policy: Policy, lab: str) -> None:
        self._policy = policy
        self._lab = lab
        self._internet = internet_namespace(lab)
        self._taken = {vpc.name: _taken(policy, vpc) for vpc in policy.vpcs}
        self._eips = {eip.address: policy.nic_ref(eip.ecs) for eip in policy.eips}
        self._hosts: list[Host] = []
        self._switches: list[Switch] = []
        self._links: list[Link] = []
        self._addresses: list[Address] = []
        self._routes: list[Route] = []
        self._rules: list[PolicyRule] = []
        self._nat: list[NatTable] = []
        self._virtual_ips: list[VirtualIp] = []

    def plan(self) -> Plan:
        """Add everything in the order in which it is to be built."""
        has_uplink = [vpc for vpc in self._policy.vpcs if self._reaches_internet(vpc)]
        for namespace in lab_layout(self._policy, self._lab).namespaces:
            self._router(namespace)
        if has_uplink or self._policy.external_hosts:
            self._host(self._internet, Role.INTERNET, "", forwards=True)
            self._nat.append(NatTable(self._internet, nat.internet_script()))
        for vpc in has_uplink:
            self._uplink(vpc)
        self._externals()
        self._peerings()
        for ecs in self._policy.ecs:
            netns, forwards = ecs_namespace(self._lab, ecs.name), self._forwards(ecs.name)
            self._host(netns, Role.ECS, ecs.name, forwards=forwards)
            if script := guest_nat(self._policy, ecs.name):
                self._nat.append(NatTable(netns, script))
        for namespace in lab_layout(self._policy, self._lab).namespaces:
            self._guests(namespace)
        return Plan(
            tuple(self._hosts),
            tuple(self._switches),
            tuple(self._links),
            tuple(self._addresses),
            tuple(self._routes),
            tuple(self._rules),
            tuple(self._nat),
            tuple(self._virtual_ips),
        )

    def _balancers(self, vpc: Vpc) -> tuple[LoadBalancer, ...]:
        return tuple(
            balancer
            for balancer in self._policy.load_balancers
            if self._policy.vpc_of_subnet(balancer.subnet).name == vpc.name
        )

    def _reaches_internet(self, vpc: Vpc) -> bool:
        return bool(nat.internet_networks(self._policy, vpc)) or any(ref.vpc == vpc for ref in self._eips.values())

    def _forwards(self, ecs: str) -> bool:
        """Tell whether an instance is meant to pass on packets of others: a route's next hop, or unchecked (S16)."""
        hops = {self._policy.nic_ref(route.next_hop).ecs.name for vpc in self._policy.vpcs for route in vpc.routes}
        nics = self._policy.find_ecs(ecs).nics
        return ecs in hops or any(not nic.source_dest_check or not nic.port_security for nic in nics)

    def _host(self, netns: str, role: Role, owner: str, *, forwards: bool) -> None:
        self._hosts.append(Host(netns, role, owner))
        self._switches.extend(switches_of(netns, role, forwards=forwards))

    def _router(self, namespace: Namespace) -> None:
        netns, vpc = namespace.name, self._policy.vpc(namespace.vpcs[0])
        self._host(netns, Role.ROUTER, vpc.name, forwards=True)
        for subnet in vpc.subnets:
            for network in subnet.networks:
                self._routes.append(Route(netns, network, None, metric=HOLE_METRIC))
                gate = gateway(network, self._taken[vpc.name])
                if gate is not None and gate.version == 4:
                    self._addresses.append(Address(netns, "lo", single(gate)))
        balancers = self._balancers(vpc)
        self._addresses.extend(Address(netns, "lo", single(balancer.address)) for balancer in balancers)
        eips = {address: ref for address, ref in self._eips.items() if ref.vpc.name == vpc.name}
        if script := nat.router_script(self._policy, balancers, eips, with_uplink=self._reaches_internet(vpc)):
            self._nat.append(NatTable(netns, script))

    def _wire(self, netns: str, interface: str, far_netns: str, far_interface: str) -> None:
        """Join two routers: the near end is fe80::1, the far end fe80::2."""
        self._links.append(Link(netns, interface, far_netns, far_interface))
        self._addresses.append(Address(netns, interface, IPv6Interface((LINK_LOCAL[0], 64))))
        self._addresses.append(Address(far_netns, far_interface, IPv6Interface((LINK_LOCAL[1], 64))))

    def _uplink(self, vpc: Vpc) -> None:
        router, port = vpc_namespace(self._lab, vpc.name), _port("vpc-", vpc.name)
        self._wire(self._internet, port, router, UPLINK)
        eips = [network_of(address) for address, ref in self._eips.items() if ref.vpc.name == vpc.name]
        networks = nat.internet_networks(self._policy, vpc)
        self._routes.extend(Route(self._internet, network, port, LINK_LOCAL[1]) for network in (*eips, *networks))
        for everywhere, wanted in zip(EVERYWHERE, (eips, networks), strict=True):
            if wanted:
                self._routes.append(Route(router, everywhere, UPLINK, LINK_LOCAL[0], metric=UPLINK_METRIC))

    def _externals(self) -> None:
        for host in self._policy.external_hosts:
            netns, port = external_namespace(self._lab, host.name), _port("ext-", host.name)
            self._host(netns, Role.EXTERNAL, host.name, forwards=False)
            self._wire(self._internet, port, netns, "eth0")
            for address in host.addresses:
                self._addresses.append(Address(netns, "eth0", single(address), on_link=False))
                self._routes.append(Route(self._internet, network_of(address), port, LINK_LOCAL[1]))
            for everywhere, source in zip(EVERYWHERE, (host.address(4), host.address(6)), strict=True):
                if source is not None:
                    self._routes.append(Route(netns, everywhere, "eth0", LINK_LOCAL[0], source))

    def _peerings(self) -> None:
        for peering in self._policy.peerings:
            interface = peer_interface(peering.name)
            ends = [self._policy.vpc(name) for name in peering.vpcs]
            routers = [vpc_namespace(self._lab, vpc.name) for vpc in ends]
            self._wire(routers[0], interface, routers[1], interface)
            for here, there in ((0, 1), (1, 0)):
                for subnet in ends[there].subnets:
                    for network in subnet.networks:
                        route = Route(routers[here], network, interface, LINK_LOCAL[there], metric=PEERING_METRIC)
                        self._routes.append(route)

    def _guests(self, namespace: Namespace) -> None:
        """Attach the NICs of one VPC, then what needs to know all of them: custom routes and virtual IPs."""
        router, vpc = namespace.name, self._policy.vpc(namespace.vpcs[0])
        for seat in namespace.attachments:
            self._nic(router, seat.interface, seat.ref, seat.mac)
        found = detours(self._policy, vpc, router, tuple(self._hop(seat) for seat in namespace.attachments))
        self._routes.extend(found.routes)
        self._rules.extend(found.rules)
        private = {address for seat in namespace.attachments for address in seat.ref.nic.addresses}
        private |= {balancer.address for balancer in self._balancers(vpc)}
        holders: dict[IPAddress, list[Holder]] = {}
        for seat in namespace.attachments:
            for address in _single_addresses(seat.ref.nic):
                if address not in private:
                    netns = ecs_namespace(self._lab, seat.ref.ecs.name)
                    holder = Holder(seat.ref.label, netns, guest_interface(seat.ref.nic.name), seat.interface)
                    holders.setdefault(address, []).append(holder)
        self._virtual_ips.extend(VirtualIp(address, router, tuple(group)) for address, group in holders.items())

    def _hop(self, seat: Attachment) -> Hop:
        netns, interface = ecs_namespace(self._lab, seat.ref.ecs.name), guest_interface(seat.ref.nic.name)
        address = seat.ref.nic.address(4)
        return Hop(seat.ref, seat.interface, netns, interface, address and self._gateway(seat.ref, address))

    def _gateway(self, ref: NicRef, address: IPAddress) -> IPAddress:
        network = _network(self._policy.subnet(ref.nic.subnet), address)
        return gateway(network, self._taken[ref.vpc.name]) or LINK_LOCAL[0]

    def _nic(self, router: str, port: str, ref: NicRef, mac: str | None) -> None:
        netns, interface = ecs_namespace(self._lab, ref.ecs.name), guest_interface(ref.nic.name)
        index = ref.ecs.nics.index(ref.nic)
        self._links.append(Link(router, port, netns, interface, far_mac=mac, guarded=True))
        self._switches.append(Switch(router, f"ipv4/conf/{port}/proxy_arp", 1, port))
        self._switches.append(Switch(router, f"ipv4/neigh/{port}/proxy_delay", 0, port))  # else the first ping waits
        for family in ("ipv4", "ipv6"):
            self._switches.append(Switch(router, f"{family}/neigh/{port}/retrans_time_ms", RETRANSMISSION, port))
            self._switches.append(
                Switch(netns, f"{family}/neigh/{interface}/retrans_time_ms", RETRANSMISSION, interface)
            )
        self._addresses.append(Address(router, port, IPv6Interface((LINK_LOCAL[0], 64))))
        subnet = self._policy.subnet(ref.nic.subnet)
        for address in ref.nic.addresses:
            network = _network(subnet, address)
            inside = ip_interface(f"{address}/{network.prefixlen}")
            self._addresses.append(Address(netns, interface, inside, on_link=address.version == 4))
            self._routes.append(Route(router, network_of(address), port))
        if index > 0:
            sources = (*ref.nic.addresses, *_single_addresses(ref.nic))
            self._rules.extend(PolicyRule(netns, network_of(source), GUEST_TABLES + index) for source in sources)
        self._defaults(netns, interface, ref, index)

    def _defaults(self, netns: str, interface: str, ref: NicRef, index: int) -> None:
        """Route everything else by the subnet's gateway: of a family's first NIC for the whole instance."""
        subnet = self._policy.subnet(ref.nic.subnet)
        for everywhere, source in zip(EVERYWHERE, (ref.nic.address(4), ref.nic.address(6)), strict=True):
            if source is None:
                continue
            network = _network(subnet, source)
            via = self._gateway(ref, source)
            if not any(nic.address(4 if source.version == 4 else 6) for nic in ref.ecs.nics[:index]):
                self._routes.append(Route(netns, everywhere, interface, via, source))
            if index > 0:
                table = GUEST_TABLES + index
                self._routes.append(Route(netns, everywhere, interface, via, source, table))
                if source.version == 4:
                    self._routes.append(Route(netns, network, interface, None, source, table))
                else:  # for other NICs' packets; IPv4 has this route with the address
                    self._routes.append(Route(netns, network, interface, via))


def _taken(policy: Policy, vpc: Vpc) -> frozenset[IPAddress]:
    """Return the addresses of a VPC that cannot be a gateway's: of NICs, of balancers, and virtual IPs."""
    nics = [ref.nic for ref in policy.nics() if ref.vpc.name == vpc.name]
    used = {address for nic in nics for address in (*nic.addresses, *_single_addresses(nic))}
    used |= {balancer.address for balancer in policy.load_balancers}
    return frozenset(used)


def _network(subnet: Subnet, address: IPAddress) -> IPNetwork:
    return next(network for network in subnet.networks if network.version == address.version)


def _single_addresses(nic: Nic) -> tuple[IPAddress, ...]:
    """Return the virtual IPs of a NIC: the addresses, not the networks, that it may use besides its own."""
    return tuple(
        network.network_address
        for network in nic.allowed_addresses
        if network.prefixlen == network.max_prefixlen and not network.is_multicast and not network.is_unspecified
    )


def _port(prefix: str, name: str) -> str:
    """Return the Internet's interface for a VPC or an external host."""
    plain = slug(name)
    return f"{prefix}{plain if len(plain) <= 15 - len(prefix) else blake2s(name.encode()).hexdigest()[:11]}"
