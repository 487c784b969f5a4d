"""One side of a new conversation: does this NIC let it out, or in, and which rule says so?

`evaluate_side` asks, in this order, and stops at the first answer:

1. `port_security: false`: nothing is filtered on this NIC (S16).
2. What a link cannot work without passes unasked; what only a router may send never leaves (S15). It carries an
   address of the NIC, or that of a host without one.
3. Any other packet must leave with an address of the NIC as its source, and come with one as its destination, unless
   `source_dest_check: false` (S6, S16). Asked only when the caller gives that address.
4. An ICMP packet must be of a type that begins a conversation; every other one is an answer to nothing (S13).
5. The rules in the order of S7; the first that matches and is in effect decides. None: deny.

Replies and ICMP errors of conversations that were let through are not asked (S13). DHCP answers are replies in that
sense and not exempt by themselves. Source ports are unknown here: where S15 speaks of a DHCP *server*, only the packet
filter can see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from enforcer.model import ICMP, ICMPV6, UDP, Action, Direction, IPAddress, NicRef, Policy, Rule, Traffic
from enforcer.semantics.effect import Ranked
from enforcer.semantics.matching import matches
from enforcer.semantics.oracle import Oracle
from enforcer.semantics.words import rule_words, traffic_words

# The types with which connection tracking lets a conversation begin (S13): echo, timestamp, information and address
# mask requests; echo and node information requests.
BEGINNINGS = {(ICMP, 4): frozenset({8, 13, 15, 17}), (ICMPV6, 6): frozenset({128, 139})}

# S15: neighbour discovery (RFC 4861) as an instance sends and receives it.
ROUTER_ADVERTISEMENT = 134
DISCOVERY = {
    Direction.EGRESS: {133: "router solicitation", 135: "neighbour solicitation", 136: "neighbour advertisement"},
    Direction.INGRESS: {134: "router advertisement", 135: "neighbour solicitation", 136: "neighbour advertisement"},
}
DHCP_SERVER, DHCP6_SERVER = 67, 547
DHCP_BROADCAST, DHCP6_SERVERS = IPv4Address("255.255.255.255"), IPv6Address("ff02::1:2")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rule and the group that it is in."""

    group: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A rule that matches the packet and did not decide, with the reason."""

    group: str
    rule: Rule
    reason: str


@dataclass(frozen=True, slots=True)
class SideVerdict:
    """What one NIC says to a packet. `group` and `rule` are null when no rule decided; `reason` always says why.

    `passed_over` has every other rule that matches, in the order of S7; `runner_up` is the first of them that is in
    effect: it would decide if the deciding rule were not there.
    """

    verdict: Action
    reason: str
    group: str | None = None
    rule: Rule | None = None
    passed_over: tuple[PassedOver, ...] = ()
    runner_up: Candidate | None = None

    @property
    def allowed(self) -> bool:
        return self.verdict == Action.ALLOW


def evaluate_side(
    policy: Policy | Oracle,
    ref: NicRef,
    direction: Direction,
    peer: IPAddress,
    traffic: Traffic,
    *,
    own: IPAddress | None = None,
) -> SideVerdict:
    """Judge the first packet of a conversation at one NIC.

    `peer` is the packet's source for ingress and its destination for egress; `own` is the other address, which S16
    checks if it is given.
    """
    oracle = Oracle.of(policy)
    if not ref.nic.port_security:
        return _allow(f"port_security is off on {ref.label}: nothing is filtered there (S16)")
    is_own = own is None or may_use(ref, own)
    exempt = _unasked(ref, direction, peer, traffic)
    if exempt is not None and (is_own or direction == Direction.INGRESS or _without_address(own)):
        return exempt
    if not is_own:
        wrong = "spoofed source" if direction == Direction.EGRESS else "not for this NIC"
        return _deny(f"{wrong}: {own} is neither a private nor an allowed address of {ref.label} (S16)")
    beginnings = BEGINNINGS.get((traffic.protocol, peer.version))
    if beginnings is not None and traffic.icmp_type is not None and traffic.icmp_type not in beginnings:
        return _deny(f"{traffic_words(traffic)} begins no conversation: as a first packet it is invalid (S13)")
    return _by_rules(oracle, ref, direction, peer, traffic)


def may_use(ref: NicRef, address: IPAddress) -> bool:
    """Say whether a packet may leave the NIC with this source, or come in with this destination (S6, S16)."""
    if not ref.nic.source_dest_check:
        return True
    return address in ref.nic.addresses or any(address in network for network in ref.nic.allowed_addresses)


def _without_address(source: IPAddress | None) -> bool:
    """Say whether this is how a host sends that has no address yet, or speaks on its link only."""
    return source is not None and (source.is_unspecified or (source.version == 6 and source.is_link_local))


def _unasked(ref: NicRef, direction: Direction, peer: IPAddress, traffic: Traffic) -> SideVerdict | None:
    """Answer for what no rule is asked about (S15), or return None."""
    if traffic.protocol == ICMPV6 and peer.version == 6 and traffic.icmp_type is not None:
        if (discovery := DISCOVERY[direction].get(traffic.icmp_type)) is not None:
            return _allow(f"IPv6 {discovery} passes unasked: the link cannot work without it (S15)")
        if direction == Direction.EGRESS and traffic.icmp_type == ROUTER_ADVERTISEMENT:
            return _deny("an instance cannot send router advertisements (S15)")
    if traffic.protocol == UDP and direction == Direction.EGRESS:
        subnet = next(subnet for subnet in ref.vpc.subnets if subnet.name == ref.nic.subnet)
        gateway = subnet.cidr[1] if subnet.cidr is not None and subnet.cidr.num_addresses > 2 else None
        to_server = traffic.port == DHCP_SERVER and peer in (DHCP_BROADCAST, gateway)
        if to_server or (traffic.port == DHCP6_SERVER and peer == DHCP6_SERVERS):
            return _allow("DHCP from the instance as a client passes unasked (S15)")
    return None


def _by_rules(oracle: Oracle, ref: NicRef, direction: Direction, peer: IPAddress, traffic: Traffic) -> SideVerdict:
    """Ask the rules of the NIC's groups (S7): the first that matches and is in effect decides."""
    matching = [
        one
        for one in oracle.ranked(ref, direction, peer.version)
        if matches(oracle.policy, one.rule, peer, traffic, oracle.members(one.rule.remote_group, ref.vpc.name))
    ]
    in_effect = [one for one in matching if not one.lapse]
    if not in_effect:
        return _no_rule(ref, matching)
    first = in_effect[0]
    return SideVerdict(
        verdict=first.rule.action,
        reason=rule_words(first.group, first.rule),
        group=first.group,
        rule=first.rule,
        passed_over=tuple(
            PassedOver(one.group, one.rule, _why_not(first, one)) for one in matching if one is not first
        ),
        runner_up=Candidate(in_effect[1].group, in_effect[1].rule) if len(in_effect) > 1 else None,
    )


def _no_rule(ref: NicRef, lapsed: list[Ranked]) -> SideVerdict:
    groups = ", ".join(ref.nic.security_groups)
    reason = f"no rule of {groups} matches: denied by default (S7)"
    if lapsed:
        nearest = lapsed[0]
        words = f"{rule_words(nearest.group, nearest.rule)} but is {nearest.lapse}"
        reason = f"no rule in effect of {groups} matches: denied by default (S7); {words}"
    return SideVerdict(
        verdict=Action.DENY,
        reason=reason,
        passed_over=tuple(PassedOver(one.group, one.rule, one.lapse) for one in lapsed),
    )


def _why_not(first: Ranked, other: Ranked) -> str:
    """Say why `other`, which matches too, did not decide: S7's sort keys from left to right."""
    if other.lapse:
        return other.lapse
    if other.position != first.position:
        return f"later group: {other.group} is asked after {first.group}"
    if other.rule.priority != first.rule.priority:
        return f"lower priority: {other.rule.priority} is asked after {first.rule.priority}"
    if other.rule.action != first.rule.action:
        return f"deny is asked before allow at priority {first.rule.priority}"
    return f"configured after {first.rule.id}, which says the same"


def _allow(reason: str) -> SideVerdict:
    return SideVerdict(Action.ALLOW, reason)


def _deny(reason: str) -> SideVerdict:
    return SideVerdict(Action.DENY, reason)
