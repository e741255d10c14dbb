"""/v1/tasks/{task}/observations and /best."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Path, Query, Response, status

from app.access.callers import CallerDep
from app.access.task_places import TaskPlaces
from app.dependencies import DatabaseDep, SettingsDep
from app.formats.uploads import OBSERVATIONS_CONTENT, observation_router
from app.guarded_routes import Role, at_least
from app.json_requests import json_router
from app.lists import Asked, BeforeQuery, FiniteQuery, SinceQuery
from app.observations import fronts, intake, service
from app.observations.repository import Filter
from app.observations.schemas import (
    BEST_EXAMPLE,
    CORRECTION_EXAMPLE,
    CORRECTION_REQUEST_EXAMPLE,
    DAG_EXAMPLE,
    MANY_EXAMPLE,
    OBSERVATION_EXAMPLE,
    ONE_EXAMPLE,
    PARETO_EXAMPLE,
    POSTED_EXAMPLE,
    RETRACTION_EXAMPLE,
    RETRACTION_REQUEST_EXAMPLE,
    BestOut,
    CorrectionIn,
    KeptStatus,
    ObservationOut,
    ObservationsBody,
    ParetoOut,
    PostedOut,
    RetractionIn,
)
from app.pagination import Page
from app.preconditions import IfMatchDep
from app.schemas import example, problems

router = json_router("observations")
posts = observation_router("observations")

_FIRST = {"task": "$request.path.task", "observation_id": "$response.body#/observations/0/id"}
_LINKS = dict.fromkeys(("show_observation", "correct_observation", "retract_observation"), _FIRST)
ObservationId = Annotated[int, Path(ge=1, lt=2**63, description="Id of an observation of this task.")]


@posts.post(
    "/tasks/{task}/observations",
    status_code=status.HTTP_201_CREATED,
    summary="Post observations",
    description="One observation, or many under `observations`. All of them are recorded, or none: every bad one is "
    "listed at its index (422), and so is every client key that is taken by other content (409). What was posted before "
    "under the same client key is answered as a duplicate; 200 if there was nothing else. The task is adapted in the "
    "background: many posts, one adaptation. As multipart/form-data the architectures are ONNX files in fields `file`.",
    responses={
        201: example(POSTED_EXAMPLE, "Recorded.", links=_LINKS),
        200: example(
            {**POSTED_EXAMPLE, "num_created": 0, "num_duplicates": 1}, "All of it was there.", PostedOut, _LINKS
        ),
        **problems(400, 404, 409),
    },
    openapi_extra={"requestBody": {"content": {"multipart/form-data": OBSERVATIONS_CONTENT}}},
)
@at_least(Role.CONTRIBUTOR, changes=True)
def post_observations(
    database: DatabaseDep,
    settings: SettingsDep,
    response: Response,
    task: str,
    body: Annotated[
        ObservationsBody,
        Body(
            openapi_examples={
                "one": {"value": ONE_EXAMPLE},
                "many": {"value": MANY_EXAMPLE},
                "as a DAG": {"value": DAG_EXAMPLE},
            }
        ),
    ],
) -> PostedOut:
    with database.read() as session:
        taken = intake.take(session, task, body, settings.max_observations_per_request)
    drafts = taken.read()  # outside of any transaction: other writers need not wait for it
    with database.write() as session:
        posted = service.record(session, taken, drafts)
    response.status_code = status.HTTP_201_CREATED if posted.num_created else status.HTTP_200_OK
    return posted


@router.get(
    "/tasks/{task}/observations",
    summary="List observations",
    description="A task's current observations, the oldest first; by value where a range of values is asked for, and by "
    "time where a range of time is, unless `sort` says otherwise. Superseded and retracted ones, and the retractions "
    "themselves, are shown where asked for.",
    response_model=Page[ObservationOut],
    responses={200: example({"items": [OBSERVATION_EXAMPLE], "next_cursor": None}), **problems(404)},
)
@at_least(Role.READER)
def list_observations(
    database: DatabaseDep,
    task: str,
    asked: Annotated[Asked, service.LISTING.query],
    architecture: Annotated[
        str | None, Query(pattern=r"^[0-9a-f]{32}$", description="Only those of the architecture of this id.")
    ] = None,
    status: Annotated[KeptStatus | None, Query(description="Only those of this status.")] = None,
    include_superseded: Annotated[bool, Query(description="Also what was superseded or retracted.")] = False,
    min_value: Annotated[FiniteQuery | None, Query(description="Only values of at least this.")] = None,
    max_value: Annotated[FiniteQuery | None, Query(description="Only values of at most this.")] = None,
    since: SinceQuery = None,
    before: BeforeQuery = None,
    after_id: Annotated[
        int | None,
        Query(ge=0, lt=2**63, description="Only those recorded after the one of this id: to follow what is appended."),
    ] = None,
) -> Any:
    wanted = Filter(architecture, status, include_superseded, min_value, max_value, since, before, after_id)
    with database.read() as session:
        return service.LISTING.answer(service.page(session, task, asked, wanted), asked)


@router.get(
    "/tasks/{task}/observations/{observation_id}",
    summary="Show an observation",
    description="One observation as it was recorded, whether it still counts or not: `superseded_by_id` leads to its "
    "correction or retraction, and `supersedes_id` to what it corrects.",
    responses={200: example(OBSERVATION_EXAMPLE), **problems(404)},
)
@at_least(Role.READER)
def show_observation(database: DatabaseDep, task: str, observation_id: ObservationId) -> ObservationOut:
    with database.read() as session:
        return service.find(session, task, observation_id)


@router.post(
    "/tasks/{task}/observations/{observation_id}/correction",
    status_code=status.HTTP_201_CREATED,
    summary="Correct an observation",
    description="Records a new observation of the same architecture, seed, fidelity and cost in the place of an older "
    "one, which stays in the records. Its `std_error` is kept unless another is given. What was superseded or retracted "
    "before is refused with 409; `If-Match` with the older one's `ETag` makes sure that you correct what you have seen.",
    responses={201: example(CORRECTION_EXAMPLE, "The new observation."), **problems(400, 404, 409, 412)},
)
@at_least(Role.CONTRIBUTOR, changes=True)
def correct_observation(
    database: DatabaseDep,
    task: str,
    observation_id: ObservationId,
    if_match: IfMatchDep,
    body: Annotated[CorrectionIn, Body(openapi_examples={"value": {"value": CORRECTION_REQUEST_EXAMPLE}})],
) -> ObservationOut:
    with database.write() as session:
        return service.correct(session, task, observation_id, body, if_match)


@router.post(
    "/tasks/{task}/observations/{observation_id}/retraction",
    status_code=status.HTTP_201_CREATED,
    summary="Retract an observation",
    description="Records that an observation is to be ignored; it stays in the records. What was superseded or "
    "retracted before is refused with 409. `If-Match` as with corrections.",
    responses={201: example(RETRACTION_EXAMPLE, "The retraction."), **problems(400, 404, 409, 412)},
)
@at_least(Role.CONTRIBUTOR, changes=True)
def retract_observation(
    database: DatabaseDep,
    task: str,
    observation_id: ObservationId,
    if_match: IfMatchDep,
    body: Annotated[RetractionIn, Body(openapi_examples={"reason": {"value": RETRACTION_REQUEST_EXAMPLE}})],
) -> ObservationOut:
    with database.write() as session:
        return service.retract(session, task, observation_id, body, if_match)


@router.get(
    "/tasks/{task}/best",
    summary="Show the measured leaderboard",
    description="The best architectures by the mean of their repeated measurements at the final fidelity: the task's "
    "`max_fidelity`, or else the largest that was seen.",
    responses={200: example(BEST_EXAMPLE), **problems(404)},
)
@at_least(Role.READER)
def best_architectures(
    database: DatabaseDep, task: str, k: Annotated[int, Query(ge=1, le=1000, description="How many.")] = 10
) -> BestOut:
    with database.read() as session:
        return service.best(session, task, k)


@router.get(
    "/pareto",
    summary="Show the measured Pareto front of several tasks",
    description="The architectures that were measured in all of these tasks of one search space, and that no other of them "
    "beats: none is at least as good in every task, each in its own direction, and better in one. Means at the final "
    "fidelity count, as in the leaderboards.",
    responses={200: example(PARETO_EXAMPLE), **problems(404)},
)
@at_least(Role.READER)
def pareto_front(
    database: DatabaseDep,
    caller: CallerDep,
    tasks: Annotated[
        str,
        Query(
            max_length=1_100,
            description=f"Names or ids of 2 to {fronts.MAX_TASKS} tasks, separated by commas.",
            examples=["digits-accuracy,digits-latency"],
        ),
    ],
) -> ParetoOut:
    places = TaskPlaces(database)
    seen = [str(places.find(caller.project_id, reference).id) for reference in tasks.split(",")]
    with database.read() as session:
        return fronts.pareto(session, seen)
