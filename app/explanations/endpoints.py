"""POST /v1/tasks/{task}/explanations."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import Body

from app.access.callers import CallerDep
from app.answering_once import creates_nothing
from app.dependencies import DatabaseDep, InferenceDep
from app.explanations import service
from app.explanations.schemas import REPLY_EXAMPLE, REQUEST_EXAMPLES, ExplanationRequest, ExplanationsOut
from app.guarded_routes import Role, at_least
from app.json_requests import json_router
from app.schemas import example, problems

router = json_router("explanations")


@router.post(
    "/tasks/{task}/explanations",
    summary="Explain forecasts",
    description="Which operations and edges forecasts of the task's newest adaptation hang on, in the metric's unit. `swaps`: what "
    "the forecast would be with each decision made otherwise or, where the space has no decisions, with another operation or "
    "without an edge; only what is an architecture of the space. `shapley`: how the distance from the average of variants is shared "
    "among the parts, with standard errors. `integrated_gradients`: the shares of nodes and edges, which add up to the forecast less "
    "a baseline's with those of statistics, decisions and related tasks; the service needs the extra `explain` for it. "
    "`task_summary`: what each choice of each decision is worth on average over the space. Nothing is recorded.",
    responses={200: example(REPLY_EXAMPLE, "Explanations."), **problems(400, 404, 503)},
)
@creates_nothing
@at_least(Role.READER)
def explain_forecasts(
    database: DatabaseDep,
    inference: InferenceDep,
    caller: CallerDep,
    task: str,
    body: Annotated[ExplanationRequest, Body(openapi_examples=cast(Any, REQUEST_EXAMPLES))],
) -> ExplanationsOut:
    return service.explain(database, inference, task, body, caller.project_id)
