"""The SQL of trials. Locks are taken in one order everywhere, so that nobody waits in a circle: trials, then their task, then
architectures, then the job of a search that waits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.lists import within
from app.observations.repository import with_names
from app.tables import (
    NotationRecord,
    ObservationRecord,
    SearchTrialRecord,
    TaskRecord,
    TrialEventRecord,
    TrialRecord,
)
from app.trials.states import OPEN, POOL

_MAX_ROWS = 500


def lock_task(session: Session, task_id: int) -> None:
    """Makes whoever wants to add trials to the task, or observations, wait until the transaction ends."""
    session.execute(select(TaskRecord.id).where(TaskRecord.id == task_id).with_for_update(key_share=True))


def find(session: Session, task_id: int, trial_id: int, *, for_update: bool = False) -> TrialRecord | None:
    """The task's trial of that id. Locked until the transaction ends where asked."""
    query = select(TrialRecord).where(TrialRecord.id == trial_id, TrialRecord.task_id == task_id)
    return session.scalar(query.with_for_update() if for_update else query)


def held_by(session: Session, task_id: int, worker_id: str, limit: int) -> Sequence[TrialRecord]:
    """What the worker has, the oldest first, less what is being reported on right now; locked."""
    own = TrialRecord
    query = select(own).where(own.task_id == task_id, own.worker_id == worker_id, own.state == "leased")
    return session.scalars(query.order_by(own.id).limit(limit).with_for_update(skip_locked=True)).all()


def waiting(session: Session, task_id: int, limit: int) -> Sequence[TrialRecord]:
    """The oldest of the pool, less those that somebody else is taking right now; locked."""
    own = TrialRecord
    query = select(own).where(own.task_id == task_id, own.state.in_(POOL)).order_by(own.id).limit(limit)
    return session.scalars(query.with_for_update(skip_locked=True)).all()


def run_out(session: Session, task_id: int, now: datetime) -> Sequence[TrialRecord]:
    """The task's leases that have run out, less those that somebody is reporting on right now; locked."""
    own = TrialRecord
    query = select(own).where(own.task_id == task_id, own.state == "leased", own.lease_expires_at < now)
    return session.scalars(query.order_by(own.id).with_for_update(skip_locked=True)).all()


def tasks_with_run_out(session: Session, now: datetime) -> Sequence[int]:
    """The tasks that have such leases: a read, so that looking for them keeps nobody waiting."""
    query = select(TrialRecord.task_id).where(TrialRecord.state == "leased", TrialRecord.lease_expires_at < now)
    return session.scalars(query.distinct().order_by(TrialRecord.task_id)).all()


def open_architectures(session: Session, task_id: int) -> dict[str, TrialRecord]:
    """The task's open trials by architecture."""
    query = select(TrialRecord).where(TrialRecord.task_id == task_id, TrialRecord.state.in_(OPEN))
    return {record.architecture_id: record for record in session.scalars(query)}


def open_ids(session: Session, task_id: int) -> frozenset[str]:
    """The architectures of the task's open trials."""
    query = select(TrialRecord.architecture_id).where(TrialRecord.task_id == task_id, TrialRecord.state.in_(OPEN))
    return frozenset(session.scalars(query))


def waiting_searches(session: Session, trial_id: int) -> Sequence[int]:
    """The searches that may be waiting for the trial to end; each is a job of that id."""
    query = select(SearchTrialRecord.search_id).where(SearchTrialRecord.trial_id == trial_id)
    return session.scalars(query.distinct()).all()


def tried(session: Session, task_id: int, architecture_ids: Sequence[str]) -> frozenset[str]:
    """Those of the architectures that have an observation which counts."""
    own = ObservationRecord
    query = select(own.architecture_id).where(
        own.task_id == task_id,
        own.superseded_by_id.is_(None),
        own.status != "retracted",
        own.architecture_id.in_(architecture_ids),
    )
    return frozenset(session.scalars(query))


def add_new(session: Session, rows: Sequence[dict[str, Any]]) -> list[TrialRecord]:
    """Adds those trials whose architectures are not open in their task, by architecture so that nobody waits in a circle."""
    dialect = session.get_bind().dialect.name
    insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect]
    ordered = sorted(rows, key=lambda row: row["architecture_id"])
    ids: list[int] = []
    for start in range(0, len(ordered), _MAX_ROWS):
        statement = insert(TrialRecord).values(ordered[start : start + _MAX_ROWS]).on_conflict_do_nothing()
        ids += session.scalars(statement.returning(TrialRecord.id))
    if not ids:
        return []
    return list(session.scalars(select(TrialRecord).where(TrialRecord.id.in_(ids))))


def add_event(session: Session, **values: Any) -> None:
    """Appends to a trial's history."""
    session.add(TrialEventRecord(**values))


def note_forecasts(session: Session, trial_ids: Iterable[int], rows: Iterable[dict[str, Any]]) -> None:
    """Keeps forecasts with trials that have none."""
    for trial_id, row in zip(trial_ids, rows, strict=True):
        is_wanted = and_(TrialRecord.id == trial_id, TrialRecord.forecast_mean.is_(None))
        session.execute(update(TrialRecord).where(is_wanted).values(**row))


def shown() -> Select[*tuple[Any, ...]]:
    """Trials with the names of their tasks and their genotypes in the tasks' search spaces."""
    return with_names(TrialRecord)


def shown_by_ids(session: Session, trial_ids: Iterable[int]) -> dict[int, Row[Any]]:
    """Some trials as users see them."""
    rows = session.execute(shown().where(TrialRecord.id.in_(list(trial_ids)))).all()
    return {row[0].id: row for row in rows}


@dataclass(frozen=True)
class Filter:
    """Which trials a list shows; None, or no states: no matter which."""

    states: Sequence[str] = ()
    worker_id: str | None = None
    architecture: str | None = None
    changed_since: datetime | None = None
    changed_before: datetime | None = None


def listed(task_id: int, wanted: Filter) -> Select[*tuple[Any, ...]]:
    """The task's trials that are wanted."""
    own = TrialRecord
    query = shown().where(own.task_id == task_id)
    query = query.where(within(own.changed_at, wanted.changed_since, wanted.changed_before, includes_high=False))
    if wanted.states:
        query = query.where(own.state.in_(wanted.states))
    if wanted.worker_id is not None:
        query = query.where(own.worker_id == wanted.worker_id)
    return query if wanted.architecture is None else query.where(own.architecture_id == wanted.architecture)


def events(session: Session, trial_id: int) -> Sequence[TrialEventRecord]:
    """What happened to the trial, the oldest first."""
    query = select(TrialEventRecord).where(TrialEventRecord.trial_id == trial_id)
    return session.scalars(query.order_by(TrialEventRecord.id)).all()


def genotype(session: Session, architecture_id: str, search_space: str) -> str | None:
    """How the search space writes the architecture."""
    own = NotationRecord
    query = select(own.genotype).where(own.architecture_id == architecture_id, own.search_space == search_space)
    return session.scalar(query)


@dataclass(frozen=True)
class EarlyValue:
    """What was measured of an architecture at one fidelity: the mean over its seeds."""

    fidelity: float
    value: float
    oldest_id: int
    newest_id: int


def early_values(session: Session, task_id: int, architecture_id: str) -> list[EarlyValue]:
    """One for every fidelity that was named, the lowest first."""
    own = ObservationRecord
    query = (
        select(own.fidelity, func.avg(own.value), func.min(own.id), func.max(own.id))
        .where(_is_current_value(task_id), own.architecture_id == architecture_id, own.fidelity.is_not(None))
        .group_by(own.fidelity)
        .order_by(own.fidelity)
    )
    return [EarlyValue(*row) for row in session.execute(query)]


def values_at(session: Session, task_id: int, fidelity: float) -> dict[str, float]:
    """The mean value of every architecture that was measured at exactly that fidelity."""
    own = ObservationRecord
    query = select(own.architecture_id, func.avg(own.value)).where(_is_current_value(task_id), own.fidelity == fidelity)
    return {row[0]: row[1] for row in session.execute(query.group_by(own.architecture_id))}


def _is_current_value(task_id: int) -> Any:
    own = ObservationRecord
    return and_(own.task_id == task_id, own.status == "ok", own.superseded_by_id.is_(None))
