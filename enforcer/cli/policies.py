"""Read policy files: the only place where one comes from disk."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from enforcer.answers import Position
from enforcer.cli import output
from enforcer.errors import PolicyError, Problem
from enforcer.model import (
    Policy,
    Traffic,
    advice,
    parse_policy,
    parse_traffic,
    parse_with_data,
    parse_with_lines,
    unsilenced,
)
from enforcer.semantics import not_in_effect

MOST_BYTES = 64 * 1024 * 1024
MOST_TRAFFICS = 8


def load_policy(path: str) -> tuple[Policy, bytes]:
    """Read and parse a policy file (`-`: standard input); returns it with the bytes as written.

    Raises PolicyError, also for a file that cannot be read, is a directory or is larger than 64 MiB.
    """
    text = read_policy(path)
    with rejecting(path):
        return parse_policy(text, source=path), text


def load_with_warnings(path: str) -> tuple[Policy, bytes]:
    """Read and parse a policy file like `load_policy`, and print the warnings about what is going to be enforced."""
    text = read_policy(path)
    with rejecting(path):
        policy, _, lines = parse_with_data(text, source=path)
    warned = unsilenced(policy, (*not_in_effect(policy), *advice(policy)))
    for warning in lines().on(warned) if warned else ():
        output.warn(str(warning), warning.code)
    return policy, text


def load_with_positions(path: str) -> tuple[Policy, Position]:
    """Read and parse a policy file like `load_policy`; returns it with where its rules stand."""
    text = read_policy(path)
    with rejecting(path):
        policy, lines = parse_with_lines(text, source=path)
    return policy, Position("" if path == "-" else path, lines)


@contextmanager
def rejecting(path: str) -> Iterator[None]:
    """Name the file to which the errors belong: a command may have several."""
    try:
        yield
    except PolicyError as error:
        count = len(error.problems)
        error.add_note(
            f"{_name(path)} is rejected whole, for {'this error' if count == 1 else f'these {count} errors'}"
        )
        raise


def read_policy(path: str) -> bytes:
    """Return the bytes of a policy file; raises PolicyError where there are none, or too many."""
    try:
        if path == "-":
            text = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with open(path, "rb") as file:  # Path("") would be this directory
                text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise PolicyError((Problem(_name(path), f"cannot be read ({error.strerror})"),)) from error
    if len(text) > MOST_BYTES:
        raise PolicyError((Problem(_name(path), "is larger than 64 MiB; no policy is"),))
    return text


def _name(path: str) -> str:
    if path == "-":
        return "standard input"
    return path if path.isprintable() and path.strip() == path != "" else repr(path)


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
