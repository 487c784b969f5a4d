"""Read policy files: the only place where one comes from disk."""

from __future__ import annotations

import sys
from pathlib import Path

from enforcer.answers import Position
from enforcer.errors import PolicyError, Problem
from enforcer.model import Policy, Traffic, parse_policy, parse_traffic, parse_with_lines

MOST_BYTES = 64 * 1024 * 1024
MOST_TRAFFICS = 8


def load_policy(path: str) -> tuple[Policy, bytes]:
    """Read and parse a policy file (`-`: standard input); returns it with the bytes as written.

    Raises PolicyError, also for a file that cannot be read, is a directory or is larger than 64 MiB.
    """
    text = read_policy(path)
    return parse_policy(text, source=path), text


def load_with_positions(path: str) -> tuple[Policy, Position]:
    """Read and parse a policy file like `load_policy`; returns it with where its rules stand."""
    policy, lines = parse_with_lines(read_policy(path), source=path)
    return policy, Position("" if path == "-" else path, lines)


def read_policy(path: str) -> bytes:
    """Return the bytes of a policy file; raises PolicyError where there are none, or too many."""
    try:
        if path == "-":
            text = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise PolicyError((Problem(path, f"cannot be read ({error.strerror})"),)) from error
    if len(text) > MOST_BYTES:
        raise PolicyError((Problem(path, "is larger than 64 MiB; no policy is"),))
    return text


def traffics_of(policy: Policy, given: tuple[str, ...]) -> dict[Traffic, str]:
    """Parse `--proto` options; returns each with the words in which it was asked for.

    Without an option, take what the policy's rules speak of: ping, the first port of each port range and every other
    protocol that a rule names, at most eight of these.
    """
    texts = given or _spoken_of(policy)
    asked: dict[Traffic, str] = {}
    for text in texts:
        asked.setdefault(parse_traffic(text), text)
    return asked


def _spoken_of(policy: Policy) -> tuple[str, ...]:
    has_ipv6 = any(address.version == 6 for ref in policy.nics() for address in ref.nic.addresses)
    has_ipv4 = any(address.version == 4 for ref in policy.nics() for address in ref.nic.addresses)
    found = [*(["icmp"] if has_ipv4 else []), *(["icmpv6"] if has_ipv6 else [])]
    ports: list[str] = []
    for group in policy.security_groups:
        for rule in group.rules:
            if rule.ports:
                word = "tcp" if rule.protocol == 6 else "udp"
                ports += [f"{word}/{ports.first}" for ports in rule.ports]
            elif rule.protocol is not None and rule.protocol not in (1, 6, 17, 58):
                ports.append("gre" if rule.protocol == 47 else str(rule.protocol))
    return (*found, *(list(dict.fromkeys(ports))[:MOST_TRAFFICS] or ["tcp/22"]))
