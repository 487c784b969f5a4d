"""Random policies on the common stage, and random changes of them: plain values from a seed, the same every time.

A scene is the part of a policy file that differs: groups, rules, address groups, NIC settings. They live at the edges:
ports 1 and 65535, adjacent and nested prefixes, 0.0.0.0/0 beside /32, ranges, empty groups, groups that name
themselves, every order of groups, equal priorities with both actions, more costly rules than the quota, all ECS types.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

import policies

from enforcer.model import parse_policy
from fuzz.stage import GUARDED, ROUTED, VIRTUAL_IPS, document

Scene = dict[str, Any]
GROUPS = ("Sg-A", "Sg-B", "Sg-C", "Sg-D")
"""Nobody is in Sg-D but d, whose VPC is not connected; sometimes it is a NIC's only group and has no rule."""
PREFIXES = {
    4: [p for p in policies.PREFIXES[4] if p not in ("0.0.0.0", "255.255.255.255")]
    + ["10.0.1.0/24", "10.0.1.11", "10.0.0.0/23", "10.88.0.0/25", "10.9.0.128/25", "203.0.113.0/24", "10.0.0.40"],
    6: [p for p in policies.PREFIXES[6] if not p.startswith(("ffff", "::/1")) and p != "::"]
    + ["2001:db8:0:1::/64", "2001:db8:0:1::11", "2001:db8::/63", "2001:db8:88::/65", "2001:db8:9::1"],
}
RANGES = {
    4: [*policies.RANGES[4], "10.0.1.0-10.0.1.11", "10.0.0.255-10.0.1.12", "10.88.0.3-10.88.0.3", "203.0.113.7"],
    6: [*policies.RANGES[6], "2001:db8:0:1::-2001:db8:0:1::11", "2001:db8::13-2001:db8::14", "::/0"],
}
PORTS = (*policies.PORTS, 3, 443, 444, 1023, 1024, 32768)
FLAVORS = [f"{n}.x" for n in ("s1", "C1", "c2", "m1", "h1", "d1", "g1", "g2", "e1", "e2", "ET2", "Kai1", "kai1")]
CODES = (0, 1, 255)


def random_scene(rng: Random) -> Scene:
    """Draw a scene that is a valid policy."""
    return _valid(lambda: _draw(rng))


def changed(rng: Random, scene: Scene) -> Scene:
    """Draw a change of a scene: a few steps, each something that an operator may do (S14)."""

    def draw() -> Scene:
        new = deepcopy(scene)
        for _ in range(rng.choice((1, 2, 3, 5, 8))):
            rng.choice(_CHANGES)(rng, new)
        return new

    return _valid(draw)


def _valid(draw: Callable[[], Scene]) -> Scene:
    """Draw until the policy is accepted: two entries of an address group may be equal after all."""
    while True:
        scene = draw()
        try:
            parse_policy(str_of(scene))
        except ValueError:
            continue
        return scene


def str_of(scene: Scene) -> str:
    """Return the policy file of a scene."""
    import json

    return json.dumps(document(scene))


def _draw(rng: Random) -> Scene:
    address_groups = [
        {"name": f"ag-{family}{suffix}", "ip_version": family, "entries": _entries(rng, family)}
        for family in (4, 6)
        for suffix in ("", "b")
    ]
    groups = [_group(rng, name) for name in rng.sample(GROUPS, len(GROUPS))]
    return {
        "costly_rules": rng.choice((0, 1, 2, 3, 120, 120, 120)),
        "revoke": rng.choice(("inbound", "inbound", "both")),
        "address_groups": address_groups,
        "security_groups": groups,
        "nics": {name: _nic(rng, name) for name in (*GUARDED, "d")},
    }


def _entries(rng: Random, family: int) -> list[str]:
    return rng.sample(RANGES[family], rng.choice((0, 1, 2, 3)))


def _group(rng: Random, name: str) -> dict[str, Any]:
    template = rng.choice((None,) * 12 + ("default", "all-ports-open", "general-purpose-web-server", "fast-add"))
    group: dict[str, Any] = {"name": name, "rules": [rule(rng) for _ in range(rng.choice((0, 2, 4, 6, 9, 14)))]}
    if template:
        group["template"] = template
    if template == "fast-add":
        group["fast_add"] = ["tcp/22", "udp/80-443", "icmp"]
    if rng.random() < 0.5:  # else hardly anything that others send would be judged at its other end
        for direction in rng.choice((("egress",), ("egress",), ("ingress",), ("ingress", "egress"))):
            for family in (4, 6):
                everything = {"direction": direction, "ethertype": f"IPv{family}", "priority": rng.choice((1, 50, 100))}
                group["rules"].insert(rng.randrange(len(group["rules"]) + 1), everything)
    return group


def _nic(rng: Random, name: str) -> dict[str, Any]:
    pool = GROUPS if name == "d" else GROUPS[:3] if rng.random() < 0.95 else GROUPS
    nic: dict[str, Any] = {"security_groups": rng.sample(pool, rng.choice((1, 1, 2, 3)))}
    if rng.random() < 0.5:
        nic["type"] = rng.choice([*FLAVORS, "s6.large.2", "s1x.odd", "kai1s.x", "Kai1.x"])
    if name == "b":
        nic["allowed_addresses"] = rng.choice(([], [*VIRTUAL_IPS], [*VIRTUAL_IPS, *ROUTED["b"]], ["10.9.0.4/30"]))
    if name == "f":
        nic["source_dest_check"] = rng.random() < 0.2
    if name == "c" and rng.random() < 0.1:
        nic["port_security"] = False
    return nic


def rule(rng: Random) -> dict[str, Any]:
    """Draw a rule."""
    family = rng.choice((4, 4, 6))
    icmp = "icmp" if family == 4 else "icmpv6"
    numbers = [n for n in policies.NUMBERS if family == 4 or n != 0]
    drawn: dict[str, Any] = {
        "direction": rng.choice(("ingress", "egress")),
        "action": rng.choice(("allow", "allow", "deny")),
        "priority": rng.choice((1, 1, 2, 100)),
        "ethertype": f"IPv{family}",
        "protocol": rng.choice((*numbers, "tcp", "tcp", "tcp", "udp", "udp", icmp, icmp, "all")),
    }
    if rng.random() < 0.1:
        drawn["enabled"] = False
    if drawn["protocol"] in ("tcp", "udp") and rng.random() < 0.7:
        drawn["multiport"] = _ports(rng)
    if drawn["protocol"] == icmp and rng.random() < 0.6:
        drawn["icmp_type"] = rng.choice((8, 8, 13, 15, 17, 0, 3) if family == 4 else (128, 128, 139, 129, 1))
        if rng.random() < 0.4:
            drawn["icmp_code"] = rng.choice(CODES)
    _remote(rng, drawn, family)
    return drawn


def _ports(rng: Random) -> str:
    groups = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        first, last = sorted(rng.sample(PORTS, 2))
        groups.append(str(first) if rng.random() < 0.4 else f"{first}-{last}")
    return ",".join(dict.fromkeys(groups))


def _remote(rng: Random, drawn: dict[str, Any], family: int) -> None:
    for key in ("remote_ip_prefix", "remote_group", "remote_address_group"):
        drawn.pop(key, None)
    match rng.choice(("none", "prefix", "prefix", "group", "group", "address group")):
        case "prefix":
            drawn["remote_ip_prefix"] = rng.choice(PREFIXES[family])
        case "group":
            drawn["remote_group"] = rng.choice(GROUPS)
        case "address group":
            drawn["remote_address_group"] = f"ag-{family}{rng.choice(('', 'b'))}"


# --- changes ----------------------------------------------------------------------------------------------------------


def _any_group(rng: Random, scene: Scene) -> dict[str, Any]:
    return rng.choice([group for group in scene["security_groups"] if group["name"] != "Sg-D"])


def _add_rule(rng: Random, scene: Scene) -> None:
    rules = _any_group(rng, scene)["rules"]
    rules.insert(rng.randrange(len(rules) + 1), rule(rng))


def _front_rule(rng: Random, scene: Scene) -> None:
    """Put a rule before all others: what cuts flows, or lets them go on again, as an operator in haste does it."""
    for family in rng.choice(((4,), (6,), (4, 6))):
        front = {"direction": "ingress", "ethertype": f"IPv{family}", "priority": 1, "action": "deny"}
        if rng.random() < 0.3:
            front["direction"] = "egress"
        if rng.random() < 0.3:
            front["action"] = "allow"
        if rng.random() < 0.5:
            front["protocol"] = rng.choice(("tcp", "udp", "icmp" if family == 4 else "icmpv6"))
        if rng.random() < 0.5:
            _remote(rng, front, family)
        first = scene["nics"][rng.choice(GUARDED)]["security_groups"][0]
        next(group for group in scene["security_groups"] if group["name"] == first)["rules"].insert(0, front)


def _remove_rule(rng: Random, scene: Scene) -> None:
    rules = _any_group(rng, scene)["rules"]
    if rules:
        rules.pop(rng.randrange(len(rules)))


def _edit_rule(rng: Random, scene: Scene) -> None:
    rules = _any_group(rng, scene)["rules"]
    if not rules:
        return
    edited = rng.choice(rules)
    match rng.choice(("action", "priority", "enabled", "ports", "remote")):
        case "action":
            edited["action"] = "deny" if edited.get("action", "allow") == "allow" else "allow"
        case "priority":
            edited["priority"] = rng.choice((1, 2, 100))
        case "enabled":
            edited["enabled"] = not edited.get("enabled", True)
        case "ports":
            if "multiport" in edited:
                edited["multiport"] = _ports(rng)
        case "remote":
            _remote(rng, edited, int(edited["ethertype"][-1]))


def _shuffle_rules(rng: Random, scene: Scene) -> None:
    rng.shuffle(_any_group(rng, scene)["rules"])


def _move_nic(rng: Random, scene: Scene) -> None:
    nic = scene["nics"][rng.choice((*GUARDED, "d"))]
    match rng.choice(("order", "others")):
        case "order":
            rng.shuffle(nic["security_groups"])
        case "others":
            nic["security_groups"] = rng.sample(GROUPS[:3], rng.choice((1, 2, 3)))


def _change_type(rng: Random, scene: Scene) -> None:
    scene["nics"][rng.choice(GUARDED)]["type"] = rng.choice([*FLAVORS, "s6.large.2"])


def _change_entries(rng: Random, scene: Scene) -> None:
    group = rng.choice(scene["address_groups"])
    group["entries"] = _entries(rng, group["ip_version"])


def _change_addresses(rng: Random, scene: Scene) -> None:
    name = rng.choice("bf")
    fresh = _nic(rng, name)
    for key in ("allowed_addresses", "source_dest_check"):
        if key in fresh:
            scene["nics"][name][key] = fresh[key]


def _change_limits(rng: Random, scene: Scene) -> None:
    scene["costly_rules"] = rng.choice((0, 1, 2, 3, 120))


def _change_revoke(rng: Random, scene: Scene) -> None:
    scene["revoke"] = rng.choice(("inbound", "both"))


_CHANGES: tuple[Callable[[Random, Scene], None], ...] = (
    *(_front_rule,) * 6,
    *(_add_rule, _remove_rule, _edit_rule, _edit_rule, _edit_rule, _shuffle_rules, _move_nic, _move_nic),
    *(_change_type, _change_entries, _change_entries, _change_addresses, _change_limits, _change_revoke),
)
