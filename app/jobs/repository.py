"""The SQL of showing jobs; `app.queue` has what changes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.lists import within
from app.tables import JobRecord


def find(session: Session, job_id: int) -> JobRecord | None:
    """The job of that id."""
    return session.get(JobRecord, job_id)


@dataclass(frozen=True)
class Filter:
    """Which jobs a list shows; None: no matter which."""

    kind: str | None = None
    state: str | None = None
    since: datetime | None = None
    before: datetime | None = None


def listed(wanted: Filter) -> Select[*tuple[Any, ...]]:
    """The jobs that are wanted."""
    query = select(JobRecord).where(within(JobRecord.created_at, wanted.since, wanted.before, includes_high=False))
    if wanted.kind is not None:
        query = query.where(JobRecord.kind == wanted.kind)
    return query if wanted.state is None else query.where(JobRecord.state == wanted.state)
