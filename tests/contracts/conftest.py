"""A second replica of the service and a worker of its own, on one database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi.testclient import TestClient

    from app.database import Database
    from app.settings import Settings
    from app.worker import Worker

DEADLINE_SECONDS = 60.0


@pytest.fixture
def other_client(champion: Path, client: TestClient, settings: Settings) -> Iterator[TestClient]:
    """A client of a second replica that shares nothing with the first but the database."""
    from fastapi.testclient import TestClient

    from app.main import create_app

    with TestClient(create_app(settings)) as started:
        yield started


@pytest.fixture
def make_worker(
    settings: Settings, database: Database, reopened: Callable[[Database], Database], stopping: threading.Event
) -> Callable[[], Worker]:
    """Makes workers, each with connections of its own."""
    from app.worker import Worker

    return lambda: Worker.of(settings, reopened(database), stopping)


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Waits for what happens in the background; the deadline is no promise of how soon."""

    def wait(happened: Callable[[], bool], deadline_seconds: float = DEADLINE_SECONDS) -> None:
        deadline = time.monotonic() + deadline_seconds
        while not happened():
            assert time.monotonic() < deadline, "expected it to happen in the background, got nothing"
            time.sleep(0.02)

    return wait


@pytest.fixture
def together() -> Callable[[Callable[[int], Any], int], list[Any]]:
    """Calls a function with 0, 1, … in as many threads, all at once."""

    def call(function: Callable[[int], Any], count: int) -> list[Any]:
        start = threading.Barrier(count)

        def started(number: int) -> Any:
            start.wait(timeout=DEADLINE_SECONDS)
            return function(number)

        with ThreadPoolExecutor(count) as threads:
            return list(threads.map(started, range(count)))

    return call
