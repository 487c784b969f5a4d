"""Python's collector of garbage, kept away from what stays: a policy of 60,000 rules is a million objects.

    with uncollected(): …       while much is made of which nothing goes again
    keep_the_collector_away()   afterwards: what is there now is not looked at any more

To look at all of it takes a quarter of a second in which nothing else runs, comes at any time, and finds nothing: what
is replaced later is freed all the same, for it has no cycles.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect nothing meanwhile: a third of the time of a first load is spent on looking in vain."""
    there = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if there:
            gc.enable()


def keep_the_collector_away() -> None:
    """Collect garbage now, take all that is left out of what the collector looks at, and give back what is free.

    Of what a load takes for a moment some 10 MB come from malloc, which keeps them until told (malloc_trim, glibc).
    """
    gc.collect()
    gc.freeze()
    if _trim is not None:
        _trim(0)
