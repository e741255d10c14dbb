"""The queue of durable work. Every function runs inside the caller's transaction; several processes may call them at once.

A job is queued, then running under a lease, then done, failed or cancelled. A worker that dies lets its lease run out, and
another takes the job over. A job that fails is queued again with a growing pause, until its attempts are used up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from sqlalchemy import CursorResult, and_, case, not_, or_, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from app import clock, outbox, tallies
from app.database import insert_if_new
from app.tables import JobRecord, utc_now

ADAPT = "adapt"
FINE_TUNE = "fine_tune"
KINDS = (ADAPT, FINE_TUNE)

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
FINAL_STATES = ("done", "failed", "cancelled")
IN_THE_BACKGROUND = -1
"""Priority of what nobody waits for."""

MAX_ATTEMPTS = 3
_FIRST_PAUSE_SECONDS = 2.0
_LOG_TAIL_CHARACTERS = 8_000
_STAGE_CHARACTERS = 128


@dataclass(frozen=True)
class ClaimedJob:
    """What a worker needs of a job that it holds."""

    id: int
    kind: str
    payload: Mapping[str, Any]
    attempt: int  # 1 for the first


@dataclass(frozen=True)
class Heartbeat:
    """Whether the worker still holds the job, and whether it was asked to stop."""

    is_held: bool
    is_cancelled: bool


def enqueue(
    session: Session, kind: str, payload: Mapping[str, Any], dedupe_key: str | None = None, priority: int = 0
) -> int | None:
    """Queues work; the job's id, or None when a job with this dedupe key is waiting already (the higher priority counts)."""
    values = {"kind": kind, "payload": dict(payload), "dedupe_key": dedupe_key, "priority": priority}
    while True:
        created: int | None = insert_if_new(session, JobRecord, values)
        if created is not None or (dedupe_key is not None and _join(session, dedupe_key, priority)):
            return created


def _join(session: Session, dedupe_key: str, priority: int) -> bool:
    """Lets a waiting job stand for another; False if it was claimed meanwhile.

    Its row is locked from here on, so that no worker takes it before the caller has committed what the job is to see.
    """
    higher = case((JobRecord.priority < priority, priority), else_=JobRecord.priority)
    statement = update(JobRecord).where(JobRecord.dedupe_key == dedupe_key).values(priority=higher)
    result = session.execute(statement.execution_options(synchronize_session=False))
    return cast("CursorResult[Any]", result).rowcount > 0


def enqueue_adaptation(session: Session, task_id: int, priority: int = 0) -> int | None:
    """Queues one adaptation of the task, however often it is called before a worker takes it.

    `IN_THE_BACKGROUND` lets those go first that somebody waits for.
    """
    return enqueue(session, ADAPT, {"task_id": task_id}, f"adapt:{task_id}", priority)


def has_work(session: Session, kinds: Sequence[str]) -> bool:
    """Whether `claim` would find something: a read, so that idle workers never take the write lock."""
    return session.scalar(select(JobRecord.id).where(_is_due(kinds, clock.now(session))).limit(1)) is not None


def claim(session: Session, owner: str, kinds: Sequence[str], lease_seconds: float) -> ClaimedJob | None:
    """Takes the job of these kinds that is due, highest priority and then oldest first, atomically.

    Its dedupe key is free again from here on.
    """
    moment = clock.now(session)
    _close_abandoned(session, kinds, moment)
    order = (JobRecord.priority.desc(), JobRecord.id)
    is_open = and_(_is_due(kinds, moment), not_(_is_abandoned()))
    due = select(JobRecord.id).where(is_open).order_by(*order).limit(1).with_for_update(skip_locked=True)
    statement = (
        update(JobRecord)
        .where(JobRecord.id == due.scalar_subquery())
        .values(
            state="running",
            dedupe_key=None,
            attempts=JobRecord.attempts + 1,
            lease_owner=owner,
            lease_expires_at=moment + timedelta(seconds=lease_seconds),
            started_at=moment,
        )
        .returning(JobRecord.id, JobRecord.kind, JobRecord.payload, JobRecord.attempts)
        .execution_options(synchronize_session=False)
    )
    row = session.execute(statement).one_or_none()
    return None if row is None else ClaimedJob(row.id, row.kind, row.payload, row.attempts)


def _is_due(kinds: Sequence[str], moment: datetime) -> ColumnElement[bool]:
    """Queued and its pause is over, or running under a lease that ran out."""
    return and_(
        JobRecord.state.in_(("queued", "running")),
        JobRecord.kind.in_(kinds),
        or_(JobRecord.lease_expires_at.is_(None), JobRecord.lease_expires_at < moment),
    )


def _is_abandoned() -> ColumnElement[bool]:
    """Was running, and nobody is to take it over when its lease runs out."""
    return and_(JobRecord.state == "running", or_(JobRecord.cancel_requested, JobRecord.attempts >= MAX_ATTEMPTS))


def _close_abandoned(session: Session, kinds: Sequence[str], moment: datetime) -> None:
    """Ends running jobs whose lease ran out and that nobody is to take over; those that others are ending are skipped."""
    query = select(JobRecord).where(_is_due(kinds, moment), _is_abandoned())
    for record in session.scalars(query.with_for_update(skip_locked=True)):
        record.state, record.finished_at = "failed", moment
        if record.cancel_requested:
            record.state = "cancelled"
        else:
            record.error = f"the worker stopped answering in {MAX_ATTEMPTS} attempts"
        _release(record)
        _tell_end(session, record)
    session.flush()


def progress(
    session: Session,
    job_id: int,
    owner: str,
    lease_seconds: float,
    percent: float | None = None,
    stage: str | None = None,
    line: str | None = None,
) -> Heartbeat:
    """Extends the lease and notes how far the job is."""
    record = _held(session, job_id, owner)
    if record is None:
        return Heartbeat(is_held=False, is_cancelled=True)
    record.lease_expires_at = clock.now(session) + timedelta(seconds=lease_seconds)
    if percent is not None:
        record.percent = min(100.0, max(0.0, percent))
    if stage is not None:
        record.stage = stage[:_STAGE_CHARACTERS]
    if line is not None:
        record.log_tail = _with_line(record.log_tail, line)
    return Heartbeat(is_held=True, is_cancelled=record.cancel_requested)


def finish(session: Session, job_id: int, owner: str, result: Mapping[str, Any]) -> bool:
    """Ends the job as done; False if the worker does not hold it any more."""
    record = _held(session, job_id, owner)
    if record is None:
        return False
    record.state, record.percent, record.stage = "done", 100.0, "done"
    record.result, record.error, record.finished_at = dict(result), None, utc_now()
    _release(record)
    _tell_end(session, record)
    return True


def fail(session: Session, job_id: int, owner: str, error: str, is_retryable: bool = True) -> bool:
    """Notes the error and queues the job again after a pause, or ends it; False if the worker does not hold it."""
    record = _held(session, job_id, owner)
    if record is None:
        return False
    record.error = error = error.replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL keeps no NUL
    record.log_tail = _with_line(record.log_tail, f"attempt {record.attempts}: {error}")
    _release(record)
    if is_retryable and record.attempts < MAX_ATTEMPTS and not record.cancel_requested:
        pause = _FIRST_PAUSE_SECONDS * 4.0 ** (record.attempts - 1)
        record.state, record.lease_expires_at = "queued", clock.now(session) + timedelta(seconds=pause)
    else:
        record.state = "cancelled" if record.cancel_requested else "failed"
        record.finished_at = utc_now()
        _tell_end(session, record)
    return True


def give_back(session: Session, job_id: int, owner: str) -> bool:
    """Queues a job again that its worker was told to leave; the attempt does not count."""
    record = _held(session, job_id, owner)
    if record is None:
        return False
    record.state, record.attempts = "queued", record.attempts - 1
    _release(record)
    return True


def end_cancelled(session: Session, job_id: int, owner: str) -> bool:
    """Ends a job whose worker saw the request to cancel."""
    record = _held(session, job_id, owner)
    if record is None:
        return False
    record.state, record.finished_at = "cancelled", utc_now()
    _release(record)
    _tell_end(session, record)
    return True


def cancel(session: Session, job_id: int) -> JobState | None:
    """Cancels a queued job at once and asks the worker of a running one to stop; the state after, None if unknown."""
    record = session.scalar(select(JobRecord).where(JobRecord.id == job_id).with_for_update())
    if record is None:
        return None
    if record.state == "queued":
        record.state, record.dedupe_key, record.finished_at = "cancelled", None, utc_now()
        _tell_end(session, record)
    if record.state not in FINAL_STATES:
        record.cancel_requested = True
    return cast(JobState, record.state)


def _held(session: Session, job_id: int, owner: str) -> JobRecord | None:
    query = select(JobRecord).where(
        JobRecord.id == job_id, JobRecord.state == "running", JobRecord.lease_owner == owner
    )
    return session.scalar(query.with_for_update())


def _release(record: JobRecord) -> None:
    record.lease_owner = record.lease_expires_at = None


def _tell_end(session: Session, record: JobRecord) -> None:
    """Tells webhooks and tallies that the job has ended."""
    outbox.emit_end_of_job(session, record)
    tallies.add_job(session, record)


def _with_line(log_tail: str, line: str) -> str:
    stamped = f"{utc_now():%Y-%m-%dT%H:%M:%SZ} {line}\n"
    return (log_tail + stamped)[-_LOG_TAIL_CHARACTERS:]
