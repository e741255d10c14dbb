"""Fine-tuning as a job: queued by a request, by a count of new observations or by a schedule; run by a worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from app import queue
from app.database import Database, Turn, take_turns
from app.errors import NotFoundError
from app.fine_tunes import repository
from app.fine_tunes.schemas import FineTuneBody, FineTuneReply
from app.inference import Candidate, Versions, checked_config, fine_tune
from app.jobs import repository as job_repository
from app.jobs.repository import Filter
from app.lists import Asked, Listing
from app.model_versions import service as model_versions
from app.pagination import Page
from app.settings import Settings
from app.tables import JobRecord, utc_now

LISTING = Listing("fine-tunes", FineTuneReply, JobRecord.id, {"id": JobRecord.id}, default="-id")
_AUTOMATIC_KEY = "fine_tune:automatic"


def start(session: Session, body: FineTuneBody) -> JobRecord:
    """Queues a fine-tune.

    Raises:
        InvalidContentError: if a setting is unknown or wrong.
    """
    checked_config(body.settings)
    job_id = queue.enqueue(session, queue.FINE_TUNE, _payload(session, body.reason, body.settings))
    return find(session, job_id or 0)


def start_if_due(session: Session, settings: Settings) -> int | None:
    """Queues a fine-tune if enough was observed since the last one or its time has come; the job's id if it did."""
    take_turns(session, Turn.SCHEDULE_FINE_TUNE)  # other workers ask the same question
    last = repository.last_job(session)
    if last is not None and last.state not in queue.FINAL_STATES:
        return None
    new = repository.new_observations(session, last.payload["last_observation_id"] if last else 0)
    since = last.created_at if last else new.oldest_at
    period = timedelta(hours=settings.fine_tune_every_hours)
    if settings.fine_tune_after and new.count >= settings.fine_tune_after:
        reason = f"{new.count} new observations"
    elif period and new.count and since is not None and utc_now() - since >= period:
        reason = f"{settings.fine_tune_every_hours} hours since the last one, and {new.count} new observations"
    else:
        return None
    return queue.enqueue(session, queue.FINE_TUNE, _payload(session, reason, {}), dedupe_key=_AUTOMATIC_KEY)


def _payload(session: Session, reason: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    last_observation_id = repository.newest_observation_id(session)
    return {"reason": reason, "settings": dict(settings), "last_observation_id": last_observation_id}


def run(
    database: Database,
    versions: Versions,
    payload: Mapping[str, Any],
    on_progress: Callable[[float, str], None],
    should_stop: Callable[[], bool],
) -> Candidate:
    """Trains and judges a candidate; nothing is stored yet."""
    return fine_tune(database, versions, payload["settings"], on_progress, should_stop)


def conclude(session: Session, candidate: Candidate) -> dict[str, Any]:
    """Stores the candidate and the decision about it; what came out, for the job.

    The caller ends the job in the same transaction, so that each job makes one decision, whatever happens to its worker.
    """
    model_versions.add(session, candidate.id, candidate.parent_id, "fine_tune", candidate.manifest, candidate.weights)
    promotion = model_versions.decide(
        session, candidate.id, candidate.is_better, candidate.reason, candidate.comparison
    )
    return {
        "model_version": candidate.id,
        "is_promoted": promotion.promoted,
        "decision": promotion.reason,
        "comparison": promotion.comparison,
    }


def find(session: Session, job_id: int) -> JobRecord:
    """The fine-tune of that id.

    Raises:
        NotFoundError: if there is none.
    """
    record = job_repository.find(session, job_id)
    if record is None or record.kind != queue.FINE_TUNE:
        raise NotFoundError(f"expected the id of a fine-tune, got {job_id}")
    return record


def shown(record: JobRecord) -> FineTuneReply:
    """The fine-tune as users see it."""
    result = record.result or {}
    return FineTuneReply(
        id=record.id,
        state=record.state,  # type: ignore[arg-type]
        percent=record.percent,
        stage=record.stage,
        reason=record.payload["reason"],
        settings=record.payload["settings"],
        model_version=result.get("model_version"),
        is_promoted=result.get("is_promoted"),
        decision=result.get("decision"),
        comparison=result.get("comparison"),
        error=record.error,
        log_tail=record.log_tail,
        created_at=record.created_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
    )


def page(session: Session, asked: Asked, wanted: Filter) -> Page[FineTuneReply]:
    """One page of the list."""
    wanted = replace(wanted, kind=queue.FINE_TUNE)
    rows, next_cursor = LISTING.page(session, job_repository.listed(wanted), asked, asdict(wanted))
    return Page(items=[shown(row[0]) for row in rows], next_cursor=next_cursor)
