"""Micro-batching: requests that come while the surrogate is busy share its next forward pass."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_BATCH = 256
_MAX_AT_ONCE = 32  # pieces of work that take some milliseconds together
_TURNS = 3  # of the event loop, in which those who were just answered can ask again


class MicroBatcher(Generic[Item, Result]):
    """Collects items of one event loop and computes them together, one batch at a time.

    A large batch is computed in a thread of its own. A small one is computed by the event loop itself: what takes some
    milliseconds of Python takes twice as long where two threads take turns at it, and nobody else gets on meanwhile anyway.
    """

    def __init__(
        self, compute: Callable[[Sequence[Item]], Sequence[Result]], size_of: Callable[[Item], int] = lambda _item: 1
    ) -> None:
        """`size_of` tells how many pieces of work an item is."""
        self._compute, self._size_of = compute, size_of
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="forecast-batch")
        self._drains: set[asyncio.Task[None]] = set()  # the event loop itself holds tasks only weakly
        self._is_draining = False

    async def submit(self, item: Item) -> Result:
        """The item's result; an error of its batch is raised to everybody in it."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if not self._is_draining:
            self._is_draining = True
            # In a context of its own: it works for others too, long after the deadline of whoever came first.
            task = asyncio.create_task(self._drain(), context=Context())
            self._drains.add(task)
            task.add_done_callback(self._drains.discard)
        return await future

    def close(self) -> None:
        """Waits for the batch that is being computed."""
        self._executor.shutdown()

    async def _drain(self) -> None:
        while self._waiting:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
            try:
                results = await self._computed([item for item, _ in batch])
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():  # the caller may have gone
                    future.set_result(result)
        self._is_draining = False  # in the same step that saw nobody waiting, so that nobody can come in between unseen

    async def _computed(self, items: Sequence[Item]) -> Sequence[Result]:
        if sum(map(self._size_of, items)) <= _MAX_AT_ONCE:
            return self._compute(items)
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._compute, items)
