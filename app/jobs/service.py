"""Shows and cancels background work."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from app import queue
from app.errors import ConflictError, NotFoundError
from app.jobs import repository
from app.jobs.schemas import JobReply, LogLine, LogOut
from app.pagination import Page, decoded, page_of
from app.tables import JobRecord


def find(session: Session, job_id: int) -> JobRecord:
    """The job of that id.

    Raises:
        NotFoundError: if there is none.
    """
    record = repository.find(session, job_id)
    if record is None:
        raise NotFoundError(f"expected the id of a job, got {job_id}")
    return record


def shown(record: JobRecord) -> JobReply:
    """The job as users see it."""
    return JobReply(
        id=record.id,
        kind=record.kind,  # type: ignore[arg-type]
        state=record.state,  # type: ignore[arg-type]
        percent=record.percent,
        stage=record.stage,
        payload=record.payload,
        result=record.result,
        error=record.error,
        log_tail=record.log_tail,
        attempts=record.attempts,
        max_attempts=queue.MAX_ATTEMPTS,
        next_attempt_at=record.lease_expires_at if record.state == "queued" else None,
        is_cancel_requested=record.cancel_requested,
        created_at=record.created_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
    )


def page(session: Session, cursor: str | None, limit: int, kind: str | None, state: str | None) -> Page[JobReply]:
    """One page of the list."""
    rows = repository.page(session, decoded(cursor, int), limit + 1, kind, state)
    records, next_cursor = page_of(rows, limit, lambda record: record.id)
    return Page(items=[shown(record) for record in records], next_cursor=next_cursor)


def cancel(session: Session, job_id: int) -> JobRecord:
    """Cancels a queued job, or asks the worker of a running one to stop; harmless when it was cancelled before.

    Raises:
        NotFoundError: if there is no such job.
        ConflictError: if it has ended otherwise.
    """
    state = queue.cancel(session, job_id)
    if state in ("done", "failed"):
        raise ConflictError(f"expected a job that is queued or running, got one that is {state}")
    return find(session, job_id)


def retry(session: Session, job_id: int) -> JobRecord:
    """Queues a job that failed or was cancelled once more.

    Raises:
        NotFoundError: if there is no such job.
        ConflictError: if it has not ended, or is done.
    """
    before = queue.retry(session, job_id)
    if before not in (None, "failed", "cancelled"):
        raise ConflictError(f"expected a job that failed or was cancelled, got one that is {before}")
    return find(session, job_id)


def log(session: Session, job_id: int) -> LogOut:
    """The end of the job's log.

    Raises:
        NotFoundError: if there is no such job.
    """
    text = find(session, job_id).log_tail
    is_whole = len(text) < queue.LOG_TAIL_CHARACTERS
    lines = text.splitlines() if is_whole else text.splitlines()[1:]  # the first may have lost its beginning
    return LogOut(job_id=job_id, lines=[_line(one) for one in lines], is_whole=is_whole)


def _line(text: str) -> LogLine:
    stamp, _, rest = text.partition(" ")
    try:
        return LogLine(at=datetime.fromisoformat(stamp), text=rest)
    except ValueError:
        return LogLine(at=None, text=text)
