"""The SQL of candidates: what was measured, and which tasks share a search space."""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from app.inference import records
from app.tables import ObservationRecord, TaskRecord

_MAX_NEW = 1_000  # observations, beyond which everything is read again


@dataclass(frozen=True)
class Measured:
    """What is known of one task: everything that was tried, and the mean of the final values where there is one."""

    tried: frozenset[str]
    values: dict[str, float]
    final_fidelity: float | None = None  # from which on values are final; None where no observation named one
    last_id: int = 0  # of the task's observations that this comes from

    def best_ids(self, is_maximized: bool, count: int) -> list[str]:
        """The ids of the best values, the best first."""
        return heapq.nsmallest(
            count, self.values, key=lambda one: -self.values[one] if is_maximized else self.values[one]
        )


def revision(session: Session, task_id: int) -> int:
    """How often the task's observations changed."""
    return session.execute(select(TaskRecord.revision).where(TaskRecord.id == task_id)).scalar_one()


def measured(session: Session, task_id: int, before: Measured | None = None) -> Measured:
    """What was tried and what came out. A retraction does not count as tried; a failure does.

    Only what came after `before` is read where that is all that changed; ids of a task's observations rise with time, since
    whoever adds some has the task's lock.
    """
    final, last_id = _final_fidelity(session, task_id), before.last_id if before else 0
    own = ObservationRecord
    columns = select(own.id, own.architecture_id, own.status, own.fidelity, own.supersedes_id)
    query = columns.where(own.task_id == task_id, own.id > last_id).order_by(own.id).limit(_MAX_NEW + 1)
    new = session.execute(query).all() if before else []
    if before is None or len(new) > _MAX_NEW or not _only_adds(new, before, final):
        return _measured(session, task_id)
    touched = {row.architecture_id for row in new}
    means = _means(session, task_id, before.final_fidelity, touched)
    last_id = max((row.id for row in new), default=last_id)
    return Measured(before.tried | touched, before.values | means, before.final_fidelity, last_id)


def _final_fidelity(session: Session, task_id: int) -> float | None:
    """As the task says itself."""
    return session.execute(select(TaskRecord.max_fidelity).where(TaskRecord.id == task_id)).scalar_one()


def _only_adds(new: Sequence[Any], before: Measured, final: float | None) -> bool:
    """Whether the new observations leave all that was known before as it was."""
    is_final_known = final is None or final == before.final_fidelity
    top = before.final_fidelity if final is None else math.inf
    return is_final_known and all(
        row.supersedes_id is None and (row.fidelity is None or (top is not None and row.fidelity <= top)) for row in new
    )


def _measured(session: Session, task_id: int) -> Measured:
    own = ObservationRecord
    # first, so that what is added meanwhile is read again later instead of never
    last_id = session.execute(select(func.max(own.id)).where(own.task_id == task_id)).scalar_one() or 0
    is_current = (own.task_id == task_id, own.superseded_by_id.is_(None))
    tried = session.scalars(select(own.architecture_id).where(*is_current, own.status != "retracted").distinct())
    largest = select(func.max(own.fidelity)).where(*is_current, own.status == "ok").scalar_subquery()
    final = select(func.coalesce(TaskRecord.max_fidelity, largest)).where(TaskRecord.id == task_id)
    fidelity = session.execute(final).scalar_one()
    return Measured(frozenset(tried), _means(session, task_id, fidelity), fidelity, last_id)


def _means(
    session: Session, task_id: int, final: float | None, architectures: Collection[str] | None = None
) -> dict[str, float]:
    """The mean of the final values of every architecture, or of these."""
    own = ObservationRecord
    query = select(own.architecture_id, func.avg(own.value).label("mean")).where(
        own.task_id == task_id,
        own.superseded_by_id.is_(None),
        own.status == "ok",
        or_(own.fidelity.is_(None), own.fidelity >= final) if final is not None else own.fidelity.is_(None),
    )
    if architectures is not None:
        query = query.where(own.architecture_id.in_(architectures))
    return {row.architecture_id: row.mean for row in session.execute(query.group_by(own.architecture_id))}


def tasks_of_space(session: Session, search_space: str, project_id: int | None) -> Sequence[TaskRecord]:
    """The tasks on the search space that belong to the project, or to nobody."""
    is_one = and_(TaskRecord.search_space == search_space, records.known_to(project_id))
    query = select(TaskRecord).where(is_one).order_by(TaskRecord.id)
    return session.scalars(query).all()
