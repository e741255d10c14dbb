"""/v1/model-versions."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Query

from app.access.callers import CallerDep
from app.dependencies import DatabaseDep
from app.guarded_routes import Role, at_least
from app.json_requests import json_router
from app.lists import Asked, BeforeQuery, SinceQuery
from app.model_versions import service
from app.model_versions.schemas import (
    PROMOTION_EXAMPLE,
    REASON_EXAMPLE,
    VERSION_EXAMPLE,
    DecisionBody,
    ModelVersionReply,
    Origin,
    PromotionReply,
)
from app.pagination import Page
from app.schemas import example, problems

router = json_router("model versions")

ReasonBody = Annotated[DecisionBody, Body(openapi_examples={"reason": {"value": REASON_EXAMPLE}})]


@router.get(
    "/model-versions",
    summary="List model versions",
    description="All sets of meta-learned initial parameters, in the order of their ids.",
    response_model=Page[ModelVersionReply],
    responses={200: example({"items": [VERSION_EXAMPLE], "next_cursor": None}), **problems()},
)
@at_least(Role.READER)
def list_model_versions(
    database: DatabaseDep,
    caller: CallerDep,
    asked: Annotated[Asked, service.LISTING.query],
    origin: Annotated[Origin | None, Query(description="Only those that came to be like this.")] = None,
    since: SinceQuery = None,
    before: BeforeQuery = None,
) -> Any:
    with database.read() as session:
        page = service.page(session, asked, origin, since, before, caller.project_id)
        return service.LISTING.answer(page, asked)


@router.get(
    "/model-versions/{version}",
    summary="Show a model version",
    description="One model version with its manifest and every decision about it.",
    responses={200: example(VERSION_EXAMPLE), **problems(404)},
)
@at_least(Role.READER)
def show_model_version(database: DatabaseDep, caller: CallerDep, version: str) -> ModelVersionReply:
    with database.read() as session:
        return service.shown(session, [service.find(session, version)], caller.project_id)[0]


@router.post(
    "/model-versions/{version}:promote",
    summary="Promote a model version",
    description="Makes the version the champion. Every observed task is adapted to it in the background, and the old "
    "adaptations answer meanwhile. Promoting the champion is refused with 409.",
    responses={200: example(PROMOTION_EXAMPLE), **problems(400, 404, 409)},
)
@at_least(Role.OPERATOR, changes=True)
def promote_model_version(database: DatabaseDep, version: str, body: ReasonBody) -> PromotionReply:
    with database.write() as session:
        return service.promotion_shown(service.promote(session, version, body.reason))


@router.post(
    "/model-versions:rollback",
    summary="Roll back the champion",
    description="Makes the champion's predecessor the champion again. Called again, it goes further back; 409 when there "
    "is none.",
    responses={200: example(PROMOTION_EXAMPLE), **problems(400, 409)},
)
@at_least(Role.OPERATOR, changes=True)
def roll_back_champion(database: DatabaseDep, body: ReasonBody) -> PromotionReply:
    with database.write() as session:
        return service.promotion_shown(service.roll_back(session, body.reason))
