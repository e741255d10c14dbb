"""Shows and cancels background work."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from sqlalchemy.orm import Session

from app import queue
from app.errors import ConflictError, NotFoundError
from app.jobs import repository
from app.jobs.repository import Filter
from app.jobs.schemas import JobReply, LogLine, LogOut
from app.lists import Asked, Listing
from app.pagination import Page
from app.tables import JobRecord

LISTING = Listing("jobs", JobReply, JobRecord.id, {"id": JobRecord.id}, default="-id")


def find(session: Session, job_id: int, project_id: int | None = None) -> JobRecord:
    """The job of that id.

    Raises:
        NotFoundError: if there is none that a caller of the project sees (None: of all).
    """
    record = repository.find(session, job_id, project_id)
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
        next_attempt_at=record.lease_expires_at if record.state in ("queued", "waiting") else None,
        is_cancel_requested=record.cancel_requested,
        created_at=record.created_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
    )


def page(session: Session, asked: Asked, wanted: Filter, project_id: int | None = None) -> Page[JobReply]:
    """One page of what a caller of the project sees (None: of all)."""
    rows, next_cursor = LISTING.page(session, repository.listed(wanted, project_id), asked, asdict(wanted))
    return Page(items=[shown(row[0]) for row in rows], next_cursor=next_cursor)


def cancel(session: Session, job_id: int) -> JobRecord:
    """Cancels a queued or waiting job, or asks the worker of a running one to stop; harmless when it was cancelled before.

    Raises:
        NotFoundError: if there is no such job.
        ConflictError: if it has ended otherwise.
    """
    state = queue.cancel(session, job_id)
    if state in ("done", "failed"):
        raise ConflictError(f"expected a job that is queued, running or waiting, got one that is {state}")
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


def log(session: Session, job_id: int, project_id: int | None = None) -> LogOut:
    """The end of the job's log.

    Raises:
        NotFoundError: if there is none that a caller of the project sees (None: of all).
    """
    text = find(session, job_id, project_id).log_tail
    is_whole = len(text) < queue.LOG_TAIL_CHARACTERS
    lines = text.splitlines() if is_whole else text.splitlines()[1:]  # the first may have lost its beginning
    return LogOut(job_id=job_id, lines=[_line(one) for one in lines], is_whole=is_whole)


def _line(text: str) -> LogLine:
    stamp, _, rest = text.partition(" ")
    try:
        return LogLine(at=datetime.fromisoformat(stamp), text=rest)
    except ValueError:
        return LogLine(at=None, text=text)
