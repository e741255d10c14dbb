"""The documents of searches."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from app.schemas import FiniteNumber, NotationForm, Reply, RequestBody

MAX_OBJECTIVES = 8
MAX_EVALUATIONS = 100_000
MAX_SECONDS = 365 * 24 * 3600.0
MAX_SUPERNET_SECONDS = 7 * 24 * 3600.0
MAX_PARALLEL = 256
MAX_SEED = 2**31

Mode = Literal["measured", "forecast", "guided"]
Evaluator = Literal["trials", "table", "forecast", "supernet"]
SearchState = Literal["queued", "running", "waiting", "paused", "done", "failed", "cancelled"]
EvaluationState = Literal["open", "done", "failed"]
Source = Literal["trial", "known", "table", "forecast", "supernet", "training"]
Format = Literal["dag", "genotype", "pytorch"]
Direction = Literal["maximize", "minimize"]


class ObjectiveIn(RequestBody):
    """What is to become better."""

    task: Annotated[str, Field(min_length=1, max_length=128)] = Field(description="Name or id of a task.")
    direction: Direction | None = Field(default=None, description="Which way is better; null: as the task says.")


class BudgetIn(RequestBody):
    """When the search ends; with both, whichever comes first."""

    evaluations: Annotated[int, Field(ge=1, le=MAX_EVALUATIONS)] | None = Field(
        default=None,
        description="After so many evaluations, at whatever fidelity. One whose value was known before counts, too.",
    )
    seconds: Annotated[FiniteNumber, Field(gt=0.0, le=MAX_SECONDS)] | None = Field(
        default=None, description="After so much time, from the first step on, pauses left out."
    )

    @model_validator(mode="after")
    def _has_an_end(self) -> BudgetIn:
        if self.evaluations is None and self.seconds is None:
            raise ValueError("expected evaluations, seconds or both, got neither")
        return self


class SearchIn(RequestBody):
    """A search that is to be made."""

    objectives: Annotated[list[ObjectiveIn], Field(min_length=1, max_length=MAX_OBJECTIVES)] = Field(
        description="One or several tasks of one search space, the one that decides which is `best` first."
    )
    strategy: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        description="One of those that /v1/search-strategies lists."
    )
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="Of the strategy; what is left out has its default. darts needs `dataset`, the name of a data set that the "
        "service knows.",
    )
    mode: Mode | None = Field(
        default=None,
        description="measured: the strategy hears of measured values alone. forecast: of forecasts alone, and nothing is "
        "measured. guided: it searches on the forecast, the best are measured, and the next forecast knows what came out. "
        "Null: guided, and with darts measured.",
    )
    evaluator: Evaluator | None = Field(
        default=None,
        description="Where values come from. trials: what is proposed becomes trials of the tasks, which workers measure. "
        "table: what the tasks have observed, as if it were measured now; forecasts know only what was looked up. "
        "forecast: with the mode forecast, and only there. supernet: with darts, and only there. Null: trials or forecast, as "
        "the mode says, or supernet.",
    )
    budget: BudgetIn | None = Field(
        default=None,
        description="Needed but with darts, whose length is its epochs: there seconds alone may be given, a week at most and "
        "by default.",
    )
    constraints: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=8)] = Field(
        default_factory=list, description="Such as `latency_ms<=12`, as with candidates."
    )
    start: Annotated[list[NotationForm], Field(max_length=100)] = Field(
        default_factory=list,
        description="Architectures to begin with, as notations, DAGs or ids. An open space needs some, or observations.",
    )
    parallel: Annotated[int, Field(ge=1, le=MAX_PARALLEL)] | None = Field(
        default=None, description="How many evaluations are out at once; null: 4, and 32 with forecasts."
    )
    seed: Annotated[int, Field(ge=0, lt=MAX_SEED)] | None = Field(default=None, description="Leave out for a new one.")
    description: Annotated[str, Field(max_length=500)] = Field(default="", description="Kept with the search.")


class ObjectiveOut(Reply):
    """What becomes better."""

    task: str
    metric: str
    unit: str
    direction: Direction


class BudgetOut(Reply):
    """When the search ends."""

    evaluations: int | None
    seconds: float | None


class EvaluationOut(Reply):
    """An architecture that was proposed, and what came of it."""

    id: int
    number: int = Field(description="From 1, in the order of the proposals.")
    architecture_id: str
    genotype: str | None = Field(description="The architecture in the notation of the search space.")
    origin: str = Field(description="Where the strategy has it from.")
    state: EvaluationState = Field(description="failed: it has no value, and `reason` says why.")
    source: Source | None = Field(
        description="trial: measured for this search; known: measured before; table: looked up; forecast; supernet: chosen "
        "after an epoch of darts; training: what darts found, trained from scratch. Null: it is open."
    )
    values: list[float] | None = Field(
        description="One for each objective, in its unit. Null: it is open, it failed, or a supernet chose it."
    )
    value: float | None = Field(description="Of the first objective.")
    asked_fidelity: float = Field(description="What it was to be evaluated at, as a share of the final fidelity.")
    fidelity: float | None = Field(description="What the values are of, as a share of the final fidelity.")
    violation: float | None = Field(
        description="By how much constraints are broken, as shares of their bounds; 0: all hold."
    )
    is_improvement: bool = Field(description="Whether it was the best so far when its value came.")
    reason: str | None
    created_at: datetime
    ended_at: datetime | None


class BestSoFar(Reply):
    """When the best changed, and to what."""

    number: int
    architecture_id: str
    values: list[float]
    num_evaluated: int = Field(description="Evaluations whose outcome was known by then.")
    at: datetime


class SearchOut(Reply):
    """A search and how far it is."""

    id: int = Field(description="Also the id of its job.")
    state: SearchState = Field(description="waiting: for trials that workers have, or may take.")
    percent: float = Field(description="Of the budget, or of all epochs, 0 to 100.")
    stage: str = Field(description="What it is doing.")
    search_space: str
    objectives: list[ObjectiveOut]
    strategy: str
    settings: dict[str, Any]
    mode: Mode
    evaluator: Evaluator
    budget: BudgetOut
    constraints: list[str]
    start: list[str]
    parallel: int
    seed: int
    description: str
    num_proposed: int
    num_evaluated: int = Field(description="Evaluations whose outcome is known, those without a value included.")
    num_failed: int = Field(description="Those of them without a value.")
    seconds: float = Field(description="Time that has counted so far.")
    best: EvaluationOut | None = Field(
        description="The best so far: constraints that hold first, then the first objective; with darts what would be the "
        "result now. Null: there is none."
    )
    history: list[BestSoFar] = Field(description="How the best came to be, the oldest first; the last 100 changes.")
    ending: str | None = Field(description="Why it is done.")
    error: str | None = Field(description="What went wrong in the last attempt.")
    created_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class SearchSummary(Reply):
    """A search in a list."""

    id: int
    state: SearchState
    percent: float
    stage: str
    tasks: list[str] = Field(description="Names of the tasks that are its objectives.")
    strategy: str
    mode: Mode
    evaluator: Evaluator
    num_evaluated: int
    max_evaluations: int | None
    best_value: float | None = Field(description="Of the first objective.")
    description: str
    created_at: datetime


class BestOut(Reply):
    """The best architecture so far, exported."""

    search_id: int
    format: Format
    number: int = Field(description="Of its evaluation.")
    architecture_id: str
    values: list[float]
    violation: float
    dag: dict[str, Any] | None = Field(description="The architecture as a DAG document, where it was asked for.")
    genotype: str | None = Field(description="The architecture in the notation of its search space.")
    pytorch: str | None = Field(description="Source of a PyTorch module that can be run, where it was asked for.")


class ParetoPoint(Reply):
    """An architecture that no other of the search beats."""

    number: int
    architecture_id: str
    genotype: str | None
    values: list[float] = Field(description="One for each objective, in its unit.")


class SearchParetoOut(Reply):
    """What the search found of its objectives' Pareto front."""

    search_id: int
    objectives: list[ObjectiveOut]
    num_compared: int = Field(description="Evaluations at the final fidelity whose constraints hold.")
    reference: list[float] | None = Field(description="The point that the hypervolume is measured from.")
    hypervolume: float | None = Field(description="What the front dominates of it; null: nothing was compared.")
    items: list[ParetoPoint] = Field(description="The best in the first objective first.")


class StrategyOut(Reply):
    """A search strategy."""

    name: str
    description: str
    source: str = Field(description="Where it comes from: authors, title, venue, year.")
    takes_several_objectives: bool
    needs_forecasts: bool = Field(description="It cannot search by measured values alone.")
    settings: dict[str, Any] = Field(description="Its settings as a JSON schema, with what each means and its default.")


class StrategiesOut(Reply):
    """All search strategies."""

    items: list[StrategyOut]
