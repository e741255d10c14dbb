"""Ridge regression on one-hot decisions (Hoerl & Kennard, Technometrics 1970; penalty by leave-one-out error, Allen 1974)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from predictor.baselines.features import Features
from predictor.baselines.linear_fits import RidgeFit
from predictor.baselines.standardised import Forecaster, StandardisedBaseline, residual_std
from predictor.search_spaces.base import SearchSpace
from predictor.tasks import SupportSet, Task


class Ridge(StandardisedBaseline):
    """Its interval is the spread of its leave-one-out errors."""

    name = "ridge"

    def __init__(self, features: Features | None = None) -> None:
        self._features = features or Features()

    def _learned(
        self, task: Task, space: SearchSpace, support: SupportSet, goodness: NDArray[np.float64]
    ) -> Forecaster:
        view = self._features.view(space, support.architectures)
        fit = RidgeFit.fit(view(support.architectures), goodness)
        spread = residual_std(goodness - fit.left_out)
        return lambda architectures: (fit.predict(view(architectures)), np.full(len(architectures), spread))
