"""Where things are: IP addresses, networks, ranges, MAC addresses, interfaces and namespaces, as a policy writes them.

Like `scalars`, and as ignorant of rules and hosts. Families never mix silently and nothing is guessed: host bits,
scopes and netmasks are errors that say what to write. Example: `Network` turns `"10.1.2.3"` into `10.1.2.3/32`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, NamedTuple

from pydantic import PlainValidator, WithJsonSchema

from enforcer.model.words.protocols import Family
from enforcer.model.words.scalars import text
from enforcer.model.words.wording import shown, wrong

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


class AddressRange(NamedTuple):
    """Addresses of one family, both ends included."""

    first: IPAddress
    last: IPAddress

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def address(value: object) -> IPAddress:
    """Accept one IPv4 or IPv6 address without a scope."""
    word = text(value)
    try:
        if "%" not in word:
            return ip_address(word)
    except ValueError:
        pass
    else:
        raise wrong(f"{shown(word)} has a scope; write the address without '%…'")
    raise wrong(f"{shown(word)} is not an IP address; write one like 192.168.0.11 or 2001:db8::11")


def network(value: object) -> IPNetwork:
    """Accept an address (meaning /32 or /128) or a CIDR without host bits."""
    return _network(text(value))


@lru_cache(maxsize=16384)  # what many rules name is read, and kept, once
def _network(word: str) -> IPNetwork:
    bare, slash, length = word.partition("/")
    if not slash:
        return ip_network(address(word))
    try:
        if "%" not in word and re.fullmatch(r"0|[1-9][0-9]{0,2}", length):
            found = ip_network(word, strict=False)
        else:
            raise ValueError
    except ValueError:
        raise wrong(f"{shown(word)} is not a CIDR; write one like 10.0.0.0/16 or 2001:db8::/64") from None
    if found.network_address != ip_address(bare):
        raise wrong(
            f"{shown(word)} has host bits set; write {str(found)!r} for the network, or {bare!r} for the address"
        )
    return found


def network_of(family: Family) -> Callable[[object], Any]:
    """Return the validator of a CIDR of one family."""

    def validator(value: object) -> IPNetwork:
        found = network(value)
        if found.version != family:
            raise wrong(f"{shown(value)} is IPv{found.version}; write an IPv{family} CIDR")
        return found

    return validator


def ipv4_address(value: object) -> IPv4Address:
    """Accept one IPv4 address."""
    found = address(value)
    if not isinstance(found, IPv4Address):
        raise wrong(f"{shown(value)} is IPv6; write an IPv4 address")
    return found


def address_range(value: object) -> AddressRange:
    """Accept an entry of S5: an address, a CIDR, or a range `a-b`."""
    return _range(text(value))


@lru_cache(maxsize=16384)  # an address group of which one entry changes is read again whole
def _range(word: str) -> AddressRange:
    left, dash, right = word.partition("-")
    if not dash:
        found = network(word)
        return AddressRange(found.network_address, found.broadcast_address)
    first, last = address(left.strip(" ")), address(right.strip(" "))
    if first.version != last.version:
        raise wrong(f"{shown(word)} mixes IPv4 and IPv6; write a range of one family")
    if int(first) > int(last):
        raise wrong(f"{shown(word)} is backwards; write '{last}-{first}'")
    return AddressRange(first, last)


def mac(value: object) -> str | None:
    """Accept a unicast MAC address; it comes back in lower case with colons."""
    if value is None:
        return None
    word = text(value)
    if not re.fullmatch(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}", word):
        raise wrong(f"{shown(word)} is not a MAC address; write one like 'fa:16:3e:00:00:12'")
    lower = word.lower().replace("-", ":")
    if int(lower[:2], 16) & 1 or lower == "00:00:00:00:00:00":
        raise wrong(f"{shown(word)} is no unicast MAC address; write that of one interface, its first octet even")
    return lower


def interface(value: object) -> str | None:
    """Accept the name of a network interface as the kernel does, without the names that sysctl reserves."""
    if value is None:
        return None
    word = text(value)
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", word) or word in (".", ".."):
        raise wrong(f"{shown(word)} is not an interface name; write 1 to 15 letters, digits, '_', '.' or '-'")
    if word in ("lo", "all", "default"):
        raise wrong(f"{shown(word)} is never behind a NIC; write the host end of the instance's link")
    return word


def netns(value: object) -> str:
    """Accept the name of a network namespace; empty is the enforcer's own."""
    word = text(value)
    if not re.fullmatch(r"([A-Za-z0-9_][A-Za-z0-9_.-]{0,199})?", word):
        raise wrong(f"{shown(word)} is not a namespace name; write up to 200 letters, digits, '_', '.' or '-'")
    return word


Address = Annotated[
    IPAddress, PlainValidator(address), WithJsonSchema({"type": "string", "description": "an IP address"})
]
Ipv4Address = Annotated[IPv4Address, PlainValidator(ipv4_address), WithJsonSchema({"type": "string", "format": "ipv4"})]
Network = Annotated[
    IPNetwork, PlainValidator(network), WithJsonSchema({"type": "string", "description": "an IP address or a CIDR"})
]
Ipv4Cidr = Annotated[
    IPv4Network, PlainValidator(network_of(4)), WithJsonSchema({"type": "string", "description": "an IPv4 CIDR"})
]
Ipv6Cidr = Annotated[
    IPv6Network, PlainValidator(network_of(6)), WithJsonSchema({"type": "string", "description": "an IPv6 CIDR"})
]
Entry = Annotated[
    AddressRange,
    PlainValidator(address_range),
    WithJsonSchema({"type": "string", "description": "an IP address, a CIDR, or a range a-b"}),
]
Mac = Annotated[
    str | None,
    PlainValidator(mac),
    WithJsonSchema({"type": ["string", "null"], "pattern": "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$"}),
]
Interface = Annotated[
    str | None,
    PlainValidator(interface),
    WithJsonSchema({"type": ["string", "null"], "pattern": "^[A-Za-z0-9_.-]{1,15}$"}),
]
Netns = Annotated[
    str, PlainValidator(netns), WithJsonSchema({"type": "string", "pattern": "^([A-Za-z0-9_][A-Za-z0-9_.-]{0,199})?$"})
]
