"""Policies and command lines that nobody would write, each made from one number; the same number makes the same one.

`policy(n)` damages an example as bytes, as text or as YAML nodes, or is noise from the start; `command(n, files)` is a
command line with words in the wrong places, or a right one about a file or ends that are not. What must hold for all of
them is said in `unit/test_bad_input.py`.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import yaml
from examples_catalogue import NAMES, text_of

TEXTS = tuple(text_of(name) for name in NAMES)
DATA = tuple(json.dumps(yaml.load(text, Loader=yaml.CSafeLoader)) for text in TEXTS)

TOKENS = (
    "9" * 400, "-1", "0", "1e999", "-.inf", ".nan", "0x1000", "1_000", "99999999999999999999", "3.5", "true", "~",
    "null", "[]", "{}", "''", '"', "'", "[", "]", "{", "}", ",", ":", "- ", "? ", "| ", "> ", "#", "%", "@", "`", "&a",
    "*a", "<<: *a", "&a [*a]", "!!python/object:os.system", "!!binary aGk=", "!t", "---", "...", "%YAML 9.9", "\t",
    "\x00", "\x1b[2J", "\x07", "\u202e", "\u2028", "\ufeff", "\ud7ff", "İ", "ß" * 70, "x" * 5000, "\U0001f600",
    "[" * 40, "{a: " * 40, "10.0.0.0/8", "10.0.0.1/8", "0.0.0.0/0", "::/0", "::", "fe80::1%eth0", "255.255.255.255",
    "224.0.0.1", "127.0.0.1", "10.0.0.1-10.0.0.9", "10.0.0.9-10.0.0.1", "1-65535", "65536", "22,22", "1-2-3", "tcp",
    "default", "template-1", "../../etc/passwd", "%s%n", "{message}", "$(id)", "a b",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 10**39, 10**500, 2.5, float("inf"), float("nan"), "", "x", "x" * 300, "a\x00b", "\x1b[31m",
    "\u202etxt", "::1", "10.0.0.0/33", "1.2.3.4", [], {}, [[]], [None], {"a": {}}, {"name": []}, [1, "a", {}],
    ["x"] * 200, {str(n): n for n in range(100)},
)  # fmt: skip


def policy(number: int) -> bytes:
    """Return one bad (or, by chance, good) policy file."""
    chance = random.Random(number)
    way = chance.choice(WAYS)
    return way(chance)


def _flipped(chance: random.Random) -> bytes:
    damaged = bytearray(chance.choice(TEXTS).encode())
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def _cut(chance: random.Random) -> bytes:
    whole = chance.choice(TEXTS).encode()
    first, last = sorted((chance.randrange(len(whole)), chance.randrange(len(whole))))
    return chance.choice((whole[:first], whole[first:], whole[:first] + whole[last:], whole[:last] + whole[first:]))


def _words_moved(chance: random.Random) -> bytes:
    words = re.findall(r"\s+|[\w./-]+|.", chance.choice(TEXTS).partition("version:")[2])
    for _ in range(chance.choice((1, 1, 2, 5))):
        one, other = chance.randrange(len(words)), chance.randrange(len(words))
        match chance.randrange(4):
            case 0:
                words[one], words[other] = words[other], words[one]
            case 1:
                words[one] = chance.choice(TOKENS)
            case 2:
                words.insert(one, chance.choice(TOKENS))
            case _:
                words[one] = words[other]
    return ("version:" + "".join(words)).encode("utf-8", "surrogatepass")


def _lines_moved(chance: random.Random) -> bytes:
    lines = chance.choice(TEXTS).splitlines(keepends=True)
    for _ in range(chance.choice((1, 2, 4))):
        at = chance.randrange(len(lines))
        lines[at] = chance.choice((lines[at] * 2, "", " " * chance.randrange(9) + lines[at], chance.choice(lines)))
    return "".join(lines).encode()


def _nodes_changed(chance: random.Random) -> bytes:
    data = json.loads(chance.choice(DATA))
    for _ in range(chance.choice((1, 1, 2, 4))):
        holder, key = chance.choice(_places(data))
        match chance.randrange(5):
            case 0 if isinstance(holder, dict):
                holder[chance.choice((key[:-1] or "k", key.upper(), "name", "nics", "rules", "x" * 200))] = holder[key]
            case 1:
                del holder[key]
            case 2:
                other, there = chance.choice(_places(data))
                holder[key] = deepcopy(other[there])
            case _:
                holder[key] = deepcopy(chance.choice(VALUES))
        if not data:
            break
    text = json.dumps(data, ensure_ascii=chance.random() < 0.5)
    if chance.random() < 0.5:
        text = yaml.dump(data, Dumper=yaml.CSafeDumper, allow_unicode=True)
    return text.encode("utf-8", "surrogatepass")


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every item of nested lists and mappings as (holder, key)."""
    inner: Sequence[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [place for key, item in inner for place in ((value, key), *_places(item))]


def _nested(chance: random.Random) -> bytes:
    depth = chance.choice((10, 33, 100, 3000))
    opening, closing = chance.choice((("[", "]"), ("{a: ", "}"), ("- ", ""), ("a:\n ", ""), ("? ", ""), ("!x ", "")))
    nest = opening * depth + "1" + closing * chance.choice((depth, depth, 0))
    key = chance.choice(("version", "vpcs", "ecs", "security_groups", "silence", "limits", "x"))
    return f"{chance.choice(('version: 1', ''))}\n{key}: {nest}\n".encode()


def _aliased(chance: random.Random) -> bytes:
    section = chance.choice(("vpcs", "ecs", "security_groups", "address_groups", "silence", "peerings"))
    wide = ", ".join(["*a"] * chance.choice((1, 50, 2000)))
    anchor = chance.choice(
        (
            "&a [*a]",
            "&a {name: *a}",
            f"&a {{name: x, rules: [{wide}]}}",
            "&a [x, x, x]",
            "&a &b x",
            "*missing",
            "&a {name: g, rules: [{direction: ingress}]}",
        )
    )
    return f"version: 1\n{section}: [{anchor}, {wide}]\nx: {chance.choice(('*a', '{<<: *a}', '[*a, *a]'))}\n".encode()


def _noise(chance: random.Random) -> bytes:
    if chance.random() < 0.5:
        return chance.randbytes(chance.choice((0, 1, 10, 1000)))
    return "".join(chance.choice((*TOKENS, " ", "\n", ": ")) for _ in range(chance.randrange(60))).encode()


WAYS: tuple[Callable[[random.Random], bytes], ...] = (
    _flipped, _cut, _words_moved, _words_moved, _lines_moved, _nodes_changed, _nodes_changed, _nested, _aliased, _noise,
)  # fmt: skip

COMMANDS = (
    ("check",), ("compile",), ("explain",), ("matrix",), ("schema",), ("completion",), ("apply",), ("clear",), (),
    ("history",), ("show",), ("diff",), ("rollback",), ("confirm",), ("api-schema",),
    ("group", "create"), ("group", "delete"),
    ("rule", "add"), ("rule", "remove"), ("rule", "enable"), ("rule", "disable"), ("rule", "move"),
    *(("address-group", word) for word in ("create", "delete", "add", "remove")),
    *(("nic", word) for word in ("attach", "detach", "groups")),
    ("lab",), *(("lab", word) for word in ("up", "apply", "show", "probe", "matrix", "exec", "vip", "down")),
)  # fmt: skip
FILE, END, TRAFFIC = "FILE", "END", "TRAFFIC"
RIGHT = (
    ("check", FILE), ("check", FILE, "--json"), ("compile", FILE), ("compile", FILE, "--program"),
    ("explain", FILE, END, END, TRAFFIC), ("explain", FILE, END, END, TRAFFIC, "--json"),
    ("explain", FILE, END, END, TRAFFIC, "--reply"), ("explain", FILE, "--all", END),
    ("matrix", FILE, "--proto", TRAFFIC), ("matrix", FILE, "--json"), ("matrix", "--diff", FILE, FILE),
    ("apply", "--without-daemon", FILE), ("lab", "up", FILE),
)  # fmt: skip
ENDS = ("my-pc", "ecs-a", "ecs-b01", "ecs-a:eth0", "client", "192.168.0.11", "203.0.113.10", "2407:c080:802:469::12")
OPTIONS = (
    "--json", "--vpc", "--lab", "--host", "--generation", "--program", "--all", "--reply", "--proto", "--why", "--html",
    "--diff", "--name", "--timeout", "--require", "--netns", "--help", "-h", "--version", "--", "--proto=", "--name=",
    "--without-daemon", "--confirm", "--if-revision", "-m", "--socket", "--before", "--priority",
    "--no-such-option", "-x", "--timeout=nan", "--timeout=1e400", "--generation=-1",
    "--generation=99999999999999999999",
)  # fmt: skip
WORDS = (  # none has a zero byte: no command line can
    "my-pc", "ecs-a", "ecs-a:eth0", "ecs-a:", ":", "server", "client", "192.168.0.11", "203.0.113.10", "10.0.0.0/8",
    "::", "tcp/22", "tcp", "tcp/0", "tcp/99999999999999999999", "udp/53", "icmp", "icmp/8/0", "icmp/8/0/0", "icmpv6",
    "gre", "47", "256", "-5", "tcp/²", "tcp/٣", "TCP/22", "ICMP", "/", "//", "0", "bash", "vpc-a", "lab", "zz", "LAB",
    "-", "\udcff\udcfe", "a\nb", "\x1b[2J", "İstanbul", "", " ", "x" * 10_000, "[red]x[/]", "%s", "🙂", "..",
    "/dev/null/x",
)  # fmt: skip


def command(number: int, good: Sequence[str], bad: Sequence[str]) -> list[str]:
    """Return one command line; `good` and `bad` are files to name in it."""
    chance = random.Random(number)
    if chance.random() < 0.5:
        return _right(chance, good, bad)
    words = list(chance.choice(COMMANDS))
    if chance.random() < 0.7:
        words.append(chance.choice((*good, *bad)))
    for _ in range(chance.choice((0, 1, 2, 3, 3, 3, 4, 6))):
        words.insert(
            chance.randint(min(1, len(words)), len(words)) if chance.random() < 0.2 else len(words),
            chance.choice((*WORDS, *OPTIONS) if chance.random() < 0.8 else (*good, *bad)),
        )
    return words


def _right(chance: random.Random, good: Sequence[str], bad: Sequence[str]) -> list[str]:
    """Return a command line of the right form: a file that may be bad, ends and traffic that may be absurd."""
    files = good if chance.random() < 0.4 else bad
    odd = chance.random() < 0.5
    choices = {
        FILE: files,
        END: WORDS if odd else ENDS,
        TRAFFIC: WORDS if odd else ("ssh", "tcp/22", "icmp", "gre", "47"),
    }
    return [chance.choice(choices[word]) if word in choices else word for word in chance.choice(RIGHT)]
