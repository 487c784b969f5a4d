"""Rulesets that are sound but for one thing: what the kernel refuses, and its fake must refuse as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from policies import compiled, three_hosts

from enforcer.ruleset import Ruleset, lower
from enforcer.ruleset.nft import (
    ACCEPT,
    Chain,
    Dispatch,
    Element,
    Field,
    Hook,
    InSet,
    Interval,
    Load,
    Set,
    Table,
    UseTimeout,
    Verdict,
    goto,
    jump,
    rule,
)

SOUND = lower(
    compiled(
        three_hosts("""
            security_groups:
              - name: Sg-A
                rules: [{id: ssh, direction: ingress, protocol: tcp, multiport: "22-30", remote_group: Sg-B}]
        """)
    )
)
ADDRESS = (Field.IPV4_SOURCE,)
PORT = (Field.PRIORITY, Field.L4PROTO, Field.DESTINATION_PORT)


def with_objects(*objects: Set | Chain) -> Ruleset:
    """Add sets and chains to the sound inet table."""
    inet = SOUND.table("inet")
    sets = tuple(entry for entry in objects if isinstance(entry, Set))
    chains = tuple(entry for entry in objects if isinstance(entry, Chain))
    table: Table = replace(inet, sets=(*inet.sets, *sets), chains=(*inet.chains, *chains))
    return replace(SOUND, tables=(table, SOUND.table("netdev")))


def asks(*statements: object) -> Chain:
    return Chain("x_chain", (rule(*statements),))  # type: ignore[arg-type]


def in_map(*pairs: tuple[object, Verdict | int], key: tuple[Field, ...] = ADDRESS, interval: bool = False) -> Set:
    elements = tuple(Element(k if isinstance(k, tuple) and not isinstance(k, Interval) else (k,), v) for k, v in pairs)
    value = "verdict" if isinstance(pairs[0][1], Verdict) else "classid"
    return Set("x_map", key, elements, value, interval=interval)  # type: ignore[arg-type]


EMPTY = Set("x_set", ADDRESS, ())
DAMAGES: dict[str, Callable[[], Ruleset]] = {
    "a jump to a chain that does not exist": lambda: with_objects(asks(jump("x_nowhere"))),
    "a goto to a chain that does not exist": lambda: with_objects(asks(goto("x_nowhere"))),
    "a map that jumps to a chain that does not exist": lambda: with_objects(in_map((1, jump("x_nowhere")))),
    "a jump to a base chain": lambda: with_objects(asks(jump("prerouting"))),
    "a chain that jumps to itself": lambda: with_objects(
        asks(jump("x_chain")), Chain("x_base", (rule(jump("x_chain")),), Hook("input", 151))
    ),
    "a set that does not exist": lambda: with_objects(asks(InSet(ADDRESS, "x_nowhere"), ACCEPT)),
    "a map that does not exist": lambda: with_objects(asks(Dispatch(ADDRESS, "x_nowhere"))),
    "a loaded map that does not exist": lambda: with_objects(asks(Load(ADDRESS, "x_nowhere"))),
    "a timeout that does not exist": lambda: with_objects(asks(UseTimeout("x_nowhere"))),
    "a set of another type": lambda: with_objects(EMPTY, asks(InSet((Field.IPV6_SOURCE,), "x_set"), ACCEPT)),
    "a set with fewer parts": lambda: with_objects(EMPTY, asks(InSet((Field.IIF, *ADDRESS), "x_set"), ACCEPT)),
    "a dispatch by a set": lambda: with_objects(EMPTY, asks(Dispatch(ADDRESS, "x_set"))),
    "a dispatch by a map of classes": lambda: with_objects(in_map((1, 1)), asks(Dispatch(ADDRESS, "x_map"))),
    "one key with two values": lambda: with_objects(in_map((1, 1), (1, 2))),
    "one key with two verdicts": lambda: with_objects(in_map((1, ACCEPT), (1, jump("stamp")))),
    "overlapping intervals": lambda: with_objects(
        in_map((Interval(1, 9), 1), (Interval(5, 20), 2), interval=True),
    ),
    "nested intervals": lambda: with_objects(in_map((Interval(1, 9), 1), (Interval(5, 6), 2), interval=True)),
    "overlapping concatenated intervals": lambda: with_objects(
        in_map(((1, 6, Interval(1, 10)), ACCEPT), ((1, 6, Interval(5, 20)), jump("stamp")), key=PORT, interval=True),
    ),
    "an interface that does not exist": lambda: with_objects(Set("x_set", (Field.IIF,), (Element(("x-nowhere",)),))),
    "a base chain at a device that does not exist": lambda: replace(
        SOUND,
        tables=(
            SOUND.table("inet"),
            replace(
                SOUND.table("netdev"),
                chains=(
                    *SOUND.table("netdev").chains,
                    Chain("x_chain", (rule(ACCEPT),), Hook("ingress", -300, "x-nowhere")),
                ),
            ),
        ),
    ),
}

TAKEN_BY_NEW_KERNELS = ("a base chain at a device that does not exist",)
"""Since 6.16 a netdev chain may wait for its device; before, it is refused, and ours never names an absent one."""
