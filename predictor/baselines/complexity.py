"""Ranking by one number that costs no training: parameters, FLOPs, or a zero-cost proxy.

That parameters and FLOPs are hard to beat: White et al., "A Deeper Look at Zero-Cost Proxies for Lightweight NAS", ICLR Blog
Track 2022. A larger number is taken to mean better; for what an architecture costs, it means more of that cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from predictor.architecture import Architecture
from predictor.baselines.linear_fits import LineFit
from predictor.baselines.standardised import Forecaster, StandardisedBaseline
from predictor.search_spaces.base import SearchSpace
from predictor.surrogate.standardisation import normal_scores
from predictor.tasks import Metric, SupportSet, Task

Array = NDArray[np.float64]
_COSTS = frozenset({"latency", "energy", "size", "training_time"})
_SLOPE, _SLOPE_STD = 0.5, 0.5


class Complexity(StandardisedBaseline):
    """Goodness as a line in the normal score of that number among all that are known; observations may turn the line around."""

    min_observations = 0

    def __init__(self, values: Mapping[str, float], name: str = "complexity") -> None:
        """`values` by architecture hash. Architectures without a finite one are forecast in the middle."""
        self.name = name
        finite = {key: float(value) for key, value in values.items() if np.isfinite(value)}
        self._scores = dict(zip(finite, normal_scores(np.array(list(finite.values()))).tolist(), strict=True))

    def _learned(self, task: Task, space: SearchSpace, support: SupportSet, goodness: Array) -> Forecaster:
        sign = _goodness_of_more(task.metric)
        line = LineFit.fit(sign * self._of(support.architectures), goodness, _SLOPE, _SLOPE_STD)
        return lambda architectures: line.predict(sign * self._of(architectures))

    def _of(self, architectures: Sequence[Architecture]) -> Array:
        return np.array([self._scores.get(one.hash, 0.0) for one in architectures])


def _goodness_of_more(metric: Metric) -> float:
    """Whether a larger architecture is expected to be better or worse: costs grow with it, throughput falls."""
    if metric.family in _COSTS:
        return metric.sign
    return -metric.sign if metric.family == "throughput" else 1.0
