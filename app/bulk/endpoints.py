"""Forecasts and imports of whole files, as jobs: /v1/tasks/{task}/predictions:bulk, /observations:import, /jobs/{id}/result."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response, status
from starlette.responses import StreamingResponse

from app.access.callers import CallerDep
from app.bulk import importing, inputs, scoring
from app.bulk.inputs import CSV, JSON, JSON_LINES, PARQUET
from app.bulk.schemas import IMPORT_EXAMPLE, SCORE_EXAMPLE
from app.dependencies import DatabaseDep, SettingsDep
from app.guarded_routes import Role, at_least
from app.jobs.endpoints import JobId
from app.jobs.schemas import JobReply
from app.json_requests import RawBody, json_router, parse_json, require_type
from app.predictions.schemas import REQUEST_EXAMPLE, PredictionRequest
from app.schemas import example, problems

router = json_router("bulk")

_FILES: dict[str, Any] = {
    CSV: {"schema": {"type": "string"}, "example": "architecture,value\n|nor_conv_3x3~0|+…,0.93\n"},
    JSON_LINES: {"schema": {"type": "string"}, "example": '{"architecture": "|nor_conv_3x3~0|+…", "value": 0.93}\n'},
    PARQUET: {"schema": {"type": "string", "format": "binary"}, "example": "(a Parquet file)"},
}
_RESULT: dict[str, Any] = {
    "schema": {"type": "string"},
    "example": '"index","architecture_id","genotype","mean",…\n0,"9b2f5c1d7e8a4b3c9d0e1f2a3b4c5d6e","|nor_conv_3x3~0|+…",0.942,…\n',
}
_ARCHITECTURES = {
    JSON: {"schema": PredictionRequest.model_json_schema(), "example": REQUEST_EXAMPLE},
    **_FILES,
}


@router.post(
    "/tasks/{task}/predictions:bulk",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Forecast very many architectures",
    description="As a job, up to a million: a list as JSON, or a CSV, JSON Lines or Parquet file with a column `architecture`. "
    "All are forecast with the task's adaptation of one moment. The job's `result` names the ten best; "
    "`/v1/jobs/{job_id}/result` has the forecasts of all. What cannot be read is named in its row.",
    responses={202: example(SCORE_EXAMPLE, "Queued."), **problems(400, 404)},
    openapi_extra={"requestBody": {"required": True, "content": _ARCHITECTURES}},
)
@at_least(Role.CONTRIBUTOR, is_audited=True)
def forecast_in_bulk(
    request: Request,
    database: DatabaseDep,
    settings: SettingsDep,
    caller: CallerDep,
    response: Response,
    task: str,
    content: RawBody,
) -> JobReply:
    media_type = require_type(request, *inputs.ENDINGS)
    given = scoring.listed(parse_json(content), settings.max_scored_architectures) if media_type == JSON else content
    return _accepted(scoring.start(settings, database, task, media_type, given, caller.project_id), response)


@router.post(
    "/tasks/{task}/observations:import",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Import a file of observations",
    description="As a job: a CSV, JSON Lines or Parquet file with the columns `architecture`, `value`, and as far as wanted "
    "`std_error`, `seed`, `fidelity`, `cost`, `status`, `reason`, `client_key`. All rows are recorded, or none: bad ones "
    "are named in the job's `error` and log. Rows whose client key was recorded before are not recorded again.",
    responses={202: example(IMPORT_EXAMPLE, "Queued."), **problems(400, 404)},
    openapi_extra={"requestBody": {"required": True, "content": _FILES}},
)
@at_least(Role.CONTRIBUTOR, changes=True)
def import_observations(
    request: Request, database: DatabaseDep, response: Response, task: str, content: RawBody
) -> JobReply:
    media_type = require_type(request, *_FILES)
    return _accepted(importing.start(database, task, media_type, content), response)


@router.get(
    "/jobs/{job_id}/result",
    summary="Download what a job made",
    description="The forecasts of a bulk job as one file, in the order in which the architectures came: `index`, "
    "`architecture_id`, `genotype`, `mean`, `std`, `lower`, `upper`, `ood_score` and `error`. 409 until the job is done.",
    response_class=StreamingResponse,
    responses={
        200: {"content": {PARQUET: _FILES[PARQUET], CSV: _RESULT}, "description": "The file."},
        **problems(404, 409),
    },
)
@at_least(Role.READER, is_timed=False)  # a stream, as long as it takes
def download_result(
    database: DatabaseDep,
    caller: CallerDep,
    job_id: JobId,
    format: Annotated[scoring.Format, Query(description="parquet or csv.")] = "parquet",  # noqa: A002  its public name
) -> StreamingResponse:
    with database.read() as session:
        scoring.check_result(session, job_id, caller.project_id)
    headers = {"Content-Disposition": f'attachment; filename="forecasts-{job_id}.{format}"'}
    media_type = PARQUET if format == "parquet" else CSV
    return StreamingResponse(scoring.result(database, job_id, format), media_type=media_type, headers=headers)


def _accepted(queued: JobReply, response: Response) -> JobReply:
    response.headers["Location"] = f"/v1/jobs/{queued.id}"
    return queued
