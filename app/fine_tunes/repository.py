"""The SQL of what triggers fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, not_, or_, select
from sqlalchemy.orm import Session

from app import queue
from app.tables import JobRecord, ObservationRecord, ProjectRecord, TaskRecord

SHIPPED_KEY_PREFIX = "shipped:"
"""Client keys of observations that come with the program begin so: the shipped champion has learned from them already."""


@dataclass(frozen=True)
class NewObservations:
    """What was observed since a fine-tune."""

    count: int
    oldest_at: datetime | None


def last_job(session: Session) -> JobRecord | None:
    """The newest fine-tune; one that was cancelled counts, or else the same observations would start it again at once."""
    query = select(JobRecord).where(JobRecord.kind == queue.FINE_TUNE)
    return session.scalar(query.order_by(JobRecord.id.desc()).limit(1))


def newest_observation_id(session: Session) -> int:
    """The id of the newest observation; 0 if there is none."""
    return session.scalar(select(func.max(ObservationRecord.id))) or 0


def new_observations(session: Session, after_id: int) -> NewObservations:
    """The values that may be learned from, observed after the observation of that id."""
    own = ObservationRecord
    is_shipped = own.client_key.startswith(SHIPPED_KEY_PREFIX, autoescape=True)
    kept_back = select(TaskRecord.id).join(ProjectRecord).where(ProjectRecord.is_learned_from.is_(False))
    query = select(func.count(own.id), func.min(own.created_at)).where(
        own.id > after_id,
        own.status == "ok",
        or_(own.client_key.is_(None), not_(is_shipped)),
        own.task_id.not_in(kept_back),
    )
    return NewObservations(*session.execute(query).one())
