"""/v1/jobs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query

from app.access.callers import CallerDep
from app.dependencies import DatabaseDep
from app.guarded_routes import Role, at_least
from app.jobs import service
from app.jobs.repository import Filter
from app.jobs.schemas import JOB_EXAMPLE, LOG_EXAMPLE, JobKind, JobReply, JobState, LogOut
from app.json_requests import json_router
from app.lists import Asked, BeforeQuery, SinceQuery
from app.pagination import Page
from app.schemas import example, problems

router = json_router("jobs")

JobId = Annotated[int, Path(ge=1, lt=2**63, description="Id of a job.")]


@router.get(
    "/jobs",
    summary="List jobs",
    description="Background work, the newest first; callers of one project see what is done for its tasks.",
    response_model=Page[JobReply],
    responses={200: example({"items": [JOB_EXAMPLE], "next_cursor": None}), **problems()},
)
@at_least(Role.READER)
def list_jobs(
    database: DatabaseDep,
    caller: CallerDep,
    asked: Annotated[Asked, service.LISTING.query],
    kind: Annotated[JobKind | None, Query(description="Only jobs of this kind.")] = None,
    state: Annotated[JobState | None, Query(description="Only jobs in this state.")] = None,
    since: SinceQuery = None,
    before: BeforeQuery = None,
) -> Any:
    wanted = Filter(kind, state, since, before)
    with database.read() as session:
        return service.LISTING.answer(service.page(session, asked, wanted, caller.project_id), asked)


@router.get(
    "/jobs/{job_id}",
    summary="Show a job",
    description="One job: how far it is, what it is doing, and the last lines of its log.",
    responses={200: example(JOB_EXAMPLE), **problems(404)},
)
@at_least(Role.READER)
def show_job(database: DatabaseDep, caller: CallerDep, job_id: JobId) -> JobReply:
    with database.read() as session:
        return service.shown(service.find(session, job_id, caller.project_id))


@router.post(
    "/jobs/{job_id}:cancel",
    summary="Cancel a job",
    description="Cancels a queued or waiting job at once and asks the worker of a running one to stop. Again is harmless; a job that "
    "is done or failed is refused with 409.",
    responses={200: example({**JOB_EXAMPLE, "state": "cancelled", "result": None}), **problems(404, 409)},
)
@at_least(Role.OPERATOR, changes=True)
def cancel_job(database: DatabaseDep, job_id: JobId) -> JobReply:
    with database.write() as session:
        return service.shown(service.cancel(session, job_id))


@router.post(
    "/jobs/{job_id}:retry",
    summary="Try a job again",
    description="Queues a job that failed or was cancelled once more, with all its attempts. One that failed goes on from its "
    "last checkpoint. A job that has not ended, or is done, is refused with 409.",
    responses={
        200: example({**JOB_EXAMPLE, "state": "queued", "attempts": 0, "result": None, "finished_at": None}),
        **problems(404, 409),
    },
)
@at_least(Role.OPERATOR, changes=True)
def retry_job(database: DatabaseDep, job_id: JobId) -> JobReply:
    with database.write() as session:
        return service.shown(service.retry(session, job_id))


@router.get(
    "/jobs/{job_id}/log",
    summary="Show a job's log",
    description="The last lines of what the job's workers said, over all attempts.",
    responses={200: example(LOG_EXAMPLE), **problems(404)},
)
@at_least(Role.READER)
def show_job_log(database: DatabaseDep, caller: CallerDep, job_id: JobId) -> LogOut:
    with database.read() as session:
        return service.log(session, job_id, caller.project_id)
