"""Whole regions for tests of changes: all that a policy file can hold, and changes of it; many do not fit."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from policies import documents

from enforcer.agent.resources import canonical
from enforcer.agent.store import Change

EXTRA: dict[str, Any] = {
    "external_hosts": [{"name": "pc", "addresses": ["203.0.113.10"]}],
    "eips": [{"address": "198.51.100.10", "ecs": "ecs-a"}],
    "load_balancers": [
        {
            "name": "elb-1",
            "subnet": "subnet-a",
            "address": "10.0.0.100",
            "listeners": [{"protocol": "tcp", "port": 80, "backends": [{"ecs": "ecs-b", "port": 8080}]}],
        }
    ],
}
TWO_NICS = {
    "name": "ecs-f",
    "type": "s6.large.2",
    "nics": [
        {"name": "eth0", "subnet": "subnet-a", "addresses": ["10.0.0.21"], "interface": "veth-f0"},
        {"name": "eth1", "subnet": "subnet-c", "addresses": ["10.0.1.21"], "mac": "fa:16:3e:00:00:21", "netns": "n",
         "interface": "veth-f1", "security_groups": ["Sg-A", "default"]},
    ],
}  # fmt: skip


@st.composite
def regions(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a policy file with every kind of item in it."""
    document = {**draw(documents()), **EXTRA}
    document["ecs"] = [*document["ecs"], TWO_NICS]
    if draw(st.booleans()):
        document["security_groups"] = [{"name": "default"}, *document["security_groups"]]
    if draw(st.booleans()):
        document["silence"] = ["no-mac"]
    return document


GROUPS = st.sampled_from(("Sg-A", "Sg-B", "default", "Sg-Q"))
ADDRESSES = st.sampled_from(("10.0.0.11", "10.0.0.21", "10.0.0.50", "10.0.0.100", "10.0.1.50", "10.0.0.255", "nowhere"))


@st.composite
def nics(draw: st.DrawFn, name: str) -> dict[str, Any]:
    nic: dict[str, Any] = {
        "name": name,
        "subnet": draw(st.sampled_from(("subnet-a", "subnet-a", "subnet-b", "subnet-c", "subnet-q"))),
        "addresses": draw(st.lists(ADDRESSES, min_size=1, max_size=2)),
        "security_groups": draw(st.lists(GROUPS, max_size=2)),
    }
    if draw(st.booleans()):
        nic["interface"] = draw(st.sampled_from(("veth-f0", "veth-f1", "veth-x", "veth/")))
        nic["netns"] = draw(st.sampled_from(("", "n")))
    if draw(st.booleans()):
        nic["mac"] = draw(st.sampled_from(("fa:16:3e:00:00:21", "fa:16:3e:00:00:99")))
    return nic


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    rule: dict[str, Any] = {"direction": draw(st.sampled_from(("ingress", "egress", "ingress", "in")))}
    if draw(st.booleans()):
        rule["id"] = draw(st.sampled_from(("A", "B", "rule-2", "template-1")))
    rule |= draw(
        st.sampled_from(
            (
                {},
                {"remote_group": "Sg-B"},
                {"remote_group": "Sg-Q"},
                {"remote_group": "default"},
                {"remote_address_group": "ag-4"},
                {"remote_address_group": "ag-6"},
                {"remote_address_group": "ag-q"},
                {"protocol": "tcp", "multiport": "22,80"},
            )
        )
    )
    return rule


def _texts(*values: dict[str, Any]) -> st.SearchStrategy[str]:
    return st.sampled_from([canonical(value) for value in values])


@st.composite
def changes(draw: st.DrawFn, resources: dict[str, str]) -> list[Change]:
    """Draw one to three changes of a region's resources; ECSs go and come with their NICs."""
    found: dict[str, str | None] = {}
    for _ in range(draw(st.integers(1, 3))):
        match draw(st.sampled_from(("group", "group", "address group", "nic", "nic", "ecs", "ecs", "other"))):
            case "group":
                name = draw(st.sampled_from(("Sg-A", "Sg-B", "Sg-D", "Sg-N", "default")))
                group = {"name": name, "rules": draw(st.lists(rules(), max_size=3))}
                if draw(st.booleans()):
                    group = json.loads(resources.get(f"security_groups/{name}", canonical(group)))
                    group["rules"] = [*group.get("rules", []), *draw(st.lists(rules(), max_size=2))]
                found[f"security_groups/{name}"] = draw(st.sampled_from((canonical(group), canonical(group), None)))
            case "address group":
                name = draw(st.sampled_from(("ag-4", "ag-4b", "ag-6", "ag-n")))
                entries = draw(st.lists(st.sampled_from(("10.1.0.0/16", "10.2.0.5", "2001:db8::/64")), max_size=2))
                group = {"name": name, "ip_version": draw(st.sampled_from((4, 4, 6))), "entries": entries}
                found[f"address_groups/{name}"] = draw(st.sampled_from((canonical(group), canonical(group), None)))
            case "nic":
                key = draw(st.sampled_from([key for key in sorted(resources) if key.startswith("nics/")]))
                nic = draw(nics(key.split("/")[2]))
                if draw(st.booleans()):
                    nic = {**json.loads(resources[key]), "security_groups": nic["security_groups"]}
                found[key] = canonical(nic)
            case "ecs":
                found |= draw(_instances(resources))
            case "other":
                found |= draw(_others())
    return [Change(key, value) for key, value in found.items() if _belongs(key, {**resources, **found})]


def _belongs(key: str, resources: dict[str, str | None]) -> bool:
    """Whether a NIC is there as its ECS lists it, or gone as its ECS does not: an ECS may be drawn twice."""
    section, _, name = key.partition("/")
    if section != "nics":
        return True
    ecs = resources.get(f"ecs/{name.split('/')[0]}")
    listed = ecs is not None and name.split("/")[1] in json.loads(ecs)["nics"]
    return listed is (resources[key] is not None)


@st.composite
def _instances(draw: st.DrawFn, resources: dict[str, str]) -> dict[str, str | None]:
    name = draw(st.sampled_from(("ecs-a", "ecs-b", "ecs-c", "ecs-f", "ecs-n", "pc", "elb-1")))
    there = json.loads(resources.get(f"ecs/{name}", '{"nics":[]}'))["nics"]
    wanted = draw(st.sampled_from(([], ["eth0"], ["eth0", "eth1"], ["eth1", "eth0"], there)))
    found: dict[str, str | None] = {f"nics/{name}/{nic}": None for nic in there if nic not in wanted}
    for nic in wanted:
        if nic not in there or draw(st.booleans()):
            found[f"nics/{name}/{nic}"] = canonical(draw(nics(nic)))
    ecs: dict[str, Any] = {"name": name, "nics": wanted}
    if flavor := draw(st.sampled_from((None, "s6.large.2", "S1", "not one!"))):
        ecs["type"] = flavor
    found[f"ecs/{name}"] = canonical(ecs) if wanted or draw(st.booleans()) else None
    return found


def _others() -> st.SearchStrategy[dict[str, str | None]]:
    """Return changes of what is rarely changed."""
    route = {"destination": "172.16.0.0/16", "next_hop": "ecs-c"}
    both = {"name": "subnet-a", "cidr": "10.0.0.0/24", "ipv6_cidr": "2001:db8::/64"}
    a, c = {"name": "subnet-a", "cidr": "10.0.0.0/24"}, {"name": "subnet-c", "cidr": "10.0.0.128/25"}
    return st.one_of(
        st.fixed_dictionaries({"settings": _texts({"version": 1}, {"version": 1, "revoke": "both"}, {"version": 2})}),
        st.fixed_dictionaries({"vpcs/vpc-a": _texts({"name": "vpc-a", "subnets": [a]}, {"name": "vpc-a"}) | st.none()}),
        st.fixed_dictionaries({"vpcs/vpc-c": _texts({"name": "vpc-c", "subnets": [c]})}),
        st.fixed_dictionaries({"vpcs/vpc-a": _texts({"name": "vpc-a", "subnets": [both], "routes": [route]})}),
        st.fixed_dictionaries({"peerings/peering-ac": st.none()}),
        st.fixed_dictionaries({"external_hosts/pc": st.none()}),
        st.fixed_dictionaries({"external_hosts/ecs-a": _texts({"name": "ecs-a", "addresses": ["203.0.113.9"]})}),
        st.fixed_dictionaries({"eips/198.51.100.10": _texts({"address": "198.51.100.10", "ecs": "ecs-b"}) | st.none()}),
        st.fixed_dictionaries({"load_balancers/elb-1": st.none()}),
    )
