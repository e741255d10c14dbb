"""Gradient-boosted trees on one-hot decisions: XGBoost (Chen & Guestrin, KDD 2016).

XGBoost comes with the extra `baselines` and is imported here alone, when it is first asked to learn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.baselines.features import Features
from predictor.baselines.standardised import Forecaster, StandardisedBaseline, residual_std
from predictor.search_spaces.base import SearchSpace
from predictor.tasks import SupportSet, Task

Array = NDArray[np.float64]
_NUM_FOLDS = 5


def _trees(seed: int) -> Any:
    try:
        from xgboost import XGBRegressor
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("expected XGBoost to be installed: install archcast[baselines]") from error
    return XGBRegressor(
        n_estimators=200,
        learning_rate=0.08,
        max_depth=4,
        subsample=0.8,
        colsample_bytree=0.8,
        min_child_weight=1.0,
        base_score=0.0,
        random_state=seed,
        n_jobs=1,
    )


class Boosting(StandardisedBaseline):
    """Its interval is the spread of its errors on left-out fifths of the observations."""

    name = "xgboost"

    def __init__(self, features: Features | None = None, seed: int = 0) -> None:
        self._features, self._seed = features or Features(), seed

    def _learned(self, task: Task, space: SearchSpace, support: SupportSet, goodness: Array) -> Forecaster:
        view = self._features.view(space, support.architectures)
        inputs = view(support.architectures)
        trees = _trees(self._seed).fit(inputs, goodness)
        spread = residual_std(self._left_out_errors(inputs, goodness))

        def forecast_mean(asked: Array) -> Array:
            return np.asarray(trees.predict(asked), dtype=np.float64)

        return lambda architectures: (forecast_mean(view(architectures)), np.full(len(architectures), spread))

    def _left_out_errors(self, inputs: Array, goodness: Array) -> Array:
        fold = np.random.default_rng(self._seed).permutation(len(goodness)) % _NUM_FOLDS
        errors = np.zeros_like(goodness)
        for number in np.unique(fold):
            left_out = fold == number
            trees = _trees(self._seed).fit(inputs[~left_out], goodness[~left_out])
            errors[left_out] = goodness[left_out] - trees.predict(inputs[left_out])
        return errors
