"""GET /v1/tasks/{task}/candidates."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request

from app.access.callers import CallerDep
from app.candidates.choosing import CandidateQuery
from app.candidates.schemas import CANDIDATES_EXAMPLE, Acquisition, CandidatesReply
from app.candidates.service import CandidateService
from app.guarded_routes import Role, at_least
from app.json_requests import json_router
from app.schemas import example, problems
from app.tables import DEFAULT_PROJECT_ID

router = json_router("candidates")


@router.get(
    "/tasks/{task}/candidates",
    summary="Suggest what to measure next",
    description="The best unmeasured architectures of the task's search space by acquisition: `ucb` (optimistic by "
    "`kappa` standard deviations), `ei` (expected improvement over the best measured value), `thompson` (a random draw) "
    "or `mean`. Spaces of up to 50,000 architectures are scored as a whole, larger ones are searched by sampling and "
    "evolution. A constraint such as `latency_ms<=12` speaks of another task on the same search space, by its metric or "
    "its name, or of `params` and `flops` where architectures state them; repeat it for more. Measured values count where "
    "there are any, forecasts elsewhere; if too few architectures are likely to satisfy all, the most probable follow.",
    responses={200: example(CANDIDATES_EXAMPLE, "The first is to be measured first."), **problems(404, 503)},
)
@at_least(Role.READER)
def list_candidates(
    request: Request,
    caller: CallerDep,
    task: str,
    k: Annotated[int, Query(ge=1, le=1000, description="How many.")] = 10,
    acquisition: Annotated[Acquisition, Query(description="What makes an architecture worth measuring.")] = "ucb",
    kappa: Annotated[float, Query(ge=0.0, le=100.0, description="Optimism of `ucb`, in standard deviations.")] = 1.0,
    diversity: Annotated[
        float, Query(ge=0.0, le=10.0, description="How strongly likeness among the chosen is avoided; 0: not at all.")
    ] = 0.3,
    constraint: Annotated[
        list[str] | None, Query(max_length=8, description="Such as `latency_ms<=12`; may be repeated.")
    ] = None,
    pool: Annotated[
        int, Query(ge=10, le=10_000, description="Random architectures that the search of a large space starts from.")
    ] = 1_000,
    seed: Annotated[int | None, Query(ge=0, lt=2**63, description="Leave out for a new one.")] = None,
) -> CandidatesReply:
    service: CandidateService = request.app.state.candidates
    query = CandidateQuery(
        k, acquisition, kappa, diversity, tuple(constraint or ()), pool, seed, caller.project_id or DEFAULT_PROJECT_ID
    )
    return service.candidates(task, query)
