"""/v1/jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from app.dependencies import DatabaseDep
from app.jobs import service
from app.jobs.schemas import JOB_EXAMPLE, LOG_EXAMPLE, JobKind, JobReply, JobState, LogOut
from app.json_requests import json_router
from app.pagination import CursorQuery, LimitQuery, Page
from app.schemas import example, problems

router = json_router("jobs")

JobId = Annotated[int, Path(ge=1, lt=2**63, description="Id of a job.")]


@router.get(
    "/jobs",
    summary="List jobs",
    description="Background work, the newest first.",
    responses={200: example({"items": [JOB_EXAMPLE], "next_cursor": None}), **problems()},
)
def list_jobs(
    database: DatabaseDep,
    cursor: CursorQuery = None,
    limit: LimitQuery = 100,
    kind: Annotated[JobKind | None, Query(description="Only jobs of this kind.")] = None,
    state: Annotated[JobState | None, Query(description="Only jobs in this state.")] = None,
) -> Page[JobReply]:
    with database.read() as session:
        return service.page(session, cursor, limit, kind, state)


@router.get(
    "/jobs/{job_id}",
    summary="Show a job",
    description="One job: how far it is, what it is doing, and the last lines of its log.",
    responses={200: example(JOB_EXAMPLE), **problems(404)},
)
def show_job(database: DatabaseDep, job_id: JobId) -> JobReply:
    with database.read() as session:
        return service.shown(service.find(session, job_id))


@router.post(
    "/jobs/{job_id}:cancel",
    summary="Cancel a job",
    description="Cancels a queued job at once and asks the worker of a running one to stop. Again is harmless; a job that "
    "is done or failed is refused with 409.",
    responses={200: example({**JOB_EXAMPLE, "state": "cancelled", "result": None}), **problems(404, 409)},
)
def cancel_job(database: DatabaseDep, job_id: JobId) -> JobReply:
    with database.write() as session:
        return service.shown(service.cancel(session, job_id))


@router.post(
    "/jobs/{job_id}:retry",
    summary="Try a job again",
    description="Queues a job that failed or was cancelled once more, with all its attempts. One that failed goes on from its "
    "last checkpoint. A job that is queued, running or done is refused with 409.",
    responses={
        200: example({**JOB_EXAMPLE, "state": "queued", "attempts": 0, "result": None, "finished_at": None}),
        **problems(404, 409),
    },
)
def retry_job(database: DatabaseDep, job_id: JobId) -> JobReply:
    with database.write() as session:
        return service.shown(service.retry(session, job_id))


@router.get(
    "/jobs/{job_id}/log",
    summary="Show a job's log",
    description="The last lines of what the job's workers said, over all attempts.",
    responses={200: example(LOG_EXAMPLE), **problems(404)},
)
def show_job_log(database: DatabaseDep, job_id: JobId) -> LogOut:
    with database.read() as session:
        return service.log(session, job_id)
