"""Keeps the C library from holding on to memory that was freed: hundreds of megabytes after a few large requests.

By default glibc gives every thread an arena of its own, raises the size from which a block is mapped by itself (and so given
back when it is freed) to that of the largest block that was freed before, and gives back nothing that lies below a block that
is still in use, such as one that a cache keeps.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

_M_ARENA_MAX, _NUM_ARENAS = -8, 2
_M_MMAP_THRESHOLD, _MAPPED_FROM_BYTES = -3, 8 * 1024 * 1024
_M_TRIM_THRESHOLD, _KEPT_BYTES = -1, 32 * 1024 * 1024
_TRIM_SECONDS = 2.0
_MIN_WORK_SECONDS = 0.25  # of processor time: whoever did less freed next to nothing


def give_back_freed_memory() -> bool:
    """Lets all threads share two arenas and maps large blocks by themselves, and from then on trims in the background;
    whether that took effect (it does with glibc).

    What a forward pass works with is kept for the next one: to give it back and ask for it again takes as long as the pass.
    To be called once in a process, before threads start.
    """
    mallopt, trim = _of_c_library("mallopt"), _of_c_library("malloc_trim")
    if mallopt is None or trim is None:
        return False
    wanted = (
        (_M_ARENA_MAX, _NUM_ARENAS),
        (_M_MMAP_THRESHOLD, _MAPPED_FROM_BYTES),
        (_M_TRIM_THRESHOLD, _KEPT_BYTES),
    )
    is_taken = all(mallopt(parameter, value) for parameter, value in wanted)
    trimmer = Trimmer(lambda: trim(0), time.process_time)
    threading.Thread(target=_trim_for_ever, args=(trimmer,), name="memory-trim", daemon=True).start()
    return is_taken


class Trimmer:
    """Trims when enough was done since the last time."""

    def __init__(self, trim: Callable[[], object], work_seconds: Callable[[], float]) -> None:
        self._trim, self._work_seconds = trim, work_seconds
        self._trimmed_at = work_seconds()

    def trim_after_work(self) -> bool:
        """Whether it did."""
        if self._work_seconds() - self._trimmed_at < _MIN_WORK_SECONDS:
            return False
        self._trim()
        self._trimmed_at = self._work_seconds()
        return True


def _trim_for_ever(trimmer: Trimmer) -> None:
    while True:
        time.sleep(_TRIM_SECONDS)
        trimmer.trim_after_work()


def _of_c_library(name: str) -> Any | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
