"""Reads the request of a search: tasks, strategy, constraints and architectures to begin with, before anything is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from app import queue
from app.access.callers import Caller
from app.access.task_places import TaskPlaces
from app.candidates.service import CandidateService
from app.database import Database
from app.errors import AppError, ErrorItem, ForbiddenError, InvalidContentError, NotFoundError
from app.guarded_routes import Role
from app.inference import (
    Inference,
    ParsedArchitecture,
    notations,
    parse_many,
    referenced_ids,
    referred_architectures,
    search_space,
    supernets,
)
from app.inference.datasets import DatasetCatalogue
from app.inference.searching import Objective, Searcher, SearchPlan, StrategySummary, strategy_summaries
from app.inference.supernets import SupernetPlan
from app.search_spaces import service as search_spaces
from app.searches.schemas import MAX_SUPERNET_SECONDS, BudgetIn, Evaluator, Mode, ObjectiveIn, SearchIn
from app.tables import DEFAULT_PROJECT_ID, TaskRecord
from app.tasks import service as tasks
from app.validation import invalid_content

_PARALLEL, _PARALLEL_FORECASTS = 4, 32

Result = TypeVar("Result")


@dataclass(frozen=True)
class ReadObjective:
    """A task that the caller sees, with the direction in which it is searched."""

    task: TaskRecord
    direction: str


@dataclass(frozen=True)
class ReadRequest:
    """A request that was found to be possible."""

    objectives: Sequence[ReadObjective]
    evaluator: Evaluator
    plan: SearchPlan
    project_id: int
    budget: BudgetIn
    parallel: int
    job_kind: str


class Planner:
    """One for an application. May be called from any thread; opens its own transactions."""

    def __init__(
        self, database: Database, inference: Inference, candidates: CandidateService, datasets: DatasetCatalogue
    ) -> None:
        self._database = database
        self._inference = inference
        self._candidates = candidates
        self._datasets = datasets
        self._places = TaskPlaces(database)

    def read(self, body: SearchIn, caller: Caller, seed: int) -> ReadRequest:
        """The request with all that it names.

        Raises:
            InvalidContentError: if a task, the strategy, a setting, a constraint or an architecture is wrong, or they do not
                go together.
            ForbiddenError: if trials are to be made of tasks that the caller may not change.
            NotReadyError: if forecasts are needed and there is no champion yet.
        """
        _check_strategy(body.strategy)
        if body.strategy == supernets.STRATEGY:
            return self._read_supernet(body, caller, seed)
        mode: Mode = body.mode or "guided"
        evaluator = _evaluator(body, mode)
        if body.budget is None:
            raise _refused(["body", "budget"], "expected evaluations, seconds or both, got no budget")
        references = self._references(body.objectives, caller, changes=evaluator == "trials")
        with self._database.read() as session:
            objectives = _objectives(session, body.objectives, references)
            space = space_of(session, objectives[0].task.search_space)
            project_id = _project_of(objectives, caller)
            stored = referred_architectures(session, space, referenced_ids(body.start), project_id)
        plan = SearchPlan(
            space=space,
            objectives=_planned(objectives),
            strategy=body.strategy,
            settings=body.settings,
            mode=mode,
            seed=seed,
            start=tuple(read_start(space, body.start, stored)),
        )
        _located(["body", "strategy"], lambda: Searcher(plan))
        self._check_constraints(body, mode, objectives[0].task, project_id)
        parallel = body.parallel or (_PARALLEL_FORECASTS if mode == "forecast" else _PARALLEL)
        return ReadRequest(objectives, evaluator, plan, project_id, body.budget, parallel, queue.SEARCH)

    def _read_supernet(self, body: SearchIn, caller: Caller, seed: int) -> ReadRequest:
        unsuited = _unsuited_to_supernets(body)
        if unsuited:
            raise invalid_content(unsuited)
        references = self._references(body.objectives, caller, changes=False)
        with self._database.read() as session:
            objectives = _objectives(session, body.objectives, references)
            task = objectives[0].task
            space = space_of(session, task.search_space)
        if objectives[0].direction != task.direction:
            message = f"expected no direction but the task's own with {body.strategy}, got {objectives[0].direction}"
            raise _refused(["body", "objectives", 0, "direction"], message)
        where: list[str | int] = ["body", "settings"]
        _located([*where, "dataset"], lambda: self._datasets.source(body.settings.get("dataset")))
        read = _located(where, lambda: SupernetPlan.read(space, body.settings, seed))
        if read.tells(task.dataset, task.metric, task.unit):
            _check_may_change(caller, task.project_id, task.name, "what is retrained observed in it")
        project_id = _project_of(objectives, caller)
        settings = {"dataset": read.dataset, **read.settings}
        plan = SearchPlan(space, _planned(objectives), body.strategy, settings, "measured", read.seed)
        seconds = MAX_SUPERNET_SECONDS if body.budget is None else body.budget.seconds
        return ReadRequest(objectives, "supernet", plan, project_id, BudgetIn(seconds=seconds), 1, queue.SUPERNET)

    def _references(self, objectives: Sequence[ObjectiveIn], caller: Caller, *, changes: bool) -> list[str]:
        """The ids of the tasks that the caller means."""
        found = []
        for index, one in enumerate(objectives):
            try:
                place = self._places.find(caller.project_id, one.task)
            except NotFoundError as error:
                raise _refused(["body", "objectives", index, "task"], error.detail) from error
            if changes:
                _check_may_change(caller, place.project_id, one.task, "trials of it made")
            found.append(str(place.id))
        return found

    def _check_constraints(self, body: SearchIn, mode: Mode, task: TaskRecord, project_id: int) -> None:
        if not body.constraints and mode == "measured":
            return
        served = self._inference.load(str(task.id))  # says so now if there is no champion
        for index, text in enumerate(body.constraints):
            location: list[str | int] = ["body", "constraints", index]
            _located(location, lambda text=text: self._candidates.bound(served, [text], project_id))  # type: ignore[misc]


def space_of(session: Session, name: str) -> notations.SearchSpace:
    """The search space of that name."""
    record = search_spaces.find(session, name)
    return search_space(record.name, record.definition)


def read_start(
    space: notations.SearchSpace, written: Sequence[object], stored: Mapping[str, Any]
) -> list[ParsedArchitecture]:
    """Architectures to begin with; raises InvalidContentError, which lists every bad one."""
    outcomes = parse_many(space, written, stored)
    errors: list[ErrorItem] = [
        {"location": ["body", "start", index], "message": outcome.detail}
        for index, outcome in enumerate(outcomes)
        if isinstance(outcome, AppError)
    ]
    if errors:
        raise invalid_content(errors)
    return [outcome for outcome in outcomes if isinstance(outcome, ParsedArchitecture)]


def all_strategies() -> list[StrategySummary]:
    """What a request may name."""
    return [*strategy_summaries(), supernets.strategy_summary()]


def _check_strategy(name: str) -> None:
    known = [one.name for one in all_strategies()]
    if name not in known:
        message = f"expected one of the strategies {', '.join(known)}, got {ascii(name)[:100]}"
        raise _refused(["body", "strategy"], message)


def _check_may_change(caller: Caller, project_id: int | None, task: str, what: str) -> None:
    if project_id is None and caller.role < Role.OPERATOR:
        raise ForbiddenError(
            f"expected tasks of a project, got {task!r}, which belongs to all: only a caller with the role "
            f"{Role.OPERATOR.label} may have {what}, got {caller.role.label}",
            role=Role.OPERATOR.label,
        )


def _evaluator(body: SearchIn, mode: Mode) -> Evaluator:
    is_forecast = mode == "forecast"
    evaluator = body.evaluator or ("forecast" if is_forecast else "trials")
    if evaluator == "supernet":
        message = f"expected supernet with the strategy {supernets.STRATEGY} alone, got it with {body.strategy}"
        raise _refused(["body", "evaluator"], message)
    if (evaluator == "forecast") != is_forecast:
        expected = "forecast" if is_forecast else "trials or table"
        raise _refused(["body", "evaluator"], f"expected {expected} with the mode {mode}, got {evaluator}")
    return evaluator


def _unsuited_to_supernets(body: SearchIn) -> list[ErrorItem]:
    """What makes no sense where a supernet is searched by gradient."""
    seconds = None if body.budget is None else body.budget.seconds
    own_seed = body.settings.get("seed", body.seed)
    rules: list[tuple[bool, str, str, object]] = [
        (len(body.objectives) > 1, "objectives", "one task", len(body.objectives)),
        (body.mode not in (None, "measured"), "mode", "measured, or none,", body.mode),
        (body.evaluator not in (None, "supernet"), "evaluator", "supernet, or none,", body.evaluator),
        (
            body.budget is not None and body.budget.evaluations is not None,
            "budget",
            "seconds or no budget, for the epochs are its length,",
            "evaluations",
        ),
        (
            seconds is not None and seconds > MAX_SUPERNET_SECONDS,
            "budget",
            f"at most {MAX_SUPERNET_SECONDS:g} seconds",
            seconds,
        ),
        (bool(body.constraints), "constraints", "no constraints", len(body.constraints)),
        (bool(body.start), "start", "no architectures to begin with", len(body.start)),
        (body.parallel is not None, "parallel", "nothing, for it is one training,", body.parallel),
        (body.seed not in (None, own_seed), "seed", "one seed", f"{body.seed} beside {own_seed!r:.80} in settings"),
    ]
    return [
        {"location": ["body", name], "message": f"expected {expected} with the strategy {body.strategy}, got {got}"}
        for is_unsuited, name, expected, got in rules
        if is_unsuited
    ]


def _planned(objectives: Sequence[ReadObjective]) -> tuple[Objective, ...]:
    return tuple(Objective(one.task.name, one.task.metric, one.task.unit, one.direction) for one in objectives)


def _objectives(session: Session, asked: Sequence[ObjectiveIn], references: Sequence[str]) -> list[ReadObjective]:
    records = [tasks.find(session, reference) for reference in references]
    names = [record.name for record in records]
    if len({record.id for record in records}) < len(records):
        raise _refused(["body", "objectives"], f"expected different tasks, got {', '.join(names)}")
    spaces = sorted({record.search_space for record in records})
    if len(spaces) > 1:
        raise _refused(
            ["body", "objectives"], f"expected tasks of one search space, got tasks of {' and '.join(spaces)}"
        )
    if len({record.project_id for record in records if record.project_id is not None}) > 1:
        raise _refused(["body", "objectives"], f"expected tasks of one project, got {', '.join(names)} of several")
    return [
        ReadObjective(record, one.direction or record.direction) for record, one in zip(records, asked, strict=True)
    ]


def _project_of(objectives: Sequence[ReadObjective], caller: Caller) -> int:
    own = next((one.task.project_id for one in objectives if one.task.project_id is not None), None)
    return own or caller.project_id or DEFAULT_PROJECT_ID


def _located(location: list[str | int], work: Callable[[], Result]) -> Result:
    """Raises what is wrong as something that is wrong at that place of the request."""
    try:
        return work()
    except InvalidContentError as error:
        raise _refused(location, error.detail) from error


def _refused(location: list[str | int], message: str) -> InvalidContentError:
    return invalid_content([{"location": location, "message": message}])
