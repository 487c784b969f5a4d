"""What kind of conversation a question is about: `tcp/22`, `ssh`, `udp/53`, `icmp`, `icmp/8/0`, `icmpv6`, `gre`, `47`.

The words of PROTO on the command line, and nothing else: no addresses, no direction.
Example: `parse_traffic("icmp") == Traffic(ICMP, icmp_type=8, icmp_code=0)`, an echo request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from enforcer.errors import UsageError
from enforcer.model.words.protocols import ICMP, ICMPV6, PROTOCOL_NAMES, PROTOCOLS, TCP, UDP
from enforcer.model.words.wording import shown, suggestion

ECHO_REQUEST = {ICMP: 8, ICMPV6: 128}

SERVICES = {
    "ping": "icmp",
    "ftp": "tcp/21",
    "ssh": "tcp/22",
    "telnet": "tcp/23",
    "smtp": "tcp/25",
    "dns": "udp/53",
    "tftp": "udp/69",
    "http": "tcp/80",
    "kerberos": "tcp/88",
    "pop3": "tcp/110",
    "ntp": "udp/123",
    "imap": "tcp/143",
    "snmp": "udp/161",
    "bgp": "tcp/179",
    "ldap": "tcp/389",
    "https": "tcp/443",
    "smb": "tcp/445",
    "syslog": "udp/514",
    "submission": "tcp/587",
    "ldaps": "tcp/636",
    "imaps": "tcp/993",
    "pop3s": "tcp/995",
    "mssql": "tcp/1433",
    "nfs": "tcp/2049",
    "mysql": "tcp/3306",
    "rdp": "tcp/3389",
    "postgres": "tcp/5432",
    "postgresql": "tcp/5432",
    "vnc": "tcp/5900",
    "redis": "tcp/6379",
    "mongodb": "tcp/27017",
    "wireguard": "udp/51820",
}
"""What people call a port. Our own table: the system's would be I/O, and would answer differently on each host."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """A protocol with its port (TCP, UDP) or its type and code (ICMP); None where the protocol has no such thing."""

    protocol: int
    port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None

    def __str__(self) -> str:
        name = PROTOCOL_NAMES.get(self.protocol, str(self.protocol))
        numbers = (self.port, self.icmp_type, self.icmp_code)
        return "/".join((name, *(str(number) for number in numbers if number is not None)))


def parse_traffic(text: str) -> Traffic:
    """Return what `text` asks about; raise UsageError, saying what to write instead, if that is nothing."""
    word, *numbers = SERVICES.get(text.casefold(), text.casefold()).split("/")
    protocol = _protocol(word, text)
    match protocol, numbers:
        case ((6 | 17), [port]):
            return Traffic(protocol, port=_number(port, 1, 65535, "port", text))
        case ((6 | 17), []):
            raise UsageError(f"{shown(text)} has no port; write one like '{PROTOCOL_NAMES[protocol]}/22'")
        case ((1 | 58), []):
            return Traffic(protocol, icmp_type=ECHO_REQUEST[protocol], icmp_code=0)
        case ((1 | 58), [icmp_type, *code]) if len(code) <= 1:
            found = _number(icmp_type, 0, 255, "ICMP type", text)
            return Traffic(protocol, icmp_type=found, icmp_code=_number((code or ["0"])[0], 0, 255, "ICMP code", text))
        case _, []:
            return Traffic(protocol)
        case _:
            takes = {TCP: "'tcp/22'", UDP: "'udp/53'", ICMP: "'icmp/8/0'", ICMPV6: "'icmpv6/128/0'"}
            raise UsageError(f"{shown(text)} has too many parts; write one like {takes.get(protocol, repr(word))}")


def service(traffic: Traffic) -> str | None:
    """Return what people call it, `ssh` for tcp/22; None where it has no name in our table."""
    return _NAMES.get(traffic)


def _protocol(word: str, text: str) -> int:
    if word in PROTOCOLS:
        return PROTOCOLS[word]
    if re.fullmatch(r"0|[1-9][0-9]{0,2}", word) and int(word) <= 255:
        return int(word)
    near = suggestion(word, (*PROTOCOLS, *(SERVICES if word == text.casefold() else ())))
    near = near or "; write tcp/PORT, udp/PORT, icmp, icmpv6, gre or a number from 0 to 255"
    raise UsageError(f"{shown(text)} has no known protocol{near}")


def _number(word: str, first: int, last: int, what: str, text: str) -> int:
    if re.fullmatch(r"0|[1-9][0-9]{0,4}", word) and first <= int(word) <= last:
        return int(word)
    raise UsageError(f"{shown(text)} has the {what} {shown(word)}; write a number from {first} to {last}")


_NAMES = {parse_traffic(written): word for word, written in reversed(SERVICES.items())}
