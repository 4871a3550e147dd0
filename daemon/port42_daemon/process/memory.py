"""Returns freed memory to the system: mallopt(3), malloc_trim(3) of glibc; other allocators do it themselves.

By default each thread has its own heap, in which blocks of up to 32 MiB can stay: after many requests at once
the process would keep twice the memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h
_LARGE = 128 * 1024
_ALLOCATIONS = 5_000
"""Objects made since the last collection that begin the next one; Python's default is 700."""


def keep_in_one_heap() -> None:
    """Use one heap for all threads, and mmap for large blocks. Call before threads are started."""
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)


def exempt_from_collection() -> None:
    """Leave what is loaded now out of garbage collections, which then take a hundredth of the time.

    They come less often, too: records, of which an import makes thousands, are in no cycles.
    """
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS)
    gc.enable()


def give_back() -> None:
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
