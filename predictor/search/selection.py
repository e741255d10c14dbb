"""Which of some candidates to measure, by their forecasts: one objective by an acquisition, several by hypervolume.

Notation: Q candidates, M objectives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from predictor.acquisition import ACQUISITIONS, acquisition_values, select_diverse
from predictor.architecture import Architecture
from predictor.prediction import Predictions
from predictor.search.base import Forecaster, SearchProblem
from predictor.search.improvement import non_dominated, select_by_hypervolume
from predictor.search.measured import Measured
from predictor.search.settings import StrategySettings, setting

Array = NDArray[np.float64]
_FEASIBLE = 0.5
_FAR_BELOW = -8.0  # standard deviations below the best from which on the tail's expansion is exact enough
_MAX_JOINTLY = 128  # candidates that a batch is chosen among by hypervolume


@dataclass(frozen=True)
class SelectionSettings(StrategySettings):
    """How forecasts become choices."""

    acquisition: str = setting(
        "ei", "What makes a candidate worthwhile: ei, ucb, thompson or mean.", choices=tuple(ACQUISITIONS)
    )
    kappa: float = setting(1.0, "How many standard deviations count as a promise, for ucb.", low=0.0)
    diversity: float = setting(
        0.5, "How much likeness to what is chosen or being measured counts, in spreads of the scores.", low=0.0
    )
    num_draws: int = setting(32, "Draws from the forecasts, for the hypervolume of several objectives.", low=1)


class Selector:
    """Chooses for one search, given what was measured so far."""

    def __init__(self, problem: SearchProblem, settings: SelectionSettings, measured: Measured) -> None:
        self._problem, self._settings, self._measured = problem, settings, measured

    def scores(
        self, candidates: Sequence[Architecture], forecaster: Forecaster, rng: np.random.Generator
    ) -> Array:  # (Q,)
        """How worthwhile each one is by itself; larger is better."""
        forecasts, feasibility = forecaster.predict(candidates), forecaster.feasibility(candidates)
        if len(forecasts) == 1:
            return self._acquisition(forecasts[0], feasibility, rng)
        optimistic = sum(
            _standardised(metric.sign * one.promised(metric.sign, self._settings.kappa))
            for metric, one in zip(self._problem.objectives, forecasts, strict=True)
        )
        return _where_feasible(np.asarray(optimistic), feasibility)

    def chosen(
        self, candidates: Sequence[Architecture], forecaster: Forecaster, count: int, rng: np.random.Generator
    ) -> list[Architecture]:
        """At most `count` of them, the most worthwhile first, unlike each other and what is out."""
        if not candidates or count <= 0:
            return []
        if len(self._problem.objectives) > 1:
            return self._by_hypervolume(candidates, forecaster, count, rng)
        scores = self.scores(candidates, forecaster, rng)
        kept = np.argsort(-scores, kind="stable")[: max(50 * count, 500)]
        near = [candidates[row] for row in kept]
        taken = forecaster.features(self._measured.out) if self._measured.out else None
        is_alone = taken is None and count == 1  # nothing to be unlike
        features = np.zeros((len(near), 1), np.float32) if is_alone else forecaster.features(near)
        rows = select_diverse(scores[kept], features, count, self._settings.diversity, taken)
        return [near[row] for row in rows]

    def _acquisition(self, forecast: Predictions, feasibility: Array, rng: np.random.Generator) -> Array:
        good = self._measured.good
        best = good[0].values[0] if good and good[0].values else None
        settings, metric = self._settings, self._problem.objectives[0]
        if settings.acquisition == "ei":
            goodness, std = forecast.normal(metric.sign)
            to_beat = float(goodness.max()) if best is None else float(forecast.placed(np.array(best), metric.sign))
            improvement = log_expected_improvement(goodness, std, to_beat)
            return improvement + np.log(np.maximum(feasibility, 1e-300))  # Gardner et al., ICML 2014: the product
        values = acquisition_values(settings.acquisition, forecast, metric.direction, best, rng, settings.kappa)
        return _where_feasible(values, feasibility)

    def _by_hypervolume(
        self, candidates: Sequence[Architecture], forecaster: Forecaster, count: int, rng: np.random.Generator
    ) -> list[Architecture]:
        order = np.argsort(-self.scores(candidates, forecaster, rng), kind="stable")
        near = [candidates[row] for row in _spread_over(order, candidates, forecaster, self._problem)]
        forecasts, feasibility = forecaster.predict(near), forecaster.feasibility(near)
        signs = [metric.sign for metric in self._problem.objectives]
        mean = np.stack([sign * one.mean for sign, one in zip(signs, forecasts, strict=True)], axis=1)
        std = np.stack([one.reach(sign) for sign, one in zip(signs, forecasts, strict=True)], axis=1)
        known = [self._problem.goodness(one.values) for one in self._measured.good if one.values is not None]
        front = non_dominated(np.array(known)) if known else mean[:0]
        reference = None if known else mean.min(axis=0) - std.mean(axis=0)
        rows = select_by_hypervolume(mean, std, front, count, rng, self._settings.num_draws, reference, feasibility)
        return [near[row] for row in rows]


def log_expected_improvement(mean: Array, std: Array, best: float) -> Array:  # (Q,), (Q,) -> (Q,)
    """Its logarithm keeps apart what improves next to nothing (Ament et al., "Unexpected Improvements to Expected Improvement
    for Bayesian Optimization", NeurIPS 2023)."""
    spread = np.maximum(std, 1e-12)
    z = (mean - best) / spread
    far = np.minimum(z, _FAR_BELOW)
    density = -0.5 * z * z - 0.5 * np.log(2.0 * np.pi)
    cumulative = 0.5 * torch.special.erfc(torch.from_numpy(-np.maximum(z, _FAR_BELOW) / np.sqrt(2.0))).numpy()
    near = np.log(np.maximum(np.maximum(z, _FAR_BELOW) * cumulative + np.exp(density), 1e-300))
    tail = density - np.log(far * far) + np.log1p(-3.0 / (far * far))  # the first terms of its expansion
    return np.asarray(np.log(spread) + np.where(z > _FAR_BELOW, near, tail))


def _spread_over(
    order: NDArray[np.int64], candidates: Sequence[Architecture], forecaster: Forecaster, problem: SearchProblem
) -> list[int]:
    """The best by the sum of objectives and by each of them alone, in turn, up to a limit."""
    forecasts = forecaster.predict(candidates)
    alone = [
        np.argsort(-metric.sign * one.mean, kind="stable")
        for metric, one in zip(problem.objectives, forecasts, strict=True)
    ]
    in_turn = np.stack([order, *alone], axis=1).ravel().tolist()
    return list(dict.fromkeys(in_turn))[:_MAX_JOINTLY]


def _standardised(values: Array) -> Array:
    return np.asarray((values - values.mean()) / max(float(values.std()), 1e-12))


def _where_feasible(scores: Array, feasibility: Array) -> Array:
    """What is probably infeasible comes after everything else, the more probable first."""
    worst = float(scores.min(initial=0.0))
    return np.where(feasibility >= _FEASIBLE, scores, worst - 2.0 + feasibility)
