"""The SQL of showing jobs; `app.queue` has what changes them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.tables import JobRecord


def find(session: Session, job_id: int) -> JobRecord | None:
    """The job of that id."""
    return session.get(JobRecord, job_id)


def page(session: Session, before: int | None, limit: int, kind: str | None, state: str | None) -> Sequence[JobRecord]:
    """At most `limit` jobs, the newest first."""
    query = select(JobRecord).order_by(JobRecord.id.desc()).limit(limit)
    if before is not None:
        query = query.where(JobRecord.id < before)
    if kind is not None:
        query = query.where(JobRecord.kind == kind)
    if state is not None:
        query = query.where(JobRecord.state == state)
    return session.scalars(query).all()
