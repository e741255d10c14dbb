"""Keeps the C library from holding on to memory. A process of many threads otherwise keeps an arena of freed memory for each:
hundreds of megabytes after a few large requests."""

from __future__ import annotations

import ctypes
import sys

_M_ARENA_MAX = -8
_NUM_ARENAS = 2


def limit_arenas() -> bool:
    """Lets all threads share two arenas; whether that took effect (it does with glibc). To be called before threads start."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_ARENA_MAX, _NUM_ARENAS))
