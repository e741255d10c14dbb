"""When fine-tunes start by themselves: by a count of new observations, by a schedule, or when forecasts no longer hold.

Every worker looks, and what it decides takes turns with the others, so that each occasion starts one fine-tune.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from cronsim import CronSim
from sqlalchemy.orm import Session

from app import clock, outbox, queue
from app.database import Database, Turn, take_turns
from app.fine_tunes import repository
from app.fine_tunes.repository import NewObservations
from app.fine_tunes.service import payload
from app.inference import pinned_version
from app.settings import Settings
from app.tables import ScheduleRecord, TaskRecord
from app.track_records import drift

_AUTOMATIC_KEY = "fine_tune:automatic"
_CRON = "fine_tune"
_logger = logging.getLogger(__name__)


def look(settings: Settings, database: Database) -> None:
    """Looks once at everything that may start a fine-tune."""
    with database.read() as session:
        task_ids = drift.stale_tasks(session)
    for task_id in task_ids:
        with database.write() as session:
            start_if_drifted(session, settings, task_id)
    with database.write() as session:
        start_if_due(session, settings)


def start_if_drifted(session: Session, settings: Settings, task_id: int) -> int | None:
    """Counts what came of the task, and queues a fine-tune if its forecasts no longer hold; the job's id if it did.

    A task that is pinned to a version, which no fine-tune moves, starts none.
    """
    take_turns(session, Turn.SCHEDULE_FINE_TUNE)  # other workers look at the same task
    alarm = drift.look(session, task_id)
    if alarm is None:
        return None
    task = session.get_one(TaskRecord, task_id)
    _logger.warning(
        "forecasts of task %s by %s no longer hold: %d of %d values outside their interval",
        *(task.name, alarm.model_version_id, alarm.num_misses, alarm.num_pairs),
    )
    outbox.emit(
        session,
        "drift.detected",
        {
            "task": task.name,
            "model_version": alarm.model_version_id,
            "num_misses": alarm.num_misses,
            "num_pairs": alarm.num_pairs,
        },
    )
    if not settings.fine_tune_on_drift or pinned_version(session, task_id) is not None or _is_under_way(session):
        return None
    return _enqueue(session, f"forecasts of task {task.name!r} no longer hold what they promise")


def start_if_due(session: Session, settings: Settings) -> int | None:
    """Queues a fine-tune if enough was observed since the last one or its time has come; the job's id if it did."""
    take_turns(session, Turn.SCHEDULE_FINE_TUNE)  # other workers ask the same question
    if _is_under_way(session):
        return None
    last = repository.last_job(session)
    new = repository.new_observations(session, last.payload["last_observation_id"] if last else 0)
    now = clock.now(session)
    reason = _by_cron(session, settings, new, now)
    if settings.fine_tune_after and new.count >= settings.fine_tune_after:
        reason = f"{new.count} new observations"
    since = last.created_at if last else new.oldest_at
    period = timedelta(hours=settings.fine_tune_every_hours)
    if reason is None and period and new.count and since is not None and now - since >= period:
        reason = f"{settings.fine_tune_every_hours} hours since the last one, and {new.count} new observations"
    return None if reason is None else _enqueue(session, reason)


def _by_cron(session: Session, settings: Settings, new: NewObservations, now: datetime) -> str | None:
    """The reason, if the expression names a moment since the last one that was acted upon. The first look only begins to
    watch. A moment at which nothing new was observed passes."""
    expression = settings.fine_tune_cron
    if not expression:
        return None
    moment = next(CronSim(expression, now + timedelta(seconds=1), reverse=True))
    watched = session.get(ScheduleRecord, _CRON)
    if watched is None or watched.expression != expression:
        session.merge(ScheduleRecord(name=_CRON, expression=expression, acted_at=moment))
        return None
    if watched.acted_at >= moment:
        return None
    watched.acted_at = moment
    return f"it is {moment:%Y-%m-%d %H:%M} UTC, and {new.count} new observations" if new.count else None


def _is_under_way(session: Session) -> bool:
    last = repository.last_job(session)
    return last is not None and last.state not in queue.FINAL_STATES


def _enqueue(session: Session, reason: str) -> int | None:
    return queue.enqueue(session, queue.FINE_TUNE, payload(session, reason, {}), dedupe_key=_AUTOMATIC_KEY)
