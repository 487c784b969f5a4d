"""The chains that are the same for every policy: the packet's way before and after the policies (design §3).

    hook              priority  job, and why here
    netdev ingress    −300      anti-spoofing (S16), before connection tracking could be fooled or filled
    inet prerouting   −190      packets from instances: after conntrack (−200), before mangle (−150) and DNAT (−100)
    inet input        +150      packets from instances to this host: stamped, for they reach no other hook
    inet postrouting  +150      packets to instances: after SNAT (100), before conntrack confirms the flow

Base chains have policy accept and end in an explicit drop: a base chain is hooked before its transaction commits, and
an empty chain with policy drop would block everything for that moment. Jumps (not gotos) lead from base chains to the
policies, so that a chain that is empty by accident falls back to that drop.
"""

from __future__ import annotations

from enforcer.compiler.program import FAMILIES, NamespaceProgram
from enforcer.model import TCP, UDP, Family
from enforcer.ruleset import names
from enforcer.ruleset.nft import (
    ACCEPT,
    DROP,
    RETURN,
    Chain,
    Counter,
    Dispatch,
    Field,
    Hook,
    InSet,
    Match,
    Rule,
    SetMark,
    Timeout,
    UseTimeout,
    goto,
    jump,
    rule,
)
from enforcer.ruleset.stamps import ALL_BITS, forwards, opened, stamping_chains, told_of_forwarders

HIGH_PORT_BITS = 0xFC00
"""What the ports below 1024 have not: those of DHCP are among them."""
SYN, FIN_SYN_RST_ACK = 0x02, 0x17
_TCP_SECONDS = (("established", 600), ("fin_wait", 30))
_UDP_SECONDS = (("unreplied", 30), ("replied", 180))
TIMEOUT_OBJECTS = (
    Timeout(names.TIMEOUT.format("tcp", "ip"), "ip", "tcp", _TCP_SECONDS),
    Timeout(names.TIMEOUT.format("udp", "ip"), "ip", "udp", _UDP_SECONDS),
    Timeout(names.TIMEOUT.format("tcp", "ip6"), "ip6", "tcp", _TCP_SECONDS),
    Timeout(names.TIMEOUT.format("udp", "ip6"), "ip6", "udp", _UDP_SECONDS),
)
"""S13, in a namespace that is not ours; in one of ours they are settings of the namespace (`lab.plan`).

ICMP's 30 s and GRE's 30/180 s are the kernel's own defaults; see docs/design.md for other protocols.
"""

SOLICIT, ADVERTISE, ROUTER_SOLICIT, ROUTER_ADVERTISE = 135, 136, 133, 134
_HOP_LIMIT = Match(Field.IPV6_HOPLIMIT, 255)
_IPV4, _IPV6 = Match(Field.NFPROTO, "ipv4"), Match(Field.NFPROTO, "ipv6")


def inet_chains(namespace: NamespaceProgram) -> tuple[Chain, ...]:
    """Build the fixed chains of the inet table; chains come after those that they name."""
    mask, bit = namespace.marks.connection_mask, namespace.marks.packet_bit
    stamped = rule(InSet((Field.CT_MARK,), names.IN_FORCE, mask=mask), ACCEPT)
    return (
        *_dhcp_chains(),
        *stamping_chains(namespace),
        *(fixed(names.BEGUN[f], *_timeouts(namespace, f), rule(goto(opened(namespace)))) for f in FAMILIES),
        fixed(names.ENDED, *_ended(namespace)),
        fixed(names.LINK_FROM, *_link_from()),
        fixed(names.LINK_TO, *_link_to()),
        fixed(names.KNOWN_FROM, *_known_from(namespace)),
        fixed(names.KNOWN_TO, *_known_to(namespace)),
        fixed(names.FOREIGN, *_foreign(namespace)),
        fixed(
            names.PREROUTING,
            rule(Match(Field.MARK, 0, "==", bit), goto(names.FOREIGN)),
            rule(SetMark(Field.MARK, ALL_BITS ^ bit, 0)),
            stamped,
            rule(Match(Field.CT_STATE, "new", "!="), jump(names.KNOWN_FROM)),
            *begins(names.DHCP_FROM),
            rule(_IPV4, Dispatch((Field.IIF,), names.FROM[4])),
            rule(_IPV6, Dispatch((Field.IIF,), names.FROM[6])),
            rule(Counter(), DROP, comment="not in force"),
            hook=Hook("prerouting", -190),
        ),
        fixed(
            names.INPUT,
            stamped,
            rule(InSet((Field.IIF,), names.NIC_IFS), goto(names.ENDED)),
            hook=Hook("input", 150),
        ),
        fixed(names.POSTROUTING, stamped, *_postrouting(namespace), hook=Hook("postrouting", 150)),
    )


def fixed(name: str, *rules: Rule, hook: Hook | None = None) -> Chain:
    """Build a chain whose name stays while its rules change."""
    return Chain(name, rules, hook, fixed=True)


def begins(dhcp: str) -> tuple[Rule, ...]:
    """Check a flow's first packet, from or to an instance.

    A TCP connection begins with a SYN (S13): conntrack alone would pick up a flow in the middle. DHCP's ports are low
    ones (S15); almost no first packet comes from there, and a comparison is much cheaper than a lookup.
    """
    return (
        rule(
            Match(Field.L4PROTO, TCP),
            Match(Field.TCP_FLAGS, SYN, "!=", FIN_SYN_RST_ACK),
            goto(names.REFUSED.format("syn")),
        ),
        rule(Match(Field.SOURCE_PORT, 0, "==", HIGH_PORT_BITS), Dispatch((Field.UDP_SOURCE_PORT,), dhcp)),
    )


def _timeouts(namespace: NamespaceProgram, family: Family) -> tuple[Rule, ...]:
    """Give a flow its idle timeouts (S13), unless the namespace is ours: there they are the kernel's settings."""
    if namespace.owned:
        return ()
    l3proto = "ip" if family == 4 else "ip6"
    return tuple(
        rule(
            Match(Field.L4PROTO, TCP if timeout.protocol == "tcp" else UDP),
            UseTimeout(timeout.name),
            goto(opened(namespace)),
        )
        for timeout in TIMEOUT_OBJECTS
        if timeout.l3proto == l3proto
    )


def _ended(namespace: NamespaceProgram) -> tuple[Rule, ...]:
    """Stamp what comes from an instance and has reached its end elsewhere."""
    new, established = Match(Field.CT_STATE, "new"), Match(Field.CT_STATE, "established")
    return (
        rule(new, _IPV4, goto(names.BEGUN[4])),
        rule(new, _IPV6, goto(names.BEGUN[6])),
        rule(established, Match(Field.CT_DIRECTION, "reply"), goto(names.ANSWERED)),
        rule(established, goto(opened(namespace))),
    )


def _dhcp_chains() -> tuple[Chain, ...]:
    """DHCP from the instance as a client, never as a server (S15); only with this host: no way around the groups."""
    ports = {4: (_IPV4, 67, 68), 6: (_IPV6, 547, 546)}
    chains = []
    for family, (is_family, server, client) in ports.items():
        spread = "broadcast" if family == 4 else "multicast"
        to_server, to_client = (Match(Field.UDP_DESTINATION_PORT, port) for port in (server, client))
        chains += [
            fixed(
                names.DHCP_CLIENT[family],
                *(
                    rule(is_family, to_server, Match(Field.FIB_DESTINATION_TYPE, kind), ACCEPT)
                    for kind in (spread, "local")
                ),
            ),
            fixed(
                names.DHCP_SERVER[family],
                rule(is_family, to_client, goto(names.REFUSED.format("dhcp"))),
            ),
            fixed(
                names.DHCP_ANSWER[family],
                rule(is_family, to_client, Match(Field.FIB_SOURCE_TYPE, "local"), ACCEPT),
            ),
        ]
    return tuple(chains)


def _link_from() -> tuple[Rule, ...]:
    """Neighbour discovery from an instance (S15): it asks for anybody, and answers for its own addresses only."""
    own = InSet((Field.IIF, Field.NS_TARGET), names.TARGETS)
    return (
        rule(Match(Field.ICMPV6_TYPE, SOLICIT), _HOP_LIMIT, Match(Field.IPV6_SOURCE, "::", "!="), ACCEPT),
        rule(Match(Field.ICMPV6_TYPE, SOLICIT), _HOP_LIMIT, own, ACCEPT),
        rule(Match(Field.ICMPV6_TYPE, ADVERTISE), _HOP_LIMIT, own, ACCEPT),
        rule(Match(Field.ICMPV6_TYPE, ROUTER_SOLICIT), _HOP_LIMIT, ACCEPT),
        rule(Counter(), DROP, comment="the link does not need it"),
    )


def _link_to() -> tuple[Rule, ...]:
    """What this host may send on the link: neighbour discovery, router advertisements, DHCP answers (S15)."""
    return (
        rule(Match(Field.ICMPV6_TYPE, f"{ROUTER_ADVERTISE}-{ADVERTISE}"), _HOP_LIMIT, ACCEPT),
        rule(Dispatch((Field.UDP_SOURCE_PORT,), names.DHCP_TO)),
        rule(Counter(), DROP, comment="not an address of the NIC"),
    )


def _known_from(namespace: NamespaceProgram) -> tuple[Rule, ...]:
    """Look at a packet from an instance that begins no flow and bears no current stamp; this chain does not return."""
    established = Match(Field.CT_STATE, "established")
    return (
        rule(established, _IPV4, Dispatch((Field.IIF,), names.FROM[4])),
        rule(established, _IPV6, Dispatch((Field.IIF,), names.FROM[6])),
        rule(Match(Field.CT_STATE, "untracked"), goto(names.LINK_FROM)),
        *told_of_forwarders(namespace),
        rule(Match(Field.CT_STATE, "invalid,related"), goto(names.REFUSED.format("flow"))),
        rule(Counter(), DROP, comment="not in force"),
    )


def _known_to(namespace: NamespaceProgram) -> tuple[Rule, ...]:
    """Look at a packet to an instance that begins no flow and bears no current stamp; what returns is judged (S13)."""
    return (
        rule(Match(Field.CT_STATE, "established"), Dispatch((Field.UDP_SOURCE_PORT,), names.DHCP_TO)),
        rule(Match(Field.CT_STATE, "established"), RETURN),
        rule(Match(Field.CT_STATE, "untracked"), goto(names.LINK_TO)),
        # This host's own errors about a flow that passed before; others' errors need a flow in force.
        rule(Match(Field.CT_STATE, "related"), Match(Field.FIB_SOURCE_TYPE, "local"), ACCEPT),
        *told_of_forwarders(namespace),
        rule(goto(names.REFUSED.format("flow"))),
    )


def _foreign(namespace: NamespaceProgram) -> tuple[Rule, ...]:
    """Packets that no netdev chain has checked: from other interfaces, or from a NIC that is not in force yet (S19)."""
    if namespace.owned:
        declared = InSet((Field.IIFNAME,), names.DECLARED)
        return (rule(declared, ACCEPT), rule(Counter(), DROP, comment="interface not declared, or not in force"))
    return (rule(InSet((Field.IIFNAME,), names.NICS), Counter(), DROP, comment="not in force"),)


def _postrouting(namespace: NamespaceProgram) -> tuple[Rule, ...]:
    """Find the NIC that a packet goes to; what goes elsewhere from a NIC reached its end and is stamped."""
    dispatches = []
    for family, destination in ((4, Field.IPV4_DESTINATION), (6, Field.IPV6_DESTINATION)):
        dispatches.append(rule(Dispatch((Field.OIF, destination), names.TO[family])))
    for family, destination in ((4, Field.IPV4_DESTINATION), (6, Field.IPV6_DESTINATION)):
        if any(n.version == family and n.prefixlen < n.max_prefixlen for nic in namespace.nics for n in nic.addresses):
            dispatches.append(rule(Dispatch((Field.OIF, destination), names.TO_NETS[family])))
    if forwards(namespace):
        dispatches += [rule(m, Dispatch((Field.OIF,), names.TO_ANY[f])) for m, f in ((_IPV4, 4), (_IPV6, 6))]
    closed = (
        InSet((Field.OIFNAME,), names.DECLARED, negated=True)
        if namespace.owned
        else InSet((Field.OIFNAME,), names.NICS)
    )
    return (
        *dispatches,
        rule(Dispatch((Field.OIF,), names.TO_LINK)),
        rule(closed, Counter(), DROP, comment="not in force"),
        rule(
            Match(Field.CT_STATE, "untracked"),
            InSet((Field.IIF,), names.NIC_IFS),
            Counter(),
            DROP,
            comment="what the link needs stays on the link",
        ),
        rule(InSet((Field.IIF,), names.NIC_IFS), goto(names.ENDED)),
    )
