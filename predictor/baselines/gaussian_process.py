"""A Gaussian process on one-hot decisions (Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from predictor.architecture import Architecture
from predictor.baselines.features import Features
from predictor.baselines.standardised import Forecaster, StandardisedBaseline
from predictor.search_spaces.base import SearchSpace
from predictor.surrogate.hyperparameters import GPConfig, GPInputs
from predictor.surrogate.residual_gp import MAX_OBSERVATIONS, ResidualGP
from predictor.tasks import SupportSet, Task

Inputs = Callable[[Sequence[Architecture]], GPInputs]
"""Architectures as a process sees them."""

WIDE = GPConfig(offset=0.3, view=1.0, length=1.0, noise=0.3, log_width=1.2)
"""Priors of a process that has no surrogate to correct: it explains everything itself."""


class DecisionProcess(StandardisedBaseline):
    """Zero mean, a Matérn and a linear kernel, weights and lengths by marginal likelihood."""

    name = "gaussian_process"
    max_observations = MAX_OBSERVATIONS

    def __init__(self, features: Features | None = None) -> None:
        self._features = features or Features()

    def _learned(
        self, task: Task, space: SearchSpace, support: SupportSet, goodness: NDArray[np.float64]
    ) -> Forecaster:
        view = self._features.view(space, support.architectures)

        def inputs(architectures: Sequence[Architecture]) -> GPInputs:
            nothing = torch.zeros(len(architectures), 1, dtype=torch.float64)
            return GPInputs(nothing, (torch.from_numpy(view(architectures)),))

        return process_forecaster(inputs, support, goodness, WIDE)


def process_forecaster(
    inputs: Inputs,
    support: SupportSet,
    goodness: NDArray[np.float64],
    config: GPConfig,
    left_out_mean: NDArray[np.float64] | None = None,  # (S,)
) -> Forecaster:
    """Forecasts of a process on these inputs; where the mean was learned from the same observations, what it said of each
    without having seen it is given too."""
    known = inputs(support.architectures)
    if left_out_mean is not None:
        known = GPInputs(torch.from_numpy(left_out_mean)[:, None], known.views)
    process = ResidualGP.fit(known, torch.from_numpy(goodness), torch.tensor(support.counts), config)

    def forecast(architectures: Sequence[Architecture]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        mean, std, _ = process.predict(inputs(architectures))
        return mean.numpy(), std.numpy()

    return forecast
