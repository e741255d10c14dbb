"""A random forest on one-hot decisions (Breiman, Machine Learning 2001)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from predictor.baselines.features import Features
from predictor.baselines.standardised import Forecaster, StandardisedBaseline, residual_std
from predictor.search_spaces.base import SearchSpace
from predictor.tasks import SupportSet, Task

_NUM_TREES = 100


class Forest(StandardisedBaseline):
    """Its interval is the spread of its out-of-bag errors."""

    name = "random_forest"

    def __init__(self, features: Features | None = None, seed: int = 0) -> None:
        self._features, self._seed = features or Features(), seed

    def _learned(
        self, task: Task, space: SearchSpace, support: SupportSet, goodness: NDArray[np.float64]
    ) -> Forecaster:
        view = self._features.view(space, support.architectures)
        forest = RandomForestRegressor(_NUM_TREES, random_state=self._seed, oob_score=True, n_jobs=1)
        forest.fit(view(support.architectures), goodness)
        spread = residual_std(goodness - forest.oob_prediction_)
        return lambda architectures: (forest.predict(view(architectures)), np.full(len(architectures), spread))
