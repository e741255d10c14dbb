"""/v1/architectures."""

from __future__ import annotations

from app.architectures import service
from app.architectures.schemas import ARCHITECTURE_EXAMPLE, ArchitectureOut
from app.dependencies import DatabaseDep, InferenceDep
from app.json_requests import json_router
from app.schemas import example, problems

router = json_router("architectures")


@router.get(
    "/architectures/{architecture_id}",
    summary="Show an architecture",
    description="One architecture that was observed: its graph, how search spaces write it, its observations and its "
    "forecasts over all tasks.",
    responses={200: example(ARCHITECTURE_EXAMPLE), **problems(404)},
)
def show_architecture(database: DatabaseDep, inference: InferenceDep, architecture_id: str) -> ArchitectureOut:
    with database.read() as session:
        known = service.read(session, architecture_id)
    return service.described(inference, known)
