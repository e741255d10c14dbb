"""The mean of what source tasks of the same search space and metric family say: no method at all, and hard to beat where tasks
are alike (Wistuba et al., "Scalable Gaussian process-based transfer surrogates", Machine Learning 2018, compare with it)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from predictor.architecture import Architecture
from predictor.baselines.linear_fits import LineFit
from predictor.baselines.source_forecasts import SourceForecasts
from predictor.baselines.sources import ReportProgress, no_progress, priors_of
from predictor.baselines.standardised import Forecaster, StandardisedBaseline
from predictor.search_spaces.base import SearchSpace
from predictor.tasks import MeasuredTask, SupportSet, Task

Array = NDArray[np.float64]
SLOPE, SLOPE_STD = 0.9, 0.3
"""What the line from a mean of sources to a task is like before anything was measured."""


class SourceMean(StandardisedBaseline):
    """Goodness as a line in that mean; where no source is of the same search space it forecasts the same of everything."""

    name = "source_mean"
    min_observations = 0

    def __init__(self, forecasts: SourceForecasts) -> None:
        self._forecasts, self.priors = forecasts, priors_of(forecasts.sources)

    @classmethod
    def meta_trained(
        cls, sources: Sequence[MeasuredTask], seed: int = 0, on_progress: ReportProgress = no_progress
    ) -> SourceMean:
        """Learns from source tasks; the one asked about must not be among them."""
        return cls(SourceForecasts.of(sources, seed, on_progress))

    def _learned(self, task: Task, space: SearchSpace, support: SupportSet, goodness: Array) -> Forecaster:
        def mean(architectures: Sequence[Architecture]) -> Array:
            return mean_of_sources(self._forecasts(space, task.metric.family, architectures))

        line = LineFit.fit(mean(support.architectures), goodness, SLOPE, SLOPE_STD)
        return lambda architectures: line.predict(mean(architectures))


def mean_of_sources(forecasts: Array) -> Array:  # (Q, M) -> (Q,)
    """Their mean; 0 where there is no source."""
    return forecasts.mean(axis=1) if forecasts.shape[1] else np.zeros(len(forecasts))
