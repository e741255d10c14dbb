"""The SQL of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from app import queue
from app.access.repository import visible_tasks
from app.database import insert_if_new
from app.inference import records
from app.lists import within
from app.tables import DEFAULT_PROJECT_ID, AdaptationRecord, AliasRecord, JobRecord, SearchSpaceRecord, TaskRecord

CHAMPION = "champion"


@dataclass(frozen=True)
class AdaptationState:
    """What is known of a task's last adaptation, without its parameters."""

    model_version: str
    num_observations: int
    task_revision: int
    adapted_at: datetime


def by_name(session: Session, name: str, *, for_update: bool = False) -> TaskRecord | None:
    """The task that the name means to whoever names no project: the default project's, or else one that belongs to nobody."""
    return _one(session, and_(TaskRecord.name == name, records.known_to(DEFAULT_PROJECT_ID)), for_update)


def taken(session: Session, name: str, project_id: int | None) -> TaskRecord | None:
    """The task that has the name in the project, or that belongs to nobody and so has it everywhere."""
    return _one(session, and_(TaskRecord.name == name, records.known_to(project_id)), False)


def by_id(session: Session, task_id: int, *, for_update: bool = False) -> TaskRecord | None:
    """The task of that id."""
    return _one(session, TaskRecord.id == task_id, for_update)


def _one(session: Session, condition: ColumnElement[bool], for_update: bool) -> TaskRecord | None:
    query = select(TaskRecord).where(condition).order_by(TaskRecord.project_id.is_(None)).limit(1)
    return session.scalar(query.with_for_update(key_share=True) if for_update else query)  # others may refer to it


def listed(
    project_id: int | None, search_space: str | None, since: datetime | None, before: datetime | None
) -> Select[*tuple[Any, ...]]:
    """The tasks that are wanted of those that a caller of the project sees; None: no matter which."""
    query = select(TaskRecord).where(visible_tasks(project_id))
    query = query.where(within(TaskRecord.created_at, since, before, includes_high=False))
    return query if search_space is None else query.where(TaskRecord.search_space == search_space)


def has_observed_sibling(session: Session, record: TaskRecord) -> bool:
    """Whether another task of the same search space, that forecasts of this one may rest on, has observations."""
    other = and_(
        TaskRecord.search_space == record.search_space,
        TaskRecord.id != record.id,
        TaskRecord.num_observations > 0,
        records.known_to(record.project_id),
    )
    return session.scalar(select(TaskRecord.id).where(other).limit(1)) is not None


def add_new(session: Session, row: dict[str, Any]) -> bool:
    """Adds the task if its name is new; whether it is."""
    return insert_if_new(session, TaskRecord, row) is not None


def has_search_space(session: Session, name: str) -> bool:
    """Whether there is a search space of that name."""
    return session.scalar(select(SearchSpaceRecord.name).where(SearchSpaceRecord.name == name)) is not None


def change_observations(session: Session, task_id: int, added: int) -> None:
    """Counts one change of the task's observations; atomic, whatever others do at the same time."""
    session.execute(
        update(TaskRecord)
        .where(TaskRecord.id == task_id)
        .values(revision=TaskRecord.revision + 1, num_observations=TaskRecord.num_observations + added)
        .execution_options(synchronize_session=False)
    )


def champion(session: Session) -> str | None:
    """The model version that answers for new adaptations."""
    return session.scalar(select(AliasRecord.model_version_id).where(AliasRecord.name == CHAMPION))


def adaptations(
    session: Session, task_ids: Sequence[int], versions: Mapping[int, str | None]
) -> dict[int, AdaptationState]:
    """For every task that has one the adaptation that answers: that of the task's version, or else the newest."""
    own = AdaptationRecord
    query = (
        select(own.task_id, own.model_version_id, own.num_observations, own.task_revision, own.created_at)
        .where(own.task_id.in_(task_ids))
        .order_by(own.created_at, own.id)
    )
    found: dict[int, AdaptationState] = {}
    for task_id, version, count, revision, at in session.execute(query):
        if (
            task_id not in found or found[task_id].model_version != versions[task_id]
        ):  # of the others the last one stays
            found[task_id] = AdaptationState(version, count, revision, at)
    return found


def pending_adaptations(session: Session) -> set[int]:
    """The tasks whose adaptation is queued or running."""
    query = select(JobRecord.payload).where(JobRecord.state.in_(("queued", "running")), JobRecord.kind == queue.ADAPT)
    return {int(payload["task_id"]) for payload in session.scalars(query)}
