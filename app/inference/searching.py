"""Search strategies for the service: made from a plan, asked and told in its own types, with forecasts of served tasks.

Notation: M objectives, Q asked architectures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import predictor
from app.database import Database
from app.inference import records
from app.inference.errors import translated
from app.inference.forecasts import Forecaster, ServedTask
from app.inference.notations import ParsedArchitecture, identified
from app.inference.proposing import FeatureMemory, ForecastColumns
from app.inference.relations import Relations
from app.inference.serving import Inference, adapt_task
from predictor import (
    Architecture,
    Metric,
    Observation,
    Outcome,
    Predictions,
    SearchProblem,
    SearchSpace,
    SearchStrategy,
    SupportSet,
)

Mode = Literal["measured", "forecast", "guided"]
Feasibility = Callable[[Sequence[ParsedArchitecture]], NDArray[np.float64]]
"""How probable it is for each architecture that all constraints hold."""

Relaxed = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""How far towards each of some architectures -> goodness of the objectives (M,), and its slopes (M, Q)."""

_GUIDED = "guided"


@dataclass(frozen=True)
class Objective:
    """What a search makes better: a task's metric, in the direction that was asked for."""

    task: str
    metric: str
    unit: str
    direction: str


@dataclass(frozen=True)
class SearchPlan:
    """Everything that a strategy is made from."""

    space: SearchSpace
    objectives: tuple[Objective, ...]
    strategy: str
    settings: Mapping[str, Any]
    mode: Mode
    seed: int
    start: tuple[ParsedArchitecture, ...] = ()


@dataclass(frozen=True)
class Proposed:
    """An architecture that is to be evaluated, at which share of the final fidelity, and where the strategy has it from."""

    architecture: ParsedArchitecture
    fidelity: float
    origin: str


@dataclass(frozen=True)
class Known:
    """What is known of an architecture: a value for each objective, or None where there is none."""

    architecture: ParsedArchitecture
    values: tuple[float, ...] | None
    fidelity: float = 1.0
    violation: float = 0.0
    is_forecast: bool = False


@dataclass(frozen=True)
class StrategySummary:
    """What users are told about a strategy."""

    name: str
    description: str
    source: str
    takes_several_objectives: bool
    needs_forecasts: bool
    settings: Mapping[str, Any]  # a JSON schema


def strategy_summaries() -> list[StrategySummary]:
    """All strategies that are asked for architectures and told what they are worth."""
    return [
        StrategySummary(
            name, one.description, one.source, one.takes_several_objectives, one.needs_forecaster, one.settings_schema()
        )
        for name, one in ((name, predictor.strategy_info(name)) for name in predictor.strategy_names())
    ]


class SearchForecaster:
    """Forecasts for a strategy: one served task for each objective. Belongs to one thread."""

    def __init__(
        self,
        memory: Forecaster,
        features: FeatureMemory,
        served: Sequence[ServedTask],
        directions: Sequence[str],
        feasibility: Feasibility,
    ) -> None:
        self._memory, self._features = memory, features
        self._served = served
        self._signs = [1.0 if one == "maximize" else -1.0 for one in directions]
        self._feasibility = feasibility

    def predict(self, architectures: Sequence[Architecture]) -> tuple[Predictions, ...]:
        """One for each objective, in its metric's unit."""
        parsed = self._parsed(architectures)
        return tuple(ForecastColumns.of(self._memory.forecast(one, parsed)).predictions(one) for one in self._served)

    def features(self, architectures: Sequence[Architecture]) -> NDArray[np.float32]:  # (Q, D)
        """The embedding of the first objective's adapted surrogate."""
        return self._features.of(self._served[0], self._parsed(architectures))

    def feasibility(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:  # (Q,)
        """How probable it is that all constraints hold."""
        return self._feasibility(self._parsed(architectures))

    def relaxation(self, start: Architecture, others: Sequence[Architecture]) -> Relaxed:
        """What lies between an architecture and others, which are at least one."""
        parts = [predictor.SmoothRelaxation(one.adapted, start, others) for one in self._served]
        # The search may look the other way than the task does.
        turns = [turn * one.task.metric.sign for turn, one in zip(self._signs, self._served, strict=True)]

        def at(weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            values, slopes = zip(*(part(weights) for part in parts), strict=True)
            return np.concatenate(values) * turns, np.concatenate(slopes) * np.asarray(turns)[:, None]

        return at

    def _parsed(self, architectures: Sequence[Architecture]) -> list[ParsedArchitecture]:
        space = self._served[0].space
        return [identified(space, one) for one in architectures]


class Searcher:
    """A strategy at work. Belongs to one thread.

    Raises:
        InvalidContentError: if there is no such strategy, it cannot solve the problem, a setting is wrong, or the state is
            not one of it.
    """

    def __init__(self, plan: SearchPlan, state: Mapping[str, Any] | None = None) -> None:
        self.space = plan.space
        with translated():
            self._strategy = _strategy(plan)
            if state is not None:
                self._strategy.restore(state)

    def ask(self, count: int, forecaster: SearchForecaster | None = None) -> list[Proposed]:
        """At most so many; fewer where it has to hear of those that are out first, none where nothing is left to try."""
        with translated():
            proposals = self._strategy.ask(count, forecaster)
            return [Proposed(identified(self.space, one.architecture), one.fidelity, one.origin) for one in proposals]

    def tell(self, outcomes: Sequence[Known]) -> None:
        """What came of proposals, or was known before. What is not a number is no value."""
        with translated():
            self._strategy.tell([_outcome(one) for one in outcomes])

    def state(self) -> dict[str, Any]:
        """What a new one goes on from, as JSON."""
        return self._strategy.state()


def _strategy(plan: SearchPlan) -> SearchStrategy:
    """The strategy by itself; one that could not make use of forecasts inside of the guided loop where it is to."""
    problem = SearchProblem(plan.space, _metrics(plan.objectives), tuple(one.architecture for one in plan.start))
    needs_forecasts = predictor.strategy_info(plan.strategy).needs_forecaster
    if plan.mode == "measured" and needs_forecasts:
        raise predictor.SearchError(
            f"expected a strategy that needs no forecasts in the mode measured, got {plan.strategy}; take guided or forecast"
        )
    if plan.mode == "guided" and not needs_forecasts:
        predictor.make_strategy(plan.strategy, problem, plan.settings, plan.seed)  # says better what is wrong with it
        inside = {"inner": plan.strategy, "inner_settings": json.dumps(dict(plan.settings))}
        return predictor.make_strategy(_GUIDED, problem, inside, plan.seed)
    return predictor.make_strategy(plan.strategy, problem, plan.settings, plan.seed)


def _metrics(objectives: Sequence[Objective]) -> tuple[Metric, ...]:
    """With names that differ: those of several tasks of one metric say which task."""
    names = [one.metric for one in objectives]
    return tuple(
        Metric(
            one.metric if names.count(one.metric) == 1 else f"{one.metric} of {one.task}",
            one.unit,
            "maximize" if one.direction == "maximize" else "minimize",
        )
        for one in objectives
    )


def _outcome(known: Known) -> Outcome:
    values = known.values
    if values is not None and not all(map(math.isfinite, values)):
        values = None
    return Outcome(known.architecture.architecture, values, known.fidelity, known.violation, known.is_forecast)


@dataclass(frozen=True)
class Front:
    """Which of some values no other beats, and how much of the space of objectives they dominate of a reference point."""

    places: Sequence[int]
    reference: tuple[float, ...] | None
    hypervolume: float | None  # None: there is nothing to compare


def pareto_front(
    plan: SearchPlan,
    found: Sequence[tuple[ParsedArchitecture, tuple[float, ...]]],
    reference: Sequence[float] | None = None,
) -> Front:
    """The Pareto front of architectures by their values, one for each objective; without a reference from one that the front
    itself suggests.

    Raises:
        InvalidContentError: if the reference is not one number for each objective.
    """
    with translated():
        problem = SearchProblem(plan.space, _metrics(plan.objectives))
        outcomes = [Outcome(architecture.architecture, one) for architecture, one in found]
        front = predictor.non_dominated(problem, outcomes)
        volume = predictor.hypervolume(problem, front, reference)  # says what is wrong with the reference
        if not front:
            return Front([], None, None)
        used = tuple(reference) if reference is not None else predictor.reference_point(problem, front)
        chosen = set(map(id, front))
        places = [place for place, one in enumerate(outcomes) if id(one) in chosen]
    return Front(places, used, volume)


def pytorch_source(architecture: ParsedArchitecture, space: SearchSpace, images: Images) -> str:
    """Source of a PyTorch module that can be run: the network that trainings build of the architecture.

    Raises:
        InvalidContentError: if the architecture cannot be built as a network for such images.
    """
    with translated():
        config = predictor.NetworkConfig(images.shape, images.num_classes)
        return predictor.pytorch_source(architecture.architecture, space, config)


@dataclass(frozen=True)
class Images:
    """What a network is to tell apart."""

    shape: tuple[int, int, int]  # channels, height, width
    num_classes: int


class SearchedTasks:
    """The tasks of a search as they are forecast, in a process that polls nothing. Belongs to one thread."""

    def __init__(self, inference: Inference, database: Database, relations: Relations) -> None:
        self.inference = inference
        self._database = database
        self._relations = relations
        self._features = FeatureMemory()

    def forecaster(
        self, served: Sequence[ServedTask], directions: Sequence[str], feasibility: Feasibility
    ) -> SearchForecaster:
        """What a strategy may ask of these, each searched in its direction."""
        return SearchForecaster(self.inference.forecaster, self._features, served, directions, feasibility)

    def fresh(self, reference: str) -> ServedTask:
        """The task with an adaptation that knows every observation: the one that is there, or else one made now and kept.

        Raises:
            NotFoundError: if there is no such task.
            NotReadyError: if there is no champion yet.
        """
        served = self.inference.reload(reference)
        if served.is_fresh:
            return served
        adaptation = adapt_task(self._database, self.inference.versions, self._relations, served.task_id)
        with self._database.write() as session:
            adaptation.keep(session)
        return self.inference.reload(reference)

    def simulated(
        self, reference: str, measured: Sequence[tuple[ParsedArchitecture, float]], *, hears_others: bool
    ) -> ServedTask:
        """The task as if nothing but this had been measured of it; kept nowhere."""
        champion = self.inference.versions.champion()
        with self._database.read() as session:
            context = records.task_context(session, reference)
            related = self._relations.read(session, champion, context) if hears_others else None
        support = SupportSet.of(Observation(one.architecture, value) for one, value in measured)
        with translated():
            opinions = self._relations.opinions(champion, context, related) if related is not None else None
            adapted = champion.adapt(context.task, context.space, support, opinions)
        return self.inference.snapshot(context, adapted, len(measured))
