"""Ends a process in order: the first signal asks it to finish, the second ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_KILLED = 128


class OrderlyEnd:
    """Counts the signals to end. `begin` is told of the first; the second one leaves everything as it lies: transactions are
    rolled back, and leases run out."""

    def __init__(self, begin: Callable[[], None], end_at_once: Callable[[int], None] = os._exit) -> None:
        self._begin, self._end_at_once = begin, end_at_once
        self._has_begun = threading.Event()

    @property
    def has_begun(self) -> bool:
        """Whether the process was told to end."""
        return self._has_begun.is_set()

    def install(self) -> None:
        """Handles the signals from now on. Only for the main thread."""
        for number in SIGNALS:
            signal.signal(number, self.handle)

    def handle(self, number: int, _frame: FrameType | None = None) -> None:
        """Takes a signal."""
        if self._has_begun.is_set():
            self._end_at_once(_KILLED + number)
            return
        self._has_begun.set()
        self._begin()
