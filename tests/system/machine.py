"""A machine of a test's own under a real systemd: Debian 12, booted in a container over a file tree that is kept.

    with machine(directory) as host:
        host.run("systemctl", "is-system-running")
        host.reboot()

The container has its own network, processes and host name; it needs no network of the host's, no running systemd there
and no registration. What it writes goes to an overlay in `directory`, which outlives its boots and ends with the test.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("systemd", "systemd-sysv", "dbus", "kmod", "procps", "iproute2", "nftables", "libnftables1", "python3")
PACKAGES += ("python3-venv", "bash-completion")
CLONE = "/root/enforcer"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PIP_NO_INDEX": "1",
    "PIP_FIND_LINKS": "/root/wheels",
}
BOOT = """
set -e
mount -t tmpfs tmpfs /run
mount -t overlay overlay -o lowerdir=$TREE,upperdir=$OWN/upper,workdir=$OWN/work $OWN/root
exec systemd-nspawn --quiet --boot --register=no --keep-unit --private-network --console=pipe \
    --machine=$NAME --directory=$OWN/root --bind-ro=$WHEELS:/root/wheels --bind=$OWN/clone:/root/enforcer
"""


PATIENCE = 400.0
"""Seconds for whatever a machine does; it is patience only: installing takes a minute where the processors are busy."""

REBOOT = 133
"""With this status systemd-nspawn says that its machine wants to be started again."""


class Failed(AssertionError):
    """A command in the machine did not end as the test wants."""


class Machine:
    """One machine, running."""

    def __init__(self, own: Path, tree: str, wheels: str) -> None:
        self.own = own
        for name in ("upper", "work", "root", "clone"):
            (own / name).mkdir()
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=REPOSITORY, check=True, capture_output=True,
        ).stdout  # fmt: skip
        names = b"\0".join(name for name in listed.split(b"\0") if name and (REPOSITORY / os.fsdecode(name)).exists())
        packed = subprocess.run(
            ["tar", "--null", "--files-from=-", "-cf", "-"],
            cwd=REPOSITORY,
            check=True,
            input=names,
            capture_output=True,
        ).stdout
        subprocess.run(["tar", "-xf", "-"], cwd=own / "clone", check=True, input=packed)
        self._variables = {"OWN": str(own), "TREE": tree, "WHEELS": wheels, "NAME": "enforcer-test"}
        self._console = (own / "console").open("w")
        self.leader = 0

    def boot(self) -> None:
        """Start the machine, and wait until all its services are up."""
        self._nspawn = subprocess.Popen(
            ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", BOOT],
            env=os.environ | self._variables, stdin=subprocess.DEVNULL, stdout=self._console, stderr=self._console,
            start_new_session=True,
        )  # fmt: skip
        until(lambda: self._first() != 0, "the machine starts")
        self.leader = self._first()
        until(lambda: self.try_run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"), "boots")

    def _first(self) -> int:
        """Return our number of the machine's process 1, 0 if it has none."""
        seen = [self._nspawn.pid]
        for pid in seen:
            try:
                seen += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
            if len(numbers) > 1 and numbers[-1] == "1":
                return pid
        return 0

    def words(self, *words: str, user: str = "") -> list[str]:
        """Return the command that runs a command in the machine."""
        enter = ["nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net", "--pid"]
        within = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        return [*enter, "env", "-i", f"--chdir={CLONE}", *(f"{k}={v}" for k, v in ENVIRONMENT.items()), *within, *words]

    def try_run(self, *words: str, user: str = "", text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words(*words, user=user), capture_output=True, text=True, check=False, timeout=PATIENCE, input=text,
            start_new_session=True,  # a signal to a process group there is none to ours
        )  # fmt: skip

    def run(self, *words: str, status: int = 0, user: str = "", text: str = "") -> str:
        """Run a command in the machine; it must end with `status`. Returns what it printed."""
        done = self.try_run(*words, user=user, text=text)
        if done.returncode != status:
            raise Failed(f"{' '.join(words)}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def property(self, unit: str, name: str) -> str:
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def reboot(self) -> None:
        """Let the machine go down by itself, and start it again: its files stay, its kernel state is new."""
        self.run("systemctl", "--no-block", "reboot")
        assert self._nspawn.wait(timeout=PATIENCE) == REBOOT
        self.boot()

    def end(self) -> None:
        """Stop the machine at once; its mounts end with it."""
        first = self._first()
        if first:
            os.kill(first, signal.SIGKILL)
        try:
            self._nspawn.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
        self._console.close()


def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait for a condition; fail if it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"waited {seconds} s in vain: {what}")
        time.sleep(0.05)


def _printed(*words: str) -> str:
    return subprocess.run(words, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def machine(own: Path) -> Iterator[Machine]:
    """Keep a machine for the length of the block; what it needs is made first, if it is not there yet."""
    tree = _printed("scripts/debian-tree", *PACKAGES)
    wheels = _printed("scripts/wheels")
    built = Machine(own, tree, wheels)
    try:
        built.boot()
        yield built
    finally:
        built.end()
