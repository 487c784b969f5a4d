"""What can stand in the router while a figure is taken, each with a way in; the way out is the same for all.

nothing     no rule, no connection tracking: what the veths and the routing cost
conntrack   `ct state established accept; accept`: what every stateful filter pays
ours        the enforcer's ruleset, committed as `enforcer apply` commits it
list        an ordered nft list; `peers` has it
iptables    iptables (its nf_tables backend) with ipset; `peers` has it
file        any nft script: for trying another structure beside the others
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as changed
from functools import cache
from pathlib import Path

from bench import peers
from bench.shape import Shape
from bench.topology import Topology
from enforcer.compiler import NamespaceProgram, compile_policy
from enforcer.dataplane import replace
from enforcer.model import host_layout, parse_policy

CONNTRACK = """
table inet bare {
  chain forward {
    type filter hook forward priority 0; policy accept;
    ct state established accept
    accept
  }
}
"""


@dataclass(frozen=True)
class Case:
    """A named state of the router; `denied`: the measured packets do not arrive."""

    name: str
    install: Callable[[Topology], None]
    family: int = 4
    denied: bool = False


def nothing(family: int = 4) -> Case:
    """Leave the router without a rule."""
    return Case("nothing", void, family)


def conntrack(family: int = 4) -> Case:
    """Track connections, and judge nothing."""
    return Case("conntrack", _nft(CONNTRACK), family)


def ours(shape: Shape, name: str = "ours", *, owned: bool = True) -> Case:
    """Put the policy in force as the enforcer does; `owned`: in a router of its own."""
    return Case(name, lambda made: _commit(shape, made.router, owned=owned), shape.family, shape.match == "none")


def nft_list(shape: Shape, name: str = "list") -> Case:
    """Put the policy in force as an ordered list."""
    return Case(name, _nft(peers.nft_list(shape)), shape.family, shape.match == "none")


def iptables(shape: Shape, name: str = "iptables") -> Case:
    """Put the policy in force as Neutron's driver would."""

    def install(made: Topology) -> None:
        made.run(made.router, "ipset", "restore", text=peers.ipsets(shape))
        restore = "iptables-nft-restore" if shape.family == 4 else "ip6tables-nft-restore"
        made.run(made.router, restore, text=peers.iptables(shape))

    return Case(name, install, shape.family, shape.match == "none")


def file(path: Path, family: int = 4) -> Case:
    """Load an nft script."""
    return Case(path.stem, _nft(path.read_text(encoding="utf-8")), family)


def load(made: Topology, script: str) -> None:
    """Have nft load a script in the router."""
    made.run(made.router, "nft", "-f", "-", text=script)


def clear(made: Topology) -> None:
    """Take everything out of the router again, tracked connections too."""
    made.run(made.router, "nft", "flush ruleset")
    made.run(made.router, "ipset", "destroy")
    forget(made)


def forget(made: Topology) -> None:
    """Empty the connection table."""
    made.run(made.router, "conntrack", "-F")


def _nft(script: str) -> Callable[[Topology], None]:
    return lambda made: load(made, script)


def void(_: object) -> None:
    """Throw a result away."""


def _commit(shape: Shape, netns: str, *, owned: bool) -> None:
    replace(program(shape, netns, owned=owned), require=True)


@cache
def program(shape: Shape, netns: str, *, owned: bool = True) -> NamespaceProgram:
    """Compile the policy for the router, once."""
    policy = parse_policy(shape.document(netns))
    return changed(compile_policy(policy, host_layout(policy)).namespaces[0], owned=owned)
