"""Short forms of the kernel tests: a policy for three NICs, and what nftables holds in a namespace."""

from __future__ import annotations

import re
from dataclasses import replace

from policies import compiled, three_hosts

from enforcer.compiler.program import NamespaceProgram
from enforcer.dataplane import libnftables
from enforcer.ruleset import names

RULES = """
security_groups:
  - name: Sg-A
    rules:
      - {id: ssh, direction: ingress, protocol: tcp, multiport: "22,80-90", remote_group: Sg-B}
      - {id: net, direction: ingress, protocol: udp, remote_ip_prefix: 10.9.0.0/16}
      - {id: out, direction: egress}
  - {name: Sg-B, rules: [{id: out6, direction: egress, ethertype: IPv6}]}
"""
NICS = ("v-ecs-a", "v-ecs-b", "v-ecs-c")


def program(text: str = RULES, *, name: str, **changes: object) -> NamespaceProgram:
    return replace(compiled(three_hosts(text)), name=name, **changes)


def listing(netns: str) -> str:
    """Everything that nftables holds in a namespace, without counters' values."""
    return libnftables.listing(netns, "list ruleset")


def objects(netns: str) -> dict[str, str]:
    """The listing of our tables by object; the order of creation, generation and edition do not show in it."""
    found: dict[str, str] = {}
    for family in ("inet", "netdev"):
        text = libnftables.listing(netns, f"list table {family} {names.TABLE}")
        for block in re.split(r"\n(?=\t\w)", without_editions(text).removesuffix("}\n")):
            found[family + " " + block.strip().split("\n")[0]] = re.sub(r"generation_\d+", "generation", block)
    return found


def without_editions(text: str) -> str:
    """Leave the edition out of the names that have one."""
    return re.sub(
        rf"\b{names.EDITION.pattern}", lambda m: m[0][: m.start(1) - m.start() - 1] + m[0][m.end(1) - m.start() :], text
    )


_NUMBER = re.compile(r"\b[0-7]?[0-9a-f]{1,3}:[0-9a-f]{1,4}\b")
_SAID = re.compile(r"([0-9a-f]+:[0-9a-f]+)((?: \. [^,{}]*?)? counter [^,{}]*)")
_ELEMENTS = re.compile(r"elements = \{(.*?)\}", re.S)


def by_content(found: dict[str, str]) -> dict[str, str]:
    """Let local classes be numbered by what verdict maps say of them: a session's may have kept older numbers."""
    told = {key: text for key, text in found.items() if re.search(r" (?:local|verdict_\w+|policy)_[ie][46]_", key)}
    lists: dict[str, dict[str, list[str]]] = {}
    for key, text in told.items():
        if " verdict_" in key:
            said = lists.setdefault(_list_of(key), {})
            for number, entry in _SAID.findall(text):
                said.setdefault(number, []).append(" ".join(f"{key.split('_')[1]} {entry}".split()))
    for key, text in told.items():
        said = lists.get(_list_of(key), {})
        named = _NUMBER.sub(lambda m, said=said: f"<{'; '.join(sorted(said.get(m[0], [])))}>", text)  # type: ignore[misc]
        found[key] = _ELEMENTS.sub(lambda m: str(sorted(re.split(r",\s+", m[1].strip()))), named)
    return found


def _list_of(key: str) -> str:
    return re.findall(r"[ie][46]_[0-9a-f]{10}", key)[0]
