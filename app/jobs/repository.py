"""The SQL of showing jobs; `app.queue` has what changes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, or_, select, true
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from app.access.repository import visible_tasks
from app.lists import within
from app.tables import JobRecord, TaskRecord


def find(session: Session, job_id: int, project_id: int | None = None) -> JobRecord | None:
    """The job of that id, if a caller of the project sees it."""
    return session.scalar(select(JobRecord).where(JobRecord.id == job_id, _is_visible(project_id)))


@dataclass(frozen=True)
class Filter:
    """Which jobs a list shows; None: no matter which."""

    kind: str | None = None
    state: str | None = None
    since: datetime | None = None
    before: datetime | None = None


def listed(wanted: Filter, project_id: int | None = None) -> Select[*tuple[Any, ...]]:
    """The jobs that are wanted of those that a caller of the project sees."""
    query = select(JobRecord).where(_is_visible(project_id))
    query = query.where(within(JobRecord.created_at, wanted.since, wanted.before, includes_high=False))
    if wanted.kind is not None:
        query = query.where(JobRecord.kind == wanted.kind)
    return query if wanted.state is None else query.where(JobRecord.state == wanted.state)


def _is_visible(project_id: int | None) -> ColumnElement[bool]:
    """Those that work on a task which a caller of the project sees; None: all."""
    if project_id is None:
        return true()
    seen = select(TaskRecord.id).where(visible_tasks(project_id))
    asked_by = JobRecord.payload["project_id"].as_integer()  # where the answer is for callers of that project alone
    return and_(JobRecord.payload["task_id"].as_integer().in_(seen), or_(asked_by.is_(None), asked_by == project_id))
