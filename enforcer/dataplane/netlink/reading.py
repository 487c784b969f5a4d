"""Where the fields of a packet are: what reads each into a register, and what has to hold before it can be read.

    Field.UDP_SOURCE_PORT   two bytes at the start of the transport header, once the protocol is known to be UDP

What has to hold depends on the table: an inet rule asks for the packet's family, a netdev rule for the frame's type.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from enforcer.dataplane.netlink.wire import attribute, nest, number, text
from enforcer.ruleset.nft import Field

META_PROTOCOL, META_PRIORITY, META_MARK, META_IIFTYPE, META_NFPROTO, META_L4PROTO = 1, 2, 3, 8, 15, 16  # NFT_META_…
_META_IIF, _META_OIF, _META_IIFNAME, _META_OIFNAME = 4, 5, 6, 7
CT_STATE, CT_DIRECTION, CT_STATUS, CT_MARK = 0, 1, 2, 3  # NFT_CT_…
_CT_PROTO_DST, _CT_DST_IP, _CT_DST_IP6 = 12, 20, 22
LINK, NETWORK, TRANSPORT = 0, 1, 2
_SADDR, _DADDR, _ADDRESS_TYPE = 1, 2, 3  # NFTA_FIB_F_…, NFT_FIB_RESULT_ADDRTYPE
ONE: Final = 1
"""The register that everything is read into first."""

Place = tuple[int, int, int]
"""Header, offset in bytes, length in bytes."""

PLACES: Final[Mapping[Field, Place]] = {
    Field.ETHER_SOURCE: (LINK, 6, 6),
    Field.ETHER_TYPE: (LINK, 12, 2),
    Field.IPV4_SOURCE: (NETWORK, 12, 4),
    Field.IPV4_DESTINATION: (NETWORK, 16, 4),
    Field.IPV6_SOURCE: (NETWORK, 8, 16),
    Field.IPV6_DESTINATION: (NETWORK, 24, 16),
    Field.IPV6_HOPLIMIT: (NETWORK, 7, 1),
    Field.ARP_OPERATION: (NETWORK, 6, 2),
    Field.ARP_SENDER_ETHER: (NETWORK, 8, 6),
    Field.ARP_SENDER_IP: (NETWORK, 14, 4),
    Field.SOURCE_PORT: (TRANSPORT, 0, 2),
    Field.DESTINATION_PORT: (TRANSPORT, 2, 2),
    Field.UDP_SOURCE_PORT: (TRANSPORT, 0, 2),
    Field.UDP_DESTINATION_PORT: (TRANSPORT, 2, 2),
    Field.ICMPV6_TYPE: (TRANSPORT, 0, 1),
    Field.TCP_FLAGS: (TRANSPORT, 13, 1),
    Field.NS_TARGET: (TRANSPORT, 8, 16),
}

Condition = tuple[int, bytes]
"""A key of `meta` and the value that it must have."""

_ETHERNET: Final[Condition] = (META_IIFTYPE, (1).to_bytes(2, sys.byteorder))
FAMILIES: Final[Mapping[str, Mapping[str, Condition]]] = {
    "inet": {"ip": (META_NFPROTO, b"\x02"), "ip6": (META_NFPROTO, b"\x0a")},
    "netdev": {
        "ip": (META_PROTOCOL, b"\x08\x00"),
        "ip6": (META_PROTOCOL, b"\x86\xdd"),
        "arp": (META_PROTOCOL, b"\x08\x06"),
    },
}
"""How a table tells of which network protocol a packet is."""

_NETWORK_OF: Final[Mapping[Field, str]] = {
    Field.IPV4_SOURCE: "ip",
    Field.IPV4_DESTINATION: "ip",
    Field.IPV6_SOURCE: "ip6",
    Field.IPV6_DESTINATION: "ip6",
    Field.IPV6_HOPLIMIT: "ip6",
    Field.ICMPV6_TYPE: "ip6",
    Field.ARP_OPERATION: "arp",
    Field.ARP_SENDER_ETHER: "arp",
    Field.ARP_SENDER_IP: "arp",
}
_TRANSPORT_OF: Final[Mapping[Field, bytes]] = {
    Field.UDP_SOURCE_PORT: b"\x11",
    Field.UDP_DESTINATION_PORT: b"\x11",
    Field.ICMPV6_TYPE: b"\x3a",
}


def expression(name: str, *parts: bytes) -> bytes:
    """Build one expression of a rule."""
    return nest(1, text(1, name), nest(2, *parts))


def meta(key: int, register: int = ONE) -> bytes:
    """Read what the kernel knows of a packet."""
    return expression("meta", number(2, key), number(1, register))


@lru_cache(256)
def payload(place: Place, register: int = ONE) -> bytes:
    """Read bytes of a header."""
    base, offset, length = place
    return expression("payload", number(1, register), number(2, base), number(3, offset), number(4, length))


def tracked(key: int, register: int = ONE, *, original: bool = False) -> bytes:
    """Read what connection tracking knows of a packet."""
    direction = (attribute(3, b"\0"),) if original else ()
    return expression("ct", number(2, key), number(1, register), *direction)


def _fib(flags: int, register: int) -> bytes:
    return expression("fib", number(1, register), number(2, _ADDRESS_TYPE), number(3, flags))


_READERS: Final[Mapping[Field, Callable[[int], bytes]]] = {
    Field.IIF: lambda r: meta(_META_IIF, r),
    Field.OIF: lambda r: meta(_META_OIF, r),
    Field.IIFNAME: lambda r: meta(_META_IIFNAME, r),
    Field.OIFNAME: lambda r: meta(_META_OIFNAME, r),
    Field.MARK: lambda r: meta(META_MARK, r),
    Field.PRIORITY: lambda r: meta(META_PRIORITY, r),
    Field.PROTOCOL: lambda r: meta(META_PROTOCOL, r),
    Field.NFPROTO: lambda r: meta(META_NFPROTO, r),
    Field.L4PROTO: lambda r: meta(META_L4PROTO, r),
    Field.CT_STATE: lambda r: tracked(CT_STATE, r),
    Field.CT_DIRECTION: lambda r: tracked(CT_DIRECTION, r),
    Field.CT_STATUS: lambda r: tracked(CT_STATUS, r),
    Field.CT_MARK: lambda r: tracked(CT_MARK, r),
    Field.CT_ORIGINAL_DPORT: lambda r: tracked(_CT_PROTO_DST, r, original=True),
    Field.CT_ORIGINAL_IPV4_DESTINATION: lambda r: tracked(_CT_DST_IP, r, original=True),
    Field.CT_ORIGINAL_IPV6_DESTINATION: lambda r: tracked(_CT_DST_IP6, r, original=True),
    Field.FIB_SOURCE_TYPE: lambda r: _fib(_SADDR, r),
    Field.FIB_DESTINATION_TYPE: lambda r: _fib(_DADDR, r),
}


@lru_cache(256)
def read(field: Field, register: int = ONE) -> bytes:
    """Read a field into a register."""
    place = PLACES.get(field)
    return _READERS[field](register) if place is None else payload(place, register)


def conditions(field: Field, family: str) -> tuple[Condition, ...]:
    """Return what must hold before a field can be read in a table of that family."""
    if field in (Field.ETHER_SOURCE, Field.ETHER_TYPE):
        return (_ETHERNET,)
    network, transport = _NETWORK_OF.get(field), _TRANSPORT_OF.get(field)
    found: tuple[Condition, ...] = () if network is None else (FAMILIES[family][network],)
    return found if transport is None else (*found, (META_L4PROTO, transport))
