"""The SQL of searches. Whoever changes one has its job's row locked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, delete, exists, insert, or_, select, true, update
from sqlalchemy.orm import Session, undefer
from sqlalchemy.sql.elements import ColumnElement

from app.lists import within
from app.queue import FINAL_STATES
from app.tables import (
    JobRecord,
    NotationRecord,
    SearchEvaluationRecord,
    SearchEventRecord,
    SearchObjectiveRecord,
    SearchRecord,
    SearchTrialRecord,
    TaskRecord,
    TrialRecord,
)

MAX_HISTORY = 100


@dataclass(frozen=True)
class Filter:
    """Which searches a list shows; None: no matter which."""

    state: str | None = None
    strategy: str | None = None
    task_id: int | None = None
    since: datetime | None = None
    before: datetime | None = None


def add(session: Session, record: SearchRecord, objectives: Sequence[tuple[int, str]]) -> None:
    """Keeps a new search with the ids of its tasks and the directions."""
    session.add(record)
    session.flush()
    session.add_all(
        SearchObjectiveRecord(search_id=record.id, position=position, task_id=task_id, direction=direction)
        for position, (task_id, direction) in enumerate(objectives)
    )
    session.flush()


def find(session: Session, search_id: int, project_id: int | None) -> tuple[SearchRecord, JobRecord] | None:
    """The search of that id with its job, if a caller of the project sees it (None: of all)."""
    row: Row[Any] | None = session.execute(_with_jobs(project_id).where(SearchRecord.id == search_id)).one_or_none()
    return None if row is None else (row.SearchRecord, row.JobRecord)


def with_state(session: Session, search_id: int) -> SearchRecord:
    """A search with its strategy's state."""
    query = select(SearchRecord).where(SearchRecord.id == search_id)
    return session.scalars(query.options(undefer(SearchRecord.strategy_state))).one()


def lock_job(session: Session, search_id: int) -> JobRecord:
    """The search's job, locked until the transaction ends."""
    return session.scalars(select(JobRecord).where(JobRecord.id == search_id).with_for_update()).one()


def refreshed(session: Session, search_id: int) -> SearchRecord:
    """The search as it is now, whatever was read of it before."""
    query = select(SearchRecord).where(SearchRecord.id == search_id)
    return session.scalars(query.execution_options(populate_existing=True)).one()


def listed(wanted: Filter, project_id: int | None) -> Select[*tuple[Any, ...]]:
    """The searches that are wanted of those that a caller of the project sees."""
    own = SearchRecord
    query = _with_jobs(project_id).where(within(own.created_at, wanted.since, wanted.before, includes_high=False))
    if wanted.strategy is not None:
        query = query.where(own.strategy == wanted.strategy)
    if wanted.task_id is not None:
        objective = SearchObjectiveRecord
        query = query.where(exists().where(objective.search_id == own.id, objective.task_id == wanted.task_id))
    return query if wanted.state is None else query.where(_is_in_state(wanted.state))


def _with_jobs(project_id: int | None) -> Select[*tuple[Any, ...]]:
    query = select(SearchRecord, JobRecord).join(JobRecord, JobRecord.id == SearchRecord.id)
    return query.where(true() if project_id is None else SearchRecord.project_id == project_id)


def _is_in_state(state: str) -> ColumnElement[bool]:
    """As `service.state_of` says."""
    job, is_paused = JobRecord, SearchRecord.is_paused
    if state in FINAL_STATES:
        return job.state == state
    if state == "paused":
        return and_(job.state.not_in(FINAL_STATES), is_paused)
    if state == "waiting":
        return and_(job.state == "waiting", ~is_paused)
    has_begun = job.started_at.is_not(None)
    if state == "running":
        return and_(~is_paused, or_(job.state == "running", and_(job.state == "queued", has_begun)))
    return and_(~is_paused, job.state == "queued", ~has_begun)


def objectives(session: Session, search_ids: Collection[int]) -> dict[int, list[tuple[TaskRecord, str]]]:
    """The tasks of searches, each with the direction of the search, the first objective first."""
    own = SearchObjectiveRecord
    query = select(own.search_id, TaskRecord, own.direction).join(TaskRecord, TaskRecord.id == own.task_id)
    found: dict[int, list[tuple[TaskRecord, str]]] = {one: [] for one in search_ids}
    for search_id, task, direction in session.execute(
        query.where(own.search_id.in_(search_ids)).order_by(own.search_id, own.position)
    ):
        found[search_id].append((task, direction))
    return found


def evaluations() -> Select[*tuple[Any, ...]]:
    """Evaluations with the genotypes of their architectures."""
    own = SearchEvaluationRecord
    is_written = and_(
        NotationRecord.architecture_id == own.architecture_id, NotationRecord.search_space == SearchRecord.search_space
    )
    return (
        select(own, NotationRecord.genotype)
        .join(SearchRecord, SearchRecord.id == own.search_id)
        .outerjoin(NotationRecord, is_written)
    )


def evaluations_of(search_id: int, state: str | None) -> Select[*tuple[Any, ...]]:
    """The search's evaluations, of one state where wanted."""
    query = evaluations().where(SearchEvaluationRecord.search_id == search_id)
    return query if state is None else query.where(SearchEvaluationRecord.state == state)


def evaluation(session: Session, evaluation_id: int) -> Row[Any]:
    """One evaluation as users see it."""
    return session.execute(evaluations().where(SearchEvaluationRecord.id == evaluation_id)).one()


def numbered(session: Session, search_id: int, number: int) -> SearchEvaluationRecord | None:
    """The search's evaluation of that number, if it has values."""
    own = SearchEvaluationRecord
    query = select(own).where(own.search_id == search_id, own.number == number, own.state == "done")
    return session.scalar(query)


def last_of_architecture(session: Session, search_id: int, architecture_id: str) -> int:
    """The id of the search's last evaluation of that architecture."""
    own = SearchEvaluationRecord
    query = select(own.id).where(own.search_id == search_id, own.architecture_id == architecture_id)
    return session.scalars(query.order_by(own.number.desc()).limit(1)).one()


def values_of(session: Session, evaluation_ids: Collection[int]) -> dict[int, float | None]:
    """What evaluations came to in the first objective."""
    own = SearchEvaluationRecord
    return {row.id: row.value for row in session.execute(select(own.id, own.value).where(own.id.in_(evaluation_ids)))}


def improvements(session: Session, search_id: int) -> list[SearchEvaluationRecord]:
    """The last changes of the best, the oldest first."""
    own = SearchEvaluationRecord
    query = select(own).where(own.search_id == search_id, own.is_improvement).order_by(own.ended_number.desc())
    return list(reversed(session.scalars(query.limit(MAX_HISTORY)).all()))


def final_evaluations(session: Session, search_id: int) -> Sequence[Row[Any]]:
    """Those with values at the final fidelity under which all constraints hold, in the order of their proposals."""
    own = SearchEvaluationRecord
    query = evaluations_of(search_id, "done").where(own.fidelity == 1.0, own.violation == 0.0)
    return session.execute(query.order_by(own.number)).all()


def open_evaluations(session: Session, search_id: int) -> Sequence[SearchEvaluationRecord]:
    """Those whose outcome is not known, in the order of their proposals."""
    own = SearchEvaluationRecord
    query = select(own).where(own.search_id == search_id, own.state == "open")
    return session.scalars(query.order_by(own.number)).all()


def evaluated(session: Session, search_id: int) -> Sequence[SearchEvaluationRecord]:
    """Those with values, in the order of their proposals."""
    own = SearchEvaluationRecord
    query = select(own).where(own.search_id == search_id, own.state == "done")
    return session.scalars(query.order_by(own.number)).all()


def add_evaluations(session: Session, rows: Sequence[dict[str, Any]]) -> Sequence[int]:
    """Appends evaluations; their ids in the same order."""
    if not rows:
        return []
    statement = insert(SearchEvaluationRecord).returning(SearchEvaluationRecord.id, sort_by_parameter_order=True)
    return session.scalars(statement, list(rows)).all()


def end_evaluation(session: Session, evaluation_id: int | None, columns: dict[str, Any]) -> None:
    """Notes what came of an evaluation."""
    statement = update(SearchEvaluationRecord).where(SearchEvaluationRecord.id == evaluation_id).values(**columns)
    session.execute(statement.execution_options(synchronize_session=False))


def add_trials(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Notes which trials an evaluation waits for."""
    if rows:
        session.execute(insert(SearchTrialRecord), list(rows))


def forget_trials(session: Session, evaluation_ids: Collection[int]) -> None:
    """Forgets what evaluations waited for."""
    if evaluation_ids:
        session.execute(delete(SearchTrialRecord).where(SearchTrialRecord.evaluation_id.in_(evaluation_ids)))


def trials(session: Session, evaluation_ids: Collection[int]) -> dict[int, dict[int, TrialRecord]]:
    """The trials of evaluations: by evaluation, then by task."""
    own = SearchTrialRecord
    query = select(own.evaluation_id, own.task_id, TrialRecord).join(TrialRecord, TrialRecord.id == own.trial_id)
    found: dict[int, dict[int, TrialRecord]] = {}
    for evaluation_id, task_id, trial in session.execute(query.where(own.evaluation_id.in_(evaluation_ids))):
        found.setdefault(evaluation_id, {})[task_id] = trial
    return found


def trials_without_use(session: Session, search_id: int) -> Sequence[TrialRecord]:
    """Trials that this search asked for, that nobody has taken, and that no other search waits for; locked, less those that
    somebody is taking right now."""
    own, other, evaluation = SearchTrialRecord, SearchTrialRecord.__table__.alias(), SearchEvaluationRecord
    is_wanted_elsewhere = (
        exists()
        .where(other.c.trial_id == own.trial_id, other.c.search_id != search_id)
        .where(evaluation.id == other.c.evaluation_id, evaluation.state == "open")
        .where(JobRecord.id == other.c.search_id, JobRecord.state.not_in(FINAL_STATES))
    )
    wanted = select(own.trial_id).where(own.search_id == search_id, own.is_own, ~is_wanted_elsewhere)
    query = select(TrialRecord).where(TrialRecord.id.in_(wanted), TrialRecord.state.in_(("requested", "abandoned")))
    return session.scalars(query.order_by(TrialRecord.id).with_for_update(skip_locked=True)).all()


def add_events(session: Session, rows: Iterable[dict[str, Any]]) -> None:
    """Appends to what happened."""
    rows = list(rows)
    if rows:
        session.execute(insert(SearchEventRecord), rows)


def events(session: Session, search_id: int, after: int, limit: int) -> Sequence[SearchEventRecord]:
    """What happened after the event of that id, the oldest first."""
    own = SearchEventRecord
    query = select(own).where(own.search_id == search_id, own.id > after)
    return session.scalars(query.order_by(own.id).limit(limit)).all()


def job_state(session: Session, search_id: int) -> str:
    """The state of the search's job."""
    return session.execute(select(JobRecord.state).where(JobRecord.id == search_id)).scalar_one()
