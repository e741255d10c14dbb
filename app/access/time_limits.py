"""Ends requests that take too long. One timer looks at all of them together: a timer for each would cost every forecast a tenth of
its time."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from app import deadlines

_MOST_SECONDS_BETWEEN_LOOKS = 1.0
_LOOKS_IN_A_LIMIT = 4.0

Request = asyncio.Task[Any]


class TimeLimit:
    """So many seconds for each request, and up to a quarter more, but not more than a second. Belongs to the event loop."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends: dict[Request, float] = {}
        self._overdue: set[Request] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> Request:
        """Begins to count for the task that runs now; to be handed to `end`, whatever happens."""
        request = asyncio.current_task()
        if request is None:
            raise RuntimeError("expected to run in a task, got none")
        deadlines.begin(self.seconds)
        self._ends[request] = time.monotonic() + self.seconds
        if self._timer is None:
            self._schedule()
        return request

    def end(self, request: Request) -> None:
        """Ends counting."""
        del self._ends[request]
        self._overdue.discard(request)

    def is_overdue(self, request: Request) -> bool:
        """Whether it was cancelled for this reason alone; takes the cancellation back then."""
        return request in self._overdue and request.uncancel() == 0

    def _schedule(self) -> None:
        pause = min(_MOST_SECONDS_BETWEEN_LOOKS, self.seconds / _LOOKS_IN_A_LIMIT)
        self._timer = asyncio.get_running_loop().call_later(pause, self._look)

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic()
        for request, end in self._ends.items():
            if now > end and request not in self._overdue:
                self._overdue.add(request)
                request.cancel()
        if self._ends:
            self._schedule()
