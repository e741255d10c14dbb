"""/healthz and /readyz, for whatever keeps the service running."""

from __future__ import annotations

from fastapi import APIRouter, Request

from app.dependencies import DatabaseDep, InferenceDep
from app.guarded_routes import GuardedRoute, open_to_all
from app.health import service
from app.health.schemas import HEALTH_EXAMPLE, READINESS_EXAMPLE, HealthOut, ReadinessOut
from app.schemas import example, problems

router = APIRouter(tags=["health"], route_class=GuardedRoute)


@router.get(
    "/healthz",
    summary="Is the process up?",
    description="Answers as long as the process answers at all; touches nothing else.",
    responses={200: example(HEALTH_EXAMPLE)},
)
@open_to_all
async def healthz() -> HealthOut:
    return HealthOut(status="ok")


@router.get(
    "/readyz",
    summary="Can the service answer?",
    description="Whether the database can be reached and is migrated, a champion is loaded, and the process was not told to "
    "end; 503 if not.",
    responses={200: example(READINESS_EXAMPLE), **problems(503)},
)
@open_to_all
def readyz(request: Request, database: DatabaseDep, inference: InferenceDep) -> ReadinessOut:
    service.refuse_if_ending(request.app.state.ending)
    return ReadinessOut(status="ready", model_version=service.champion_if_ready(database, inference))
