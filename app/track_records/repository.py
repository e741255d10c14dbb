"""Forecasts that were answered before the value came, with the value: the honest test set, and the SQL that finds it.

An architecture of a task counts once: with the first final value that was posted of it, unless that was corrected or
retracted, and for each model version with the last forecast that it answered without knowing the value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.elements import ColumnElement

from app.database import walked
from app.observations import repository as observations
from app.tables import ObservationRecord, PredictionRecord, TaskRecord

MAX_OBSERVATIONS = 20_000
"""Of a task, the newest: so that the answer takes as long however many there are."""


@dataclass(frozen=True)
class Pair:
    """A forecast and the value that came."""

    observation_id: int
    model_version: str
    value: float
    mean: float
    std: float
    lower: float
    upper: float

    @property
    def is_covered(self) -> bool:
        """Whether the value lies in the interval that was forecast."""
        return self.lower <= self.value <= self.upper


def pairs(
    session: Session,
    task: TaskRecord,
    limit: int,
    *,
    version: str | None = None,
    after: int = 0,
    before: datetime | None = None,
) -> Sequence[Pair]:
    """The newest pairs of the task, the oldest of them first: of one version or of all, of observations after the one of that
    id, and posted before that moment; among its newest `MAX_OBSERVATIONS`."""
    own, logged = ObservationRecord, PredictionRecord
    chosen = (
        select(own.id.label("observation_id"), own.value, func.max(logged.id).label("prediction_id"))
        .join(logged, and_(logged.task_id == own.task_id, logged.architecture_id == own.architecture_id))
        .where(
            own.task_id == task.id,
            own.id > max(after, _oldest(session, task.id)),
            own.status == "ok",
            own.supersedes_id.is_(None),
            own.superseded_by_id.is_(None),
            _is_final(session, task),
            ~_has_earlier_value(),
            logged.last_observation_id < own.id,
            logged.created_at < own.created_at,
            *([] if version is None else [logged.model_version_id == version]),
            *([] if before is None else [own.created_at < before]),
        )
        .group_by(own.id, own.value, logged.model_version_id)
        .order_by(own.id.desc())
        .limit(limit)
        .subquery()
    )
    query = (
        select(
            chosen.c.observation_id,
            logged.model_version_id,
            chosen.c.value,
            logged.mean,
            logged.std,
            logged.lower,
            logged.upper,
        )
        .join(logged, logged.id == chosen.c.prediction_id)
        .order_by(chosen.c.observation_id, logged.id)
    )
    return [Pair(*row) for row in session.execute(query)]


def _oldest(session: Session, task_id: int) -> int:
    """The id of the newest observation that is too old to be looked at; 0 if none is."""
    own = ObservationRecord
    query = select(own.id).where(own.task_id == task_id).order_by(own.id.desc()).offset(MAX_OBSERVATIONS).limit(1)
    return session.scalar(query) or 0


def _is_final(session: Session, task: TaskRecord) -> ColumnElement[bool]:
    own = ObservationRecord
    return or_(own.fidelity.is_(None), own.fidelity == observations.final_fidelity(session, task))


def _has_earlier_value() -> ColumnElement[bool]:
    """Of the same architecture and fidelity, corrected and retracted ones included. Found by the architecture: the index on
    task and id would lead through all that was ever observed of the task."""
    own, other = ObservationRecord, aliased(ObservationRecord)
    is_earlier = and_(
        walked(other.task_id) == own.task_id,
        other.architecture_id == own.architecture_id,
        walked(other.id) < own.id,
        other.status == "ok",
        or_(other.fidelity == own.fidelity, and_(other.fidelity.is_(None), own.fidelity.is_(None))),
    )
    return select(other.id).where(is_earlier).correlate(own).exists()


def newest_observation(session: Session, task_id: int, before: datetime) -> int:
    """The id of the task's newest observation that was posted before that moment; 0 if there is none."""
    own = ObservationRecord
    query = select(own.id).where(own.task_id == task_id, own.created_at < before).order_by(own.id.desc()).limit(1)
    return session.scalar(query) or 0
