"""The C library's arenas."""

from __future__ import annotations

import platform

import pytest

from app import memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas to limit")
def test_glibc_takes_the_limit() -> None:
    assert memory.give_back_freed_memory() is True


class Clock:
    """Processor time that a test sets."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize(("worked_seconds", "expected"), [(0.0, 0), (0.1, 0), (1.0, 1)])
def test_memory_is_trimmed_only_after_work(worked_seconds, expected) -> None:
    trims: list[int] = []
    clock = Clock()
    trimmer = memory.Trimmer(lambda: trims.append(1), clock)

    clock.seconds = worked_seconds
    answers = [trimmer.trim_after_work(), trimmer.trim_after_work()]

    assert len(trims) == expected
    assert answers == [bool(expected), False]
