"""LocalForecaster: forecasts of a search in a user's own process, from predictors that adapt to what was measured.

Notation: M objectives, Q asked architectures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from predictor.architecture import Architecture
from predictor.baselines.base import Adapted, FewShotPredictor
from predictor.errors import SearchError
from predictor.prediction import Predictions
from predictor.search.base import Outcome, Relaxation, SearchProblem
from predictor.search.constraints import Constraint
from predictor.search_spaces.base import SearchSpace
from predictor.surrogate.related_tasks import RelatedTasks
from predictor.tasks import MeasuredTask, Observation, SupportSet, Task, lower_fidelities

Array = NDArray[np.float64]


class MetaLearned(Protocol):
    """What a `MetaPredictor` is to this module."""

    def related(self, task: Task, space: SearchSpace, others: Sequence[MeasuredTask]) -> RelatedTasks | None:
        """What other tasks of the space say."""

    def adapt(
        self, task: Task, space: SearchSpace, support: SupportSet, related: RelatedTasks | None = None
    ) -> Adapted:
        """Inner loop and residual process."""


class WithRelated:
    """A model version that hears what was measured of related tasks, worked out once."""

    def __init__(self, meta: MetaLearned, task: Task, space: SearchSpace, others: Sequence[MeasuredTask]) -> None:
        self._meta, self._task, self._space, self._others = meta, task, space, tuple(others)
        self._related = meta.related(task, space, others)

    def adapt(self, task: Task, space: SearchSpace, support: SupportSet) -> Adapted:
        """As the version adapts."""
        return self._meta.adapt(task, space, support, self._related)

    def hearing(self, others: Sequence[MeasuredTask]) -> WithRelated:
        """The same with more related tasks."""
        return WithRelated(self._meta, self._task, self._space, [*self._others, *others])


@dataclass(frozen=True)
class ForecastTask:
    """A task and what adapts to it: a model version, with or without related tasks, or any baseline."""

    task: Task
    predictor: FewShotPredictor
    min_observations: int = 0  # before it can say anything


@dataclass(frozen=True)
class MeasuredElsewhere:
    """A constraint on another metric of the same architectures, with what forecasts that one."""

    constraint: Constraint
    predictor: Adapted


@dataclass(frozen=True)
class AdaptationPace:
    """When to adapt anew: a forecast that lacks one observation of a hundred is hardly worse.

    Raises:
        SearchError: if a number is negative.
    """

    after: int = 1  # new observations at least
    after_share: float = 0.0  # of those that the last adaptation saw

    def __post_init__(self) -> None:
        if self.after < 1 or self.after_share < 0.0:
            raise SearchError(f"expected a pace of at least 1 and 0 or more, got {self.after} and {self.after_share}")

    def is_due(self, seen: int, known: int) -> bool:
        """Whether an adaptation that saw so many is too old for one who knows so many."""
        return known - seen >= max(self.after, self.after_share * seen)


EVERY_OBSERVATION = AdaptationPace()


@runtime_checkable
class _Embeds(Protocol):
    def features(self, architectures: Sequence[Architecture]) -> NDArray[np.float32]: ...


@runtime_checkable
class _Hears(Protocol):
    def hearing(self, others: Sequence[MeasuredTask]) -> FewShotPredictor: ...


@runtime_checkable
class _Relaxes(Protocol):
    def relaxation(self, start: Architecture, others: Sequence[Architecture]) -> Relaxation: ...


@dataclass(frozen=True)
class StraightLines:
    """A relaxation that knows the corners alone."""

    goodness: Array  # (1 + Q,) of the start and the others

    def __call__(self, weights: Array) -> tuple[Array, Array]:
        """(Q,) -> goodness (1,), slopes (1, Q)."""
        slopes = self.goodness[1:] - self.goodness[0]
        return self.goodness[:1] + weights @ slopes, slopes[None]


class LocalForecaster:
    """A `Forecaster`, for one thread. Adapts when it is asked and has heard enough since it last did."""

    def __init__(
        self,
        problem: SearchProblem,
        tasks: Sequence[ForecastTask],
        constraints: Sequence[Constraint | MeasuredElsewhere] = (),
        pace: AdaptationPace = EVERY_OBSERVATION,
    ) -> None:
        """One task for each objective. A bare constraint is on an objective, or on what architectures state themselves.

        Raises:
            SearchError: if there are not as many tasks as objectives.
        """
        if len(tasks) != len(problem.objectives):
            raise SearchError(f"expected a task for each of {len(problem.objectives)} objectives, got {len(tasks)}")
        self._problem, self._tasks, self._constraints, self._pace = problem, tuple(tasks), tuple(constraints), pace
        self._told: list[Outcome] = []
        self._adapted: tuple[Adapted, ...] = ()
        self._seen = -1

    @property
    def is_ready(self) -> bool:
        """Whether enough was told for a forecast."""
        return self._num_known >= max(one.min_observations for one in self._tasks)

    @property
    def num_observations(self) -> int:
        """How many the forecasts in use have adapted to; 0 is a forecast from what was meta-learned alone."""
        return max(self._seen, 0)

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """What was measured; forecasts and failures are left out. `WithRelated` hears lower fidelities as related tasks."""
        self._told += [one for one in outcomes if one.values is not None and not one.is_forecast]

    def predict(self, architectures: Sequence[Architecture]) -> tuple[Predictions, ...]:
        """One for each objective, in its metric's unit.

        Raises:
            SearchError: if it is not ready.
        """
        return tuple(one.predict(architectures) for one in self._current())

    def features(self, architectures: Sequence[Architecture]) -> NDArray[np.float32]:  # (Q, D)
        """The first objective's embeddings, or the decisions of the space where its predictor has none."""
        first = self._current()[0]
        if isinstance(first, _Embeds):
            return first.features(architectures)
        return self._problem.space.features_of_all(architectures)

    def feasibility(self, architectures: Sequence[Architecture]) -> Array:  # (Q,)
        """How probable it is that all constraints hold, taken as independent."""
        probability = np.ones(len(architectures))
        for one in self._constraints:
            probability *= self._probability(one, architectures)
        return probability

    def relaxation(self, start: Architecture, others: Sequence[Architecture]) -> Relaxation:
        """What lies between an architecture and others: where a predictor knows no slopes, straight lines to its forecasts."""
        pairs = zip(self._current(), self._problem.objectives, strict=True)
        parts = [
            one.relaxation(start, others)
            if isinstance(one, _Relaxes)
            else StraightLines(metric.sign * one.predict([start, *others]).mean)
            for one, metric in pairs
        ]

        def at(weights: Array) -> tuple[Array, Array]:
            values, slopes = zip(*(part(weights) for part in parts), strict=True)
            return np.concatenate(values), np.concatenate(slopes)

        return at

    @property
    def _num_known(self) -> int:
        return len({one.architecture.hash for one in self._told if one.fidelity == 1.0})

    def _current(self) -> tuple[Adapted, ...]:
        known = self._num_known
        if not self.is_ready:
            raise SearchError(f"expected more observations before a forecast, got {known}")
        if self._seen < 0 or self._pace.is_due(self._seen, known):
            self._adapted = tuple(self._adapt(number) for number in range(len(self._tasks)))
            self._seen = known
        return self._adapted

    def _adapt(self, number: int) -> Adapted:
        observations = [
            Observation(one.architecture, one.values[number], fidelity=one.fidelity)
            for one in self._told
            if one.values is not None
        ]
        known, space = self._tasks[number], self._problem.space
        predictor = known.predictor
        lower = lower_fidelities(known.task, space, observations)
        if lower and isinstance(predictor, _Hears):
            predictor = predictor.hearing(lower)
        return predictor.adapt(known.task, space, SupportSet.of(observations))

    def _probability(self, one: Constraint | MeasuredElsewhere, architectures: Sequence[Architecture]) -> Array:
        if isinstance(one, MeasuredElsewhere):
            forecast = one.predictor.predict(architectures)
            return one.constraint.probability(forecast.mean, forecast.std)
        for number, metric in enumerate(self._problem.objectives):
            if metric.name == one.metric:
                forecast = self._current()[number].predict(architectures)
                return one.probability(forecast.mean, forecast.std)
        stated = one.stated(architectures)
        return one.probability(stated, np.zeros_like(stated))
