"""The SQL of showing jobs; `app.queue` has what changes them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, true
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from app.access.repository import visible_tasks
from app.tables import JobRecord, TaskRecord


def find(session: Session, job_id: int, project_id: int | None = None) -> JobRecord | None:
    """The job of that id, if a caller of the project sees it."""
    return session.scalar(select(JobRecord).where(JobRecord.id == job_id, _is_visible(project_id)))


def _is_visible(project_id: int | None) -> ColumnElement[bool]:
    """Those that work on a task which a caller of the project sees; None: all."""
    if project_id is None:
        return true()
    seen = select(TaskRecord.id).where(visible_tasks(project_id))
    is_seen: ColumnElement[bool] = JobRecord.payload["task_id"].as_integer().in_(seen)
    return is_seen


def page(
    session: Session,
    before: int | None,
    limit: int,
    kind: str | None,
    state: str | None,
    project_id: int | None = None,
) -> Sequence[JobRecord]:
    """At most `limit` jobs that a caller of the project sees, the newest first."""
    query = select(JobRecord).where(_is_visible(project_id)).order_by(JobRecord.id.desc()).limit(limit)
    if before is not None:
        query = query.where(JobRecord.id < before)
    if kind is not None:
        query = query.where(JobRecord.kind == kind)
    if state is not None:
        query = query.where(JobRecord.state == state)
    return session.scalars(query).all()
