"""/v1/model-versions, and which of them a task is pinned to."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Query, Request, Response, status

from app.access.callers import CallerDep
from app.dependencies import DatabaseDep, InferenceDep
from app.guarded_routes import Role, at_least
from app.inference import packed
from app.jobs.schemas import JOB_EXAMPLE, JobReply
from app.json_requests import RawBody, json_router, require_type
from app.lists import Asked, BeforeQuery, SinceQuery
from app.model_versions import comparing, pins, service
from app.model_versions.schemas import (
    COMPARE_REQUEST_EXAMPLE,
    PIN_EXAMPLE,
    PIN_REQUEST_EXAMPLE,
    PINS_EXAMPLE,
    PROMOTION_EXAMPLE,
    REASON_EXAMPLE,
    UNPIN_EXAMPLE,
    VERSION_EXAMPLE,
    CompareBody,
    DecisionBody,
    ModelVersionReply,
    Origin,
    PinBody,
    PinOut,
    PinsOut,
    PromotionReply,
)
from app.pagination import Page
from app.schemas import example, problems
from app.tasks import service as tasks

ARCHIVE_TYPE = "application/zip"
_ARCHIVE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}, "example": "(a ZIP archive)"}
COMPARE_JOB_EXAMPLE = {
    **JOB_EXAMPLE, "kind": "compare", "state": "queued", "percent": 0.0, "stage": "", "result": None, "attempts": 0,
    "payload": {**COMPARE_REQUEST_EXAMPLE, "task_id": 1}, "started_at": None, "finished_at": None,
}  # fmt: skip

router = json_router("model versions")

ReasonBody = Annotated[DecisionBody, Body(openapi_examples={"reason": {"value": REASON_EXAMPLE}})]


@router.get(
    "/model-versions",
    summary="List model versions",
    description="All sets of meta-learned initial parameters, in the order of their ids.",
    response_model=Page[ModelVersionReply],
    responses={200: example({"items": [VERSION_EXAMPLE], "next_cursor": None}), **problems()},
)
@at_least(Role.READER)
def list_model_versions(
    database: DatabaseDep,
    caller: CallerDep,
    asked: Annotated[Asked, service.LISTING.query],
    origin: Annotated[Origin | None, Query(description="Only those that came to be like this.")] = None,
    since: SinceQuery = None,
    before: BeforeQuery = None,
) -> Any:
    with database.read() as session:
        page = service.page(session, asked, origin, since, before, caller.project_id)
        return service.LISTING.answer(page, asked)


@router.get(
    "/model-versions/{version}",
    summary="Show a model version",
    description="One model version with its manifest and every decision about it.",
    responses={200: example(VERSION_EXAMPLE), **problems(404)},
)
@at_least(Role.READER)
def show_model_version(database: DatabaseDep, caller: CallerDep, version: str) -> ModelVersionReply:
    with database.read() as session:
        return service.shown(session, [service.find(session, version)], caller.project_id)[0]


@router.get(
    "/model-versions/{version}/archive",
    summary="Download a model version",
    description="The version as one file: a ZIP archive of `manifest.json` and `weights.safetensors`, which another service "
    "takes. It holds no code.",
    response_class=Response,
    responses={200: {"content": {ARCHIVE_TYPE: _ARCHIVE}, "description": "The archive."}, **problems(404)},
)
@at_least(Role.OPERATOR)  # the manifest names tasks of all projects
def download_model_version(database: DatabaseDep, inference: InferenceDep, version: str) -> Response:
    with database.read() as session:
        found = service.find(session, version).id
    headers = {"Content-Disposition": f'attachment; filename="archcast-{found}.zip"'}
    return Response(packed(inference.versions.get(found)), media_type=ARCHIVE_TYPE, headers=headers)


@router.post(
    "/model-versions",
    status_code=status.HTTP_201_CREATED,
    summary="Upload a model version",
    description="Stores a version that was downloaded elsewhere. Nothing of it is run. Names, types and shapes of all tensors "
    "are checked against what the manifest says before anything is loaded, and it has to answer with finite numbers; "
    "otherwise it is refused with what was expected and what came. It answers nobody until it is promoted or a task is "
    "pinned to it. 200 if it was there.",
    responses={
        201: example({**VERSION_EXAMPLE, "origin": "uploaded", "aliases": [], "promotions": []}, "Stored."),
        200: example(VERSION_EXAMPLE, "It was there.", ModelVersionReply),
        **problems(413, 415),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {ARCHIVE_TYPE: _ARCHIVE},
        }
    },
)
@at_least(Role.OPERATOR, changes=True)
def upload_model_version(
    request: Request, database: DatabaseDep, response: Response, content: RawBody
) -> ModelVersionReply:
    require_type(request, ARCHIVE_TYPE)
    stored, is_new = service.upload(database, content)
    response.status_code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
    response.headers["Location"] = f"/v1/model-versions/{stored.id}"
    return stored


@router.post(
    "/model-versions/{version}:promote",
    summary="Promote a model version",
    description="Makes the version the champion. Every observed task is adapted to it in the background, and the old "
    "adaptations answer meanwhile. Promoting the champion is refused with 409, and so is a version that a program with "
    "another encoding made.",
    responses={200: example(PROMOTION_EXAMPLE), **problems(400, 404, 409)},
)
@at_least(Role.OPERATOR, changes=True)
def promote_model_version(database: DatabaseDep, version: str, body: ReasonBody) -> PromotionReply:
    with database.write() as session:
        return service.promotion_shown(service.promote(session, version, body.reason))


@router.post(
    "/model-versions:rollback",
    summary="Roll back the champion",
    description="Makes the champion's predecessor the champion again. Called again, it goes further back; 409 when there "
    "is none, or none that this program reads.",
    responses={200: example(PROMOTION_EXAMPLE), **problems(400, 409)},
)
@at_least(Role.OPERATOR, changes=True)
def roll_back_champion(database: DatabaseDep, body: ReasonBody) -> PromotionReply:
    with database.write() as session:
        return service.promotion_shown(service.roll_back(session, body.reason))


@router.post(
    "/model-versions:compare",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Compare two model versions on a task",
    description="As a job: both adapt to the same parts of what was observed, and are scored by the same rest, among what "
    "fine-tuning keeps out of training; and both are asked what was asked before its value came. The job's `result` has "
    "the means, the mean paired difference second − first (larger is better) and its standard error.",
    responses={202: example(COMPARE_JOB_EXAMPLE, "Queued."), **problems(400, 404, 409)},
)
@at_least(Role.OPERATOR, changes=True)
def compare_model_versions(
    database: DatabaseDep,
    response: Response,
    body: Annotated[CompareBody, Body(openapi_examples={"two": {"value": COMPARE_REQUEST_EXAMPLE}})],
) -> JobReply:
    with database.write() as session:
        queued = comparing.start(session, body)
    response.headers["Location"] = f"/v1/jobs/{queued.id}"
    return queued


@router.get(
    "/tasks/{task}/pin",
    summary="Show what a task is pinned to",
    description="The model version that answers for the task whatever becomes champion, and every change of that.",
    responses={200: example(PINS_EXAMPLE), **problems(404)},
)
@at_least(Role.READER)
def show_pin(database: DatabaseDep, task: str) -> PinsOut:
    with database.read() as session:
        return pins.history(session, tasks.find(session, task))


@router.post(
    "/tasks/{task}:pin",
    summary="Pin a task to a model version",
    description="From now on that version adapts to the task and answers for it; promotions, fine-tunes and rollbacks do not "
    "move it. What answered before answers until the adaptation is done. Again is harmless. 409 if this program does not read "
    "the version.",
    responses={200: example(PIN_EXAMPLE), **problems(400, 404, 409)},
)
@at_least(Role.OPERATOR, changes=True)
def pin_task(
    database: DatabaseDep,
    task: str,
    body: Annotated[PinBody, Body(openapi_examples={"pin": {"value": PIN_REQUEST_EXAMPLE}})],
) -> PinOut:
    with database.write() as session:
        return pins.pin(session, tasks.find(session, task, for_update=True), body.model_version, body.reason)


@router.post(
    "/tasks/{task}:unpin",
    summary="Unpin a task",
    description="The champion answers for the task again. 409 if it is not pinned.",
    responses={200: example(UNPIN_EXAMPLE), **problems(400, 404, 409)},
)
@at_least(Role.OPERATOR, changes=True)
def unpin_task(database: DatabaseDep, task: str, body: ReasonBody) -> PinOut:
    with database.write() as session:
        return pins.unpin(session, tasks.find(session, task, for_update=True), body.reason)
