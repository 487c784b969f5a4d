"""Python's collector of garbage, kept away from what stays, and malloc, which is to keep nothing that is free.

    hold_little()               at first: threads share what malloc holds
    with uncollected(): …       while much is made of which nothing goes again
    keep_the_collector_away()   afterwards: what is there now is not looked at any more
    give_back()                 after what took much for a moment

A policy of 60,000 rules is a million objects. To look at all of it takes a quarter of a second in which nothing else
runs, comes at any time, and finds nothing: what is replaced later is freed all the same, for it has no cycles.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_LIBC = ctypes.CDLL(None)
_trim = getattr(_LIBC, "malloc_trim", None)
_option = getattr(_LIBC, "mallopt", None)
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # M_…, malloc.h of glibc
_LARGE = 1 << 20


def hold_little() -> None:
    """Have malloc keep one heap for all threads, and none of what is large; before there are threads.

    They take turns in Python anyway. Left alone, glibc gives each a heap of its own, where 10 to 20 MB stay that a load
    or a repair needed once, and takes what is large from there as well, once something large has been freed.
    """
    if _option is not None:
        for option, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, _LARGE), (_TRIM_THRESHOLD, _LARGE)):
            _option(option, value)


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
    """Collect garbage now, take all that is left out of what the collector looks at, and give back what is free."""
    gc.collect()
    gc.freeze()
    give_back()


def give_back() -> None:
    """Give back what malloc holds free: some 10 MB after a load, which it keeps until told (malloc_trim, glibc)."""
    if _trim is not None:
        _trim(0)
