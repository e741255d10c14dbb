"""Keeps the C library from holding on to memory that was freed: hundreds of megabytes after a few large requests.

By default glibc gives every thread an arena of its own, and raises the size from which a block is mapped by itself (and so given
back when it is freed) to that of the largest block that was freed before.
"""

from __future__ import annotations

import ctypes
import sys

_M_ARENA_MAX, _NUM_ARENAS = -8, 2
_M_MMAP_THRESHOLD, _MAPPED_FROM_BYTES = -3, 8 * 1024 * 1024
_M_TRIM_THRESHOLD, _KEPT_BYTES = -1, 32 * 1024 * 1024


def give_back_freed_memory() -> bool:
    """Lets all threads share two arenas and maps large blocks by themselves; whether that took effect (it does with glibc).

    What a forward pass works with is kept for the next one: to give it back and ask for it again takes as long as the pass.
    To be called before threads start.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = (
        (_M_ARENA_MAX, _NUM_ARENAS),
        (_M_MMAP_THRESHOLD, _MAPPED_FROM_BYTES),
        (_M_TRIM_THRESHOLD, _KEPT_BYTES),
    )
    return all(mallopt(parameter, value) for parameter, value in wanted)
