"""Registers webhooks and shows what became of their deliveries."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app import outbox
from app.errors import ConflictError, InvalidContentError, NotFoundError
from app.lists import Asked, Listing
from app.pagination import Page
from app.preconditions import IfMatch
from app.settings import Settings
from app.tables import WebhookDeliveryRecord, WebhookRecord
from app.webhooks import addresses, repository, signing
from app.webhooks.schemas import TEST_EVENT, DeliveryOut, RegisteredOut, WebhookIn, WebhookOut

MAX_WEBHOOKS = 100
"""Each costs every event a row."""
LISTING = Listing("webhooks", WebhookOut, WebhookRecord.id, {"id": WebhookRecord.id}, default="id")
DELIVERIES = Listing(
    "webhook deliveries", DeliveryOut, WebhookDeliveryRecord.id, {"id": WebhookDeliveryRecord.id}, default="-id"
)


def register(session: Session, settings: Settings, body: WebhookIn) -> RegisteredOut:
    """Registers a webhook, with a secret of its own.

    Raises:
        InvalidContentError: if nothing may be delivered to its URL.
        ConflictError: if there are too many.
    """
    try:
        url = addresses.checked(body.url, settings.webhook_private_addresses)
    except addresses.RefusedAddressError as error:
        raise InvalidContentError(str(error), [{"location": ["body", "url"], "message": str(error)}]) from error
    if repository.count(session) >= MAX_WEBHOOKS:
        raise ConflictError(f"expected at most {MAX_WEBHOOKS} webhooks, got one more")
    secret = signing.new_secret()
    record = WebhookRecord(url=str(url), events=sorted(set(body.events)), description=body.description, secret=secret)
    session.add(record)
    session.flush()
    return RegisteredOut(**shown(record).model_dump(), secret=secret)


def find(session: Session, webhook_id: int, *, to_keep: bool = False) -> WebhookRecord:
    """The webhook of that id; `to_keep` until the transaction ends.

    Raises:
        NotFoundError: if there is none.
    """
    record = repository.find(session, webhook_id, to_keep=to_keep)
    if record is None:
        raise NotFoundError(f"expected the id of a webhook, got {webhook_id}")
    return record


def shown(record: WebhookRecord) -> WebhookOut:
    """The webhook as users see it: without its secret."""
    return WebhookOut(
        id=record.id,
        url=record.url,
        events=record.events,  # type: ignore[arg-type]
        description=record.description,
        created_at=record.created_at,
    )


def page(session: Session, asked: Asked) -> Page[WebhookOut]:
    """One page of the list."""
    rows, next_cursor = LISTING.page(session, repository.listed(), asked, {})
    return Page(items=[shown(row[0]) for row in rows], next_cursor=next_cursor)


def delete(session: Session, webhook_id: int, seen: IfMatch) -> None:
    """Removes the webhook; what waited for it is not delivered any more.

    Raises:
        NotFoundError: if there is none.
        PreconditionFailedError: if it is not as the caller has seen it.
    """
    record = find(session, webhook_id)
    seen.check(lambda: shown(record))
    repository.remove(session, record)


def test(session: Session, webhook_id: int) -> DeliveryOut:
    """Queues a delivery that says nothing.

    Raises:
        NotFoundError: if there is no such webhook.
    """
    record = find(session, webhook_id, to_keep=True)
    (delivery,) = outbox.queue_for(session, [record.id], TEST_EVENT, {"webhook_id": record.id})
    return delivery_shown(delivery)


def deliveries(
    session: Session, webhook_id: int, asked: Asked, state: str | None, event: str | None
) -> Page[DeliveryOut]:
    """One page of what was sent or is to be sent.

    Raises:
        NotFoundError: if there is no such webhook.
    """
    find(session, webhook_id)
    filters = {"webhook_id": webhook_id, "state": state, "event": event}
    query = repository.deliveries(webhook_id, state, event)
    rows, next_cursor = DELIVERIES.page(session, query, asked, filters)
    return Page(items=[delivery_shown(row[0]) for row in rows], next_cursor=next_cursor)


def delivery_shown(record: WebhookDeliveryRecord) -> DeliveryOut:
    """The delivery as users see it."""
    return DeliveryOut(
        id=record.id,
        webhook_id=record.webhook_id,
        message_id=record.message_id,
        event=record.event,
        state=record.state,  # type: ignore[arg-type]
        attempts=record.attempts,
        next_attempt_at=record.due_at if record.state == repository.WAITING else None,
        status=record.status,
        reason=record.reason,
        body=record.body,
        created_at=record.created_at,
        ended_at=record.ended_at,
    )
