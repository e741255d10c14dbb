"""How long a request's work may go on. Whoever works in steps asks between them; a transaction asks where it begins and, if
it writes, before it commits, so that what was answered as taking too long is not done afterwards."""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass

from app.errors import TimedOutError


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment by the process's monotonic clock."""

    at: float
    seconds: float

    @property
    def is_over(self) -> bool:
        """Whether the moment has passed."""
        return time.monotonic() > self.at

    def check(self) -> None:
        """Raises TimedOutError if it has."""
        if self.is_over:
            raise timed_out(self.seconds)


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def begin(seconds: float) -> None:
    """Gives everything that this context does from now on so many seconds."""
    _current.set(Deadline(time.monotonic() + seconds, seconds))


def current() -> Deadline | None:
    """The deadline of this context, to be handed to a thread of another one."""
    return _current.get()


def check() -> None:
    """Raises TimedOutError if the deadline of this context is over."""
    deadline = _current.get()
    if deadline is not None:
        deadline.check()


def is_over() -> bool:
    """Whether the deadline of this context is over."""
    deadline = _current.get()
    return deadline is not None and deadline.is_over


def timed_out(seconds: float) -> TimedOutError:
    """The error that says so."""
    return TimedOutError(f"expected to answer within {seconds:g} s, got to no end; ask for less at a time")
