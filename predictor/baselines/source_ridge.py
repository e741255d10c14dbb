"""Ridge regression on what source tasks say, and a Gaussian process on decisions for the rest.

In the manner of ensembles of source-task processes: Feurer et al., "Practical Transfer Learning for Bayesian Optimization"
(RGPE), 2018; Golovin et al., "Google Vizier" (stacked residual processes), KDD 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from predictor.architecture import Architecture
from predictor.baselines.features import Features
from predictor.baselines.gaussian_process import process_forecaster
from predictor.baselines.linear_fits import LineFit, RidgeFit
from predictor.baselines.source_forecasts import SourceForecasts
from predictor.baselines.source_mean import SLOPE, SLOPE_STD, mean_of_sources
from predictor.baselines.sources import ReportProgress, no_progress, priors_of
from predictor.baselines.standardised import Forecaster, StandardisedBaseline
from predictor.search_spaces.base import SearchSpace
from predictor.surrogate.hyperparameters import GPConfig, GPInputs
from predictor.surrogate.residual_gp import MAX_OBSERVATIONS
from predictor.tasks import MeasuredTask, SupportSet, Task

Array = NDArray[np.float64]
_MIN_FOR_RIDGE = 4
_RESIDUAL = GPConfig(offset=0.2, view=0.5, length=1.0, noise=0.3, log_width=1.0)


class SourceRidge(StandardisedBaseline):
    """With fewer than four observations the mean of the sources; without sources the process alone."""

    name = "source_ridge"
    min_observations = 0
    max_observations = MAX_OBSERVATIONS

    def __init__(self, forecasts: SourceForecasts, features: Features | None = None) -> None:
        self._forecasts, self.priors = forecasts, priors_of(forecasts.sources)
        self._features = features or Features()

    @classmethod
    def meta_trained(
        cls, sources: Sequence[MeasuredTask], seed: int = 0, on_progress: ReportProgress = no_progress
    ) -> SourceRidge:
        """Learns from source tasks; the one asked about must not be among them."""
        return cls(SourceForecasts.of(sources, seed, on_progress))

    def _learned(self, task: Task, space: SearchSpace, support: SupportSet, goodness: Array) -> Forecaster:
        view = self._features.view(space, support.architectures)

        def said(architectures: Sequence[Architecture]) -> Array:
            return self._forecasts(space, task.metric.family, architectures)

        known = said(support.architectures)
        if len(support) < _MIN_FOR_RIDGE:
            line = LineFit.fit(mean_of_sources(known), goodness, SLOPE, SLOPE_STD)
            return lambda architectures: line.predict(mean_of_sources(said(architectures)))
        stack = _Stack.fit(known, goodness)

        def inputs(architectures: Sequence[Architecture]) -> GPInputs:
            mean = stack.predict(said(architectures))
            return GPInputs(torch.from_numpy(mean)[:, None], (torch.from_numpy(view(architectures)),))

        return process_forecaster(inputs, support, goodness, _RESIDUAL, stack.left_out)


@dataclass(frozen=True)
class _Stack:
    """Ridge regression around the mean of the sources, so that few observations leave that mean as it is."""

    ridge: RidgeFit
    left_out: Array  # (S,)

    @classmethod
    def fit(cls, said: Array, goodness: Array) -> _Stack:  # (S, M), (S,)
        start = SLOPE * mean_of_sources(said)
        ridge = RidgeFit.fit(said, goodness - start)
        return cls(ridge, start + ridge.left_out)

    def predict(self, said: Array) -> Array:  # (Q, M) -> (Q,)
        return SLOPE * mean_of_sources(said) + self.ridge.predict(said)
