"""Bounded caches. Reading takes no lock: a dictionary's own operations are atomic."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """Keeps the newest `capacity` values; the oldest goes first. May be used from any thread."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._values: dict[Key, Value] = {}
        self._lock = threading.Lock()
        self.get = self._values.get

    def put(self, key: Key, value: Value) -> None:
        """Keeps the value."""
        self.put_many([(key, value)])

    def put_many(self, items: Iterable[tuple[Key, Value]]) -> None:
        """Keeps the values."""
        with self._lock:
            self._values.update(items)
            excess = len(self._values) - self._capacity
            if excess > 0:
                oldest = iter(self._values)
                for key in [next(oldest) for _ in range(excess)]:
                    del self._values[key]

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._values.clear()

    def __len__(self) -> int:
        return len(self._values)
