"""Documents of webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from app.outbox import Event
from app.schemas import Reply, RequestBody
from app.webhooks.addresses import MAX_URL_CHARACTERS

DeliveryState = Literal["waiting", "delivered", "given_up"]
TEST_EVENT = "test"

WEBHOOK_BODY_EXAMPLE = {
    "url": "https://hooks.example.org/archcast",
    "events": ["model_version.promoted", "drift.detected"],
    "description": "the team's channel",
}
WEBHOOK_EXAMPLE = {**WEBHOOK_BODY_EXAMPLE, "id": 1, "created_at": "2026-11-22T09:41:05Z"}
REGISTERED_EXAMPLE = {**WEBHOOK_EXAMPLE, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwW5jF0V4nB1c="}
DELIVERY_EXAMPLE = {
    "id": 12,
    "webhook_id": 1,
    "message_id": "msg_5f1c9d27a8e44b0f9a0c1d2e3f405162",
    "event": "model_version.promoted",
    "state": "waiting",
    "attempts": 2,
    "next_attempt_at": "2026-11-22T09:41:35Z",
    "status": 503,
    "reason": "expected a 2xx answer, got 503",
    "body": '{"type":"model_version.promoted","timestamp":"2026-11-22T09:41:05Z","data":{}}',
    "created_at": "2026-11-22T09:41:05Z",
    "ended_at": None,
}


class WebhookIn(RequestBody):
    """Where news is to be sent to, and which."""

    url: str = Field(min_length=1, max_length=MAX_URL_CHARACTERS, description="Takes POSTs; no redirect is followed.")
    events: list[Event] = Field(min_length=1, max_length=16, description="What it wants to hear of.")
    description: Annotated[str, Field(max_length=500)] = ""


class WebhookOut(Reply):
    """A webhook."""

    id: int
    url: str
    events: list[Event]
    description: str
    created_at: datetime


class RegisteredOut(WebhookOut):
    """A webhook with its secret, which is never shown again."""

    secret: str = Field(description="Signs every delivery. Shown this once.")


class DeliveryOut(Reply):
    """News that was sent or is to be sent."""

    id: int
    webhook_id: int
    message_id: str = Field(description="The header webhook-id: the same in every attempt, so that repeats are known.")
    event: str
    state: DeliveryState
    attempts: int = Field(description="How often it was sent, the attempt that is being made included.")
    next_attempt_at: datetime | None = Field(description="When it is sent next, at the earliest; null: never.")
    status: int | None = Field(description="Of the receiver's last answer.")
    reason: str | None = Field(description="Why the last attempt failed.")
    body: str = Field(description="Exactly what is signed and sent.")
    created_at: datetime
    ended_at: datetime | None
