"""Enter, create and delete network namespaces without ever moving the caller: where does this thread stand?

A namespace is known by the name under `/run/netns` that `ip netns` also uses; "" is the namespace that the process
was started in. Creation happens in a thread that ends at once, so no thread of ours is ever left elsewhere. A socket
belongs for good to the namespace its thread stood in when it was opened, so hundreds of namespaces are served from one:

    with entered("lab-ecs-a"):
        listener = socket.socket()      # lives in lab-ecs-a
    listener.listen()                   # … and works from anywhere
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from enforcer.errors import SystemRefused

NETNS_DIRECTORY: Final = Path("/run/netns")
"""Where `ip netns` keeps its names."""

MAY_NOT_ENTER: Final = "it takes CAP_SYS_ADMIN: be root, or give it to the service with scripts/install --netns"
"""What would be right for one who may not enter a namespace."""

_CLONE_NEWNET: Final = 0x40000000
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_SHARED: Final = 0x100000
_MNT_DETACH: Final = 2

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, flags: int) -> None:
    _checked("mount", _libc.mount(source.encode(), target.encode(), b"none", ctypes.c_ulong(flags), None))


def _path(netns: str) -> Path:
    if not netns or "/" in netns or netns in (".", ".."):
        raise SystemRefused(f"network namespace {netns!r}: not a name; names have no slash and are not empty")
    return NETNS_DIRECTORY / netns


def opened(netns: str) -> int:
    """Open a descriptor of the namespace; the caller closes it."""
    try:
        return os.open(_path(netns), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        why = f"cannot be opened ({error.strerror})"
        if isinstance(error, FileNotFoundError):
            why = f"does not exist; make it with `ip netns add {netns}`"
        raise SystemRefused(f"network namespace {netns}: {why}") from error


@contextmanager
def entered(netns: str) -> Iterator[None]:
    """Stand in the namespace for the length of the block; "" stays. Only the calling thread moves, and it returns."""
    if not netns:
        yield
        return
    with ExitStack() as kept:
        target = opened(netns)
        kept.callback(os.close, target)
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        kept.callback(os.close, home)
        try:
            _checked("setns", _libc.setns(target, _CLONE_NEWNET))
        except OSError as error:
            mend = f"; {MAY_NOT_ENTER}" if error.errno == errno.EPERM else ""
            raise SystemRefused(f"network namespace {netns}: cannot be entered ({error.strerror}){mend}") from error
        try:
            yield
        finally:
            _checked("setns", _libc.setns(home, _CLONE_NEWNET))


def called(netns: str) -> str:
    """Return what messages call a namespace; the empty name is our own."""
    return f"network namespace {netns}" if netns else "this network namespace"


def exists(netns: str) -> bool:
    """Tell whether the name is there and has a namespace behind it; "" always is."""
    return not netns or os.path.ismount(_path(netns))


def number(netns: str) -> int:
    """Return the kernel's number of a namespace, another one for one made anew; 0: there is none of that name."""
    try:
        return os.stat(_path(netns) if netns else "/proc/self/ns/net").st_ino if exists(netns) else 0
    except OSError:
        return 0


def names(prefix: str = "") -> tuple[str, ...]:
    """List the names under /run/netns that begin with `prefix`, sorted."""
    try:
        return tuple(sorted(entry for entry in os.listdir(NETNS_DIRECTORY) if entry.startswith(prefix)))
    except FileNotFoundError:
        return ()


def create(netns: str) -> None:
    """Create a namespace under a name nobody uses; its loopback is down, as the kernel makes it."""
    path = _path(netns)
    claimed: list[str] = []
    failures: list[SystemRefused] = []

    def make() -> None:
        """Do all of it in a thread: a Ctrl-C strikes the main one alone, and so never between lock and unlock."""
        try:
            _share_directory()
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
            claimed.append(netns)
            _checked("unshare", _libc.unshare(_CLONE_NEWNET))
            _mount("/proc/thread-self/ns/net", str(path), _MS_BIND)
        except FileExistsError:
            failures.append(SystemRefused(f"network namespace {netns}: exists already; remove it first"))
        except OSError as error:
            failures.append(SystemRefused(f"network namespace {netns}: cannot be created ({error}); are you root?"))
        except SystemRefused as error:
            failures.append(error)

    maker = threading.Thread(target=make, name=f"create-{netns}")
    try:
        maker.start()
        maker.join()
        if failures:
            raise failures[0]
    except BaseException:
        if maker.ident is not None:
            maker.join()  # else it would mount what is deleted here
        if claimed:
            delete(netns)
        raise


def delete(netns: str) -> None:
    """Remove the name, and with it the namespace once no process and no socket is left in it; absent is fine."""
    path = _path(netns)
    if _libc.umount2(str(path).encode(), _MNT_DETACH) != 0 and ctypes.get_errno() not in (errno.EINVAL, errno.ENOENT):
        raise SystemRefused(f"network namespace {netns}: cannot be removed ({os.strerror(ctypes.get_errno())})")
    with suppress(FileNotFoundError):
        path.unlink()


def occupants(*netns: str) -> tuple[int, ...]:
    """List the processes, except this one, whose main thread stands in one of the namespaces."""
    inodes = {os.stat(_path(name)).st_ino for name in netns if exists(name)}
    found: list[int] = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with suppress(OSError):  # it ended meanwhile, or is a kernel thread
                if os.stat(f"/proc/{entry}/ns/net").st_ino in inodes:
                    found.append(int(entry))
    return tuple(found)


def _share_directory() -> None:
    """Make /run/netns a shared mount as `ip netns add` does, so that names reach every mount namespace.

    The lock is the one that iproute2 takes: two makers would stack two mounts, and the upper one hides names.
    """
    NETNS_DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
    directory = os.open(NETNS_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        if _libc.mount(b"", str(NETNS_DIRECTORY).encode(), b"none", ctypes.c_ulong(_MS_SHARED | _MS_REC), None) != 0:
            # Not a mount point yet. (os.path.ismount does not see a bind mount within one file system.)
            _mount(str(NETNS_DIRECTORY), str(NETNS_DIRECTORY), _MS_BIND | _MS_REC)
            _mount("", str(NETNS_DIRECTORY), _MS_SHARED | _MS_REC)
    except OSError as error:
        raise SystemRefused(f"{NETNS_DIRECTORY}: cannot be made a shared mount ({error}); are you root?") from error
    finally:
        os.close(directory)
