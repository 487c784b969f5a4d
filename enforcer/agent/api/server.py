"""The socket, and the thread that serves it.

    Server(context, Access(path)).start() ──▶ requests are taken ──end()──▶ those that are there are finished

The socket belongs to the group `enforcer` if there is one, with mode 0660: who may open it, may change things. With
`others_read` everybody may open it, and who is neither root nor in the group may look only.
"""

from __future__ import annotations

import grp
import logging
import os
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvicorn

from enforcer.agent.api.app import create_app
from enforcer.agent.api.context import Context
from enforcer.agent.api.limits import Limits
from enforcer.agent.api.peers import PeerProtocol
from enforcer.agent.api.short import Short
from enforcer.errors import SystemRefused

START_WITHIN = 10.0
END_WITHIN = 5
KEEP_ALIVE = 5
BACKLOG = 256


@dataclass(frozen=True, slots=True)
class Access:
    """Where the socket is, and who may use it."""

    path: Path
    group: str = "enforcer"
    others_read: bool = False

    @property
    def group_id(self) -> int | None:
        """The id of the group, if there is one of that name."""
        try:
            return grp.getgrnam(self.group).gr_gid
        except KeyError:
            return None


class Server:
    """Serves the API from a thread of its own."""

    def __init__(self, context: Context, access: Access) -> None:
        self._access = access
        group = access.group_id
        if access.others_read:
            context.writers = frozenset() if group is None else frozenset((group,))
        config = uvicorn.Config(
            Limits(create_app(context)),
            http=partial(PeerProtocol, taker=Short(context)),  # type: ignore[arg-type]  # it makes one
            proxy_headers=False,
            loop="uvloop",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=END_WITHIN,
        )
        self._server = uvicorn.Server(config)
        self._socket: socket.socket | None = None
        self._made = 0
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)
        logging.getLogger("uvicorn").setLevel(logging.ERROR)

    def start(self) -> None:
        """Begin to serve; raise SystemRefused if the socket cannot be made."""
        self._socket = listening(self._access)
        self._made = self._access.path.stat().st_ino
        self._thread.start()

    def end(self) -> None:
        """Take no more requests, finish those that are there, and remove the socket."""
        self._server.should_exit = True
        self._thread.join(END_WITHIN + START_WITHIN)
        if self._socket is not None:
            self._socket.close()
        with suppress(OSError):
            if self._access.path.stat().st_ino == self._made:  # and not another daemon's
                self._access.path.unlink()

    def _run(self) -> None:
        assert self._socket is not None
        self._server.run(sockets=[self._socket])


def listening(access: Access) -> socket.socket:
    """Return the listening socket. One that an earlier life left is replaced; only one daemon has the store."""
    path = access.path
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            fresh.unlink()
        found.bind(str(fresh))
        fresh.chmod(0o600)
        if (group := access.group_id) is not None:
            os.chown(fresh, -1, group)
        fresh.chmod(0o666 if access.others_read else 0o660)
        found.listen(BACKLOG)
        fresh.rename(path)
    except OSError as error:
        found.close()
        what = f"{path}: cannot listen there ({error.strerror or error})"
        raise SystemRefused(f"{what}; give another place with --socket, at most 107 characters long") from error
    return found
