"""Put one Program of a namespace after the other in force, and only what differs: who remembers need not look.

    session = Session("router")
    session.replace(program)      # looks, and replaces what is there (`commit.replace`)
    session.replace(later)        # a transaction or two of raw messages

The first commit, one that is told to trust nothing, the same program once more (somebody wants it looked at) and any
that the kernel refuses go through `commit.replace`, which observes. Afterwards the session knows again what is there.

The steps of a change, and what holds if we crash right after each, are those of `commit`: prepare, switch, sweep. A
change of members is a switch alone. The sweep waits for packets in flight (`grace`), and callers need not wait with it:
it is left for `tidy`, or for the next change. For the conversations that end (S14) they do wait: once somebody has
heard of the change, what begins is the new owner's, and deleting it would let the other side open it anew. Before a
sweep `retiring` is told which counting objects go; None: all. `gone` hears what elements had counted that went alone.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Sequence

from enforcer.compiler import NamespaceProgram
from enforcer.dataplane import commit, conntrack, counters, flows, grace, observe
from enforcer.dataplane.closing import close_beside
from enforcer.dataplane.commit import Committed, Step
from enforcer.dataplane.netlink import Channel, Untold, encode, marking
from enforcer.errors import SystemRefused, TransactionRefused
from enforcer.ruleset import Ruleset
from enforcer.ruleset.around import differing_nics
from enforcer.ruleset.changes import AddChain, Changes, Operation, Refill, Unequal, changes
from enforcer.ruleset.editions import in_place
from enforcer.ruleset.lower import Lowering
from enforcer.ruleset.names import MARKS
from enforcer.ruleset.stamps import generation_mask, mark_chains

MOST_HELD = 8
"""Lists of which is held what their maps say: those that were changed last are likely to change again."""


class Session:
    """A namespace in which this process alone puts policies in force."""

    def __init__(
        self,
        netns: str,
        retiring: Callable[[Collection[str] | None], None] = lambda _: None,
        gone: Callable[[Collection[counters.Last]], None] = lambda _: None,
    ) -> None:
        self._netns, self._retiring, self._gone = netns, retiring, gone
        self._channel: Channel | None = None
        self._tracking: socket.socket | None = None
        self._lowering = Lowering()
        self._told: list[bytes] = []  # what elements had counted is owed, whatever is forgotten
        self._forget()

    def _forget(self) -> None:
        self._program: NamespaceProgram | None = None
        self._ruleset: Ruleset | None = None
        self._committed: Committed | None = None
        self._closed: frozenset[str] = frozenset()
        self._indexes: dict[str, int] = {}
        self._borne: set[int] | None = None  # read when it is first asked for: a repair need not wait for it
        self._given = 0
        self._ready_after = 0
        self._edition = 0
        self._unswept: Changes | None = None

    def close(self) -> None:
        """End it; what is in force stays so."""
        for each in (self._channel, self._tracking):
            if each is not None:
                close_beside(each)
        self._channel = self._tracking = None
        self._forget()

    def replace(
        self,
        namespace: NamespaceProgram,
        *,
        closed: Collection[str] = (),
        whole: bool = False,
        anew: bool = False,
        moved: Collection[str] = (),
        passed: Callable[[Step], None] = lambda _: None,
    ) -> Committed:
        """Put a program in force, as `commit.replace` does, with its errors.

        `moved` are the interfaces that came, went or became others since, and those that are to be closed or opened:
        nothing else is different about interfaces. With none, and the same program, somebody wants it looked at.
        """
        told = bool(moved) or namespace is not self._program
        known = self._program is not None and told and self._closed.symmetric_difference(closed) <= frozenset(moved)
        if known and not whole and not anew:
            self.tidy(passed)
            try:
                done = self._moved(frozenset(closed), frozenset(moved), passed) if moved else None
                if done is None or self._program != namespace:
                    self.tidy(passed)
                    done = self._differ(namespace, frozenset(closed), frozenset(), passed)
                return done
            except (TransactionRefused, Unequal, Untold, _Strange):
                pass
            except SystemRefused:
                self._forget()
                raise
        return self._look(namespace, closed, passed, whole=whole, anew=anew)

    def _look(
        self,
        namespace: NamespaceProgram,
        closed: Collection[str],
        passed: Callable[[Step], None],
        *,
        whole: bool,
        anew: bool,
    ) -> Committed:
        last = self._committed.generation if self._committed else 0
        self.close()
        self._lowering = self._lowering.afresh()
        done = commit.replace(
            namespace,
            closed=closed,
            whole=whole,
            anew=anew,
            passed=passed,
            lower_=self._lowering.begin,
            leaving=self._retiring,
            after=last,
        )
        if done.swept:
            self._adopt(namespace, closed, done)
        return done

    def _adopt(self, namespace: NamespaceProgram, closed: Collection[str], done: Committed) -> None:
        """Take for known what has just been put there."""
        self._edition = done.edition
        self._indexes = dict(done.indexes)
        self._closed = frozenset(closed)
        absent = {*done.absent, *self._closed}
        self._lowering.let_go()
        self._ruleset = self._lowering.lower(namespace, done.generation, absent, self._closed, self._edition)
        self._program, self._committed = namespace, done
        self._borne = None

    # --- what differs ------------------------------------------------------------------------------------------------

    def _moved(self, closed: frozenset[str], moved: frozenset[str], passed: Callable[[Step], None]) -> Committed:
        """Commit what is different about interfaces, before another program: no NIC may come to what changes.

        One may be gone before the kernel is told, which then refuses (Linux 6.1): it is looked for once more.
        """
        assert self._program is not None
        try:
            return self._differ(self._program, closed, moved, passed)
        except TransactionRefused:
            return self._differ(self._program, closed, moved, passed)

    def _differ(
        self,
        namespace: NamespaceProgram,
        closed: frozenset[str],
        moved: frozenset[str],
        passed: Callable[[Step], None],
    ) -> Committed:
        """Commit what differs from the program in force; raises what says that this is not the way.

        An interface that was in force and is another one now leaves first, and comes with a second commit.
        """
        before, program, done = self._ruleset, self._program, self._committed
        assert before is not None
        assert program is not None
        assert done is not None
        if program.marks != namespace.marks:
            raise _Strange
        absent, come = self._attached(program, namespace, frozenset(done.absent), closed, moved)
        generation = self._next(namespace, before.generation)
        edition = self._edition + (not in_place(program, namespace))
        ruleset = self._lowering.lower(namespace, generation, absent | closed, closed, edition)
        found = changes(before, ruleset)
        self._run(found.prepare, ruleset, Step.PREPARED, passed)
        self._run(found.switch, ruleset, Step.SWITCHED, passed)
        ended = commit.ended_between(before, ruleset, found, namespace.declared)
        self._program, self._ruleset, self._edition, self._closed = namespace, ruleset, edition, closed
        self._unswept = found if found.sweep else None
        missing = tuple(sorted(absent - closed))
        self._committed = Committed(self._netns, generation, False, not found.sweep, missing, edition)
        if ended:
            self._tracking = self._tracking or conntrack.opened(self._netns)
            flows.end_by(self._tracking, ended)
            passed(Step.ENDED)
        if come:
            self.tidy(passed)
            return self._differ(namespace, closed, come, passed)
        return self._committed

    def _attached(
        self,
        before: NamespaceProgram,
        after: NamespaceProgram,
        absent: frozenset[str],
        closed: frozenset[str],
        moved: frozenset[str],
    ) -> tuple[frozenset[str], frozenset[str]]:
        """Look for the interfaces of NICs that come, and for those that moved; return which are absent then.

        Of these, return as well which come back at once: they were in force and are others now.
        Raises _Strange for what `commit.replace` has words for: a port of a bridge, an interface that nobody told of.
        """
        gone, come = differing_nics(before.nics, after.nics)
        if not gone and not come and not moved:
            return absent, frozenset()
        left, new = (frozenset(nic.interface for nic in nics) for nics in (gone, come))
        stay = frozenset(nic.interface for nic in after.nics if nic.interface in moved) - new if moved else moved
        wanted = (stay | new) - closed
        found = observe.looked_up(self._netns, sorted(wanted))
        others = set[str]()
        for name, (index, port) in found.items():
            in_force = name in left | stay and name not in absent | self._closed
            if port or (in_force and name not in moved and self._indexes.get(name) != index):
                raise _Strange
            if in_force and name in moved:
                others.add(name)
            else:
                self._indexes[name] = index
        return (absent - left - stay) | (wanted - found.keys()) | others, frozenset(others)

    @property
    def untidy(self) -> bool:
        """Whether a sweep is left to be done."""
        return self._unswept is not None or bool(self._told)

    def tidy(self, passed: Callable[[Step], None] = lambda _: None) -> None:
        """Delete what nothing refers to any more since the last change; if that is refused, forget what is there."""
        found, self._unswept = self._unswept, None
        if found is not None and self._ruleset is not None:
            grace.period()
            if found.retired:
                self._retiring(found.retired)
            try:
                self._run(found.sweep, self._ruleset, Step.SWEPT, passed)
            except (SystemRefused, Untold):
                self._forget()
        self._lowering.let_go(MOST_HELD)  # whatever was swept: what changes in place leaves nothing to sweep
        told, self._told = self._told, []
        if last := counters.last(told):
            self._gone(last)

    def ready(self) -> None:
        """Make what the next commit needs whatever it changes: the chains that mark flows, with the next stamp."""
        if self._program is None or self._ruleset is None or self._borne is None:
            return
        if self._ready_after != (current := self._ruleset.generation):
            self._ready_after = current
            generation = commit.next_generation(self._program, current, self._borne.__contains__)
            for chain in mark_chains(self._program, generation):
                marking("inet", chain)

    def _run(
        self, operations: Sequence[Operation], ruleset: Ruleset, step: Step, passed: Callable[[Step], None]
    ) -> None:
        if operations:
            asks = any(
                isinstance(each, AddChain | Refill) and each.chain.rules and each.chain.name not in MARKS
                for each in operations
            )
            sets = {entry.name: entry for entry in ruleset.tables[0].sets} if asks else {}
            self._channel = self._channel or Channel(self._netns)
            self._channel.commit(encode(operations, sets, self._indexes), self._hear)
            passed(step)

    def _hear(self, told: bytes) -> None:
        """Keep what the kernel tells of an element that was deleted, if it had counted anything: most have not."""
        if counters.has_counted(told):
            self._told.append(told)

    def _next(self, namespace: NamespaceProgram, current: int) -> int:
        """Choose a generation that no live flow bears; which do is asked again before the numbers come round."""
        mask = generation_mask(namespace.marks)
        if self._borne is None or self._given >= mask // (mask & -mask) // 4:
            self._borne, self._given = conntrack.marks(self._netns, mask), 0
        generation = commit.next_generation(namespace, current, self._borne.__contains__)
        self._given += 1  # given one after the other, they do not come round before that
        return generation


class _Strange(Exception):
    """The program differs in a way that wants a look at the interfaces."""
