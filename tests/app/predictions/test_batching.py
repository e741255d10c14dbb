"""Micro-batching: everybody gets an answer, and those who wait together share one computation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from app.predictions.batching import MicroBatcher

PATIENCE_SECONDS = 30.0
LARGE = 1_000  # pieces of work


def test_an_item_that_comes_the_moment_another_is_answered_is_computed() -> None:
    batcher: MicroBatcher[int, int] = MicroBatcher(lambda items: [2 * item for item in items])

    async def without_a_pause() -> list[int]:
        return [await batcher.submit(item) for item in range(5)]

    assert asyncio.run(asyncio.wait_for(without_a_pause(), PATIENCE_SECONDS)) == [0, 2, 4, 6, 8]
    batcher.close()


def test_items_that_wait_together_share_a_computation() -> None:
    batches: list[list[int]] = []
    released = threading.Event()

    def compute(items: Sequence[int]) -> list[int]:
        batches.append(list(items))
        released.wait(PATIENCE_SECONDS)
        return list(items)

    batcher: MicroBatcher[int, int] = MicroBatcher(compute, lambda _item: LARGE)

    async def ask() -> list[int]:
        asked = [asyncio.create_task(batcher.submit(item)) for item in range(4)]
        await asyncio.sleep(0)
        released.set()
        return await asyncio.wait_for(asyncio.gather(*asked), PATIENCE_SECONDS)

    assert asyncio.run(ask()) == [0, 1, 2, 3]
    assert [item for batch in batches for item in batch] == [0, 1, 2, 3]
    assert len(batches) < 4
    batcher.close()


def test_an_error_reaches_everybody_of_its_batch_and_the_next_one_works() -> None:
    def compute(items: Sequence[int]) -> list[int]:
        if 0 in items:
            raise RuntimeError("no surrogate")
        return list(items)

    batcher: MicroBatcher[int, int] = MicroBatcher(compute)

    async def ask() -> int:
        with pytest.raises(RuntimeError, match="no surrogate"):
            await batcher.submit(0)
        return await batcher.submit(1)

    assert asyncio.run(asyncio.wait_for(ask(), PATIENCE_SECONDS)) == 1
    batcher.close()


@pytest.mark.parametrize(("size", "is_own_thread"), [(1, False), (LARGE, True)])
def test_only_large_batches_leave_the_event_loop(size, is_own_thread) -> None:
    threads: list[int] = []

    def compute(items: Sequence[int]) -> list[int]:
        threads.append(threading.get_ident())
        return list(items)

    batcher: MicroBatcher[int, int] = MicroBatcher(compute, lambda _item: size)

    asyncio.run(asyncio.wait_for(batcher.submit(0), PATIENCE_SECONDS))

    assert (threads != [threading.get_ident()]) == is_own_thread
    batcher.close()


def test_those_who_are_answered_and_ask_again_meet_in_one_batch() -> None:
    sizes: list[int] = []

    def compute(items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        return list(items)

    batcher: MicroBatcher[int, int] = MicroBatcher(compute)

    async def client() -> None:
        for item in range(5):
            await batcher.submit(item)

    async def ask() -> None:
        await asyncio.wait_for(asyncio.gather(*(client() for _ in range(4))), PATIENCE_SECONDS)

    asyncio.run(ask())

    assert sizes == [4] * 5
    batcher.close()
