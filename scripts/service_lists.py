"""The section `lists` of `bench_service.py`: pages of a task with a million observations, at every depth.

One in a hundred observations has no value, and as many were corrected. Every list is walked from its first page to its last in
pages of the ids of 1,000, by its own cursors, so that the slowest page of all is known too; then pages of 100 are asked for again and again
where it begins, in its middle and at its end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
from serving_load import cells
from serving_processes import HOST, Service
from sqlalchemy import insert, text, update

from app import migration
from app.database import Database
from app.inference import notations
from app.search_spaces import service as search_spaces
from app.tables import ArchitectureRecord, NotationRecord, ObservationRecord, TaskRecord

if TYPE_CHECKING:
    from bench_service import Place
    from bench_serving import Report

TASK, SPACE = "bench-lists", "nasbench201"
_CHUNK, _PAGE, _LONG_PAGE = 10_000, 100, 1_000
_AIM = "under 30 ms"
_BEGAN_AT = datetime(2026, 1, 1, tzinfo=UTC)
SORTS: dict[str, dict[str, Any]] = {
    "by id": {},
    "by id, descending": {"sort": "-id"},
    "by value": {"sort": "value"},
    "by value, descending": {"sort": "-value"},
    "by time": {"sort": "created_at"},
    "by time, descending": {"sort": "-created_at"},
    "with superseded ones, by id": {"include_superseded": True},
    "without a value (failed), by id": {"status": "failed"},
    "with a value (ok), by value": {"status": "ok", "sort": "value"},
    "values from 60 to 80, by value": {"min_value": 60, "max_value": 80},
    "values from 60 to 80, by id": {"min_value": 60, "max_value": 80, "sort": "id"},
}
FILTERS: dict[str, dict[str, Any]] = {
    "of one architecture, by id": {},
    "of one architecture, by value": {"sort": "-value"},
}


def measure(place: Place, is_quick: bool, report: Report) -> None:
    """Fills the database and measures a service on it."""
    count, repeats = (3_000, 2) if is_quick else (1_000_000, 15)
    began = time.perf_counter()
    architecture = fill(place.url, count)
    report.add(f"{place.database}: {count:,} observations inserted in bulk", time.perf_counter() - began, "s")
    service = Service(place.folder, False, DATABASE_URL=place.url, EMBEDDED_WORKER=False)
    try:
        service.start()
        with httpx.Client(base_url=f"http://{HOST}:{service.port}", timeout=120.0) as client:
            for what, query in SORTS.items():
                _measure_depths(client, f"{place.database}: {what}", query, repeats, report)
            for what, query in FILTERS.items():
                wanted = {**query, "architecture": architecture}
                _measure_page(client, f"{place.database}: {what}, whole list", wanted, repeats, report)
    finally:
        service.stop()


def _measure_depths(client: httpx.Client, what: str, query: dict[str, Any], repeats: int, report: Report) -> None:
    cursors, slowest_ms = _walked(client, query)
    report.add(f"{what}, slowest of {len(cursors):,} pages of the ids of {_LONG_PAGE:,}", slowest_ms, "ms")
    places = {"beginning": cursors[0], "middle": cursors[len(cursors) // 2], "end": cursors[-1]}
    for place, cursor in places.items():
        wanted = query if cursor is None else {**query, "cursor": cursor}
        _measure_page(client, f"{what}, {place}", wanted, repeats, report)


def _measure_page(client: httpx.Client, what: str, query: dict[str, Any], repeats: int, report: Report) -> None:
    for _ in range(repeats):
        report.add(f"{what}, page of {_PAGE}", _asked(client, {**query, "limit": _PAGE})[1], "ms", _AIM)


def _walked(client: httpx.Client, query: dict[str, Any]) -> tuple[list[str | None], float]:
    """The cursors that all pages begin with, and the milliseconds of the slowest; the first warms the caches and does not
    count."""
    cursors: list[str | None] = [None]
    taken: list[float] = []
    while True:
        wanted = {**query, "limit": _LONG_PAGE, "fields": "id", **({"cursor": cursors[-1]} if cursors[-1] else {})}
        page, milliseconds = _asked(client, wanted)
        taken.append(milliseconds)
        if page["next_cursor"] is None:
            return cursors, max(taken[1:], default=taken[0])
        cursors.append(page["next_cursor"])


def _asked(client: httpx.Client, query: dict[str, Any]) -> tuple[dict[str, Any], float]:
    began = time.perf_counter()
    answer = client.get(f"/v1/tasks/{TASK}/observations", params=query)
    milliseconds = (time.perf_counter() - began) * 1e3
    answer.raise_for_status()
    page: dict[str, Any] = answer.json()
    return page, milliseconds


def fill(url: str, count: int) -> str:
    """Migrates the database and inserts that many observations of one task; the id of an architecture among them."""
    database = Database(url)
    try:
        migration.upgrade(database)
        with database.write() as session:
            search_spaces.add_built_in(session)
        rng = np.random.default_rng(0)
        task_id, ids = named(database, TASK, SPACE, None, cells(rng))
        for rows in _rows(rng, task_id, ids, count):
            with database.write() as session:
                session.execute(insert(ObservationRecord), rows)
        with database.write() as session:
            session.execute(update(TaskRecord).values(num_observations=count, revision=count))
        if not database.is_sqlite:  # a server of its own does so in the background
            with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM ANALYZE"))
        return ids[0]
    finally:
        database.close()


def named(
    database: Database, name: str, space_name: str, definition: Mapping[str, Any] | None, written: Sequence[Any]
) -> tuple[int, list[str]]:
    """Makes a task of that name in the search space and stores the architectures; its id, and theirs, each once."""
    space = notations.search_space(space_name, definition)
    parsed = {one.id: one for one in notations.parse_many(space, written)}  # type: ignore[union-attr]
    with database.write() as session:
        task = TaskRecord(
            name=name, search_space=space_name, dataset="bench", metric="accuracy", unit="%", direction="maximize"
        )
        session.add(task)
        session.flush()
        session.execute(
            insert(ArchitectureRecord),
            [{"id": id_, "hash_algorithm": one.hash_algorithm, "graph": one.graph} for id_, one in parsed.items()],
        )
        session.execute(
            insert(NotationRecord),
            [
                {"architecture_id": id_, "search_space": space_name, "genotype": one.genotype}
                for id_, one in parsed.items()
            ],
        )
        return task.id, list(parsed)


def _rows(rng: np.random.Generator, task_id: int, ids: list[str], count: int) -> Iterator[list[dict[str, Any]]]:
    """Observations in chunks: every hundredth has no value, and every hundredth is corrected by the next."""
    for start in range(0, count, _CHUNK):
        numbers = range(start, min(start + _CHUNK, count))
        values = rng.normal(70.0, 5.0, len(numbers)).round(2)  # many are equal
        yield [_row(task_id, ids, number, float(value)) for number, value in zip(numbers, values, strict=True)]


def _row(task_id: int, ids: list[str], number: int, value: float) -> dict[str, Any]:
    is_empty, is_corrected = number % 100 == 50, number % 100 == 7
    return {
        "task_id": task_id,
        "architecture_id": ids[number % len(ids)],
        "status": "failed" if is_empty else "ok",
        "value": None if is_empty else value,
        "seed": number // len(ids),
        "superseded_by_id": number + 2 if is_corrected else None,
        "created_at": _BEGAN_AT + timedelta(seconds=number // 3),
    }
