"""The SQL of webhooks and their deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, select, update
from sqlalchemy.orm import Session

from app.tables import WebhookDeliveryRecord, WebhookRecord

WAITING, DELIVERED, GIVEN_UP = "waiting", "delivered", "given_up"
_MAX_REMOVED = 1_000


@dataclass(frozen=True)
class ClaimedDelivery:
    """What is to be delivered now. `attempt` tells this claim from later ones."""

    id: int
    webhook_id: int
    url: str
    secret: str
    message_id: str
    body: bytes
    attempt: int  # 1 for the first
    claimed_at: datetime


def find(session: Session, webhook_id: int, *, to_keep: bool = False) -> WebhookRecord | None:
    """The webhook of that id; `to_keep` until this transaction ends."""
    query = select(WebhookRecord).where(WebhookRecord.id == webhook_id)
    return session.scalar(query.with_for_update(read=True, key_share=True) if to_keep else query)


def count(session: Session) -> int:
    """How many webhooks there are."""
    return len(session.scalars(select(WebhookRecord.id)).all())


def listed() -> Select[*tuple[Any, ...]]:
    """All webhooks."""
    return select(WebhookRecord)


def deliveries(webhook_id: int, state: str | None, event: str | None) -> Select[*tuple[Any, ...]]:
    """What was sent or is to be sent to a webhook; None: no matter which."""
    own = WebhookDeliveryRecord
    query = select(own).where(own.webhook_id == webhook_id)
    if state is not None:
        query = query.where(own.state == state)
    return query if event is None else query.where(own.event == event)


def remove(session: Session, webhook: WebhookRecord) -> None:
    """Deletes the webhook with its deliveries."""
    session.execute(delete(WebhookDeliveryRecord).where(WebhookDeliveryRecord.webhook_id == webhook.id))
    session.execute(delete(WebhookRecord).where(WebhookRecord.id == webhook.id))


def has_due(session: Session, now: datetime) -> bool:
    """Whether anything is to be delivered: a read, so that idle replicas never take the write lock."""
    own = WebhookDeliveryRecord
    return session.scalar(select(own.id).where(own.state == WAITING, own.due_at <= now).limit(1)) is not None


def claim(session: Session, now: datetime, lease: timedelta, limit: int) -> Sequence[ClaimedDelivery]:
    """Takes up to `limit` deliveries that are due, the longest waiting first; others skip them until the lease runs out."""
    own = WebhookDeliveryRecord
    due = select(own).where(own.state == WAITING, own.due_at <= now).order_by(own.due_at, own.id).limit(limit)
    claimed = []
    for record in session.scalars(due.with_for_update(skip_locked=True)):
        record.attempts += 1
        record.due_at = now + lease
        hook = session.get_one(WebhookRecord, record.webhook_id)
        body = record.body.encode()
        claimed.append(
            ClaimedDelivery(record.id, hook.id, hook.url, hook.secret, record.message_id, body, record.attempts, now)
        )
    return claimed


def note(session: Session, delivery: ClaimedDelivery, **values: Any) -> None:
    """Notes how the attempt ended, unless the lease ran out and somebody else has taken the delivery over."""
    own = WebhookDeliveryRecord
    is_held = (own.id == delivery.id, own.state == WAITING, own.attempts == delivery.attempt)
    session.execute(update(own).where(*is_held).values(**values).execution_options(synchronize_session=False))


def remove_ended(session: Session, before: datetime) -> int:
    """Deletes some of the deliveries that ended before that moment; how many. (`due_at` is when they ended.)"""
    own = WebhookDeliveryRecord
    old = select(own.id).where(own.state.in_((DELIVERED, GIVEN_UP)), own.due_at < before).limit(_MAX_REMOVED)
    ids = session.scalars(old).all()
    if ids:
        session.execute(delete(own).where(own.id.in_(ids)).execution_options(synchronize_session=False))
    return len(ids)
