"""What is in the kernel: which objects our tables hold, which generation is in force, which interfaces are there.

Reads only. Names are enough, for most of them stand for their content (see `enforcer.ruleset.names`).
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address

from enforcer.dataplane import conntrack, libnftables
from enforcer.dataplane.closing import closed_beside
from enforcer.dataplane.namespaces import entered
from enforcer.dataplane.netlink.wire import (
    DUMP,
    FAMILIES,
    HEADER,
    REQUEST,
    SUBSYSTEM,
    attributes,
    message,
    messages,
    text,
)
from enforcer.dataplane.notices import Link, LinkSocket, by_name
from enforcer.errors import AttachmentRefused, SystemRefused
from enforcer.model import IPAddress
from enforcer.ruleset import Present
from enforcer.ruleset.names import GENERATION, SOURCES, TABLE

_FAMILIES = ("inet", "netdev")
_NETFILTER, _DONE, _ERROR, _INTERRUPTED = 12, 3, 2, 0x10
_GET_TABLE, _GET_CHAIN, _GET_SET = 1, 4, 10
_ANONYMOUS, _MAP = 0x1, 0x8
_NEW_LINK, _GET_LINK, _IFNAME, _MASTER = 16, 18, 3, 10  # RTM_…, IFLA_…


def present(netns: str) -> dict[str, Present]:
    """Return what our tables hold, by family; a table that does not exist is left out.

    Names alone are asked for: libnftables would read every element of every set along with them.
    """
    with entered(netns):
        asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
    with closed_beside(asking):
        asking.settimeout(10)
        there = [f for f in _FAMILIES if any(_text(each, 1) == TABLE for each in _listed(asking, _GET_TABLE, f))]
        return {family: _present(asking, family) for family in there}


def _present(asking: socket.socket, family: str) -> Present:
    chains = [each for each in _listed(asking, _GET_CHAIN, family) if _text(each, 1) == TABLE]
    sets: dict[bool, set[str]] = {False: set(), True: set()}
    for each in _listed(asking, _GET_SET, family):
        flags = int.from_bytes(each.get(3, b""), "big")
        if _text(each, 1) == TABLE and not flags & _ANONYMOUS:
            sets[bool(flags & _MAP)].add(_text(each, 2))
    return Present(frozenset(sets[False]), frozenset(sets[True]), frozenset(_text(each, 3) for each in chains))


def _listed(asking: socket.socket, kind: int, family: str) -> list[dict[int, bytes]]:
    """Return the attributes of all objects of a kind and family; a listing that a change interrupted is begun again."""
    while True:
        asking.send(message(SUBSYSTEM << 8 | kind, DUMP, FAMILIES[family], b""))
        found, whole, done = [], True, False
        while not done:
            for answer, flags, _, body in messages(asking.recv(1 << 18)):
                whole = whole and not flags & _INTERRUPTED
                done = done or answer in (_DONE, _ERROR)
                if answer == _ERROR:
                    raise SystemRefused(
                        f"nftables cannot be listed ({os.strerror(-struct.unpack_from('=i', body)[0])})"
                    )
                if answer >> 8 == SUBSYSTEM:
                    found.append(dict(attributes(body[4:])))
        if whole:
            return found


def _text(parts: dict[int, bytes], kind: int) -> str:
    return parts.get(kind, b"").rstrip(b"\0").decode()


def generation(tables: dict[str, Present]) -> int:
    """Return the generation in force, 0 if none is."""
    prefix = GENERATION.format("")
    chains = tables["inet"].chains if "inet" in tables else frozenset()
    return max((int(name.removeprefix(prefix)) for name in chains if name.startswith(prefix)), default=0)


def owners(netns: str) -> dict[IPAddress, frozenset[str]]:
    """Return the interfaces in force of each address; one that went away since is a number, no name."""
    found: dict[IPAddress, frozenset[str]] = {}
    for name in SOURCES.values():
        for interface, address in libnftables.elements(netns, f"set netdev {TABLE} {name}"):
            key = ip_address(address)
            found[key] = found.get(key, frozenset()) | {interface}
    return found


def stamped(netns: str, stamp: int, mask: int) -> bool:
    """Say whether any live flow, of whatever family, bears a stamp in the masked bits of its connection mark."""
    with closed_beside(conntrack.opened(netns)) as opened:
        return any(True for _ in conntrack.dump(opened, conntrack.marked(stamp, mask)))


@cache
def egress_hook() -> bool:
    """Say whether the kernel has netdev's egress hook (Linux 5.16 and later)."""
    chain = 'chain c { type filter hook egress device "lo" priority 0; policy accept;\n}'
    return not libnftables.refusal("", f"table netdev {TABLE}_probe {{ {chain}\n}}\n")


@dataclass(frozen=True, slots=True)
class Links:
    """The interfaces of a namespace that were asked for, and the indexes of all that are there."""

    present: frozenset[str]
    absent: frozenset[str]
    indexes: Mapping[str, int]


def links(netns: str, interfaces: Collection[str]) -> Links:
    """Look the interfaces up; one that is a port of a bridge or the like would not be filtered and is refused.

    Raises AttachmentRefused naming every such interface, its master and the mend.
    """
    with LinkSocket(netns) as socket_:
        by_index = socket_.dump()
    found = by_name(by_index)
    wanted = sorted(set(interfaces))
    ports = (found[name] for name in wanted if name in found and found[name].master)
    refused = [_master_text(port.name, by_index.get(port.master)) for port in ports]
    if refused:
        raise AttachmentRefused("\n".join(refused))
    there = frozenset(name for name in wanted if name in found)
    return Links(there, frozenset(wanted) - there, {name: link.index for name, link in found.items()})


def looked_up(netns: str, interfaces: Collection[str]) -> dict[str, tuple[int, bool]]:
    """Return index of each of a few interfaces, and whether it is a port of another; one that is not there is left out.

    Asked one by one over plain rtnetlink: the time does not depend on how many others there are.
    """
    found: dict[str, tuple[int, bool]] = {}
    with entered(netns):
        asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    with asking:
        asking.settimeout(10)
        for name in interfaces:
            wanted = bytes(16) + text(_IFNAME, name)
            asking.send(HEADER.pack(HEADER.size + len(wanted), _GET_LINK, REQUEST, 1, 0) + wanted)
            for kind, _, _, body in messages(asking.recv(1 << 16)):
                if kind == _NEW_LINK:
                    index, parts = int.from_bytes(body[4:8], sys.byteorder), dict(attributes(body[16:]))
                    found[name] = (index, _MASTER in parts)
    return found


def _master_text(name: str, master: Link | None) -> str:
    label, kind = (master.name, master.kind or "master") if master else ("another interface", "master")
    return (
        f"interface {name}: is a port of the {kind} {label}, so the enforcer would not see its packets; "
        f"take it out of {label} and route to it, or leave the NIC out of this policy"
    )
