"""Policies of any size for the measurements of changes: NICs here, members elsewhere, lists of five groups each."""

from __future__ import annotations

from typing import Any

GROUPS_OF_A_LIST = 5
REMOTES = 12


def document(
    nics: int = 2000, lists: int = 100, rules: int = 120, members: int = 6000, most: int = 0, shift: int = 0
) -> dict[str, Any]:
    """Build a policy: `nics` interfaces n0, n1 …, shared out among `lists` lists of five groups of `rules` rules each.

    A third of the rules is for any address, a third names a prefix of its own, a third one of twelve groups, of which
    the first has all `members`, each of whom is in one of the others too. `most` NICs have the first list. With another
    `shift` every port is another one.
    """
    remotes = [f"m-{number}" for number in range(REMOTES)]
    groups = [{"name": name, "rules": []} for name in remotes]
    for at in range(lists):
        for part in range(GROUPS_OF_A_LIST):
            listed = [_rule(n, at, part, remotes, shift) for n in range(rules)]
            groups.append({"name": f"g-{at}-{part}", "rules": listed})
    here = [_local(number, 0 if number < most else number % lists) for number in range(nics)]
    return {
        "version": 1,
        "vpcs": [{"name": "v", "subnets": [{"name": "s", "cidr": "10.0.0.0/14"}]}],
        "security_groups": groups,
        "ecs": [*here, *(far(number, [remotes[0], remotes[1 + number % 11]]) for number in range(members))],
    }


def far(number: int, groups: list[str], net: int = 1) -> dict[str, Any]:
    """Build an instance of another host: an address that is a member."""
    address = f"10.{net}.{number // 250}.{number % 250 + 1}"
    return {"name": f"far-{net}-{number}", "subnet": "s", "addresses": [address], "security_groups": groups}


def _local(number: int, at: int) -> dict[str, Any]:
    return {
        "name": f"local-{number}",
        "subnet": "s",
        "addresses": [f"10.0.{number // 250}.{number % 250 + 1}"],
        "mac": f"fa:16:3e:00:{number >> 8:02x}:{number & 255:02x}",
        "interface": f"n{number}",
        "security_groups": [f"g-{at}-{part}" for part in range(GROUPS_OF_A_LIST)],
    }


def _rule(n: int, at: int, part: int, remotes: list[str], shift: int) -> dict[str, Any]:
    port = 1000 + shift + (at * 7 + part * 131 + n * 17) % 20000
    ports = f"{port},{port + 3}-{port + 5}" if n % 3 == 0 else f"{port}-{port + 40}" if n % 7 == 0 else str(port)
    remote: dict[str, Any] = {}
    if n % 3 == 1:
        remote = {"remote_group": remotes[(n + at + part) % len(remotes)]}
    elif n % 3 == 2:
        length = 24 if n % 2 else 26
        remote = {"remote_ip_prefix": f"172.{16 + n % 16}.{(at * 5 + part) % 256}.0/{length}"}
    return {
        "id": f"r{n}",
        "direction": "egress" if n % 12 == 11 else "ingress",
        "priority": 1 + n % 50,
        "protocol": "tcp" if n % 2 else "udp",
        "action": "deny" if n % 10 == 3 else "allow",
        "multiport": ports,
        **remote,
    }
