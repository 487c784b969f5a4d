"""Wait until no packet is on its way in old rules any more, before what those rules ask is deleted.

A packet that meets a transaction on its way goes on in the old rules, but reads of sets what is there by then; and the
second transaction after it takes the old rules away as well (Linux 6.18, `nft_do_chain`, `nf_tables_commit`). A packet
takes microseconds, but a virtual CPU that its host has stopped in between goes on some milliseconds later. Packets are
read-side critical sections of RCU: one grace period of the kernel outlasts all that were on their way.
"""

from __future__ import annotations

import ctypes
import os
import time
from typing import Final

_SYS_MEMBARRIER: Final = {"x86_64": 324, "aarch64": 283, "riscv64": 283, "ppc64le": 365, "s390x": 356}
_MEMBARRIER_CMD_GLOBAL: Final = 1
_LONG: Final = 0.1

_libc = ctypes.CDLL(None, use_errno=True)


def period() -> bool:
    """Wait for one grace period: membarrier(2)'s MEMBARRIER_CMD_GLOBAL, some 10 ms (Linux 4.3; no privilege).

    Where the kernel has none for us (`nohz_full`, an unknown machine), wait 0.1 s instead and return False.
    """
    number = _SYS_MEMBARRIER.get(os.uname().machine)
    if number is not None and _libc.syscall(number, _MEMBARRIER_CMD_GLOBAL, 0, 0) == 0:
        return True
    time.sleep(_LONG)
    return False
