"""What the oracle says of each turn of a flow: does the frame come out at the other end?"""

from __future__ import annotations

from enforcer.model import TCP
from enforcer.semantics import Oracle, Packet, evaluate, rejudge
from fuzz.shots import SYN, Flow, Turn
from fuzz.stage import VPC, way


def passes(oracle: Oracle, flow: Flow, turn: Turn, *, begun: bool) -> bool:
    """Say whether a turn's frame arrives; `begun`: the flow was let through before, so it is S13's or S14's case."""
    first = Packet(flow.source, flow.destination, flow.traffic, flow.sender, flow.receiver)
    if begun:
        return rejudge(oracle, first).verdict == "allow"
    assert turn == "open", f"nothing but the first packet of {flow} was sent"
    guarded = [name for name in (flow.sender, flow.receiver) if oracle.policy.nic_ref(name).nic.port_security]
    if flow.stranger and flow.sender in guarded:
        return False  # S16: another MAC
    if flow.protocol == TCP and flow.flags != SYN and guarded:
        return False  # S13: a mid-stream segment begins nothing
    return evaluate(oracle, first).verdict == "allow"


def goes_on(flow: Flow) -> bool:
    """Say whether the flow can be answered on the way on which it came; else only its first packet is of use here."""
    return (
        flow.flags == SYN
        and not flow.stranger
        and way(VPC[flow.receiver], flow.source) == flow.sender
        and (flow.icmp_type == 0 or _is_request(flow))
    )


def _is_request(flow: Flow) -> bool:
    return flow.icmp_type in ((8, 13, 15, 17) if flow.source.version == 4 else (128, 139))
