"""/v1/tasks."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Query, Response, status

from app.access.callers import CallerDep
from app.access.projects import id_for_new_task
from app.dependencies import DatabaseDep, InferenceDep
from app.guarded_routes import Role, at_least
from app.json_requests import json_router
from app.lists import Asked, BeforeQuery, SinceQuery
from app.pagination import Page
from app.preconditions import IfMatchDep
from app.schemas import example, problems
from app.tasks import service
from app.tasks.schemas import TASK_EDIT_EXAMPLE, TASK_EXAMPLE, TASK_REQUEST_EXAMPLE, TaskEdit, TaskIn, TaskOut

router = json_router("tasks")

_TASK = {"task": "$response.body#/name"}
_LINKS = dict.fromkeys(
    ("show_task", "edit_task", "post_observations", "create_predictions", "list_candidates", "suggest_trials"), _TASK
)


@router.post(
    "/tasks",
    status_code=status.HTTP_201_CREATED,
    summary="Create a task",
    description="A task is a search space × data set × metric (× device). The same task again is harmless and answers "
    "200; a different one under a name that is taken is refused with 409.",
    responses={
        201: example(TASK_EXAMPLE, "The new task.", links=_LINKS),
        200: example(TASK_EXAMPLE, "It was there.", TaskOut, _LINKS),
        **problems(400, 404, 409),
    },
)
@at_least(Role.CONTRIBUTOR, changes=True)
def create_task(
    database: DatabaseDep,
    caller: CallerDep,
    response: Response,
    body: Annotated[TaskIn, Body(openapi_examples={"digits": {"value": TASK_REQUEST_EXAMPLE}})],
) -> TaskOut:
    with database.write() as session:
        record, is_new = service.create(session, body, id_for_new_task(session, caller, body.project))
        response.status_code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return service.shown(session, [record])[0]


@router.get(
    "/tasks",
    summary="List tasks",
    description="All tasks that the caller may see, the oldest first, with the freshness of their adaptations.",
    response_model=Page[TaskOut],
    responses={200: example({"items": [TASK_EXAMPLE], "next_cursor": None}), **problems()},
)
@at_least(Role.READER)
def list_tasks(
    database: DatabaseDep,
    caller: CallerDep,
    asked: Annotated[Asked, service.LISTING.query],
    search_space: Annotated[
        str | None, Query(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Only tasks of this search space.")
    ] = None,
    since: SinceQuery = None,
    before: BeforeQuery = None,
) -> Any:
    with database.read() as session:
        page = service.page(session, caller.project_id, asked, search_space, since, before)
        return service.LISTING.answer(page, asked)


@router.get(
    "/tasks/{task}",
    summary="Show a task",
    description="One task by its name or numeric id: how many observations it has, and how fresh the adaptation is that "
    "answers its forecasts. Once it is fresh, forecasts asked of the same process come from it.",
    responses={200: example(TASK_EXAMPLE), **problems(404)},
)
@at_least(Role.READER)
def show_task(database: DatabaseDep, inference: InferenceDep, task: str) -> TaskOut:
    with database.read() as session:
        shown = service.shown(session, [service.find(session, task)])[0]
    if shown.adaptation.is_fresh:  # what this answer calls fresh is what this process forecasts with from here on
        inference.refresh()
    return shown


@router.patch(
    "/tasks/{task}",
    summary="Edit a task",
    description="Changes a task's `metadata`. Everything else is what its observations were measured by, and stays. "
    "`If-Match` with the task's `ETag` makes sure that nobody has changed it since you looked; the tag also changes with "
    "every observation and adaptation.",
    responses={200: example({**TASK_EXAMPLE, **TASK_EDIT_EXAMPLE}), **problems(400, 404, 412)},
)
@at_least(Role.CONTRIBUTOR, changes=True)
def edit_task(
    database: DatabaseDep,
    task: str,
    if_match: IfMatchDep,
    body: Annotated[TaskEdit, Body(openapi_examples={"owner": {"value": TASK_EDIT_EXAMPLE}})],
) -> TaskOut:
    with database.write() as session:
        return service.edit(session, task, body, if_match)
