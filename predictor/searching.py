"""What searches in a user's own process need of a model version: forecasts that adapt, and which way they rise.

    problem = SearchProblem(search_space("nasbench201"), (accuracy,))
    forecaster = forecaster_of(MetaPredictor.load(shipped_champion()), problem, [task])
    run_search(problem, make_strategy("bayesian", problem), train, Budget(50, at_a_time=5), forecaster)

Notation: Q architectures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from predictor.adapted_predictor import AdaptedPredictor
from predictor.architecture import Architecture
from predictor.explain.smooth_forecast import SmoothForecast
from predictor.meta_predictor import MetaPredictor
from predictor.prediction import Predictions
from predictor.search.base import SearchProblem
from predictor.search.constraints import Constraint
from predictor.search.forecasting import (
    EVERY_OBSERVATION,
    AdaptationPace,
    ForecastTask,
    LocalForecaster,
    MeasuredElsewhere,
    WithRelated,
)
from predictor.search_spaces.base import SearchSpace
from predictor.surrogate.related_tasks import RelatedTasks
from predictor.tasks import MeasuredTask, SupportSet, Task

Array = NDArray[np.float64]


_SHARP = (1e-3, 0.0)
"""Spreads of a forecast's middle, which is followed instead of its mean: the true spreads differ between corners."""


class SmoothRelaxation:
    """A forecast between an architecture and others, as a function of how far towards each.

    What architectures look like (`explain.smooth_forecast`) is mixed in proportion to the weights; the forecast of the mixture is
    exact where one weight is 1, and differentiable everywhere in between.
    """

    def __init__(self, adapted: AdaptedPredictor, start: Architecture, others: Sequence[Architecture]) -> None:
        self._smooth, self._sign = SmoothForecast(adapted), adapted.task.metric.sign
        looks = self._smooth.looks([start, *others])
        self._tensors, self._mask = looks.tensors, looks.mask

    def __call__(self, weights: Array) -> tuple[Array, Array]:
        """(Q,) -> middle of the forecast as goodness in the metric's unit (1,), slopes (1, Q)."""
        given = torch.from_numpy(np.ascontiguousarray(weights)).requires_grad_()
        share = torch.cat([1.0 - given.sum()[None], given])  # (1 + Q,)
        mixed = [(share @ tensor.flatten(1)).view(1, *tensor.shape[1:]) for tensor in (*self._tensors, self._mask)]
        nodes, counted, adjacency, whole, decisions, opinions, mask = mixed
        value = self._smooth.value((nodes, counted, adjacency, whole, decisions, opinions), mask, _SHARP)
        (slopes,) = torch.autograd.grad(value.sum(), given)
        return self._sign * value.detach().numpy(), self._sign * slopes.numpy()[None]


class SlopingAdaptation:
    """An adaptation that also tells which way its forecast rises."""

    def __init__(self, adapted: AdaptedPredictor) -> None:
        self._adapted = adapted

    def predict(self, architectures: Sequence[Architecture]) -> Predictions:
        """As the adaptation forecasts."""
        return self._adapted.predict(architectures)

    def features(self, architectures: Sequence[Architecture]) -> NDArray[np.float32]:
        """The adapted surrogate's embeddings."""
        return self._adapted.features(architectures)

    def relaxation(self, start: Architecture, others: Sequence[Architecture]) -> SmoothRelaxation:
        """What lies between."""
        return SmoothRelaxation(self._adapted, start, others)


class Sloping:
    """A model version whose adaptations tell which way they rise."""

    def __init__(self, version: MetaPredictor) -> None:
        self._version = version

    def related(self, task: Task, space: SearchSpace, others: Sequence[MeasuredTask]) -> RelatedTasks | None:
        """What other tasks of the space say."""
        return self._version.related(task, space, others)

    def adapt(
        self, task: Task, space: SearchSpace, support: SupportSet, related: RelatedTasks | None = None
    ) -> SlopingAdaptation:
        """As the version adapts."""
        return SlopingAdaptation(self._version.adapt(task, space, support, related))


def forecaster_of(
    version: MetaPredictor,
    problem: SearchProblem,
    tasks: Sequence[Task],
    others: Sequence[MeasuredTask] = (),
    constraints: Sequence[Constraint | MeasuredElsewhere] = (),
    pace: AdaptationPace = EVERY_OBSERVATION,
) -> LocalForecaster:
    """Forecasts of a search, one task for each objective; `others` were measured on the same space before.

    Raises:
        SearchError: if there are not as many tasks as objectives.
    """
    sloping = Sloping(version)
    known = [ForecastTask(task, WithRelated(sloping, task, problem.space, others)) for task in tasks]
    return LocalForecaster(problem, known, constraints, pace)
