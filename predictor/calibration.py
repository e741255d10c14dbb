"""Intervals that hold their promised coverage.

Two corrections multiply the half-width of an interval: one learned offline, for each number of observations, from tasks that
the surrogate was not trained on; and one from this task's own leave-one-out errors, shrunk towards the first while there
are few of them.

Notation: S observations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

NORMAL_90 = 1.6448536269514722
"""Half-width, in standard deviations, of the central 90 % of a normal distribution."""

_PRIOR_COUNT = 20.0


@dataclass(frozen=True)
class WidthTable:
    """Factors on the half-width by number of observations, interpolated in log(1 + number)."""

    numbers: tuple[int, ...] = (0,)
    factors: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not 0 < len(self.numbers) == len(self.factors):
            raise ValueError(f"expected a factor for each number, got {len(self.factors)} for {len(self.numbers)}")

    def factor(self, num_observations: int) -> float:
        """The factor for that many observations."""
        at = math.log1p(num_observations)
        return float(np.interp(at, np.log1p(self.numbers), self.factors))

    def to_json(self) -> dict[str, list[float]]:
        """For a manifest."""
        return {"numbers": list(self.numbers), "factors": list(self.factors)}

    @classmethod
    def from_json(cls, document: Mapping[str, Sequence[float]]) -> WidthTable:
        """From a manifest."""
        return cls(tuple(int(n) for n in document["numbers"]), tuple(float(f) for f in document["factors"]))


def factor_for_coverage(errors_in_std: Sequence[float], coverage: float = 0.9) -> float:
    """By how much normal intervals have to be widened so that they cover that share of these errors."""
    return float(np.quantile(np.abs(np.asarray(errors_in_std)), coverage)) / NORMAL_90


def own_factor(leave_one_out: Tensor) -> float:  # (S,) errors in standard deviations
    """Factor from a task's own leave-one-out errors, shrunk towards 1."""
    count = len(leave_one_out)
    if count < 5:
        return 1.0
    typical = float(torch.quantile(leave_one_out.abs(), 0.9)) / NORMAL_90
    weight = count / (count + _PRIOR_COUNT)
    return float(np.exp(weight * np.log(np.clip(typical, 0.5, 3.0))))
