"""The section `suggesting` of `bench_service.py`: what to measure next after 10,000 completed trials, beside Optuna's samplers.

Ours is asked over HTTP, Optuna's in memory, on the same history: six decisions between five operations each (no published space that is small
enough to be listed has 10,000 architectures), with invented values. Whoever asks has not reported before the next one asks. Then workers go on as workers do, each report followed by the next question, while adaptations
to what they report run beside them.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
from service_lists import named
from serving_processes import HOST, Service, clean_environment
from sqlalchemy import insert, text, update

from app import migration, queue
from app.database import Database
from app.observations import repository as observations
from app.search_spaces import service as search_spaces
from app.search_spaces.schemas import SearchSpaceIn
from app.tables import TaskRecord, TrialEventRecord, TrialRecord

if TYPE_CHECKING:
    from bench_service import Place
    from bench_serving import Report

TASK = "bench-suggesting"
_AIM = "under 50 ms"
_LIMIT_SECONDS = {"tpe": 120.0, "gp": 300.0}
_FRESH_SECONDS = 600.0
_CHUNK = 1_000

WORTH = {"conv3x3": 5.0, "attention": 4.0, "conv1x1": 3.0, "skip": 1.0, "max_pool3x3": -1.0}
SPACE = {
    "version": 1,
    "decisions": [{"name": f"layer_{number}", "type": "categorical", "values": list(WORTH)} for number in range(6)],
}
History = list[tuple[dict[str, str], float]]
"""What was decided, and the value."""


def measure(place: Place, is_quick: bool, report: Report) -> None:
    """Fills the database, measures a service on it, and then Optuna."""
    count, repeats, num_gp = (200, 3, 1) if is_quick else (10_000, 60, 3)
    history = fill(place.url, count)
    service = Service(place.folder, False, DATABASE_URL=place.url)
    what = f"{place.database}: suggest after {count:,} completed trials"
    try:
        service.start()
        with httpx.Client(base_url=f"http://{HOST}:{service.port}", timeout=120.0) as client:
            wait_until_fresh(client, count)
            for milliseconds in suggestions(client, repeats):
                report.add(f"{what}, one after the other", milliseconds, "ms", _AIM)
            for name, times in (("tpe", repeats), ("gp", num_gp)):
                _measure_optuna(place, name, history, times, report)
            for milliseconds in suggestions(client, repeats):
                report.add(f"{what}, once more after Optuna", milliseconds, "ms", _AIM)
            for milliseconds in rounds(client, repeats):
                report.add(f"{what}, each followed by a report, adaptations beside it", milliseconds, "ms", _AIM)
    finally:
        service.stop()


def suggestions(client: httpx.Client, repeats: int) -> Iterator[float]:
    """Milliseconds of each suggestion for a worker that has nothing yet; the first warms the caches and does not count."""
    for number in range(repeats + 1):
        milliseconds = _suggested(client, f"worker-{number}-{time.monotonic_ns()}")[0]
        if number:
            yield milliseconds


def rounds(client: httpx.Client, repeats: int) -> Iterator[float]:
    """The same, each reported before the next."""
    rng = np.random.default_rng(1)
    for number in range(repeats):
        milliseconds, trial = _suggested(client, f"round-{number}-{time.monotonic_ns()}")
        yield milliseconds
        body = {"lease_token": trial["lease_token"], "observations": [{"value": float(rng.normal(70.0, 5.0))}]}
        client.post(f"/v1/tasks/{TASK}/trials/{trial['id']}:complete", json=body).raise_for_status()


def _suggested(client: httpx.Client, worker_id: str) -> tuple[float, dict[str, Any]]:
    began = time.perf_counter()
    answer = client.post(f"/v1/tasks/{TASK}/trials:suggest", json={"worker_id": worker_id, "count": 1})
    milliseconds = (time.perf_counter() - began) * 1e3
    answer.raise_for_status()
    trial: dict[str, Any] = answer.json()["trials"][0]
    return milliseconds, trial


def _measure_optuna(place: Place, name: str, history: History, repeats: int, report: Report) -> None:
    file = place.folder / "history.json"
    file.write_text(json.dumps(history))
    what = f"{place.database}: ask of Optuna's {name.upper()} sampler on the same history, in memory"
    taken = optuna_asks(name, file, repeats, _LIMIT_SECONDS[name])
    for milliseconds in taken:
        report.add(what, milliseconds, "ms")
    if len(taken) < repeats:
        report.add(f"{what}: asks that ended within {_LIMIT_SECONDS[name]:.0f} s", float(len(taken)), f"of {repeats}")


def optuna_asks(name: str, history: Path, repeats: int, limit_seconds: float) -> list[float]:
    """Milliseconds of those asks that ended within the time; a process of its own, which may need gigabytes."""
    script = Path(__file__).with_name("optuna_asks.py")
    command = [sys.executable, script, name, str(history), str(repeats)]
    try:
        ended = subprocess.run(
            command, env=clean_environment(), stdout=subprocess.PIPE, text=True, timeout=limit_seconds, check=False
        )
        printed = ended.stdout
    except subprocess.TimeoutExpired as error:
        printed = (error.stdout or b"").decode() if isinstance(error.stdout, bytes | None) else error.stdout
    return [float(line) for line in printed.splitlines()]


def wait_until_fresh(client: httpx.Client, count: int) -> None:
    """Until the task is adapted to all that was observed, and the whole space forecast."""
    deadline = time.monotonic() + _FRESH_SECONDS
    while time.monotonic() < deadline:
        adaptation = client.get(f"/v1/tasks/{TASK}").raise_for_status().json()["adaptation"]
        if adaptation["is_fresh"] and adaptation["num_observations"] == count:
            client.get(f"/v1/tasks/{TASK}/candidates").raise_for_status()
            return
        time.sleep(0.5)
    raise SystemExit(f"expected an adaptation to {count:,} observations within {_FRESH_SECONDS:.0f} s, got none")


def fill(url: str, count: int) -> History:
    """Migrates the database and adds a task with so many completed trials, each with its observation and its history."""
    database = Database(url)
    history = drawn(count)
    try:
        migration.upgrade(database)
        with database.write() as session:
            search_spaces.add_built_in(session)
            search_spaces.declare(session, SearchSpaceIn(name=TASK, definition=SPACE))
        task_id, ids = named(database, TASK, TASK, SPACE, [chosen for chosen, _ in history])
        for start in range(0, count, _CHUNK):
            _add(database, task_id, ids, history, range(start, min(start + _CHUNK, count)))
        with database.write() as session:
            session.execute(update(TaskRecord).values(num_observations=count, revision=count))
            queue.enqueue_adaptation(session, task_id)
        if not database.is_sqlite:  # a server of its own does so in the background
            with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM ANALYZE"))
        return history
    finally:
        database.close()


def _add(database: Database, task_id: int, ids: list[str], history: History, places: range) -> None:
    with database.write() as session:
        own = {"task_id": task_id}
        rows = [{**own, "architecture_id": ids[place], "status": "ok", "value": history[place][1]} for place in places]
        observed = observations.add(session, rows)
        ended = {
            "state": "completed",
            "reason": "completed",
            "lease_number": 1,
            "worker_id": "bench",
            "lease_seconds": 600.0,
        }
        trials = [
            {**own, **ended, "architecture_id": ids[place], "observation_ids": [observation], "token_hash": "0" * 64}
            for place, observation in zip(places, observed, strict=True)
        ]
        added = session.scalars(
            insert(TrialRecord).returning(TrialRecord.id, sort_by_parameter_order=True), trials
        ).all()
        changes = [(None, "requested"), ("requested", "leased"), ("leased", "completed")]
        events = [
            {"trial_id": trial, "from_state": before, "to_state": after, "cause": "bench", "worker_id": "bench"}
            for trial in added
            for before, after in changes
        ]
        session.execute(insert(TrialEventRecord), events)


def drawn(count: int) -> History:
    """Different architectures in random order: attention and convolutions help, pooling harms, and nobody measures the same twice."""
    rng = np.random.default_rng(0)
    every = list(itertools.product(WORTH, repeat=len(SPACE["decisions"])))  # type: ignore[arg-type]
    chosen = [every[place] for place in rng.permutation(len(every))[:count]]
    return [
        (
            {f"layer_{number}": one for number, one in enumerate(operations)},
            round(60.0 + sum(WORTH[one] for one in operations) + float(rng.normal(0.0, 1.0)), 3),
        )
        for operations in chosen
    ]
