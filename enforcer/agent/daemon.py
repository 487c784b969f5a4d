"""The daemon: its parts put together, and its life from start to stop.

store ◀──▶ loop ◀── mailbox ◀── store, listener, audit            API ◀──▶ store

SIGTERM, SIGINT  stop: the rules stay in the kernel (S19)
SIGHUP           read the configuration again

The main thread waits for signals; the loop has a thread of its own, and tells the service manager that *it* is alive.
If the loop ends by itself, so does the process, and the service manager starts another one.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from enforcer.agent.config import Config
from enforcer.agent.desired import Desired
from enforcer.agent.events.audit import Audit
from enforcer.agent.events.listener import Listener
from enforcer.agent.events.mailbox import Mailbox, Proposed, Stop
from enforcer.agent.faults import Faults
from enforcer.agent.kernel import Nftables
from enforcer.agent.loop import Loop
from enforcer.agent.memory import hold_little
from enforcer.agent.notify import Notify
from enforcer.agent.observer import Log, Observer, configure
from enforcer.agent.seeing.parts import Seeing
from enforcer.agent.store import SqliteStore, Store
from enforcer.agent.store.copying import Copy, Copying, place
from enforcer.errors import EnforcerError, SystemRefused

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Api(Protocol):
    """What serves requests while the daemon runs."""

    def start(self) -> None:
        """Begin to serve; returns once requests are taken."""

    def end(self) -> None:
        """Take no more requests, and finish those that are there."""


class Daemon:
    """One life of the daemon."""

    def __init__(
        self,
        config: Config,
        reread: Callable[[], Config],
        serve: Callable[[Store, Config, Loop, Seeing], Api] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._config, self._reread, self._serve = config, reread, serve
        self._observer = observer or Log()
        self._notify = Notify.from_environment()
        self._faults = Faults.from_environment()
        self._broken: Exception | None = None

    def run(self) -> None:
        """Live until a signal says stop; raises what made it impossible."""
        configure(self._config.log_level)
        hold_little()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        store = SqliteStore(self._config.store)
        try:
            if self._serve:
                _free(self._config.socket)
            self._live(store)
        finally:
            store.close()
        if self._broken is not None:
            raise SystemRefused(f"the enforcing loop has ended: {self._broken}") from self._broken

    def _live(self, store: SqliteStore) -> None:
        seeing = Seeing(store, self._observer)
        self._observer = seeing.measuring
        mailbox = Mailbox()
        kernel = Nftables(self._faults.passed, seeing.counting.leaving, seeing.counting.gone)
        listener = Listener(mailbox, self._observer.failed)
        passed, alive = self._faults.passed, self._notify.alive
        loop = Loop(store, kernel, listener, mailbox, self._observer, desired=Desired.of, passed=passed, alive=alive)
        listener.start()
        seeing.counting.begin()
        loop.begin()
        seeing.counting.give_way = loop.gathering.give_way
        seeing.start(lambda: loop.in_force[1].policy, loop.namespaces, self._config)
        failed = self._observer.failed
        beside = (
            Audit(kernel, mailbox, lambda: self._config.audit_seconds, failed, loop.gathering.give_way),
            Copying(place(self._config.store), lambda: _copied(loop), failed),
        )
        looping = threading.Thread(target=self._loop, args=(loop,), name="loop")
        api = self._serve(store, self._config, loop, seeing) if self._serve else None
        store.follow(loop.last, lambda revision: mailbox.put(Proposed(revision)))
        for part in (looping, *beside):
            part.start()
        try:
            self._serve_until_told(api)
        finally:
            mailbox.put(Stop())
            looping.join()
            for last in (*beside, listener, seeing):
                last.end()

    def _serve_until_told(self, api: Api | None) -> None:
        if api:
            api.start()
        self._faults.ready()
        self._notify.ready()
        self._wait()
        self._notify.stopping()
        if api:
            api.end()

    def _loop(self, loop: Loop) -> None:
        try:
            loop.run()
        except Exception as error:
            self._broken = error
            self._observer.failed("loop", f"{type(error).__name__}: {error}")
            os.kill(os.getpid(), signal.SIGTERM)

    def _wait(self) -> None:
        while signal.sigwait(SIGNALS) == signal.SIGHUP:
            self._notify.reloading()
            try:
                self._config = self._reread()
                configure(self._config.log_level)
            except EnforcerError as error:
                self._observer.failed("configuration", f"{error}; the old one stays")
            self._notify.ready()


def _free(path: Path) -> None:
    """Raise SystemRefused if the socket would take the place of one at which a daemon listens, or of anything else."""
    if path.exists() and not path.is_socket():
        raise SystemRefused(f"{path}: is there and no socket; give another place with --socket")
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(1.0)
        try:
            asking.connect(str(path))
        except (TimeoutError, BlockingIOError):
            pass  # it listens, and has more callers than it takes
        except OSError:
            return
    raise SystemRefused(f"{path}: a daemon listens there already; stop it, or give another place with --socket")


def _copied(loop: Loop) -> Copy:
    revision, desired = loop.in_force
    return Copy(revision, desired.resources)
