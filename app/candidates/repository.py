"""The SQL of candidates: what was measured, and which tasks share a search space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from app.inference import records
from app.tables import ObservationRecord, TaskRecord


@dataclass(frozen=True)
class Measured:
    """What is known of one task: everything that was tried, and the mean of the final values where there is one."""

    tried: frozenset[str]
    values: dict[str, float]

    def best_ids(self, is_maximized: bool, count: int) -> list[str]:
        """The ids of the best values, the best first."""
        return sorted(self.values, key=lambda one: self.values[one], reverse=is_maximized)[:count]


def revision(session: Session, task_id: int) -> int:
    """How often the task's observations changed."""
    return session.execute(select(TaskRecord.revision).where(TaskRecord.id == task_id)).scalar_one()


def measured(session: Session, task_id: int) -> Measured:
    """What was tried and what came out. A retraction does not count as tried; a failure does."""
    own = ObservationRecord
    is_current = (own.task_id == task_id, own.superseded_by_id.is_(None))
    tried = session.scalars(select(own.architecture_id).where(*is_current, own.status != "retracted").distinct())
    largest = select(func.max(own.fidelity)).where(*is_current, own.status == "ok").scalar_subquery()
    final = select(func.coalesce(TaskRecord.max_fidelity, largest)).where(TaskRecord.id == task_id).scalar_subquery()
    means = session.execute(
        select(own.architecture_id, func.avg(own.value).label("mean"))
        .where(*is_current, own.status == "ok", or_(own.fidelity.is_(None), own.fidelity >= final))
        .group_by(own.architecture_id)
    )
    return Measured(frozenset(tried), {row.architecture_id: row.mean for row in means})


def tasks_of_space(session: Session, search_space: str, project_id: int | None) -> Sequence[TaskRecord]:
    """The tasks on the search space that belong to the project, or to nobody."""
    is_one = and_(TaskRecord.search_space == search_space, records.known_to(project_id))
    query = select(TaskRecord).where(is_one).order_by(TaskRecord.id)
    return session.scalars(query).all()
