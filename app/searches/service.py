"""What can be done with searches, and how they are shown. Runs in the caller's transaction but where it says otherwise."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

from sqlalchemy import Row
from sqlalchemy.orm import Session

from app import clock, queue
from app.access import audit
from app.access.callers import Caller
from app.errors import ConflictError, NotFoundError
from app.inference.searching import Mode, Objective, SearchPlan
from app.lists import Asked, Listing
from app.pagination import Page
from app.queue import FINAL_STATES
from app.searches import planning, repository
from app.searches.planning import ReadRequest
from app.searches.repository import Filter
from app.searches.schemas import (
    MAX_SEED,
    BestSoFar,
    BudgetOut,
    EvaluationOut,
    ObjectiveOut,
    SearchIn,
    SearchOut,
    SearchState,
    SearchSummary,
)
from app.tables import JobRecord, SearchEvaluationRecord, SearchRecord, TaskRecord
from app.trials import leases

LISTING = Listing("searches", SearchSummary, SearchRecord.id, {"id": SearchRecord.id}, default="-id")
EVALUATIONS = Listing(
    "evaluations",
    EvaluationOut,
    SearchEvaluationRecord.id,
    {"number": SearchEvaluationRecord.number, "value": SearchEvaluationRecord.value},
    default="number",
)
_SHOWN = tuple(name for name in EvaluationOut.model_fields if name != "genotype")


def create(session: Session, read: ReadRequest, body: SearchIn, caller: Caller) -> int:
    """Queues a search that was found to be possible; its id."""
    tasks = [one.task for one in read.objectives]
    payload = {"task_id": tasks[0].id, "tasks": [one.name for one in tasks], "strategy": body.strategy}
    record = SearchRecord(
        id=queue.enqueue(session, read.job_kind, {**payload, "project_id": read.project_id}),
        project_id=read.project_id,
        search_space=tasks[0].search_space,
        strategy=body.strategy,
        settings=dict(read.plan.settings),
        mode=read.plan.mode,
        evaluator=read.evaluator,
        constraints=list(body.constraints),
        start=[one.genotype for one in read.plan.start],
        seed=read.plan.seed,
        parallel=read.parallel,
        max_evaluations=read.budget.evaluations,
        max_seconds=read.budget.seconds,
        description=body.description,
        created_by=caller.id,
        created_at=clock.now(session),
    )
    repository.add(session, record, [(one.task.id, one.direction) for one in read.objectives])
    note(session, record, "created", strategy=body.strategy)
    return record.id


def new_seed() -> int:
    """The seed of who names none."""
    return secrets.randbelow(MAX_SEED)


def note(session: Session, search: SearchRecord, kind: str, **data: Any) -> None:
    """Appends to what happened in a search."""
    row = {"search_id": search.id, "kind": kind, "data": data, "created_at": clock.now(session)}
    repository.add_events(session, [row])


def find(session: Session, search_id: int, project_id: int | None) -> tuple[SearchRecord, JobRecord]:
    """The search of that id with its job.

    Raises:
        NotFoundError: if there is none that a caller of the project sees (None: of all).
    """
    found = repository.find(session, search_id, project_id)
    if found is None:
        raise NotFoundError(f"expected the id of a search, got {search_id}")
    return found


def pause(session: Session, search_id: int, project_id: int | None) -> SearchOut:
    """Lets the search do nothing until it is resumed; a step that is being done is finished. Again is harmless.

    Raises:
        NotFoundError: if there is no such search.
        ConflictError: if it has ended.
    """
    search = _changeable(session, search_id, project_id)
    if not search.is_paused:
        count_time(session, search)
        search.is_paused, search.counted_since = True, None
        queue.hold_back(session, search.id)
        note(session, search, "paused")
        audit.note(after={"is_paused": True})
    return shown(session, search_id, project_id)


def resume(session: Session, search_id: int, project_id: int | None) -> SearchOut:
    """Lets a paused search go on; raises as `pause` does. Again is harmless."""
    search = _changeable(session, search_id, project_id)
    if search.is_paused:
        search.is_paused = False
        if search.num_proposed:
            search.counted_since = clock.now(session)
        queue.wake(session, [search.id])
        note(session, search, "resumed")
        audit.note(after={"is_paused": False})
    return shown(session, search_id, project_id)


def cancel(session: Session, search_id: int, project_id: int | None) -> SearchOut:
    """Ends the search, or asks its worker to; what it found stays. Trials that nobody has taken yet are withdrawn. Again is
    harmless.

    Raises:
        NotFoundError: if there is no such search.
        ConflictError: if it has ended otherwise.
    """
    _, job = find(session, search_id, project_id)
    state = queue.cancel(session, job.id)
    if state in ("done", "failed"):
        raise ConflictError(f"expected a search that has not ended, got {search_id}, which is {state}", state=state)
    withdraw_trials(session, search_id, "its search was cancelled")
    return shown(session, search_id, project_id)


def withdraw_trials(session: Session, search_id: int, cause: str) -> None:
    """Ends the trials that the search asked for and that nobody has taken, and no other search waits for."""
    now = clock.now(session)
    for trial in repository.trials_without_use(session, search_id):
        leases.change(session, trial, "withdrawn", cause, now)


def count_time(session: Session, search: SearchRecord, *, begins: bool = False) -> None:
    """Counts the time from the last look to now; from now on where it `begins`."""
    if search.counted_since is None and begins:
        search.counted_since = clock.now(session)
    if search.counted_since is not None:
        now = clock.now(session)
        search.seconds_before += max(0.0, (now - search.counted_since).total_seconds())
        search.counted_since = now


def seconds_of(session: Session, search: SearchRecord) -> float:
    """Time that has counted up to now."""
    if search.counted_since is None:
        return search.seconds_before
    return search.seconds_before + max(0.0, (clock.now(session) - search.counted_since).total_seconds())


def _changeable(session: Session, search_id: int, project_id: int | None) -> SearchRecord:
    """The search, whose job is locked: nobody else changes it meanwhile."""
    find(session, search_id, project_id)
    job = repository.lock_job(session, search_id)
    if job.state in FINAL_STATES:
        raise ConflictError(
            f"expected a search that has not ended, got {search_id}, which is {job.state}", state=job.state
        )
    return repository.refreshed(session, search_id)


def state_of(search: SearchRecord, job: JobRecord) -> SearchState:
    """What users are told: the job's state, but between two steps it is running, and held back it is paused."""
    if job.state in FINAL_STATES:
        return cast(SearchState, job.state)
    if search.is_paused:
        return "paused"
    if job.state == "queued" and job.started_at is not None:
        return "running"
    return cast(SearchState, job.state)


def shown(session: Session, search_id: int, project_id: int | None) -> SearchOut:
    """The search as users see it; raises NotFoundError."""
    session.flush()
    search, job = find(session, search_id, project_id)
    objectives = repository.objectives(session, [search.id])[search.id]
    best = None if search.best_id is None else evaluation(repository.evaluation(session, search.best_id))
    history = [_best_so_far(one) for one in repository.improvements(session, search.id)]
    return SearchOut(
        id=search.id,
        state=state_of(search, job),
        percent=job.percent,
        stage=job.stage,
        search_space=search.search_space,
        objectives=objectives_shown(objectives),
        strategy=search.strategy,
        settings=search.settings,
        mode=search.mode,  # type: ignore[arg-type]
        evaluator=search.evaluator,  # type: ignore[arg-type]
        budget=BudgetOut(evaluations=search.max_evaluations, seconds=search.max_seconds),
        constraints=search.constraints,
        start=search.start,
        parallel=search.parallel,
        seed=search.seed,
        description=search.description,
        num_proposed=search.num_proposed,
        num_evaluated=search.num_evaluated,
        num_failed=search.num_failed,
        seconds=search.seconds_before,
        best=best,
        history=history,
        ending=search.ending,
        error=job.error,
        created_by=search.created_by,
        created_at=search.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


def objectives_shown(objectives: Sequence[tuple[TaskRecord, str]]) -> list[ObjectiveOut]:
    """Tasks with the direction of a search, as users see them."""
    return [
        ObjectiveOut(task=task.name, metric=task.metric, unit=task.unit, direction=direction)  # type: ignore[arg-type]
        for task, direction in objectives
    ]


def evaluation(row: Row[Any]) -> EvaluationOut:
    """An evaluation as users see it."""
    kept: SearchEvaluationRecord = row[0]
    return EvaluationOut(**{name: getattr(kept, name) for name in _SHOWN}, genotype=row.genotype)


def _best_so_far(record: SearchEvaluationRecord) -> BestSoFar:
    return BestSoFar(
        number=record.number,
        architecture_id=record.architecture_id,
        values=record.values or [],
        num_evaluated=record.ended_number or 0,
        at=record.ended_at or record.created_at,
    )


def page(session: Session, asked: Asked, wanted: Filter, project_id: int | None) -> Page[SearchSummary]:
    """One page of what a caller of the project sees (None: of all)."""
    rows, next_cursor = LISTING.page(session, repository.listed(wanted, project_id), asked, asdict(wanted))
    found: list[tuple[SearchRecord, JobRecord]] = [(row.SearchRecord, row.JobRecord) for row in rows]
    tasks = repository.objectives(session, [search.id for search, _ in found])
    best = repository.values_of(session, [search.best_id for search, _ in found if search.best_id is not None])
    items = [_summary(search, job, tasks[search.id], best) for search, job in found]
    return Page(items=items, next_cursor=next_cursor)


def _summary(
    search: SearchRecord, job: JobRecord, tasks: Sequence[tuple[TaskRecord, str]], best: Mapping[int, float | None]
) -> SearchSummary:
    return SearchSummary(
        id=search.id,
        state=state_of(search, job),
        percent=job.percent,
        stage=job.stage,
        tasks=[task.name for task, _ in tasks],
        strategy=search.strategy,
        mode=search.mode,  # type: ignore[arg-type]
        evaluator=search.evaluator,  # type: ignore[arg-type]
        num_evaluated=search.num_evaluated,
        max_evaluations=search.max_evaluations,
        best_value=None if search.best_id is None else best.get(search.best_id),
        description=search.description,
        created_at=search.created_at,
    )


def evaluations_page(
    session: Session, search_id: int, asked: Asked, state: str | None, project_id: int | None
) -> Page[EvaluationOut]:
    """One page of a search's evaluations; raises NotFoundError."""
    find(session, search_id, project_id)
    query = repository.evaluations_of(search_id, state)
    rows, next_cursor = EVALUATIONS.page(session, query, asked, {"search": search_id, "state": state})
    return Page(items=[evaluation(row) for row in rows], next_cursor=next_cursor)


def plan_of(session: Session, search: SearchRecord) -> tuple[SearchPlan, list[TaskRecord]]:
    """What the search's strategy is made from, and its tasks."""
    objectives = repository.objectives(session, [search.id])[search.id]
    space = planning.space_of(session, search.search_space)
    plan = SearchPlan(
        space=space,
        objectives=tuple(Objective(task.name, task.metric, task.unit, direction) for task, direction in objectives),
        strategy=search.strategy,
        settings=search.settings,
        mode=cast(Mode, search.mode),
        seed=search.seed,
        start=tuple(planning.read_start(space, search.start, {})),
    )
    return plan, [task for task, _ in objectives]
