"""/v1/searches and /v1/search-strategies."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Header, Path, Query, Request, Response, status
from starlette.responses import StreamingResponse

from app.access.callers import CallerDep
from app.access.task_places import TaskPlaces
from app.dependencies import DatabaseDep
from app.guarded_routes import Role, at_least
from app.inference.searching import Images
from app.json_requests import json_router
from app.lists import Asked, BeforeQuery, FiniteQuery, SinceQuery
from app.pagination import Page
from app.schemas import example, problems
from app.searches import events, examples, exporting, service
from app.searches.events import EventStreams
from app.searches.planning import Planner, all_strategies
from app.searches.repository import Filter
from app.searches.schemas import (
    BestOut,
    EvaluationOut,
    EvaluationState,
    Format,
    SearchIn,
    SearchOut,
    SearchParetoOut,
    SearchState,
    SearchSummary,
    StrategiesOut,
    StrategyOut,
)

router = json_router("searches")

SearchId = Annotated[int, Path(ge=1, lt=2**63, description="Id of a search.")]

_SEARCH = {"search_id": "$response.body#/id"}
_LINKS = dict.fromkeys(
    (
        "show_search",
        "list_search_evaluations",
        "pause_search",
        "resume_search",
        "cancel_search",
        "show_search_pareto",
    ),
    _SEARCH,
)


@router.get(
    "/search-strategies",
    summary="List search strategies",
    description="All strategies with what they do, where they come from, and their settings as a JSON schema.",
    responses={200: example({"items": [examples.STRATEGY_EXAMPLE]}), **problems()},
)
@at_least(Role.READER)
def list_search_strategies() -> StrategiesOut:
    return StrategiesOut(items=[StrategyOut.model_validate(one) for one in all_strategies()])


@router.post(
    "/searches",
    status_code=status.HTTP_201_CREATED,
    summary="Start a search",
    description="Searches for the best architectures of one or several tasks, as a job that any worker may go on with from "
    "where another one left off. With the evaluator `trials` what is proposed waits in the tasks' pools for workers that "
    "measure it, and the search holds no worker meanwhile. What the tasks have observed before is told to the strategy first. "
    "In the mode `guided` a strategy that makes no use of forecasts itself searches on the forecast, again in every round, and "
    "the best of what it visits are measured. `Location` says where to follow it.",
    responses={201: example(examples.CREATED_EXAMPLE, "Queued.", links=_LINKS), **problems(400, 403, 409, 503)},
)
@at_least(Role.CONTRIBUTOR, changes=True)
def create_search(
    request: Request,
    database: DatabaseDep,
    caller: CallerDep,
    response: Response,
    body: Annotated[
        SearchIn,
        Body(
            openapi_examples={
                "on forecasts": {"value": examples.REQUEST_EXAMPLE},
                "guided": {"value": examples.GUIDED_REQUEST_EXAMPLE},
                "by gradient": {"value": examples.SUPERNET_REQUEST_EXAMPLE},
            }
        ),
    ],
) -> SearchOut:
    planner: Planner = request.app.state.search_planner
    read = planner.read(body, caller, service.new_seed() if body.seed is None else body.seed)
    with database.write() as session:
        created = service.shown(session, service.create(session, read, body, caller), None)
    response.headers["Location"] = f"/v1/searches/{created.id}"
    return created


@router.get(
    "/searches",
    summary="List searches",
    description="Those that the caller sees, the newest first.",
    response_model=Page[SearchSummary],
    responses={200: example({"items": [examples.SUMMARY_EXAMPLE], "next_cursor": None}), **problems(404, 409)},
)
@at_least(Role.READER)
def list_searches(
    database: DatabaseDep,
    caller: CallerDep,
    asked: Annotated[Asked, service.LISTING.query],
    state: Annotated[SearchState | None, Query(description="Only those in this state.")] = None,
    strategy: Annotated[
        str | None, Query(max_length=64, pattern=r"^[^\x00]*$", description="Only those with this strategy.")
    ] = None,
    task: Annotated[str | None, Query(max_length=128, description="Only those for this task, by name or id.")] = None,
    since: SinceQuery = None,
    before: BeforeQuery = None,
) -> Any:
    task_id = None if task is None else TaskPlaces(database).find(caller.project_id, task).id
    wanted = Filter(state, strategy, task_id, since, before)
    with database.read() as session:
        return service.LISTING.answer(service.page(session, asked, wanted, caller.project_id), asked)


@router.get(
    "/searches/{search_id}",
    summary="Show a search",
    description="How far it is, the best so far, and how the best came to be.",
    responses={200: example(examples.SEARCH_EXAMPLE), **problems(404)},
)
@at_least(Role.READER)
def show_search(database: DatabaseDep, caller: CallerDep, search_id: SearchId) -> SearchOut:
    with database.read() as session:
        return service.shown(session, search_id, caller.project_id)


@router.get(
    "/searches/{search_id}/evaluations",
    summary="List what a search proposed",
    description="Its evaluations in the order of the proposals, or by value.",
    response_model=Page[EvaluationOut],
    responses={200: example({"items": [examples.EVALUATION_EXAMPLE], "next_cursor": None}), **problems(404)},
)
@at_least(Role.READER)
def list_search_evaluations(
    database: DatabaseDep,
    caller: CallerDep,
    search_id: SearchId,
    asked: Annotated[Asked, service.EVALUATIONS.query],
    state: Annotated[EvaluationState | None, Query(description="Only those in this state.")] = None,
) -> Any:
    with database.read() as session:
        page = service.evaluations_page(session, search_id, asked, state, caller.project_id)
        return service.EVALUATIONS.answer(page, asked)


@router.post(
    "/searches/{search_id}:pause",
    summary="Pause a search",
    description="Nothing more is proposed until it is resumed; a step that is being done is finished, and what is out may "
    "still be measured. Its time stops. Again is harmless; a search that has ended is refused with 409.",
    responses={200: example({**examples.SEARCH_EXAMPLE, "state": "paused"}), **problems(404, 409)},
)
@at_least(Role.CONTRIBUTOR, changes=True)
def pause_search(database: DatabaseDep, caller: CallerDep, search_id: SearchId) -> SearchOut:
    with database.write() as session:
        return service.pause(session, search_id, caller.project_id)


@router.post(
    "/searches/{search_id}:resume",
    summary="Resume a search",
    description="Goes on where it was paused. Again is harmless; a search that has ended is refused with 409.",
    responses={200: example(examples.SEARCH_EXAMPLE), **problems(404, 409)},
)
@at_least(Role.CONTRIBUTOR, changes=True)
def resume_search(database: DatabaseDep, caller: CallerDep, search_id: SearchId) -> SearchOut:
    with database.write() as session:
        return service.resume(session, search_id, caller.project_id)


@router.post(
    "/searches/{search_id}:cancel",
    summary="Cancel a search",
    description="Ends it, or asks the worker that has it to. What it found stays; trials that it asked for and that nobody "
    "has taken are withdrawn. Again is harmless; a search that is done or failed is refused with 409.",
    responses={200: example({**examples.SEARCH_EXAMPLE, "state": "cancelled"}), **problems(404, 409)},
)
@at_least(Role.CONTRIBUTOR, changes=True)
def cancel_search(database: DatabaseDep, caller: CallerDep, search_id: SearchId) -> SearchOut:
    with database.write() as session:
        return service.cancel(session, search_id, caller.project_id)


@router.get(
    "/searches/{search_id}/events",
    summary="Follow a search",
    description="Server-sent events, from the first on or, with `Last-Event-ID`, from the one after it, at any replica: "
    "`created`, `proposed`, `evaluated`, `improved` (a new best), `epoch` (of darts: losses, accuracies, what is chosen), `paused`, "
    "`resumed`, and `end` when the search has ended, after which the stream ends. Comments say that it is still there. It closes after an hour at the latest: come back with "
    "the last id, as `EventSource` does by itself.",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {"text/event-stream": {"schema": examples.EVENT_SCHEMA, "example": examples.EVENT_EXAMPLE}},
            "description": "The stream.",
        },
        **problems(404, 503),
    },
)
@at_least(Role.READER, is_timed=False)  # a stream, as long as it takes
def follow_search(
    request: Request,
    database: DatabaseDep,
    caller: CallerDep,
    search_id: SearchId,
    last_event_id: Annotated[
        str | None, Header(alias="Last-Event-ID", description="Id of the last event that was seen.", max_length=64)
    ] = None,
) -> StreamingResponse:
    streams: EventStreams = request.app.state.event_streams
    after = events.last_event_id(last_event_id)
    with database.read() as session:
        service.find(session, search_id, caller.project_id)
    streams.check_room()
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # proxies are to pass on what comes at once
    return StreamingResponse(streams.stream(search_id, after), media_type="text/event-stream", headers=headers)


@router.get(
    "/searches/{search_id}/best",
    summary="Export the best architecture",
    description="The best so far, or that of an evaluation: as a DAG document, in the notation of its search space, or as "
    "source of a PyTorch module that can be run. 409 while nothing has a value.",
    responses={200: example(examples.BEST_EXAMPLE), **problems(404, 409)},
)
@at_least(Role.READER)
def export_search_best(
    database: DatabaseDep,
    caller: CallerDep,
    search_id: SearchId,
    format: Annotated[Format, Query(description="dag, genotype or pytorch.")] = "genotype",  # noqa: A002  its public name
    number: Annotated[
        int | None, Query(ge=1, lt=2**31, description="That of this evaluation instead of the best.")
    ] = None,
    image: Annotated[
        str,
        Query(
            pattern=r"^[1-9][0-9]{0,3}x[1-9][0-9]{0,3}x[1-9][0-9]{0,3}$",
            description="For pytorch: channels, height and width of the images.",
        ),
    ] = "3x32x32",
    classes: Annotated[int, Query(ge=2, le=100_000, description="For pytorch: how many classes there are.")] = 10,
) -> BestOut:
    channels, height, width = map(int, image.split("x"))
    images = Images((channels, height, width), classes)
    with database.read() as session:
        return exporting.best(session, search_id, format, number, images, caller.project_id)


@router.get(
    "/searches/{search_id}/pareto",
    summary="Show a search's Pareto front",
    description="What no other of its evaluations beats in all objectives, among those at the final fidelity whose "
    "constraints hold, with the hypervolume that it dominates of `reference`. Without one, the reference lies a tenth of the "
    "front's range beyond its worst values; compare only volumes of the same reference.",
    responses={200: example(examples.PARETO_EXAMPLE), **problems(404)},
)
@at_least(Role.READER)
def show_search_pareto(
    database: DatabaseDep,
    caller: CallerDep,
    search_id: SearchId,
    reference: Annotated[
        list[FiniteQuery] | None,
        Query(max_length=8, description="One number for each objective, in its unit and in their order; repeat it."),
    ] = None,
) -> SearchParetoOut:
    with database.read() as session:
        return exporting.pareto(session, search_id, reference, caller.project_id)
