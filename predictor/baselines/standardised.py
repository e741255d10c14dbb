"""Baselines that learn and forecast in standardised goodness, the scale that the surrogate learns in too.

Notation: S support architectures, Q asked ones.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from predictor.architecture import Architecture
from predictor.baselines.base import Adapted, Baseline
from predictor.errors import InvalidSupportSetError
from predictor.prediction import NORMAL_90, Predictions
from predictor.search_spaces.base import SearchSpace
from predictor.surrogate.standardisation import UNKNOWN_PRIOR, ScalePrior, Standardisation
from predictor.tasks import Metric, SupportSet, Task

Array = NDArray[np.float64]
Forecaster = Callable[[Sequence[Architecture]], tuple[Array, Array]]
"""Architectures to mean and standard deviation of their standardised goodness: (Q,) each."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_WITHIN = 4.5  # standardised units beyond which no mean is taken
_FARTHEST = 20.0
_LEAST_STD = 1e-3
_PRIOR_RESIDUALS = 2.0  # residuals of one standardised unit that count before any was seen
_SCALE_DOUBT = 2.0  # how much the scale is doubted, over the number of observations that it is estimated from


class StandardisedBaseline(Baseline):
    """A baseline that sees standardised goodness. A leaf says how it learns from support architectures and their goodness."""

    max_observations: int = 1_000_000
    """Observations beyond it are left out."""
    priors: Mapping[str, ScalePrior] = MappingProxyType({})
    """What location and scale tasks had before, by metric family."""

    @abstractmethod
    def _learned(self, task: Task, space: SearchSpace, support: SupportSet, goodness: Array) -> Forecaster:
        """What forecasts after it has learned from `goodness` (S,) of the support architectures."""

    def adapt(self, task: Task, space: SearchSpace, support: SupportSet) -> Adapted:
        if len(support) < self.min_observations:
            raise InvalidSupportSetError(
                f"{self.name}: expected at least {self.min_observations} observations, got {len(support)}"
            )
        held = support.select(range(min(len(support), self.max_observations)))
        family = task.metric.family
        prior = self.priors[family].in_unit_of(task.metric) if family in self.priors else vague_prior(task.metric)
        scale = Standardisation.fit(task, held.targets, prior)
        widening = float(np.sqrt(1.0 + _SCALE_DOUBT / len(held))) if len(held) else 1.0
        forecaster = self._learned(task, space, held, scale.forward(held.targets))
        return _StandardisedForecasts(task.metric, scale, widening, forecaster)


def vague_prior(metric: Metric) -> ScalePrior:
    """What is known of a metric's values from its unit alone: the middle of what is possible, give or take half of it."""
    whole = float(metric.clipped(np.array([np.inf]))[0])
    return ScalePrior(whole / 2, whole / 4, whole / 10) if np.isfinite(whole) else UNKNOWN_PRIOR


def residual_std(residuals: Array) -> float:  # (S,) standardised units
    """Spread of errors on left-out observations, shrunk towards 1 while there are few."""
    return float(np.sqrt((np.square(residuals).sum() + _PRIOR_RESIDUALS) / (len(residuals) + _PRIOR_RESIDUALS)))


@dataclass(frozen=True)
class _StandardisedForecasts:
    """Brings forecasts into the metric's unit as the surrogate does: quantiles exactly, mean and spread by quadrature."""

    metric: Metric
    scale: Standardisation
    widening: float  # of the spread, since the scale itself is an estimate
    forecaster: Forecaster

    def predict(self, architectures: Sequence[Architecture]) -> Predictions:
        if not architectures:
            empty = np.zeros(0)
            return Predictions(empty, empty, empty, empty, empty)
        mean, std = self.forecaster(architectures)
        center = np.clip(mean, -_FARTHEST, _FARTHEST)
        spread = np.clip(std * self.widening, _LEAST_STD, _FARTHEST)
        at = np.clip(center[:, None] + spread[:, None] * _NODES, -_WITHIN, _WITHIN)  # (Q, nodes)
        found, weights = self.scale.quadrature(at, _WEIGHTS, _NODES, _WEIGHTS, np.ones(len(center)))
        values = self.metric.clipped(found)
        average = values @ weights
        if self.scale.location_spread > 0.0:  # as the surrogate does
            found, middle = self.scale.quadrature(center[:, None], np.ones(1), _NODES, _WEIGHTS, np.ones(len(center)))
            average = self.metric.clipped(found) @ middle
        apart = values - average[:, None]
        largest = np.maximum(np.abs(apart).max(axis=1), np.finfo(float).tiny)  # squares must not overflow
        deviation = largest * np.sqrt((apart / largest[:, None]) ** 2 @ weights)
        ends = [self.metric.clipped(self.scale.quantiles(center, spread, side * NORMAL_90)) for side in (-1.0, 1.0)]
        lower, upper = np.minimum(*ends), np.maximum(*ends)
        scale = None if self.scale.location_spread > 0.0 else self.scale
        return Predictions(
            np.clip(average, lower, upper), deviation, lower, upper, np.zeros(len(center)), (center, spread), scale
        )
