"""/v1/webhooks."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Path, Query, status

from app.answering_once import shown_once
from app.dependencies import DatabaseDep, SettingsDep
from app.guarded_routes import Role, at_least
from app.json_requests import json_router
from app.lists import Asked
from app.pagination import Page
from app.preconditions import IfMatchDep
from app.schemas import example, problems
from app.webhooks import service
from app.webhooks.schemas import (
    DELIVERY_EXAMPLE,
    REGISTERED_EXAMPLE,
    WEBHOOK_BODY_EXAMPLE,
    WEBHOOK_EXAMPLE,
    DeliveryOut,
    DeliveryState,
    RegisteredOut,
    WebhookIn,
    WebhookOut,
)

router = json_router("webhooks")

_WEBHOOK = {"webhook_id": "$response.body#/id"}
_LINKS = dict.fromkeys(("show_webhook", "test_webhook", "list_deliveries", "delete_webhook"), _WEBHOOK)

WebhookId = Annotated[int, Path(ge=1, lt=2**63, description="Id of a webhook.")]


@router.post(
    "/webhooks",
    status_code=status.HTTP_201_CREATED,
    summary="Register a webhook",
    description="From now on every such event is sent to the URL as a POST of JSON, at least once, in no promised order. The "
    "headers `webhook-id`, `webhook-timestamp` and `webhook-signature` are those of Standard Webhooks: the signature is "
    "`v1,` and the base64 of HMAC-SHA256 over id, timestamp and body, joined by dots, under the secret, which is shown this "
    "once (base64 after `whsec_`). Any 2xx answer will do; 410 ends a delivery at once, and anything else is tried again.",
    responses={201: example(REGISTERED_EXAMPLE, "Registered.", links=_LINKS), **problems(400, 409)},
)
@shown_once
@at_least(Role.OPERATOR, changes=True)
def register_webhook(
    database: DatabaseDep,
    settings: SettingsDep,
    body: Annotated[WebhookIn, Body(openapi_examples={"one": {"value": WEBHOOK_BODY_EXAMPLE}})],
) -> RegisteredOut:
    with database.write() as session:
        return service.register(session, settings, body)


@router.get(
    "/webhooks",
    summary="List webhooks",
    description="All webhooks, without their secrets.",
    response_model=Page[WebhookOut],
    responses={200: example({"items": [WEBHOOK_EXAMPLE], "next_cursor": None}), **problems()},
)
@at_least(Role.OPERATOR)
def list_webhooks(database: DatabaseDep, asked: Annotated[Asked, service.LISTING.query]) -> Any:
    with database.read() as session:
        return service.LISTING.answer(service.page(session, asked), asked)


@router.get(
    "/webhooks/{webhook_id}",
    summary="Show a webhook",
    description="One webhook, without its secret.",
    responses={200: example(WEBHOOK_EXAMPLE), **problems(404)},
)
@at_least(Role.OPERATOR)
def show_webhook(database: DatabaseDep, webhook_id: WebhookId) -> WebhookOut:
    with database.read() as session:
        return service.shown(service.find(session, webhook_id))


@router.delete(
    "/webhooks/{webhook_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Remove a webhook",
    description="Removes the webhook and its deliveries; what waited for it is not sent any more.",
    responses=problems(400, 404, 412),
)
@at_least(Role.OPERATOR, changes=True)
def delete_webhook(database: DatabaseDep, webhook_id: WebhookId, if_match: IfMatchDep) -> None:
    with database.write() as session:
        service.delete(session, webhook_id, if_match)


@router.post(
    "/webhooks/{webhook_id}:test",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Send a test to a webhook",
    description="Queues a delivery of the event `test`, signed as all are. The list of deliveries says what became of it.",
    responses={202: example({**DELIVERY_EXAMPLE, "event": "test"}, "Queued."), **problems(404)},
)
@at_least(Role.OPERATOR, changes=True)
def test_webhook(database: DatabaseDep, webhook_id: WebhookId) -> DeliveryOut:
    with database.write() as session:
        return service.test(session, webhook_id)


@router.get(
    "/webhooks/{webhook_id}/deliveries",
    summary="List deliveries of a webhook",
    description="What was sent to it or is to be sent, the newest first, with what became of it. Those that ended are kept "
    "for ARCHCAST_WEBHOOK_KEEP_DAYS.",
    response_model=Page[DeliveryOut],
    responses={200: example({"items": [DELIVERY_EXAMPLE], "next_cursor": None}), **problems(404)},
)
@at_least(Role.OPERATOR)
def list_deliveries(
    database: DatabaseDep,
    webhook_id: WebhookId,
    asked: Annotated[Asked, service.DELIVERIES.query],
    state: Annotated[DeliveryState | None, Query(description="Only those in this state.")] = None,
    event: Annotated[str | None, Query(max_length=64, pattern=r"^[a-z_.]+$", description="Only of this event.")] = None,
) -> Any:
    with database.read() as session:
        return service.DELIVERIES.answer(service.deliveries(session, webhook_id, asked, state, event), asked)
