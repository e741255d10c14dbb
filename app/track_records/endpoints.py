"""/v1/tasks/{task}/track-record and /drift."""

from __future__ import annotations

from app.dependencies import DatabaseDep
from app.guarded_routes import Role, at_least
from app.json_requests import json_router
from app.schemas import example, problems
from app.track_records import service
from app.track_records.schemas import DRIFT_EXAMPLE, RECORD_EXAMPLE, DriftOut, TaskRecordOut

router = json_router("track records")


@router.get(
    "/tasks/{task}/track-record",
    summary="Show how forecasts have held",
    description="The prequential record: forecasts that were answered before their value came, against that value, for each "
    "model version that answered. Of an architecture the first final value counts, and the last forecast that did not know "
    "it. The newest 2,000 pairs are looked at.",
    responses={200: example(RECORD_EXAMPLE), **problems(404)},
)
@at_least(Role.READER)
def show_track_record(database: DatabaseDep, task: str) -> TaskRecordOut:
    with database.read() as session:
        return service.of_task(session, task)


@router.get(
    "/tasks/{task}/drift",
    summary="Show whether forecasts still hold",
    description="A running test (CUSUM) of how often values fall outside the 90 % interval that was forecast. Workers count "
    "new values every few seconds; an alarm may start a fine-tune.",
    responses={200: example(DRIFT_EXAMPLE), **problems(404)},
)
@at_least(Role.READER)
def show_drift(database: DatabaseDep, task: str) -> DriftOut:
    with database.read() as session:
        return service.drift_of_task(session, task)
