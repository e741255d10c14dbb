"""The queue of durable work. Every function runs inside the caller's transaction; several processes may call them at once.

A job is queued, then running under a lease, then done, failed or cancelled. A worker that dies lets its lease run out, and
another takes the job over, from its last checkpoint if it has one. A job that fails is queued again with a growing pause,
until its attempts are used up; one that was saved on the way has all of them again. Every claim has a number of its own:
what a worker writes under an earlier one is refused, even if it never noticed that it was thought dead.

A job that cannot go on before something happens is put aside by its worker (`suspend`): it is waiting until that wakes it.

A new kind of job is an entry in `KINDS`, and what does its work in `app/work.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal, cast

from sqlalchemy import CursorResult, and_, case, delete, func, not_, or_, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from app import clock, outbox, tallies
from app.database import Turn, insert_if_new, take_turns
from app.errors import InvalidContentError
from app.tables import JobCheckpointRecord, JobFileRecord, JobRecord

ADAPT = "adapt"
FINE_TUNE = "fine_tune"
SCORE = "score"
IMPORT = "import"
COMPARE = "compare"
SEARCH = "search"
SUPERNET = "supernet"

Lane = Literal["adapt", "fine_tune", "bulk", "search", "supernet"]
"""Jobs of one lane of a worker run one after the other, beside those of its other lanes."""


@dataclass(frozen=True)
class KindOptions:
    """Where jobs of a kind run, and how many of them at once over all workers; 0: as many as there are workers."""

    lane: Lane
    limit: int = 0


KINDS: Mapping[str, KindOptions] = {
    ADAPT: KindOptions("adapt"),
    FINE_TUNE: KindOptions("fine_tune", limit=1),
    SCORE: KindOptions("bulk", limit=4),
    IMPORT: KindOptions("bulk", limit=2),
    COMPARE: KindOptions("bulk", limit=1),
    SEARCH: KindOptions("search"),
    SUPERNET: KindOptions("supernet"),
}

NO_LIMITS: Mapping[str, int] = MappingProxyType({})

INPUT, RESULT = "input", "result"
"""Roles of a job's files."""

JobState = Literal["queued", "running", "waiting", "done", "failed", "cancelled"]
FINAL_STATES = ("done", "failed", "cancelled")
IN_THE_BACKGROUND = -1
"""Priority of what nobody waits for."""

MAX_ATTEMPTS = 3
_FIRST_PAUSE_SECONDS = 2.0
LOG_TAIL_CHARACTERS = 16_000
_STAGE_CHARACTERS = 128


@dataclass(frozen=True)
class ClaimedJob:
    """What a worker needs of a job that it holds; owner and lease number prove that it does."""

    id: int
    kind: str
    payload: Mapping[str, Any]
    attempt: int  # 1 for the first, and again for the first after a checkpoint
    owner: str
    lease_number: int


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


def limits(changes: Mapping[str, int]) -> dict[str, int]:
    """How many jobs of each kind may run at once over all workers, where not as many as there are.

    Raises:
        InvalidContentError: if there is no such kind.
    """
    unknown = sorted(set(changes) - set(KINDS))
    if unknown:
        raise InvalidContentError(f"expected limits for kinds among {', '.join(KINDS)}, got {unknown[0][:80]!r}")
    every = {kind: changes.get(kind, options.limit) for kind, options in KINDS.items()}
    return {kind: limit for kind, limit in every.items() if limit > 0}


def has_work(session: Session, kinds: Collection[str], limits: Mapping[str, int] = NO_LIMITS) -> bool:
    """Whether `claim` would find something: a read, so that idle workers never take the write lock."""
    moment = clock.now(session)
    open_kinds = _below_limit(session, kinds, limits, moment)
    return session.scalar(select(JobRecord.id).where(_is_due(open_kinds, moment)).limit(1)) is not None


def claim(
    session: Session, owner: str, kinds: Collection[str], lease_seconds: float, limits: Mapping[str, int] = NO_LIMITS
) -> ClaimedJob | None:
    """Takes the job of these kinds that is due, highest priority and then oldest first, atomically.

    Its dedupe key is free again from here on. Of a kind with a limit none is taken while so many are running.
    """
    if any(kind in limits for kind in kinds):
        take_turns(session, Turn.CLAIM_LIMITED)  # others count what is running, too
    moment = clock.now(session)
    _close_abandoned(session, kinds, moment)
    open_kinds = _below_limit(session, kinds, limits, moment)
    order = (JobRecord.priority.desc(), JobRecord.id)
    is_open = and_(_is_due(open_kinds, moment), not_(_is_abandoned()))
    due = select(JobRecord.id).where(is_open).order_by(*order).limit(1).with_for_update(skip_locked=True)
    statement = (
        update(JobRecord)
        .where(JobRecord.id == due.scalar_subquery())
        .values(
            state="running",
            dedupe_key=None,
            attempts=JobRecord.attempts + 1,
            lease_number=JobRecord.lease_number + 1,
            lease_owner=owner,
            lease_expires_at=moment + timedelta(seconds=lease_seconds),
            started_at=func.coalesce(JobRecord.started_at, moment),
        )
        .returning(JobRecord.id, JobRecord.kind, JobRecord.payload, JobRecord.attempts, JobRecord.lease_number)
        .execution_options(synchronize_session=False)
    )
    row = session.execute(statement).one_or_none()
    return None if row is None else ClaimedJob(row.id, row.kind, row.payload, row.attempts, owner, row.lease_number)


def _below_limit(
    session: Session, kinds: Collection[str], limits: Mapping[str, int], moment: datetime
) -> Collection[str]:
    """Those of the kinds of which another may run."""
    limited = [kind for kind in kinds if kind in limits]
    if not limited:
        return kinds
    own = JobRecord
    query = select(own.kind, func.count(own.id)).where(
        own.state == "running", own.kind.in_(limited), own.lease_expires_at >= moment
    )
    running = {row[0]: row[1] for row in session.execute(query.group_by(own.kind))}
    return [kind for kind in kinds if kind not in limits or running.get(kind, 0) < limits[kind]]


def _is_due(kinds: Collection[str], moment: datetime) -> ColumnElement[bool]:
    """Queued and its pause is over, running under a lease that ran out, or waiting for a moment that has come."""
    own, has_no_moment = JobRecord, JobRecord.lease_expires_at.is_(None)
    is_one = and_(own.state.in_(("queued", "running", "waiting")), own.kind.in_(kinds))
    return and_(is_one, or_(and_(own.state != "waiting", has_no_moment), own.lease_expires_at < moment))


def _is_abandoned() -> ColumnElement[bool]:
    """Was running, and nobody is to take it over when its lease runs out."""
    return and_(JobRecord.state == "running", or_(JobRecord.cancel_requested, JobRecord.attempts >= MAX_ATTEMPTS))


def _close_abandoned(session: Session, kinds: Collection[str], moment: datetime) -> None:
    """Ends running jobs whose lease ran out and that nobody is to take over; those that others are ending are skipped."""
    query = select(JobRecord).where(_is_due(kinds, moment), _is_abandoned())
    for record in session.scalars(query.with_for_update(skip_locked=True)):
        if not record.cancel_requested:
            record.error = f"the worker stopped answering in {MAX_ATTEMPTS} attempts"
        _end(session, record, "cancelled" if record.cancel_requested else "failed", moment)
    session.flush()


def held(session: Session, job: ClaimedJob) -> JobRecord | None:
    """The job's record, locked until the transaction ends, if the worker still holds it: what is written in the same
    transaction cannot collide with what another worker writes who took the job over."""
    query = select(JobRecord).where(
        JobRecord.id == job.id,
        JobRecord.state == "running",
        JobRecord.lease_owner == job.owner,
        JobRecord.lease_number == job.lease_number,
    )
    return session.scalar(query.with_for_update())


def progress(
    session: Session,
    job: ClaimedJob,
    lease_seconds: float,
    percent: float | None = None,
    stage: str | None = None,
    lines: Sequence[str] = (),
) -> Heartbeat:
    """Extends the lease and notes how far the job is."""
    record = held(session, job)
    if record is None:
        return Heartbeat(is_held=False, is_cancelled=True)
    record.lease_expires_at = clock.now(session) + timedelta(seconds=lease_seconds)
    if percent is not None:
        record.percent = min(100.0, max(0.0, percent))
    if stage is not None:
        record.stage = stage[:_STAGE_CHARACTERS]
    if lines:
        _add_lines(session, record, lines)
    return Heartbeat(is_held=True, is_cancelled=record.cancel_requested)


def save_checkpoint(session: Session, job: ClaimedJob, details: Mapping[str, Any], content: bytes = b"") -> bool:
    """Keeps how far the job is, instead of what was kept before; False if the worker does not hold it any more.

    A job that gets on has all its attempts again, so that no number of dying workers stops it.
    """
    record = held(session, job)
    if record is None:
        return False
    record.attempts = 1
    values = {"details": dict(details), "content": content, "saved_at": clock.now(session)}
    kept = session.get(JobCheckpointRecord, job.id)
    if kept is None:
        session.add(JobCheckpointRecord(job_id=job.id, **values))
    else:
        for name, value in values.items():
            setattr(kept, name, value)
    session.flush()
    return True


def finish(session: Session, job: ClaimedJob, result: Mapping[str, Any]) -> bool:
    """Ends the job as done; False if the worker does not hold it any more."""
    record = held(session, job)
    if record is None:
        return False
    record.percent, record.stage = 100.0, "done"
    record.result, record.error = dict(result), None
    _end(session, record, "done", clock.now(session))
    return True


def fail(session: Session, job: ClaimedJob, error: str, is_retryable: bool = True) -> bool:
    """Notes the error and queues the job again after a pause, or ends it; False if the worker does not hold it."""
    record = held(session, job)
    if record is None:
        return False
    record.error = error = error.replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL keeps no NUL
    _add_lines(session, record, [f"attempt {record.attempts}: {error}"])
    if is_retryable and record.attempts < MAX_ATTEMPTS and not record.cancel_requested:
        _release(record)
        pause = _FIRST_PAUSE_SECONDS * 4.0 ** (record.attempts - 1)
        record.state, record.lease_expires_at = "queued", clock.now(session) + timedelta(seconds=pause)
    else:
        _end(session, record, "cancelled" if record.cancel_requested else "failed", clock.now(session))
    return True


def give_back(session: Session, job: ClaimedJob) -> bool:
    """Queues a job again that its worker was told to leave; the attempt does not count."""
    record = held(session, job)
    if record is None:
        return False
    if record.cancel_requested:
        _end(session, record, "cancelled", clock.now(session))
        return True
    record.state, record.attempts = "queued", record.attempts - 1
    _release(record)
    return True


def suspend(session: Session, job: ClaimedJob, seconds: float | None, *, is_ready: bool = False) -> bool:
    """Puts the job aside until somebody wakes it or so many seconds have passed; False if the worker does not hold it any
    more. `is_ready`: it only lets others have their turn. What it waits for is to be looked at in the same transaction, after
    `held`, and whoever makes it happen calls `wake` in theirs: so neither misses the other."""
    record = held(session, job)
    if record is None:
        return False
    _release(record)
    record.state, record.attempts = "queued" if is_ready else "waiting", 0
    if seconds is not None:
        record.lease_expires_at = clock.now(session) + timedelta(seconds=seconds)
    return True


def wake(session: Session, job_ids: Collection[int]) -> None:
    """Queues those of the jobs that wait. All are locked from here on: one about to be put aside sees what was done."""
    if not job_ids:
        return
    query = select(JobRecord).where(JobRecord.id.in_(job_ids)).order_by(JobRecord.id)
    for record in session.scalars(query.with_for_update()):
        if record.state == "waiting":
            record.state, record.lease_expires_at = "queued", None


def hold_back(session: Session, job_id: int) -> None:
    """Lets a queued or waiting job wait until somebody wakes it; one that is running is left to its worker."""
    record = session.scalar(select(JobRecord).where(JobRecord.id == job_id).with_for_update())
    if record is not None and record.state in ("queued", "waiting"):
        record.state, record.lease_expires_at = "waiting", None


def end_cancelled(session: Session, job: ClaimedJob) -> bool:
    """Ends a job whose worker saw the request to cancel."""
    record = held(session, job)
    if record is None:
        return False
    _end(session, record, "cancelled", clock.now(session))
    return True


def cancel(session: Session, job_id: int) -> JobState | None:
    """Cancels a queued or waiting job at once and asks the worker of a running one to stop; the state after, None if
    unknown."""
    record = session.scalar(select(JobRecord).where(JobRecord.id == job_id).with_for_update())
    if record is None:
        return None
    if record.state not in FINAL_STATES:
        record.cancel_requested = True
    if record.state in ("queued", "waiting"):
        _end(session, record, "cancelled", clock.now(session))
    return cast(JobState, record.state)


def retry(session: Session, job_id: int) -> JobState | None:
    """Queues a job that failed or was cancelled once more, with all its attempts; the state before, None if unknown.

    One that failed goes on from its last checkpoint, one that was cancelled begins again.
    """
    record = session.scalar(select(JobRecord).where(JobRecord.id == job_id).with_for_update())
    if record is None:
        return None
    before = record.state
    if before in ("failed", "cancelled"):
        record.state, record.attempts, record.cancel_requested = "queued", 0, False
        record.percent, record.stage, record.finished_at = 0.0, "", None
        _add_lines(session, record, ["queued again by request"])
    return cast(JobState, before)


def _end(session: Session, record: JobRecord, state: JobState, moment: datetime) -> None:
    """Ends a job, and tells webhooks and tallies. Only one that is done keeps a result; only one that failed keeps what the
    next attempt goes on from."""
    record.state, record.dedupe_key, record.finished_at = state, None, moment
    _release(record)
    outbox.emit_end_of_job(session, record)
    tallies.add_job(session, record)
    if state == "failed":
        return
    unwanted = INPUT if state == "done" else RESULT
    session.execute(delete(JobCheckpointRecord).where(JobCheckpointRecord.job_id == record.id))
    session.execute(delete(JobFileRecord).where(JobFileRecord.job_id == record.id, JobFileRecord.role == unwanted))


def _release(record: JobRecord) -> None:
    record.lease_owner = record.lease_expires_at = None


def _add_lines(session: Session, record: JobRecord, lines: Sequence[str]) -> None:
    now = clock.now(session)
    stamped = "".join(f"{now:%Y-%m-%dT%H:%M:%SZ} {line}\n" for line in lines)
    record.log_tail = (record.log_tail + stamped)[-LOG_TAIL_CHARACTERS:]
