"""The C library's arenas."""

from __future__ import annotations

import platform

import pytest

from app import memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas to limit")
def test_glibc_takes_the_limit() -> None:
    assert memory.give_back_freed_memory() is True
