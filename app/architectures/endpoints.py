"""/v1/architectures."""

from __future__ import annotations

from app.access.callers import CallerDep
from app.architectures import service
from app.architectures.schemas import ARCHITECTURE_EXAMPLE, ArchitectureOut
from app.dependencies import DatabaseDep, InferenceDep
from app.guarded_routes import Role, at_least
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
@at_least(Role.READER)
def show_architecture(
    database: DatabaseDep, inference: InferenceDep, caller: CallerDep, architecture_id: str
) -> ArchitectureOut:
    with database.read() as session:
        known = service.read(session, architecture_id, caller.project_id)
    return service.described(inference, known)
