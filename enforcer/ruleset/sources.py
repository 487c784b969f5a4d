"""The netdev table's shared chains: who may send what (S16), and what the link needs (S15), before connection tracking.

Almost all packets have been let through by their NIC's own chain already (`nics.nic_chain`); what comes here is a
NIC's second address, ARP, neighbour discovery, DHCP, a forwarder, or spoofed.
"""

from __future__ import annotations

from enforcer.compiler.program import NamespaceProgram
from enforcer.ruleset import names
from enforcer.ruleset.nft import ACCEPT, DROP, Chain, Counter, Field, InSet, Match, SetMark, goto, rule
from enforcer.ruleset.skeleton import ADVERTISE, ROUTER_SOLICIT, SOLICIT, fixed
from enforcer.ruleset.stamps import ALL_BITS


def checked_mark(namespace: NamespaceProgram) -> SetMark:
    """Return what marks a packet whose source was checked; prerouting looks for it, and takes it away."""
    return SetMark(Field.MARK, ALL_BITS ^ namespace.marks.packet_bit, namespace.marks.packet_bit)


def source_chains(namespace: NamespaceProgram) -> tuple[Chain, ...]:
    """Build the shared chains of the netdev table: who may send what (S16), and what the link needs (S15)."""
    checked = checked_mark(namespace)
    sources = {4: Field.IPV4_SOURCE, 6: Field.IPV6_SOURCE}
    rules = [rule(InSet((Field.IIF, sources[f]), names.SOURCES[f]), checked, ACCEPT) for f in (4, 6)]
    rules += [rule(InSet((Field.IIF, sources[f]), names.SOURCE_NETS[f]), checked, ACCEPT) for f in (4, 6)]
    arp_request = Match(Field.ARP_OPERATION, "request")
    rules += [
        rule(InSet((Field.IIF, Field.ARP_SENDER_ETHER, Field.ARP_SENDER_IP), names.ARP_SOURCES), ACCEPT),
        rule(InSet((Field.IIF, Field.ARP_SENDER_IP), names.ARP_SOURCES_ANY_MAC), ACCEPT),
        rule(arp_request, Match(Field.ARP_SENDER_IP, "0.0.0.0"), ACCEPT),  # RFC 5227 probe
        rule(
            Match(Field.IPV4_SOURCE, "0.0.0.0"),
            Match(Field.IPV4_DESTINATION, "255.255.255.255"),
            Match(Field.UDP_SOURCE_PORT, 68),
            Match(Field.UDP_DESTINATION_PORT, 67),
            checked,
            ACCEPT,
        ),
        rule(InSet((Field.IIF, Field.IPV6_SOURCE), names.LINK_LOCAL), goto(names.LINK_SOURCE)),
        rule(Match(Field.IPV6_SOURCE, "fe80::/10"), InSet((Field.IIF,), names.ANY_MAC), goto(names.LINK_SOURCE)),
        rule(Match(Field.ICMPV6_TYPE, SOLICIT), Match(Field.IPV6_SOURCE, "::"), checked, ACCEPT),
        rule(Match(Field.PROTOCOL, "ip"), InSet((Field.IIF,), names.FORWARDERS), checked, ACCEPT),
        rule(Match(Field.PROTOCOL, "ip6"), InSet((Field.IIF,), names.FORWARDERS), checked, ACCEPT),
        rule(goto(names.REFUSED.format("source"))),
    ]
    link = fixed(
        names.LINK_SOURCE,
        rule(Match(Field.ICMPV6_TYPE, ROUTER_SOLICIT), checked, ACCEPT),
        rule(Match(Field.ICMPV6_TYPE, f"{SOLICIT}-{ADVERTISE}"), checked, ACCEPT),
        rule(Match(Field.UDP_SOURCE_PORT, 546), Match(Field.UDP_DESTINATION_PORT, 547), checked, ACCEPT),
        rule(Counter(), DROP, comment="the link does not need it"),
    )
    return (link, fixed(names.SOURCE, *rules))
