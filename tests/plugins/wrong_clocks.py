"""Processes whose clock is wrong, in one process: while `clock_off_by` holds, everything of `app` reads a clock that is off."""

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


@pytest.fixture
def clock_off_by() -> ClockOffBy:
    """So many minutes before the real time (negative: behind it), as on a machine whose clock nobody sets."""

    @contextmanager
    def off_by(minutes: float) -> Iterator[None]:
        real, offset = time.time, timedelta(minutes=minutes)
        wrong = _wrong_datetime(offset)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(time, "time", lambda: real() + offset.total_seconds())
            for name, module in list(sys.modules.items()):
                if name.startswith("app.") and getattr(module, "datetime", None) is datetime:
                    patched.setattr(module, "datetime", wrong)
            yield

    return off_by
