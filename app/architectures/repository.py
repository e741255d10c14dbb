"""The SQL of architectures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.access.repository import visible_tasks
from app.tables import ArchitectureRecord, NotationRecord, ObservationRecord, TaskRecord, TrialRecord


def find(session: Session, architecture_id: str) -> ArchitectureRecord | None:
    """The architecture of that id."""
    return session.get(ArchitectureRecord, architecture_id)


def notations(session: Session, architecture_id: str) -> Sequence[NotationRecord]:
    """How the search spaces that know the architecture write it."""
    query = select(NotationRecord).where(NotationRecord.architecture_id == architecture_id)
    return session.scalars(query.order_by(NotationRecord.search_space)).all()


def is_known_to(session: Session, architecture_id: str, project_id: int) -> bool:
    """Whether it was observed, or is to be measured, in a task that a caller of the project sees."""
    seen = select(TaskRecord.id).where(visible_tasks(project_id))
    observed = select(ObservationRecord.id).where(
        ObservationRecord.architecture_id == architecture_id, ObservationRecord.task_id.in_(seen)
    )
    tried = select(TrialRecord.id).where(TrialRecord.architecture_id == architecture_id, TrialRecord.task_id.in_(seen))
    return bool(session.scalar(select(or_(observed.exists(), tried.exists()))))


def task_ids(session: Session, search_spaces: Iterable[str], project_id: int | None, limit: int) -> Sequence[int]:
    """The newest tasks of these search spaces that a caller of the project sees."""
    query = select(TaskRecord.id).where(TaskRecord.search_space.in_(list(search_spaces)), visible_tasks(project_id))
    return session.scalars(query.order_by(TaskRecord.id.desc()).limit(limit)).all()
