"""News for webhooks, written in the transaction of what happened: nothing is told that was rolled back, and nothing is lost.

`emit` is all that other code needs; `app.webhooks` registers webhooks and delivers.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import orjson
from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock
from app.tables import JobRecord, WebhookDeliveryRecord, WebhookRecord

Event = Literal[
    "model_version.promoted", "model_version.rolled_back", "drift.detected", "search.finished", "fine_tune.finished"
]
EVENTS: tuple[Event, ...] = get_args(Event)
_OF_JOBS: Mapping[str, Event] = {
    "fine_tune": "fine_tune.finished",
    "search": "search.finished",
    "supernet": "search.finished",
}


def emit(session: Session, event: Event, payload: Mapping[str, Any]) -> int:
    """Queues the news for every webhook that wants to hear of it; how many do. Costs one small read where none does."""
    kept = select(WebhookRecord).with_for_update(read=True, key_share=True)  # none is deleted before this is committed
    found = [hook.id for hook in session.scalars(kept) if event in hook.events]
    queue_for(session, found, event, payload)
    return len(found)


def emit_end_of_job(session: Session, job: JobRecord) -> None:
    """Tells that a job has ended, if it is of a kind that is told of."""
    event = _OF_JOBS.get(job.kind)
    if event is None:
        return
    plain = {name: value for name, value in (job.result or {}).items() if value is None or not _is_nested(value)}
    emit(session, event, {"job_id": job.id, "state": job.state, "error": job.error, "result": plain})


def queue_for(
    session: Session, webhook_ids: Sequence[int], event: str, payload: Mapping[str, Any]
) -> Sequence[WebhookDeliveryRecord]:
    """Queues the news for these webhooks, under one id."""
    if not webhook_ids:
        return []
    now = clock.now(session)
    message_id = f"msg_{uuid.uuid4().hex}"
    body = orjson.dumps({"type": event, "timestamp": now, "data": dict(payload)}).decode()
    records = [
        WebhookDeliveryRecord(
            webhook_id=webhook_id, message_id=message_id, event=event, body=body, due_at=now, created_at=now
        )
        for webhook_id in webhook_ids
    ]
    session.add_all(records)
    session.flush()
    return records


def _is_nested(value: object) -> bool:
    return isinstance(value, dict | list)
