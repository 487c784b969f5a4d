"""A daemon whose requests are lines: what the API does for people, without HTTP in the way of a test of faults.

    python line_api.py STATE-DIR SOCKET [CONFIG]

Each line is a JSON object of resources to write (null deletes); the answer is a line `[number, outcome, reason]`, once
the revision is settled. An empty object asks for the published status.
"""

from __future__ import annotations

import json
import socketserver
import sys
import threading
from pathlib import Path

from enforcer.agent.config import Config, read_config
from enforcer.agent.daemon import Daemon
from enforcer.agent.loop import Loop
from enforcer.agent.status import KEY
from enforcer.agent.store import Author, Change, Store
from enforcer.errors import EnforcerError

PATIENCE = 20.0


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(json.dumps(self.answer(json.loads(line))).encode() + b"\n")

    def answer(self, resources: dict[str, str | None]) -> object:
        store = self.server.store
        if not resources:
            return json.loads(store.published(KEY) or "null")
        try:
            revision = store.propose([Change(*each) for each in resources.items()], author=Author(0))
            settled = store.settled(revision.number, PATIENCE)
        except EnforcerError as error:
            return [0, "failed", str(error)]
        return [settled.number, settled.outcome, settled.reason]


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, store: Store, config: Config, _loop: Loop, _routers: object = ()) -> None:
        config.socket.unlink(missing_ok=True)
        super().__init__(str(config.socket), Handler)
        self.store = store

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def end(self) -> None:
        self.shutdown()
        self.server_close()


def main() -> None:
    state, socket, *config = map(Path, sys.argv[1:])

    def read() -> Config:
        return read_config(config[0] if config else None, state_dir=state, socket=socket)

    try:
        Daemon(read(), read, Server).run()
    except EnforcerError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
