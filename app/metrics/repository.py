"""The SQL of metrics: counts that indexes answer, whatever the size of the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from app.tables import (
    AliasRecord,
    JobRecord,
    ObservationRecord,
    PredictionRecord,
    TaskRecord,
    TrialRecord,
    WebhookDeliveryRecord,
)

_NOT_ENDED = ("queued", "running", "waiting")
_OPEN = ("requested", "leased", "expired", "abandoned")


@dataclass(frozen=True)
class QueueDepth:
    """Jobs of one kind in one state, and since when the oldest of them is there."""

    kind: str
    state: str
    count: int
    oldest_at: datetime


@dataclass(frozen=True)
class WatchedTask:
    """A task that metrics speak of, with the id of its newest observation."""

    id: int
    name: str
    num_observations: int
    newest_observation_id: int


def queue_depths(session: Session) -> Sequence[QueueDepth]:
    """Of jobs that have not ended."""
    own = JobRecord
    query = (
        select(own.kind, own.state, func.count(), func.min(own.created_at))
        .where(own.state.in_(_NOT_ENDED))
        .group_by(own.kind, own.state)
    )
    return [QueueDepth(*row) for row in session.execute(query)]


def open_trials(session: Session) -> dict[str, int]:
    """How many trials there are in every state that is not final."""
    own = TrialRecord
    query = select(own.state, func.count()).where(own.state.in_(_OPEN)).group_by(own.state)
    return {row[0]: row[1] for row in session.execute(query)}


def waiting_deliveries(session: Session) -> int:
    """How many deliveries of webhooks wait."""
    own = WebhookDeliveryRecord
    return session.scalar(select(func.count()).select_from(own).where(own.state == "waiting")) or 0


def aliases(session: Session) -> dict[str, str]:
    """Which model version every alias means."""
    return {record.name: record.model_version_id for record in session.scalars(select(AliasRecord))}


def totals(session: Session) -> tuple[int, int]:
    """How many tasks there are, and how many current observations."""
    num_tasks, num_observations = session.execute(
        select(func.count(), func.coalesce(func.sum(TaskRecord.num_observations), 0))
    ).one()
    return num_tasks, num_observations


def watched_tasks(session: Session, limit: int) -> Sequence[WatchedTask]:
    """Tasks that were both forecast and observed, those observed last first."""
    own, seen = ObservationRecord, PredictionRecord
    newest = select(func.max(own.id)).where(own.task_id == TaskRecord.id).correlate(TaskRecord).scalar_subquery()
    was_forecast = exists(select(seen.id).where(seen.task_id == TaskRecord.id).correlate(TaskRecord))
    query = (
        select(TaskRecord.id, TaskRecord.name, TaskRecord.num_observations, newest.label("newest"))
        .where(TaskRecord.num_observations > 0, was_forecast)
        .order_by(newest.desc())
        .limit(limit)
    )
    return [WatchedTask(*row) for row in session.execute(query)]


def id_before_newest(session: Session, task_id: int, count: int) -> int:
    """The id of the observation that lies before the newest so many of the task; 0 if it has no more."""
    own = ObservationRecord
    query = select(own.id).where(own.task_id == task_id).order_by(own.id.desc()).offset(count).limit(1)
    return session.scalar(query) or 0
