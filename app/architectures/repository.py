"""The SQL of architectures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.tables import ArchitectureRecord, NotationRecord, TaskRecord


def find(session: Session, architecture_id: str) -> ArchitectureRecord | None:
    """The architecture of that id."""
    return session.get(ArchitectureRecord, architecture_id)


def notations(session: Session, architecture_id: str) -> Sequence[NotationRecord]:
    """How the search spaces that know the architecture write it."""
    query = select(NotationRecord).where(NotationRecord.architecture_id == architecture_id)
    return session.scalars(query.order_by(NotationRecord.search_space)).all()


def task_names(session: Session, search_spaces: Iterable[str], limit: int) -> Sequence[str]:
    """The newest tasks of these search spaces."""
    query = select(TaskRecord.name).where(TaskRecord.search_space.in_(list(search_spaces)))
    return session.scalars(query.order_by(TaskRecord.id.desc()).limit(limit)).all()
