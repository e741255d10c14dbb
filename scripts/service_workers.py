"""The section `workers` of `bench_service.py`: two hundred workers who ask, measure for a moment and tell, all at once, for a minute.

Nobody repeats a request: whatever is not answered as it should is an error. In the end the database is looked at: what was acknowledged
is there once, and nobody had an architecture that somebody else had at the time.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
from serving_processes import HOST, Service
from sqlalchemy import func, select

from app.database import Database
from app.tables import ObservationRecord, TaskRecord, TrialEventRecord, TrialRecord

if TYPE_CHECKING:
    from bench_service import Place
    from bench_serving import Report

TASK = "bench-workers"
_MEASURING_SECONDS = 1.0  # on average
_LEASE_SECONDS = 120.0
_PATIENCE_SECONDS = 60.0
_METRIC = {"name": "accuracy", "unit": "%", "direction": "maximize"}


@dataclass
class Seen:
    """What the workers saw."""

    ask_ms: list[float] = field(default_factory=list)
    tell_ms: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    completed: set[int] = field(default_factory=set)


def measure(place: Place, is_quick: bool, report: Report) -> None:
    """Starts a service with its worker on the empty database and lets workers loose on it."""
    count, seconds = (8, 3.0) if is_quick else (200, 60.0)
    service = Service(place.folder, False, DATABASE_URL=place.url)
    try:
        service.start()
        base_url = f"http://{HOST}:{service.port}"
        task = {"name": TASK, "search_space": "nasbench201", "dataset": "bench", "metric": _METRIC}
        httpx.post(f"{base_url}/v1/tasks", json=task, timeout=_PATIENCE_SECONDS).raise_for_status()
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        seen = asyncio.run(worked(base_url, count, seconds))
        took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    finally:
        service.stop()
    what = f"{place.database}: {count} workers for {seconds:.0f} s"
    _report(report, what, seen, took)
    report.add(f"{what}: cores that the workers themselves took", (_cpu(after) - _cpu(before)) / took, "")
    report.add(f"{what}: broken rules in the database afterwards", float(len(broken(place.url, seen))), "", "0")


def _report(report: Report, what: str, seen: Seen, seconds: float) -> None:
    report.add(f"{what}: errors", float(sum(seen.errors.values())), "", "0")
    for error, times in seen.errors.items():
        report.add(f"{what}: {error}", float(times), "times")
    report.add(f"{what}: trials asked for, measured and told", len(seen.completed) / seconds, "/s")
    for name, taken in (("ask", seen.ask_ms), ("tell", seen.tell_ms)):
        for part, label in ((50, "median"), (99, "99th percentile")):
            report.add(f"{what}: {label} of {name}", float(np.percentile(taken, part)), "ms")


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


async def worked(base_url: str, count: int, seconds: float) -> Seen:
    """What so many workers saw in that time, until the last of them had told what it had."""
    seen, until = Seen(), time.monotonic() + seconds
    limits = httpx.Limits(max_connections=count, max_keepalive_connections=count)
    async with httpx.AsyncClient(base_url=base_url, timeout=_PATIENCE_SECONDS, limits=limits) as client:
        rngs = np.random.default_rng(0).spawn(count)
        await asyncio.gather(*(_work(client, f"worker-{n}", rng, until, seen) for n, rng in enumerate(rngs)))
    return seen


async def _work(client: httpx.AsyncClient, worker_id: str, rng: np.random.Generator, until: float, seen: Seen) -> None:
    while time.monotonic() < until:
        asked = {"worker_id": worker_id, "count": 1, "lease_seconds": _LEASE_SECONDS}
        answer = await _posted(client, ":suggest", asked, seen, seen.ask_ms)
        if answer is None:
            continue
        for trial in answer["trials"]:
            await asyncio.sleep(float(rng.exponential(_MEASURING_SECONDS)))
            told = {"lease_token": trial["lease_token"], "observations": [{"value": float(rng.normal(70.0, 5.0))}]}
            if await _posted(client, f"/{trial['id']}:complete", told, seen, seen.tell_ms) is not None:
                seen.completed.add(trial["id"])


async def _posted(
    client: httpx.AsyncClient, action: str, body: dict[str, Any], seen: Seen, taken: list[float]
) -> dict[str, Any] | None:
    began = time.perf_counter()
    try:
        answer = await client.post(f"/v1/tasks/{TASK}/trials{action}", json=body)
    except httpx.HTTPError as error:
        seen.errors[type(error).__name__] += 1
        return None
    taken.append((time.perf_counter() - began) * 1e3)
    if answer.status_code != 200:
        seen.errors[f"{answer.status_code} {answer.json().get('type')}"] += 1
        return None
    document: dict[str, Any] = answer.json()
    return document


def broken(url: str, seen: Seen) -> list[str]:
    """What is not as it should be: lost, there twice, counted wrongly, or with two at a time."""
    database = Database(url)
    try:
        with database.read() as session:
            completed = set(session.scalars(select(TrialRecord.id).where(TrialRecord.state == "completed")))
            there = session.scalar(select(func.count(ObservationRecord.id)))
            counted = session.scalar(select(TaskRecord.num_observations).where(TaskRecord.name == TASK))
            rows = session.execute(select(TrialRecord.id, TrialRecord.architecture_id)).all()
            events = session.execute(
                select(TrialEventRecord.trial_id, TrialEventRecord.to_state).order_by(TrialEventRecord.id)
            ).all()
    finally:
        database.close()
    found = [f"trial {one} was acknowledged and is lost" for one in seen.completed - completed]
    if not there == counted == len(completed):
        found.append(f"{there} observations, {counted} counted, {len(completed)} completed trials")
    architectures, out = {row.id: row.architecture_id for row in rows}, dict[str, int]()
    for trial, state in events:
        holder = out.get(architectures[trial])
        if state == "leased" and holder not in (None, trial):
            found.append(f"trials {holder} and {trial} of one architecture were out at once")
        out.update({architectures[trial]: trial} if state == "leased" else {})
        if state == "completed":
            out.pop(architectures[trial], None)
    return found
