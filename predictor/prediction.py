"""Prediction: what a surrogate says about architectures, in the metric's unit.

Notation: S architectures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Predictions:
    """Forecasts for S architectures, in the order in which they were asked for, in the task's metric unit.

    `lower` and `upper` bound the 90 % interval. `ood_score` is 0 for architectures like the ones that the surrogate knows
    and grows towards 1 for ones unlike anything it saw.
    """

    mean: NDArray[np.float64]  # (S,)
    std: NDArray[np.float64]  # (S,)
    lower: NDArray[np.float64]  # (S,)
    upper: NDArray[np.float64]  # (S,)
    ood_score: NDArray[np.float64]  # (S,)

    def __len__(self) -> int:
        return len(self.mean)
