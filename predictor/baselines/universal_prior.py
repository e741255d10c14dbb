"""A prior mean over architectures in numbers that mean the same in every search space, and a Gaussian process around it.

The mean is boosted trees (Ke et al., "LightGBM", NeurIPS 2017, as scikit-learn has them) fitted to normal scores of the goodness
of source tasks of any search space; the process adds likeness in the numbers and in the decisions, weights by marginal
likelihood. That the mean is worth transferring and not the kernel alone: Wang et al., "Pre-trained Gaussian Processes for
Bayesian Optimization" (HyperBO), JMLR 2024.

Notation: Q architectures, U universal numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from predictor.architecture import Architecture
from predictor.baselines.features import Features
from predictor.baselines.gaussian_process import process_forecaster
from predictor.baselines.sources import ReportProgress, Source, chosen_sources, no_progress, priors_of
from predictor.baselines.standardised import Forecaster, StandardisedBaseline
from predictor.encoding import KINDS, SpaceReference
from predictor.search_spaces.base import SearchSpace
from predictor.surrogate.hyperparameters import GPConfig, GPInputs
from predictor.surrogate.residual_gp import MAX_OBSERVATIONS
from predictor.surrogate.standardisation import normal_scores
from predictor.tasks import MeasuredTask, SupportSet, Task

Array = NDArray[np.float64]

_FIRST_STATISTIC, _NUM_STATISTICS, _NUM_KERNELS = 10, 10, 4
_FIRST_KIND = _FIRST_STATISTIC + _NUM_STATISTICS
_FIRST_KERNEL = _FIRST_KIND + len(KINDS)
UNIVERSAL_COLUMNS = (
    *range(
        _FIRST_STATISTIC, _FIRST_KIND
    ),  # longest, shortest and mean path in operations and cost; cost, paths, depth, edges
    *range(_FIRST_KERNEL, _FIRST_KERNEL + _NUM_KERNELS),  # operations of kernel size 1, 3, 5, 7
    *(_FIRST_KIND + KINDS.index(kind) for kind in ("identity", "avg_pool", "max_pool")),
)
"""(U,) those columns of the statistics of a graph."""

_STD_OF_NOTHING = 0.9  # of a forecast before anything was measured, standardised units
_CONFIG = GPConfig(slope=0.4, offset=0.3, view=0.3, length=1.0, noise=0.3, log_width=1.0)


class UniversalPrior(StandardisedBaseline):
    """One mean for each metric family among the sources; families that none has start from nothing."""

    name = "universal_prior"
    min_observations = 0
    max_observations = MAX_OBSERVATIONS

    def __init__(self, sources: Sequence[Source], seed: int, on_progress: ReportProgress, features: Features) -> None:
        """Fits the means."""
        self._features, self._seed = features, seed
        self.priors = priors_of(sources)
        families = list(dict.fromkeys(source.family for source in sources))
        self._means: dict[str, Any] = {}
        for done, family in enumerate(families, start=1):
            self._means[family] = self._fitted([source for source in sources if source.family == family])
            on_progress(done / len(families))

    @classmethod
    def meta_trained(
        cls,
        sources: Sequence[MeasuredTask],
        seed: int = 0,
        on_progress: ReportProgress = no_progress,
        features: Features | None = None,
    ) -> UniversalPrior:
        """Learns from source tasks; the one asked about must not be among them."""
        return cls(chosen_sources(sources, seed), seed, on_progress, features or Features())

    def _fitted(self, sources: Sequence[Source]) -> Any:
        numbers, scores, weights = [], [], []
        for source in sources:
            reference = self._features.reference(source.space, source.architectures)
            numbers.append(self._told(source.space, reference, source.architectures))
            scores.append(normal_scores(source.goodness))
            of_space = sum(len(other.values) for other in sources if other.space.name == source.space.name)
            weights.append(np.full(len(source.values), 1.0 / of_space))  # every space counts alike
        every = np.concatenate(weights)
        trees = HistGradientBoostingRegressor(
            max_iter=200, learning_rate=0.06, max_leaf_nodes=8, min_samples_leaf=max(10, len(every) // 400), max_features=0.3,
            random_state=self._seed, early_stopping=False,
        )  # fmt: skip
        return trees.fit(np.concatenate(numbers), np.concatenate(scores), sample_weight=every / every.mean())

    def _numbers(
        self, space: SearchSpace, reference: SpaceReference, architectures: Sequence[Architecture]
    ) -> Array:  # (Q, U)
        return self._features.statistics(space, reference, architectures)[:, UNIVERSAL_COLUMNS]

    def _told(
        self, space: SearchSpace, reference: SpaceReference, architectures: Sequence[Architecture]
    ) -> Array:  # (Q, 2 U)
        """The numbers relative to the space, and as they are, which tells cells of convolutions from graph networks."""
        raw = self._features.raw_statistics(architectures)[:, UNIVERSAL_COLUMNS]
        return np.concatenate([self._numbers(space, reference, architectures), raw], axis=1)

    def _mean(self, family: str, told: Array) -> Array:
        if family not in self._means or not len(told):
            return np.zeros(len(told))
        return np.asarray(self._means[family].predict(told), dtype=np.float64)

    def _learned(self, task: Task, space: SearchSpace, support: SupportSet, goodness: Array) -> Forecaster:
        reference = self._features.reference(space, support.architectures)

        def inputs(architectures: Sequence[Architecture]) -> GPInputs:
            told = self._told(space, reference, architectures)
            numbers = told[:, : len(UNIVERSAL_COLUMNS)]
            decisions = self._features.decisions(space, architectures)
            views = (torch.from_numpy(numbers), torch.from_numpy(decisions))
            return GPInputs(torch.from_numpy(self._mean(task.metric.family, told))[:, None], views)

        if not len(support):
            return lambda asked: (inputs(asked).means[:, 0].numpy(), np.full(len(asked), _STD_OF_NOTHING))
        return process_forecaster(inputs, support, goodness, _CONFIG)
