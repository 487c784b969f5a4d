"""A dataplane without a kernel: the same verbs, the same refusals, and faults where a test wants them.

    fake = FakeDataplane(interfaces={"lab-vpc-x": ["v-ecs-a"]})
    fake.replace(program)                      # as `commit.replace`
    fake.faults = {"switch"}                   # the next difference is refused, and the fallback replaces all

It refuses what the kernel refuses of a Ruleset (`violations`), keeps names like the kernel does, sweeps or leaves over.
It does not judge packets: `tests/tracer.py` does. One contract test runs against this and against the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Literal

from enforcer.compiler import NamespaceProgram
from enforcer.dataplane.commit import Committed, next_generation
from enforcer.dataplane.commit import Step as PassedStep
from enforcer.errors import AttachmentRefused, TransactionRefused
from enforcer.ruleset import Present, Ruleset, lower, next_edition, render
from enforcer.ruleset.nft import (
    Chain,
    Dispatch,
    Element,
    InSet,
    Interval,
    Key,
    KeyPart,
    KeyType,
    Load,
    Set,
    Statement,
    Table,
    UseTimeout,
    Verdict,
)

Step = Literal["prepare", "switch", "whole", "sweep"]

BITS = {
    KeyType.IPV4: 32,
    KeyType.IPV6: 128,
    KeyType.CLASSID: 32,
    KeyType.PROTOCOL: 8,
    KeyType.SERVICE: 16,
    KeyType.TARGET: 128,
    KeyType.MARK: 32,
}


class FakeDataplane:
    """Namespaces with interfaces, and what was put in force there.

    `ports` maps interfaces that are ports to their bridge; `stamps` are the connection marks that live flows bear;
    `faults` names the steps that will be refused.
    """

    def __init__(self, interfaces: Mapping[str, Collection[str]]) -> None:
        self.interfaces = {netns: set(names) for netns, names in interfaces.items()}
        self.ports: dict[str, str] = {}
        self.stamps: set[int] = set()
        self.faults: set[Step] = set()
        self.in_force: dict[str, Ruleset] = {}
        self._left_over: dict[str, dict[str, Present]] = {}

    def replace(
        self,
        namespace: NamespaceProgram,
        *,
        require: bool = False,
        closed: Collection[str] = (),
        whole: bool = False,
        anew: bool = False,  # noqa: ARG002  nobody else changes what is here
        moved: Collection[str] = (),  # noqa: ARG002  it looks each time
        passed: Callable[[PassedStep], None] = lambda _: None,
    ) -> Committed:
        """Put a program in force, as `commit.replace` does."""
        netns = namespace.name
        wanted = {nic.interface for nic in namespace.nics}
        if refused := sorted((wanted - set(closed)) & self.ports.keys()):
            raise AttachmentRefused(f"interface {refused[0]}: is a port of the bridge {self.ports[refused[0]]}")
        absent = wanted - self.interfaces[netns]
        if absent and require:
            raise AttachmentRefused(f"interface {', '.join(sorted(absent))}: does not exist")
        passed(PassedStep.OBSERVED)
        missing, absent = absent, absent | set(closed)
        before = self.in_force.get(netns)
        generation = next_generation(namespace, before.generation if before else 0, self.stamps.__contains__)
        ruleset = lower(namespace, generation, absent, closed, next_edition(self.present(netns)))
        if found := list(violations(ruleset, self.interfaces[netns])):
            raise TransactionRefused(f"network namespace {netns}: {found[0]}")
        left_over = self.present(netns)
        whole = whole or before is None or bool(self.faults & {"prepare", "switch"})
        if whole and "whole" in self.faults:
            if before is not None and "prepare" not in self.faults:
                self._left_over[netns] = joined(left_over, holds(ruleset, prepared=True))
            raise TransactionRefused(f"network namespace {netns}: refused as asked")
        swept = whole or "sweep" not in self.faults
        self.in_force[netns] = ruleset
        self._left_over[netns] = {} if swept else left_over
        for step in (PassedStep.REPLACED,) if whole else (PassedStep.PREPARED, PassedStep.SWITCHED, PassedStep.SWEPT):
            passed(step)
        return Committed(netns, generation, whole, swept, tuple(sorted(missing - set(closed))))

    def clear(self, netns: str) -> bool:
        """Take everything of ours away, as `commit.clear` does."""
        self._left_over.pop(netns, None)
        return self.in_force.pop(netns, None) is not None

    def present(self, netns: str) -> dict[str, Present]:
        """Return the names of what is there, as `observe.present` does."""
        if netns not in self.in_force:
            return {}
        return joined(holds(self.in_force[netns]), self._left_over.get(netns, {}))


def holds(ruleset: Ruleset, *, prepared: bool = False) -> dict[str, Present]:
    """Return the names that a ruleset has; `prepared`: those that stand for their content only."""
    return {
        table.family: Present(
            frozenset(e.name for e in table.sets if not e.value and not (prepared and e.fixed)),
            frozenset(e.name for e in table.sets if e.value and not (prepared and e.fixed)),
            frozenset(c.name for c in table.chains if not prepared or (not c.fixed and c.rules)),
        )
        for table in ruleset.tables
    }


def joined(one: Mapping[str, Present], other: Mapping[str, Present]) -> dict[str, Present]:
    """Put the names of two states together."""
    nothing = Present(frozenset(), frozenset(), frozenset())
    pairs = {family: (one.get(family, nothing), other.get(family, nothing)) for family in {*one, *other}}
    return {f: Present(a.sets | b.sets, a.maps | b.maps, a.chains | b.chains) for f, (a, b) in pairs.items()}


def violations(ruleset: Ruleset, interfaces: Collection[str]) -> Iterator[str]:
    """Yield what nft or the kernel would refuse; silence means that they take it."""
    try:
        render(ruleset)
    except ValueError as error:
        yield f"no text: {error}"
        return
    for table in ruleset.tables:
        sets = {entry.name: entry for entry in table.sets}
        chains = {chain.name: chain for chain in table.chains}
        for kind, objects, listed in (("set", sets, table.sets), ("chain", chains, table.chains)):
            if len(objects) != len(listed):
                yield f"two {kind}s of one name"
        for entry in table.sets:
            yield from (f"set {entry.name}: {what}" for what in _elements(entry, interfaces))
        for chain in table.chains:
            if chain.hook and chain.hook.device and chain.hook.device not in interfaces:
                yield f"chain {chain.name}: device {chain.hook.device} does not exist"
            for statement in (s for one in chain.rules for s in one.statements):
                yield from (f"chain {chain.name}: {what}" for what in _statement(statement, table, sets))
        yield from _ways(sets, chains)


def _elements(entry: Set, interfaces: Collection[str]) -> Iterator[str]:
    kinds = {None: type(None), "verdict": Verdict, "classid": int}
    for element in entry.elements:
        for field, part in zip(entry.key, element.key, strict=True):
            yield from _part(entry, field.type, part, interfaces)
        if not isinstance(element.value, kinds[entry.value]):
            yield f"{element.value} is no {entry.value or 'set element'}"
    known: dict[Key, Element] = {}
    for element in entry.elements:
        if known.setdefault(element.key, element).value != element.value:
            yield f"{element.key} exists with another value"
    if entry.interval:
        yield from _overlaps(known)


def _overlaps(keys: Iterable[Key]) -> Iterator[str]:
    """Sweep over the first part; keys that are open at the same time must differ in another."""
    still_open: list[Key] = []
    for key in sorted(keys, key=lambda key: [_ends(part)[0] for part in key]):
        still_open = [other for other in still_open if _ends(other[0])[1] >= _ends(key[0])[0]]
        for other in still_open:
            ends = [(_ends(one), _ends(two)) for one, two in zip(key[1:], other[1:], strict=True)]
            if all(one[0] <= two[1] and two[0] <= one[1] for one, two in ends):
                yield f"{other} and {key} overlap"
        still_open.append(key)


def _ends(part: KeyPart) -> tuple[Any, Any]:
    return (part.first, part.last) if isinstance(part, Interval) else (part, part)


def _part(entry: Set, kind: KeyType, part: KeyPart, interfaces: Collection[str]) -> Iterator[str]:
    first, last = _ends(part)
    if isinstance(part, Interval) and not entry.interval:
        yield f"{part} in a set without intervals"
    if isinstance(part, str):
        if kind is KeyType.IFINDEX and part not in interfaces:
            yield f"interface {part} does not exist"
    elif kind not in BITS or not 0 <= first <= last < 1 << BITS[kind]:
        yield f"{part} is no {kind.value}"


def _statement(statement: Statement, table: Table, sets: Mapping[str, Set]) -> Iterator[str]:
    """Check what a statement asks of a set: that it is there, and of these types."""
    match statement:
        case InSet(fields, name):
            wanted = None
        case Dispatch(fields, name):
            wanted = "verdict"
        case Load(fields, name):
            wanted = "classid"
        case UseTimeout(name):
            if name not in {timeout.name for timeout in table.timeouts}:
                yield f"timeout {name} does not exist"
            return
        case _:
            return
    if name not in sets:
        yield f"set {name} does not exist"
    elif sets[name].value != wanted or [f.type for f in sets[name].key] != [f.type for f in fields]:
        yield f"set {name} is of another type"


def _leads_to(chain: Chain, sets: Mapping[str, Set]) -> Iterator[str]:
    """Yield the chains that a chain names, in its rules and in the maps that it dispatches by."""
    for statement in (statement for rule in chain.rules for statement in rule.statements):
        if isinstance(statement, Verdict) and statement.chain:
            yield statement.chain
        elif isinstance(statement, Dispatch) and statement.map in sets:
            values = (element.value for element in sets[statement.map].elements)
            yield from sorted({value.chain for value in values if isinstance(value, Verdict) and value.chain})


def _ways(sets: Mapping[str, Set], chains: Mapping[str, Chain]) -> Iterator[str]:
    """Check that every chain that is named exists and is no base chain, and that no way comes back to itself."""
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> Iterator[str]:
        if name in way:
            yield f"chain {name}: comes back to itself"
        elif name not in chains:
            yield f"chain {name} does not exist"
        elif way and chains[name].hook:
            yield f"chain {name}: is a base chain, nothing may jump there"
        elif name not in done:
            for target in _leads_to(chains[name], sets):
                yield from walk(target, (*way, name))
            done.add(name)

    for name in chains:
        yield from walk(name, ())
    for value in (element.value for entry in sets.values() for element in entry.elements):
        if isinstance(value, Verdict) and value.chain and value.chain not in done:
            yield from walk(value.chain, ("a map",))
