"""The sets and maps that know interfaces and addresses: who sits where, and which chain judges it.

Interfaces are keyed by index (nft resolves the names when the script is loaded): an interface that disappears and
comes back under its old name has a new index and stays closed until its rules are put in force again (S19). `absent`
names interfaces that do not exist yet: they are known, and closed, by name alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Address, IPv6Network, collapse_addresses
from itertools import islice

from enforcer.compiler.program import FAMILIES, NamespaceProgram, NicProgram
from enforcer.compiler.sides import digest
from enforcer.model import TCP, UDP, Family, IPAddress, IPNetwork
from enforcer.ruleset import names
from enforcer.ruleset.classify import DESTINATION, SOURCE
from enforcer.ruleset.nft import (
    ACCEPT,
    DROP,
    Chain,
    Counter,
    Dispatch,
    Element,
    Field,
    Hook,
    InSet,
    Interval,
    Match,
    Set,
    SetMark,
    Verdict,
    goto,
    jump,
    rule,
)
from enforcer.ruleset.profiles import Profile

ProfileKey = tuple[Family, str]
_WORDS = {TCP: "tcp", UDP: "udp"}


def link_local(mac: str) -> int:
    """Return the EUI-64 link-local address of a MAC (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    interface = bytes([octets[0] ^ 0x02]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return int(IPv6Address(b"\xfe\x80" + bytes(6) + interface))


def hosts(nic: NicProgram, family: Family) -> Iterator[int]:
    """Yield the single addresses of a NIC."""
    yield from map(int, _singles(nic, family))


def _singles(nic: NicProgram, family: Family) -> Iterator[IPAddress]:
    return (n.network_address for n in nic.addresses if n.version == family and n.prefixlen == n.max_prefixlen)


def networks(nic: NicProgram, family: Family) -> Iterator[IPNetwork]:
    """Yield the allowed prefixes of a NIC, without those inside others: the kernel refuses overlapping intervals."""
    if prefixes := [n for n in nic.addresses if n.version == family and n.prefixlen != n.max_prefixlen]:
        yield from collapse_addresses(n for n in prefixes if isinstance(n, IPv4Network))
        yield from collapse_addresses(n for n in prefixes if isinstance(n, IPv6Network))


def netdev_sets(nics: tuple[NicProgram, ...]) -> tuple[Set, ...]:
    """Build the sets of the netdev table (S15, S16)."""
    iif = Field.IIF
    known = [(nic, nic.mac) for nic in nics if nic.mac]
    return (
        *(_fixed(names.SOURCES[f], (iif, SOURCE[f]), _pairs(nics, f)) for f in FAMILIES),
        *(_fixed(names.SOURCE_NETS[f], (iif, SOURCE[f]), _net_pairs(nics, f), interval=True) for f in FAMILIES),
        _fixed(
            names.ARP_SOURCES,
            (iif, Field.ARP_SENDER_ETHER, Field.ARP_SENDER_IP),
            (Element((nic.interface, mac, address)) for nic, mac in known for address in hosts(nic, 4)),
        ),
        _fixed(
            names.ARP_SOURCES_ANY_MAC,
            (iif, Field.ARP_SENDER_IP),
            (Element((nic.interface, address)) for nic in nics if not nic.mac for address in hosts(nic, 4)),
        ),
        _fixed(
            names.LINK_LOCAL,
            (iif, Field.IPV6_SOURCE),
            (Element((nic.interface, link_local(mac))) for nic, mac in known),
        ),
        _fixed(names.ANY_MAC, (iif,), (Element((nic.interface,)) for nic in nics if not nic.mac)),
        _fixed(names.FORWARDERS, (iif,), (Element((nic.interface,)) for nic in nics if not nic.source_dest_check)),
        Set(names.REFUSALS, (iif,), (), dynamic=True),
    )


def nic_chain(nic: NicProgram, checked: SetMark) -> Chain:
    """Build the base chain of one interface: a stranger's MAC is dropped, the rest is for all NICs the same.

    Almost all packets of almost all NICs come from its MAC and its first address of a family. They are told by
    comparisons: every packet is, in force or not, and a lookup costs as much as all of the established path.
    """
    own = (address for f in FAMILIES for address in islice(_singles(nic, f), 1))
    known = (rule(*_own_source(nic.mac, address), checked, ACCEPT) for address in own)
    refused = goto(names.REFUSED.format("mac"))
    foreign_mac = (rule(Match(Field.ETHER_SOURCE, nic.mac, "!="), refused),) if nic.mac else ()
    name = names.NIC_CHAIN.format(nic.interface)
    hook = Hook("ingress", -300, nic.interface)
    return Chain(name, (*known, *foreign_mac, rule(goto(names.SOURCE))), hook, nic.label, fixed=True)


def _own_source(mac: str | None, address: IPAddress) -> tuple[Match, ...]:
    """Match the MAC and the address; the type of the frame stands beside the MAC, so that both are one comparison."""
    kind, field = "ip" if address.version == 4 else "ip6", SOURCE[address.version]
    if mac is None:
        return (Match(Field.PROTOCOL, kind), Match(field, str(address)))
    return (Match(Field.ETHER_SOURCE, mac), Match(Field.ETHER_TYPE, kind), Match(field, str(address)))


def closed_chains(interface: str) -> tuple[Chain, ...]:
    """Build the chains that let nothing in or out of an interface: a bridge would pass its frames by our inet hooks.

    The egress hook needs Linux 5.16.
    """
    dropped, comment = (rule(Counter(), DROP, comment="closed"),), f"{interface} is closed"
    return (
        Chain(names.CLOSED_IN.format(interface), dropped, Hook("ingress", -300, interface), comment, fixed=True),
        Chain(names.CLOSED_OUT.format(interface), dropped, Hook("egress", -300, interface), comment, fixed=True),
    )


def inet_sets(
    namespace: NamespaceProgram, present: tuple[NicProgram, ...], profiles: Mapping[ProfileKey, Profile]
) -> tuple[Set, ...]:
    """Build the sets and maps of the inet table that know NICs; `present` are the NICs whose interface exists."""
    iif, oif = Field.IIF, Field.OIF
    everyone = sorted(nic.interface for nic in namespace.nics)
    declared = sorted({"lo", *namespace.declared}) if namespace.owned else []
    forwarders = tuple(nic for nic in present if not nic.source_dest_check)
    return (
        _fixed(names.NICS, (Field.IIFNAME,), (Element((name,)) for name in everyone)),
        _fixed(names.DECLARED, (Field.IIFNAME,), (Element((name,)) for name in declared)),
        _fixed(names.NIC_IFS, (iif,), (Element((nic.interface,)) for nic in present)),
        *(_fixed(names.FROM[f], (iif,), _from(present, f, profiles), verdict=True) for f in FAMILIES),
        *(_fixed(names.TO[f], (oif, DESTINATION[f]), _to(present, f, profiles), verdict=True) for f in FAMILIES),
        *(
            _fixed(names.TO_NETS[f], (oif, DESTINATION[f]), _to_nets(present, f, profiles), verdict=True, interval=True)
            for f in FAMILIES
        ),
        *(_fixed(names.TO_ANY[f], (oif,), _to_any(present, f, profiles), verdict=True) for f in FAMILIES),
        _fixed(names.FORWARDER_IFS, (iif,), (Element((nic.interface,)) for nic in forwarders)),
        *(_fixed(names.FORWARDER_OWN[f], (iif, SOURCE[f]), _pairs(forwarders, f)) for f in FAMILIES),
        _fixed(names.TO_LINK, (oif,), (Element((n.interface,), jump(names.LINK_TO)) for n in present), verdict=True),
        _fixed(names.TARGETS, (iif, Field.NS_TARGET), _targets(present)),
        _fixed(names.DHCP_FROM, (Field.UDP_SOURCE_PORT,), _dhcp_from(), verdict=True),
        _fixed(names.DHCP_TO, (Field.UDP_SOURCE_PORT,), _dhcp_to(), verdict=True),
        Set(names.DENIALS, (iif,), (), dynamic=True),
        Set(names.REVOKED, (iif,), (), dynamic=True),
        Set(names.REFUSALS, (iif,), (), dynamic=True),
    )


def _fixed(
    name: str, key: tuple[Field, ...], elements: Iterable[Element], *, verdict: bool = False, interval: bool = False
) -> Set:
    return Set(name, key, tuple(elements), "verdict" if verdict else None, interval=interval, fixed=True)


def _pairs(nics: tuple[NicProgram, ...], family: Family) -> Iterator[Element]:
    return (Element((nic.interface, address)) for nic in nics for address in hosts(nic, family))


def _net_pairs(nics: tuple[NicProgram, ...], family: Family) -> Iterator[Element]:
    return (Element((nic.interface, _interval(net))) for nic in nics for net in networks(nic, family))


def _interval(network: IPNetwork) -> Interval:
    return Interval(int(network.network_address), int(network.broadcast_address))


def profile_of(nic: NicProgram, family: Family, profiles: Mapping[ProfileKey, Profile]) -> Profile | None:
    """Return the profile that judges a NIC's packets of a family; None: it speaks no such family."""
    return next((profiles[spoken, name] for spoken, name in nic.profiles if spoken == family), None)


def _from(nics: tuple[NicProgram, ...], family: Family, profiles: Mapping[ProfileKey, Profile]) -> Iterator[Element]:
    for nic in nics:
        if profile := profile_of(nic, family, profiles):
            yield Element((nic.interface,), jump(profile.from_chain))


def _to(nics: tuple[NicProgram, ...], family: Family, profiles: Mapping[ProfileKey, Profile]) -> Iterator[Element]:
    for nic in nics:
        if profile := profile_of(nic, family, profiles):
            yield from (Element((nic.interface, host), jump(profile.to_chain)) for host in hosts(nic, family))


def _to_nets(nics: tuple[NicProgram, ...], family: Family, profiles: Mapping[ProfileKey, Profile]) -> Iterator[Element]:
    for nic in nics:
        if profile := profile_of(nic, family, profiles):
            for net in networks(nic, family):
                yield Element((nic.interface, _interval(net)), jump(profile.to_chain))


def _to_any(nics: tuple[NicProgram, ...], family: Family, profiles: Mapping[ProfileKey, Profile]) -> Iterator[Element]:
    for nic in nics:
        profile = profile_of(nic, family, profiles)
        if profile and not nic.source_dest_check:
            yield Element((nic.interface,), jump(profile.to_chain))


def _targets(nics: tuple[NicProgram, ...]) -> Iterator[Element]:
    for nic in nics:
        own = set(hosts(nic, 6)) | ({link_local(nic.mac)} if nic.mac else set())
        yield from (Element((nic.interface, address)) for address in sorted(own))


def _dhcp_from() -> Iterator[Element]:
    chains = ((67, names.DHCP_SERVER[4]), (68, names.DHCP_CLIENT[4]), (546, names.DHCP_CLIENT[6]))
    for port, chain in (*chains, (547, names.DHCP_SERVER[6])):
        yield Element((port,), jump(chain))


def _dhcp_to() -> Iterator[Element]:
    yield Element((67,), jump(names.DHCP_ANSWER[4]))
    yield Element((547,), jump(names.DHCP_ANSWER[6]))


def balancer_objects(namespace: NamespaceProgram) -> tuple[tuple[Set, ...], tuple[Chain, ...]]:
    """Build what exempts the traffic that a balancer forwards (S12): original destination, protocol and port.

    To the backend it is stamped there. From the backend it only passes: whether the flow may go on is for the client's
    side to say, behind us. nft 1.0.6 refuses `ct original proto-dst` in a concatenation, so each balancer has a chain
    with a set per protocol.
    """
    fields: dict[Family, Field] = {4: Field.CT_ORIGINAL_IPV4_DESTINATION, 6: Field.CT_ORIGINAL_IPV6_DESTINATION}
    ports: dict[IPAddress, dict[int, list[int]]] = {}
    for exemption in namespace.exemptions:  # sorted by address, protocol and port
        ports.setdefault(exemption.address, {}).setdefault(exemption.protocol, []).append(exemption.port)
    sets = {entry.name: entry for listeners in ports.values() for entry in _listener_sets(listeners)}
    maps: list[Set] = []
    chains: list[Chain] = []
    for way, verdict in ((names.TO_BACKEND, goto(names.ENDED)), (names.FROM_BACKEND, goto(names.ANSWERING))):
        found = {address: _balancer_chain(way, listeners, verdict) for address, listeners in ports.items()}
        chains += {chain.name: chain for chain in found.values()}.values()
        for family in FAMILIES:
            ours = ((int(a), c) for a, c in found.items() if a.version == family)
            elements = (Element((address,), jump(chain.name)) for address, chain in ours)
            maps.append(_fixed(names.BALANCERS[family].format(way), (fields[family],), elements, verdict=True))
        rules = (
            rule(Match(Field.NFPROTO, f"ipv{f}"), Dispatch((fields[f],), names.BALANCERS[f].format(way)))
            for f in FAMILIES
        )
        chains.append(Chain(names.BALANCED.format(way), tuple(rules), fixed=True))
    return (*sets.values(), *maps), tuple(chains)


def _listener_sets(listeners: Mapping[int, list[int]]) -> Iterator[Set]:
    for protocol, ports in listeners.items():
        elements = tuple(Element((port,)) for port in ports)
        yield Set(names.LISTENERS.format(_WORDS[protocol], digest(ports)), (Field.CT_ORIGINAL_DPORT,), elements)


def _balancer_chain(way: str, listeners: Mapping[int, list[int]], verdict: Verdict) -> Chain:
    rules = tuple(
        rule(
            Match(Field.L4PROTO, protocol),
            InSet((Field.CT_ORIGINAL_DPORT,), entry.name),
            verdict,
            comment="forwarded by a load balancer",
        )
        for protocol, entry in zip(listeners, _listener_sets(listeners), strict=True)
    )
    return Chain(names.BALANCER.format(way, digest(listeners)), rules)
