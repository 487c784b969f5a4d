"""The boundary to libnftables: text in, text or an error out; in this process, in the namespace that is asked for.

Knows no policy. One context per call, opened inside the namespace: its socket belongs there. One call at a time: the
library's cache of interface names, and tables that go with the last context, are all contexts' and have no lock
(1.0.6): two threads in two namespaces end the process, or have a name resolved in the other one's. The scripts come
from `enforcer.ruleset`, from typed values alone (an unparsable address would make libnftables ask DNS).
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import threading
from collections.abc import Callable
from typing import Any

from nftables import Nftables

from enforcer.dataplane.namespaces import called, entered
from enforcer.errors import TransactionRefused

_ONE_AT_A_TIME = threading.Lock()


def run(netns: str, script: str) -> None:
    """Run a script as one transaction in a namespace ("" is our own): all of it holds afterwards, or none.

    Raises TransactionRefused with nft's message and the line of the script that it names. The script is included from
    a file in memory: about a command of many lines, libnftables 1.0.6 does not say which line it means.
    """
    if refused := _run(netns, script, _context):
        raise TransactionRefused(f"{called(netns)}: nftables refused the transaction: {refused}")


def refusal(netns: str, script: str) -> str:
    """Have the kernel check a script and change nothing; return its complaint, or ""."""
    return _run(netns, script, _trying)


def _run(netns: str, script: str, context: Callable[[], Any]) -> str:
    with os.fdopen(os.memfd_create("nft", os.MFD_CLOEXEC), "w", encoding="utf-8") as file:
        file.write(script)
        file.flush()
        status, _, message = _asked(netns, f'include "/proc/self/fd/{file.fileno()}"', context)
    return "" if status == 0 else _explained(message, script) or "without saying why"


def listing(netns: str, command: str) -> str:
    """Return what a `list …` command prints, without counters; an empty string if there is no such object."""
    status, output, message = _asked(netns, command, _listing)
    return _absent_or_refused(netns, message) if status else output


def elements(netns: str, entry: str) -> list[tuple[str, ...]]:
    """Return the keys of a set, `set FAMILY TABLE NAME`, of concatenated values; nothing if there is no such set."""
    status, output, message = _asked(netns, f"list {entry}", _by_json)
    if status:
        _absent_or_refused(netns, message)
        return []
    found = (each["set"] for each in json.loads(output)["nftables"] if "set" in each)
    return [tuple(str(part) for part in key["concat"]) for content in found for key in content.get("elem", ())]


def _asked(netns: str, command: str, context: Callable[[], Any]) -> tuple[int, str, str]:
    """Carry out a command by a context of its own; return its status, output and message."""
    with _ONE_AT_A_TIME, entered(netns):
        return _by(context, command)


def _by(context: Callable[[], Any], command: str) -> tuple[int, str, str]:
    """Make a context, ask it, and free it before we return: whoever has the lock still has it then."""
    status, output, message = context().cmd(command)
    return int(status), str(output), str(message)


def _context() -> Any:
    return Nftables()


def _listing() -> Any:
    context = Nftables()
    context.set_stateless_output(True)
    return context


def _by_json() -> Any:
    context = Nftables()
    context.set_json_output(True)
    return context


def _trying() -> Any:
    """Make a context that changes nothing; the binding lacks this call of the library, so it is made past it."""
    context = Nftables()
    set_dry_run = ctypes.CDLL("libnftables.so.1").nft_ctx_set_dry_run
    set_dry_run.argtypes, set_dry_run.restype = (ctypes.c_void_p, ctypes.c_bool), None
    set_dry_run(context._Nftables__ctx, True)
    return context


def _absent_or_refused(netns: str, message: str) -> str:
    if "No such file or directory" in message:
        return ""
    raise TransactionRefused(f"{called(netns)}: nftables refused a listing: {message.strip()}")


def _explained(message: str, script: str) -> str:
    """Say nft's first complaint with the line of the script; nft writes `/proc/self/fd/N:LINE:COLUMN-COLUMN: …`."""
    found = re.search(r"^/proc/self/fd/\d+:(\d+):[\d-]+: (.*)$", message, re.MULTILINE)
    lines = script.splitlines()
    if found is None or int(found[1]) > len(lines):
        return message.strip()
    return f"line {found[1]}: {lines[int(found[1]) - 1].strip()!r}: {found[2]}"
