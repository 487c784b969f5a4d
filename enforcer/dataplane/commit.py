"""Put a Program's namespace in force: the only code of the project that changes our nftables tables.

The steps of `replace`, and what holds if we crash right after each:

1. Observe: which objects and interfaces are there, which generation is in force. Nothing has changed.
2. Choose the next generation: one that no live flow bears, so that every flow is judged once more (S14).
3. Prepare, one transaction: the new policy's maps and chains are there, and nothing refers to them.
4. Switch, one transaction: the new policy is in force, or — if the kernel refuses — the old one untouched.
   The first load, and the fallback after a refused difference, replace both tables whole in one transaction.
5. End the conversations of addresses that left their interface (S14): the next owner inherits none.
6. Sweep, one transaction: objects that nothing refers to are deleted. If it is lost, the next replacement sweeps them.

After each step its name is told to `passed`: whoever measures, counts transactions or crashes on purpose listens there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from ipaddress import ip_address

from enforcer.compiler import NamespaceProgram, Program
from enforcer.compiler.program import ADDRESS_BITS, FAMILIES, NicProgram
from enforcer.dataplane import flows, grace, libnftables, loading, observe
from enforcer.errors import AttachmentRefused, EnforcerError, SystemRefused, TransactionRefused
from enforcer.model import IPAddress
from enforcer.ruleset import Ruleset, fresh, lower, next_edition, render
from enforcer.ruleset.changes import AddElements, Changes, DeleteElements
from enforcer.ruleset.names import FORM, SOURCES, TABLE
from enforcer.ruleset.nft import KeyPart
from enforcer.ruleset.stamps import generation_mask, last_generation, stamp_bits

Leaving = Callable[[Collection[str] | None], None]
"""Hears which counting objects are about to go; None: all."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What is in force now.

    `absent` interfaces are known and closed until they exist and it is committed again. `whole`: both tables were
    replaced. Not `swept`: objects that nothing refers to are left for the next commit to delete. `indexes` are all
    interfaces, as they were seen before.
    """

    netns: str
    generation: int
    whole: bool
    swept: bool
    absent: tuple[str, ...]
    edition: int = field(default=1, compare=False)
    indexes: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)


class Step(StrEnum):
    """What a replacement has done so far; those in `TRANSACTIONS` were one transaction of nftables each."""

    OBSERVED = "observed"
    PREPARED = "prepared"
    SWITCHED = "switched"
    REPLACED = "replaced"
    ENDED = "ended"
    SWEPT = "swept"


TRANSACTIONS = frozenset((Step.PREPARED, Step.SWITCHED, Step.REPLACED, Step.SWEPT))


def replace(
    namespace: NamespaceProgram,
    *,
    require: bool = False,
    closed: Collection[str] = (),
    whole: bool = False,
    anew: bool = False,
    passed: Callable[[Step], None] = lambda _: None,
    lower_: Callable[..., Ruleset] = lower,
    leaving: Leaving = lambda _: None,
    after: int = 0,
) -> Committed:
    """Put one namespace's program in force, whatever was in force before.

    `closed` interfaces pass nothing, even a bridge port. `whole` replaces both tables in one transaction, whatever
    others did to them. `anew` trusts nothing in them either and takes twice as long, but no packet meets a gap, as it
    may for an instant in a whole replacement; what is of another form is not trusted. `after`: a generation given.

    Raises AttachmentRefused for another bridge port and, under `require`, for an absent interface, TransactionRefused
    when the kernel refuses: then what was in force still is.
    """
    links, tables = _links(namespace, closed, require=require), observe.present(namespace.name)
    before = observe.owners(namespace.name) if "netdev" in tables else None
    passed(Step.OBSERVED)
    generation = _free(namespace, max(after, observe.generation(tables)))
    whole = whole or set(tables) != {"inet", "netdev"}
    lowered = partial(_lowered, lower_, namespace, links.absent, closed)
    if not whole and (anew or FORM not in tables["inet"].chains):
        between = loading.Steps(fresh(lowered(generation, next_edition(tables)), tables), tables)
        whole = not (_switched(between, passed) and _swept(between, passed, leaving))
        del between  # as large as what comes now
        tables, generation = observe.present(namespace.name), _free(namespace, generation)
    ruleset = lowered(generation, edition := next_edition(tables))
    transactions = None if whole else loading.Steps(ruleset, tables)
    if whole := transactions is None or not _switched(transactions, passed):
        _replace_whole(ruleset, links.indexes, passed, leaving)
    end(namespace.name, _ended(before, namespace, links.absent), passed)
    swept = whole or transactions is None or _swept(transactions, passed, leaving)
    absent = tuple(sorted(links.absent - set(closed)))
    return Committed(namespace.name, generation, whole, swept, absent, edition, links.indexes)


def end(netns: str, ended: Collection[IPAddress], passed: Callable[[Step], None]) -> None:
    """End the conversations of addresses."""
    if ended:
        flows.end(netns, ended)
        passed(Step.ENDED)


def refusal(namespace: NamespaceProgram, closed: Collection[str]) -> str:
    """Ask the kernel whether it would take a program whole; return why not, or "". Nothing is changed."""
    absent = _links(namespace, closed, require=False).absent
    return libnftables.refusal(namespace.name, render(_lowered(lower, namespace, absent, closed, 1, 1)))


def _links(namespace: NamespaceProgram, closed: Collection[str], *, require: bool) -> observe.Links:
    """Look for the interfaces; closed ones count as absent, for nothing is attached to them."""
    wanted = {nic.interface for nic in namespace.nics}
    found = observe.links(namespace.name, wanted - set(closed))
    links = observe.Links(found.present, found.absent | (wanted & set(closed)), found.indexes)
    if require and found.absent:
        missing = ", ".join(sorted(found.absent))
        raise AttachmentRefused(f"interface {missing}: does not exist; create it first, or apply without --require")
    return links


def _ended(
    before: Mapping[IPAddress, frozenset[str]] | None, namespace: NamespaceProgram, absent: Collection[str]
) -> set[IPAddress]:
    """Find the addresses whose conversations end (S14): none of their interfaces had them before.

    An address that comes is among them: if we crashed before its last owner's conversations were ended, they are now.
    One whose NIC has lost its `port_security` is not: nobody else has it, and nothing is filtered there any more.
    `before` None: we know nothing of an earlier life, and end nothing.
    """
    if before is None:
        return set()
    after = _interfaces(namespace.nics, absent)
    for address, interfaces in before.items():
        after.setdefault(address, set()).update(interfaces & set(namespace.declared))
    return {
        each for each in before.keys() | after.keys() if before.get(each, frozenset()).isdisjoint(after.get(each, ()))
    }


def _interfaces(nics: Collection[NicProgram], absent: Collection[str]) -> dict[IPAddress, set[str]]:
    found: dict[IPAddress, set[str]] = {}
    for nic in nics:
        if nic.interface not in absent:
            for network in nic.addresses:
                if network.num_addresses == 1:
                    found.setdefault(network.network_address, set()).add(nic.interface)
    return found


def ended_between(before: Ruleset, after: Ruleset, found: Changes, declared: Collection[str]) -> set[IPAddress]:
    """Find the same between two Rulesets that are known, given what leads from one to the other."""
    ended: set[IPAddress] = set()
    for family in FAMILIES:
        name = SOURCES[family]
        touched = {
            element.key[1]
            for each in found.switch
            if isinstance(each, AddElements | DeleteElements) and each.set.name == name
            for element in each.elements
        }
        if touched:
            old, new = (_owners(ruleset, name, touched) for ruleset in (before, after))
            for address in touched:
                were = old.get(address, set())
                if were.isdisjoint(new.get(address, set()) | (were & set(declared))):
                    assert isinstance(address, int)
                    ended.add(ip_address(address.to_bytes(ADDRESS_BITS[family] // 8, "big")))
    return ended


def _owners(ruleset: Ruleset, name: str, addresses: Collection[KeyPart]) -> dict[KeyPart, set[KeyPart]]:
    """Return the interfaces in force of some addresses."""
    found: dict[KeyPart, set[KeyPart]] = {}
    entry = next(entry for entry in ruleset.table("netdev").sets if entry.name == name)
    for interface, address in [element.key for element in entry.elements if element.key[1] in addresses]:
        found.setdefault(address, set()).add(interface)
    return found


def _replace_whole(
    ruleset: Ruleset, indexes: Mapping[str, int], passed: Callable[[Step], None], leaving: Leaving
) -> None:
    leaving(None)
    loading.load(ruleset, indexes)
    passed(Step.REPLACED)


def _switched(steps: loading.Steps, passed: Callable[[Step], None]) -> bool:
    return _ran(steps.prepare, Step.PREPARED, passed) and _ran(steps.switch, Step.SWITCHED, passed)


def _swept(steps: loading.Steps, passed: Callable[[Step], None], leaving: Leaving) -> bool:
    if steps.sweeps:
        grace.period()
    if steps.doomed:
        leaving(steps.doomed)
    return _ran(steps.sweep, Step.SWEPT, passed)


def _ran(transaction: Callable[[], bool], step: Step, passed: Callable[[Step], None]) -> bool:
    """Run a transaction that may be refused: then nothing has changed, and the caller has another way."""
    try:
        if transaction():
            passed(step)
    except TransactionRefused:
        return False
    return True


def _lowered(
    lower_: Callable[..., Ruleset],
    namespace: NamespaceProgram,
    absent: Collection[str],
    closed: Collection[str],
    generation: int,
    edition: int,
) -> Ruleset:
    """Lower, and where the kernel has no egress hook, close interfaces on the way in only."""
    ruleset = lower_(namespace, generation, absent, closed, edition)
    if not closed or observe.egress_hook():
        return ruleset
    tables = (
        dataclasses.replace(table, chains=tuple(c for c in table.chains if not c.hook or c.hook.hook != "egress"))
        for table in ruleset.tables
    )
    return dataclasses.replace(ruleset, tables=tuple(tables))


def _free(namespace: NamespaceProgram, current: int) -> int:
    mask = generation_mask(namespace.marks)
    return next_generation(namespace, current, lambda stamp: observe.stamped(namespace.name, stamp, mask))


def next_generation(namespace: NamespaceProgram, current: int, borne: Callable[[int], bool]) -> int:
    """Choose a generation whose stamp no live flow has: the one after `current`, else the next that is free.

    Right after a first load only conntrack knows which stamps an earlier life of ours has given. `borne` says whether a
    flow has a stamp. Raises SystemRefused when all stamps are borne: one of them would make a revoked flow look judged.
    """
    most = last_generation(namespace.marks)
    for step in range(most):
        candidate = (current + step) % most + 1
        if not borne(stamp_bits(namespace.marks, candidate)):
            return candidate
    raise SystemRefused(
        f"connection mask 0x{namespace.marks.connection_mask:08x}: live connections bear all of its {most} stamps; "
        "write a wider marks.connection_mask, or wait until idle connections have ended"
    )


def clear(netns: str) -> bool:
    """Delete our tables from a namespace; nothing is filtered there afterwards. False: there were none."""
    families = sorted(observe.present(netns))
    if families:
        libnftables.run(netns, "".join(f"delete table {family} {TABLE}\n" for family in families))
    return bool(families)


def replace_all(program: Program, *, require: bool = False) -> tuple[Committed, ...]:
    """Put every namespace of a program in force, one transaction each.

    All interfaces are looked at before anything changes. If a namespace is refused later, those before it are in force
    already, and the error's note names them.
    """
    for namespace in program.namespaces:
        _links(namespace, (), require=require)
    committed: list[Committed] = []
    for namespace in program.namespaces:
        try:
            committed.append(replace(namespace, require=require))
        except EnforcerError as error:
            done = ", ".join(each.netns or "own namespace" for each in committed)
            error.add_note(f"already in force: {done}" if committed else "nothing was changed")
            raise
    return tuple(committed)
