"""Reads the request of a search: tasks, strategy, constraints and architectures to begin with, before anything is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

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
)
from app.inference.searching import Objective, Searcher, SearchPlan
from app.search_spaces import service as search_spaces
from app.searches.schemas import Evaluator, ObjectiveIn, SearchIn
from app.tables import DEFAULT_PROJECT_ID, TaskRecord
from app.tasks import service as tasks
from app.validation import invalid_content


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


class Planner:
    """One for an application. May be called from any thread; opens its own transactions."""

    def __init__(self, database: Database, inference: Inference, candidates: CandidateService) -> None:
        self._database = database
        self._inference = inference
        self._candidates = candidates
        self._places = TaskPlaces(database)

    def read(self, body: SearchIn, caller: Caller, seed: int) -> ReadRequest:
        """The request with all that it names.

        Raises:
            InvalidContentError: if a task, the strategy, a setting, a constraint or an architecture is wrong, or they do not
                go together.
            ForbiddenError: if trials are to be made of tasks that the caller may not change.
            NotReadyError: if forecasts are needed and there is no champion yet.
        """
        evaluator = _evaluator(body)
        references = self._references(body.objectives, caller, changes=evaluator == "trials")
        with self._database.read() as session:
            objectives = _objectives(session, body.objectives, references)
            space = space_of(session, objectives[0].task.search_space)
            project_id = _project_of(objectives, caller)
            stored = referred_architectures(session, space, referenced_ids(body.start), project_id)
        plan = SearchPlan(
            space=space,
            objectives=tuple(Objective(o.task.name, o.task.metric, o.task.unit, o.direction) for o in objectives),
            strategy=body.strategy,
            settings=body.settings,
            mode=body.mode,
            seed=seed,
            start=tuple(read_start(space, body.start, stored)),
        )
        _located(["body", "strategy"], lambda: Searcher(plan))
        self._check_constraints(body, objectives[0].task, project_id)
        return ReadRequest(objectives, evaluator, plan, project_id)

    def _references(self, objectives: Sequence[ObjectiveIn], caller: Caller, *, changes: bool) -> list[str]:
        """The ids of the tasks that the caller means."""
        found = []
        for index, one in enumerate(objectives):
            try:
                place = self._places.find(caller.project_id, one.task)
            except NotFoundError as error:
                raise _refused(["body", "objectives", index, "task"], error.detail) from error
            if changes and place.project_id is None and caller.role < Role.OPERATOR:
                raise ForbiddenError(
                    f"expected tasks of a project, got {one.task!r}, which belongs to all: only a caller with the role "
                    f"{Role.OPERATOR.label} may have trials of it made, got {caller.role.label}",
                    role=Role.OPERATOR.label,
                )
            found.append(str(place.id))
        return found

    def _check_constraints(self, body: SearchIn, task: TaskRecord, project_id: int) -> None:
        if not body.constraints and body.mode == "measured":
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


def _evaluator(body: SearchIn) -> Evaluator:
    is_forecast = body.mode == "forecast"
    evaluator = body.evaluator or ("forecast" if is_forecast else "trials")
    if (evaluator == "forecast") != is_forecast:
        expected = "forecast" if is_forecast else "trials or table"
        raise _refused(["body", "evaluator"], f"expected {expected} with the mode {body.mode}, got {evaluator}")
    return evaluator


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


def _located(location: list[str | int], work: Callable[[], object]) -> None:
    """Raises what is wrong as something that is wrong at that place of the request."""
    try:
        work()
    except InvalidContentError as error:
        raise _refused(location, error.detail) from error


def _refused(location: list[str | int], message: str) -> InvalidContentError:
    return invalid_content([{"location": location, "message": message}])
