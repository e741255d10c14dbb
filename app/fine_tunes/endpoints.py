"""/v1/fine-tunes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Path, Query, Response, status

from app.dependencies import DatabaseDep
from app.fine_tunes import service
from app.fine_tunes.schemas import FINE_TUNE_EXAMPLE, REQUEST_EXAMPLE, FineTuneBody, FineTuneReply
from app.guarded_routes import Role, at_least
from app.jobs.repository import Filter
from app.jobs.schemas import JobState
from app.json_requests import json_router
from app.lists import Asked, BeforeQuery, SinceQuery
from app.pagination import Page
from app.schemas import example, problems

router = json_router("fine-tunes")

_QUEUED_EXAMPLE = {
    **FINE_TUNE_EXAMPLE,
    **dict.fromkeys(("model_version", "is_promoted", "decision", "comparison", "started_at", "finished_at")),
    "state": "queued",
    "percent": 0.0,
    "stage": "",
}


@router.post(
    "/fine-tunes",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Start a fine-tune",
    description="Continues meta-training from the champion on everything that was observed, as a job. The candidate is "
    "compared with the champion on held-out episodes and on predictions that were logged before their observation came, "
    "and promoted only if it is better. `Location` says where to follow it.",
    responses={202: example(_QUEUED_EXAMPLE, "Queued."), **problems(400)},
)
@at_least(Role.OPERATOR, changes=True)
def start_fine_tune(
    database: DatabaseDep,
    response: Response,
    body: Annotated[FineTuneBody, Body(openapi_examples={"reason": {"value": REQUEST_EXAMPLE}})],
) -> FineTuneReply:
    with database.write() as session:
        started = service.shown(service.start(session, body))
    response.headers["Location"] = f"/v1/fine-tunes/{started.id}"
    return started


@router.get(
    "/fine-tunes",
    summary="List fine-tunes",
    description="All fine-tunes, the newest first.",
    response_model=Page[FineTuneReply],
    responses={200: example({"items": [FINE_TUNE_EXAMPLE], "next_cursor": None}), **problems()},
)
@at_least(Role.OPERATOR)
def list_fine_tunes(
    database: DatabaseDep,
    asked: Annotated[Asked, service.LISTING.query],
    state: Annotated[JobState | None, Query(description="Only those in this state.")] = None,
    since: SinceQuery = None,
    before: BeforeQuery = None,
) -> Any:
    wanted = Filter(state=state, since=since, before=before)
    with database.read() as session:
        return service.LISTING.answer(service.page(session, asked, wanted), asked)


@router.get(
    "/fine-tunes/{fine_tune_id}",
    summary="Show a fine-tune",
    description="How far it is and, when it is done, the candidate's figures beside the champion's and the decision.",
    responses={200: example(FINE_TUNE_EXAMPLE), **problems(404)},
)
@at_least(Role.OPERATOR)
def show_fine_tune(
    database: DatabaseDep, fine_tune_id: Annotated[int, Path(ge=1, lt=2**63, description="Id of a fine-tune.")]
) -> FineTuneReply:
    with database.read() as session:
        return service.shown(service.find(session, fine_tune_id))
