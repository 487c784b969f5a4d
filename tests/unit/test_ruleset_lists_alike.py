"""Two lists that say the same share a policy; when one of them comes to say something else, the other's stays."""

from __future__ import annotations

import json
from itertools import pairwise, permutations
from typing import Any

import pytest
from packets import TCP, UDP, Packet
from policies import compiled
from tracer import Tracer

from enforcer.compiler import NamespaceProgram
from enforcer.model import parse_policy
from enforcer.ruleset import Ruleset, lower
from enforcer.ruleset.changes import AddElements, DeleteElements, changes
from enforcer.ruleset.editions import in_place
from enforcer.ruleset.lower import Lowering

PEERS = {"near": "10.0.0.4", "far": "10.0.0.5"}
TYPES = {"a": "s6.large.2", "b": "S1.small"}
"""Rules with an address group or a list of ports are not applied to the second one (S10)."""


def program(*rules: dict[str, Any], costly: int = 120, who: str = "ab") -> NamespaceProgram:
    """Build two instances with the same groups, of which some rules concern the first one alone."""
    always = [
        {"id": "near", "protocol": "udp", "multiport": "53", "remote_ip_prefix": PEERS["near"]},
        {"id": "far", "protocol": "tcp", "multiport": "1023-32768", "remote_ip_prefix": PEERS["far"]},
    ]
    names = [*who, *PEERS]
    document = {
        "version": 1,
        "limits": {"costly_rules": costly},
        "vpcs": [{"name": "v", "subnets": [{"name": "s", "cidr": "10.0.0.0/24"}]}],
        "address_groups": [{"name": "some", "entries": ["10.0.0.4-10.0.0.5"]}],
        "security_groups": [
            {"name": "web", "rules": [{"direction": "ingress", **rule} for rule in (*rules, *always)]},
            {"name": "out", "rules": [{"id": "out", "direction": "egress"}]},
        ],
        "ecs": [
            {"name": name, "subnet": "s", "interface": f"v-{name}", "type": TYPES.get(name, "s6.large.2"),
             "addresses": [PEERS.get(name, f"10.0.0.{2 + 'ab'.find(name)}")],
             "security_groups": ["web"] if name in TYPES else ["out"]}
            for name in names
        ],
    }  # fmt: skip
    return compiled(parse_policy(json.dumps(document)))


LISTED = {"id": "listed", "action": "deny", "protocol": "tcp", "multiport": "2000", "remote_address_group": "some"}
PORTS = {"id": "ports", "action": "deny", "protocol": "tcp", "multiport": "2000,2002", "remote_ip_prefix": PEERS["far"]}
STATES = {
    "alike, of ports": program(PORTS, costly=0),
    "apart, by ports": program(PORTS),
    "alike": program(LISTED, costly=0),
    "apart": program(LISTED),
    "without": program(),
    "apart, in another order": program(LISTED, who="ba"),
    "alike, in another order": program(PORTS, costly=0, who="ba"),
    "apart by ports, in another order": program(PORTS, who="ba"),
    "one": program(LISTED, costly=0, who="a"),
    "other": program(LISTED, costly=0, who="b"),
}


def judged(ruleset: Ruleset, nics: NamespaceProgram) -> dict[tuple[str, str, int, int], tuple[bool, object]]:
    tracer, found = Tracer(ruleset), {}
    macs = {nic.interface: nic.mac or "" for nic in nics.nics}
    for receiver in (nic for nic in nics.nics if nic.interface[2:] in TYPES):
        for peer, address in PEERS.items():
            for proto, port in ((UDP, 53), (UDP, 54), (TCP, 1022), (TCP, 1023), (TCP, 2000), (TCP, 32768)):
                ends = {"iif": f"v-{peer}", "oif": receiver.interface, "mac": macs[f"v-{peer}"]}
                to = next(iter(receiver.addresses)).network_address
                one = tracer.forward(Packet(type(to)(address), to, proto, dport=port, **ends))
                found[receiver.interface, peer, proto, port] = one.accepted, one.by
    return found


@pytest.mark.parametrize("way", list(permutations(STATES, 2)), ids=" ".join)
def test_lists_that_say_the_same_for_a_while_are_judged_by_what_each_says(way: tuple[str, ...]):
    lowering, edition, programs = Lowering(), 1, [STATES[name] for name in way]
    rulesets = [lowering.begin(programs[0], 1)]
    lowering.let_go()
    for generation, (before, after) in enumerate(pairwise(programs), start=2):
        edition += not in_place(before, after)
        rulesets.append(lowering.lower(after, generation, edition=edition))
        names = [entry.name for entry in rulesets[-1].tables[0].sets]
        assert len(names) == len({*names})
        changes(*rulesets[-2:])
    for state, ruleset in zip(programs, rulesets, strict=True):
        assert judged(ruleset, state) == judged(lower(state, ruleset.generation), state)


@pytest.mark.parametrize("who", ["ab", "ba"])
def test_what_one_of_two_lists_leaves_stays_as_it_is_until_the_sweep(who: str):
    """Packets of the other list may still be in it; the order decides which of the two the policy stands for."""
    lowering = Lowering()
    before = lowering.begin(program(PORTS, costly=0, who=who), 1)
    found = changes(before, lowering.lower(program(PORTS, who=who), 2))
    named = [(type(each), each.set.name) for each in found.switch if isinstance(each, AddElements | DeleteElements)]
    assert not [name for _, name in named if name.startswith("verdict_")]
    assert not [name for kind, name in named if name.startswith("local_") and kind is DeleteElements]
