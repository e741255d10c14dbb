"""Drift: a running test whether the forecasts of a model version still hold on a task what they promise.

A forecast promises that the value lies in its 90 % interval. Each pair of a forecast and the value that came moves a
cumulative sum (Page, Biometrika 1954) by the log likelihood ratio of a miss rate of 30 % against the promised 10 %, which
never falls below 0; above `THRESHOLD` it is an alarm, and the sum begins again. It needs no assumption about how errors are
distributed. Of independent forecasts that keep their promise one alarm comes in about 5,000 pairs; a miss rate of 30 % takes
about 37 pairs to notice, one of 50 % about 14.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock
from app.inference import champion_id, effective_version, pinned_versions
from app.tables import DriftRecord, ObservationRecord, TaskRecord
from app.track_records.repository import Pair, newest_observation, pairs

PROMISED, SUSPECTED = 0.1, 0.3
THRESHOLD = 6.0
MIN_PAIRS = 20
SETTLING_SECONDS = 3.0
"""So much later an observation is looked at: forecasts are logged in the background, and may be written after it."""
_MISS = math.log(SUSPECTED / PROMISED)
_HIT = math.log((1.0 - SUSPECTED) / (1.0 - PROMISED))
_MAX_PAIRS = 5_000


@dataclass(frozen=True)
class Course:
    """Where the test stands after some pairs, and how many alarms they raised."""

    statistic: float
    num_alarms: int = 0


def course(statistic: float, num_pairs: int, new: Sequence[Pair]) -> Course:
    """Goes on from a statistic that `num_pairs` pairs have led to."""
    num_alarms = 0
    for number, pair in enumerate(new, start=num_pairs + 1):
        statistic = max(0.0, statistic + (_HIT if pair.is_covered else _MISS))
        if statistic > THRESHOLD and number >= MIN_PAIRS:
            statistic, num_alarms = 0.0, num_alarms + 1
    return Course(statistic, num_alarms)


def stale_tasks(session: Session) -> Sequence[int]:
    """The tasks with observations that were not looked at yet: a few reads, however many tasks there are."""
    champion, pinned = champion_id(session), pinned_versions(session)
    own, settled = ObservationRecord, clock.now(session) - timedelta(seconds=SETTLING_SECONDS)
    newest = select(own.id).where(own.task_id == TaskRecord.id, own.created_at < settled).order_by(own.id.desc())
    query = select(TaskRecord.id, newest.limit(1).correlate(TaskRecord).scalar_subquery())
    seen = {
        (task_id, version): last
        for task_id, version, last in session.execute(
            select(DriftRecord.task_id, DriftRecord.model_version_id, DriftRecord.last_observation_id)
        )
    }
    return [
        task_id
        for task_id, last in session.execute(query.where(TaskRecord.revision > 0).order_by(TaskRecord.id))
        if (version := pinned.get(task_id, champion)) is not None and (last or 0) > seen.get((task_id, version), 0)
    ]


def look(session: Session, task_id: int) -> DriftRecord | None:
    """Counts what came of the task since the last look; its record if that raised an alarm. Others must not look at the same
    time."""
    task, version = session.get_one(TaskRecord, task_id), effective_version(session, task_id)
    if version is None:
        return None
    now = clock.now(session)
    settled = now - timedelta(seconds=SETTLING_SECONDS)
    record = session.get(DriftRecord, (task_id, version)) or _begun(session, task_id, version, now)
    newest = newest_observation(session, task_id, settled)
    new = pairs(session, task, _MAX_PAIRS, version=version, after=record.last_observation_id, before=settled)
    after = course(record.statistic, record.num_pairs, new)
    record.statistic, record.last_observation_id = after.statistic, max(newest, record.last_observation_id)
    record.num_pairs += len(new)
    record.num_misses += sum(not pair.is_covered for pair in new)
    record.changed_at = now
    if not after.num_alarms:
        return None
    record.num_alarms, record.alarmed_at = record.num_alarms + after.num_alarms, now
    return record


def of_task(session: Session, task_id: int) -> Sequence[DriftRecord]:
    """What is known of every version on the task, the one that was looked at last first."""
    query = select(DriftRecord).where(DriftRecord.task_id == task_id).order_by(DriftRecord.changed_at.desc())
    return session.scalars(query).all()


def _begun(session: Session, task_id: int, version: str, now: datetime) -> DriftRecord:
    record = DriftRecord(
        task_id=task_id,
        model_version_id=version,
        last_observation_id=0,
        num_pairs=0,
        num_misses=0,
        statistic=0.0,
        num_alarms=0,
        changed_at=now,
    )
    session.add(record)
    return record
