"""/v1/tasks/{task}/trials."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Path, Query, Request, Response, status
from pydantic import AwareDatetime

from app.dependencies import DatabaseDep, SettingsDep
from app.guarded_routes import Role, at_least
from app.json_requests import json_router
from app.lists import Asked
from app.pagination import Page
from app.schemas import example, problems
from app.trials import examples, service
from app.trials.advice import AdviceService
from app.trials.repository import Filter
from app.trials.schemas import (
    DEFAULT_THRESHOLD,
    AbandonIn,
    AdviceOut,
    CompleteIn,
    FailIn,
    HeartbeatIn,
    ReasonIn,
    RequestedOut,
    RequestIn,
    SuggestedOut,
    SuggestIn,
    TrialOut,
    TrialWithHistory,
    WorkerId,
)
from app.trials.states import TrialState
from app.trials.suggesting import SuggestionService

router = json_router("trials")

TrialId = Annotated[int, Path(ge=1, lt=2**63, description="Id of a trial of this task.")]

_FIRST = {"task": "$request.path.task", "trial_id": "$response.body#/trials/0/id"}
_REPORT = {**_FIRST, "body.lease_token": "$response.body#/trials/0/lease_token"}
_SUGGESTED_LINKS = {
    "show_trial": _FIRST,
    "advise_on_trial": _FIRST,
    "heartbeat_trial": _REPORT,
    "complete_trial": _REPORT,
    "fail_trial": _REPORT,
    "end_infeasible_trial": _REPORT,
    "abandon_trial": _REPORT,
}
_REQUESTED_LINKS = {"show_trial": {**_FIRST, "trial_id": "$response.body#/trials/0/trial_id"}}

_TOKEN = (
    "A missing or wrong lease_token is refused with 403; one of an earlier lease, and any report on a trial that has ended, "
    "with 409. "
)
_AGAIN = (
    "Again with the same token and body is harmless and answers the same; with another body it is refused with 409."
)


@router.post(
    "/tasks/{task}/trials:suggest",
    summary="Get something to measure",
    description="Up to `count` trials for a worker, each under a lease: first those that it has already (with new tokens; "
    "the old ones are void), then the oldest of those that wait, then new ones, chosen as candidates are. New ones are "
    "neither equal nor near-identical to anything that is out, however many workers ask at once. A lease that runs out "
    "returns its trial to the pool; until somebody else takes it, its worker may still report.",
    responses={
        200: example(examples.SUGGESTED_EXAMPLE, "To be measured.", links=_SUGGESTED_LINKS),
        **problems(400, 404, 503),
    },
)
@at_least(Role.CONTRIBUTOR, changes=True)
def suggest_trials(
    request: Request,
    task: str,
    body: Annotated[SuggestIn, Body(openapi_examples={"one": {"value": examples.SUGGEST_EXAMPLE}})],
) -> SuggestedOut:
    suggestions: SuggestionService = request.app.state.suggestions
    return suggestions.suggest(task, body)


@router.post(
    "/tasks/{task}/trials",
    status_code=status.HTTP_201_CREATED,
    summary="Ask for architectures to be measured",
    description="They wait in the pool until workers ask. What waits or is out already is answered as it is, so that two "
    "who ask for the same get the same trial; 200 if nothing is new. If any cannot be read, nothing is done, and all that "
    "is wrong is listed (422).",
    responses={
        201: example(examples.REQUESTED_EXAMPLE, "They wait.", links=_REQUESTED_LINKS),
        200: example(examples.REQUESTED_EXAMPLE, "All of them waited or were out.", RequestedOut, _REQUESTED_LINKS),
        **problems(400, 404),
    },
)
@at_least(Role.CONTRIBUTOR, changes=True)
def request_trials(
    database: DatabaseDep,
    response: Response,
    task: str,
    body: Annotated[RequestIn, Body(openapi_examples={"one": {"value": examples.REQUEST_EXAMPLE}})],
) -> RequestedOut:
    with database.read() as session:
        taken = service.take_request(session, task, body)
    wanted = taken.read()  # outside of any transaction: other writers need not wait for it
    with database.write() as session:
        requested = service.request(session, task, wanted)
    if not any(one.is_new for one in requested.trials):
        response.status_code = status.HTTP_200_OK
    return requested


@router.get(
    "/tasks/{task}/trials",
    summary="List trials",
    description="A task's trials, the oldest first; by their last change where a range of it is asked for, unless `sort` "
    "says otherwise. Tokens are never shown again.",
    response_model=Page[TrialOut],
    responses={200: example({"items": [examples.LEASED_EXAMPLE], "next_cursor": None}), **problems(404)},
)
@at_least(Role.READER)
def list_trials(
    database: DatabaseDep,
    task: str,
    asked: Annotated[Asked, service.LISTING.query],
    state: Annotated[
        list[TrialState] | None, Query(max_length=8, description="Only those in this state; may be repeated.")
    ] = None,
    worker_id: Annotated[WorkerId | None, Query(description="Only those that this worker has, or had last.")] = None,
    architecture: Annotated[
        str | None, Query(pattern=r"^[0-9a-f]{32}$", description="Only those of the architecture of this id.")
    ] = None,
    changed_since: Annotated[
        AwareDatetime | None, Query(description="Only those whose last change was at this moment or later.")
    ] = None,
    changed_before: Annotated[
        AwareDatetime | None, Query(description="Only those whose last change was before this moment.")
    ] = None,
) -> Any:
    wanted = Filter(tuple(sorted(set(state or ()))), worker_id, architecture, changed_since, changed_before)
    with database.read() as session:
        return service.LISTING.answer(service.page(session, task, asked, wanted), asked)


@router.get(
    "/tasks/{task}/trials/{trial_id}",
    summary="Show a trial",
    description="One trial with every change of its state: when, why, and whose it was.",
    responses={200: example(examples.HISTORY_EXAMPLE), **problems(404)},
)
@at_least(Role.READER)
def show_trial(database: DatabaseDep, task: str, trial_id: TrialId) -> TrialWithHistory:
    with database.read() as session:
        return service.history(session, task, trial_id)


@router.post(
    "/tasks/{task}/trials/{trial_id}:heartbeat",
    summary="Extend a lease",
    description="Says that the worker is still at it, and records intermediate results where the task has a `max_fidelity` "
    "to tell them from final ones. The same ones again are recorded once; another value for the same fidelity and seed is "
    "refused with 409. " + _TOKEN,
    responses={200: example(examples.LEASED_EXAMPLE), **problems(400, 403, 404, 409)},
)
@at_least(Role.CONTRIBUTOR, changes=True, is_audited=False)  # every few seconds; a trial has a history of its own
def heartbeat_trial(
    database: DatabaseDep,
    task: str,
    trial_id: TrialId,
    body: Annotated[HeartbeatIn, Body(openapi_examples={"one": {"value": examples.HEARTBEAT_EXAMPLE}})],
) -> TrialOut:
    with database.write() as session:
        return service.heartbeat(session, task, trial_id, body)


@router.post(
    "/tasks/{task}/trials/{trial_id}:complete",
    summary="Complete a trial",
    description="Records what was measured, and ends the trial, in one transaction: what is acknowledged is there exactly "
    "once. Without a final value, what heartbeats brought has to do. " + _TOKEN + _AGAIN,
    responses={200: example(examples.COMPLETED_EXAMPLE), **problems(400, 403, 404, 409)},
)
@at_least(Role.CONTRIBUTOR, changes=True)
def complete_trial(
    database: DatabaseDep,
    task: str,
    trial_id: TrialId,
    body: Annotated[CompleteIn, Body(openapi_examples={"one": {"value": examples.COMPLETE_EXAMPLE}})],
) -> TrialOut:
    with database.write() as session:
        return service.complete(session, task, trial_id, body)


@router.post(
    "/tasks/{task}/trials/{trial_id}:fail",
    summary="Report a failure",
    description="A retryable failure returns the trial to the pool while attempts are left. Otherwise it ends as failed, "
    "which is recorded as an observation, so that the architecture is not suggested again. " + _TOKEN + _AGAIN,
    responses={200: example(examples.FAILED_EXAMPLE), **problems(400, 403, 404, 409)},
)
@at_least(Role.CONTRIBUTOR, changes=True)
def fail_trial(
    database: DatabaseDep,
    settings: SettingsDep,
    task: str,
    trial_id: TrialId,
    body: Annotated[FailIn, Body(openapi_examples={"one": {"value": examples.FAIL_EXAMPLE}})],
) -> TrialOut:
    with database.write() as session:
        return service.fail(session, settings, task, trial_id, body)


@router.post(
    "/tasks/{task}/trials/{trial_id}:infeasible",
    summary="Report that it cannot be built",
    description="Ends the trial, and records an observation that says so. " + _TOKEN + _AGAIN,
    responses={200: example(examples.INFEASIBLE_REPLY_EXAMPLE), **problems(400, 403, 404, 409)},
)
@at_least(Role.CONTRIBUTOR, changes=True)
def end_infeasible_trial(
    database: DatabaseDep,
    task: str,
    trial_id: TrialId,
    body: Annotated[ReasonIn, Body(openapi_examples={"one": {"value": examples.INFEASIBLE_EXAMPLE}})],
) -> TrialOut:
    with database.write() as session:
        return service.end_infeasible(session, task, trial_id, body)


@router.post(
    "/tasks/{task}/trials/{trial_id}:abandon",
    summary="Give a trial back",
    description="It returns to the pool, and counts neither as failed nor as run out. " + _TOKEN + _AGAIN,
    responses={200: example(examples.ABANDONED_EXAMPLE), **problems(400, 403, 404, 409)},
)
@at_least(Role.CONTRIBUTOR, changes=True)
def abandon_trial(
    database: DatabaseDep,
    task: str,
    trial_id: TrialId,
    body: Annotated[AbandonIn, Body(openapi_examples={"one": {"value": examples.ABANDON_EXAMPLE}})],
) -> TrialOut:
    with database.write() as session:
        return service.abandon(session, task, trial_id, body)


@router.get(
    "/tasks/{task}/trials/{trial_id}/advice",
    summary="Ask whether to go on",
    description="`stop` where the probability that the final value beats the best measured one is below `threshold`, "
    "forecast from the intermediate values that heartbeats brought; `continue` where it is not, or too little is known to "
    "say. Nothing is changed by it. A trial that has ended is refused with 409.",
    responses={200: example(examples.ADVICE_EXAMPLE), **problems(404, 409)},
)
@at_least(Role.READER)
def advise_on_trial(
    request: Request,
    task: str,
    trial_id: TrialId,
    threshold: Annotated[
        float, Query(ge=0.0, le=1.0, allow_inf_nan=False, description="Stop below this probability.")
    ] = DEFAULT_THRESHOLD,
) -> AdviceOut:
    advice: AdviceService = request.app.state.advice
    return advice.advise(task, trial_id, threshold)
