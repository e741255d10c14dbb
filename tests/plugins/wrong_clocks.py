"""Processes whose clock is wrong: while `clock_off_by` holds, everything of `app` reads a clock that is off.

python tests/plugins/wrong_clocks.py MINUTES serve …     `archcast serve …` with such a clock
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest

ClockOffBy = Callable[[float], AbstractContextManager[None]]


class _AsDatetime(type(datetime)):  # type: ignore[misc]
    """Takes what really is a datetime for one of its own."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


def _wrong_datetime(offset: timedelta) -> type[datetime]:
    class WrongDatetime(datetime, metaclass=_AsDatetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + offset

    return WrongDatetime


def turn(minutes: float, patch: Callable[[object, str, object], None]) -> None:
    """Lets all modules of `app` that are loaded, and `time.time`, tell a wrong time."""
    real, offset = time.time, timedelta(minutes=minutes)
    wrong = _wrong_datetime(offset)
    patch(time, "time", lambda: real() + offset.total_seconds())
    for name, module in list(sys.modules.items()):
        if name.startswith("app.") and getattr(module, "datetime", None) is datetime:
            patch(module, "datetime", wrong)


@pytest.fixture
def clock_off_by() -> ClockOffBy:
    """So many minutes before the real time (negative: behind it), as on a machine whose clock nobody sets."""

    @contextmanager
    def off_by(minutes: float) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patched:
            turn(minutes, patched.setattr)
            yield

    return off_by


def main(minutes: str, *arguments: str) -> None:
    """Runs `archcast` with such a clock; children that it starts have the right one."""
    from app import cli

    turn(float(minutes), setattr)
    sys.argv = ["archcast", *arguments]
    cli.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
