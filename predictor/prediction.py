"""Prediction: what a surrogate says about architectures, in the metric's unit.

Notation: S architectures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

NORMAL_90 = 1.6448536269514722
"""Half-width, in standard deviations, of the central 90 % of a normal distribution."""


class Scale(Protocol):
    """Where goodness is told."""

    def forward(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metric unit -> units in which larger is better."""
        ...


@dataclass(frozen=True)
class Predictions:
    """Forecasts for S architectures, in the order in which they were asked for, in the task's metric unit.

    `lower` and `upper` bound the 90 % interval. `ood_score` is 0 for architectures like the ones that the surrogate knows
    and grows towards 1 for ones unlike anything it saw. On `scale`, where it is known, forecasts are normal distributions of that mean
    and standard deviation; in the metric's unit one may reach far to the worse side and hardly to the better, and mean and std do not tell which.
    """

    mean: NDArray[np.float64]  # (S,)
    std: NDArray[np.float64]  # (S,)
    lower: NDArray[np.float64]  # (S,)
    upper: NDArray[np.float64]  # (S,)
    ood_score: NDArray[np.float64]  # (S,)
    on_scale: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None  # (S,) each: mean, std
    scale: Scale | None = None

    def normal(self, sign: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of goodness, (S,) each, on the scale; in the metric's unit times `sign` where no scale is known."""
        return (sign * self.mean, self.std) if self.scale is None or self.on_scale is None else self.on_scale

    def placed(self, values: NDArray[np.float64], sign: float) -> NDArray[np.float64]:
        """Where measured values lie in the units of `normal`."""
        return sign * values if self.scale is None or self.on_scale is None else self.scale.forward(values)

    def reach(self, sign: float) -> NDArray[np.float64]:
        """Like std, of the better side alone, (S,) in the metric's unit."""
        return np.abs((self.upper if sign > 0.0 else self.lower) - self.mean) / NORMAL_90

    def promised(self, sign: float, steps: float) -> NDArray[np.float64]:
        """What is so many of those better than the mean, (S,) in the metric's unit."""
        return self.mean + sign * steps * self.reach(sign)

    @classmethod
    def joined(cls, parts: Sequence[Predictions]) -> Predictions:
        """Forecasts of one adaptation, one after the other; at least one part."""
        columns = ([getattr(part, name) for part in parts] for name in ("mean", "std", "lower", "upper", "ood_score"))
        mean, std, lower, upper, ood_score = map(np.concatenate, columns)
        known = [part.on_scale for part in parts if part.on_scale is not None]
        on_scale = None
        if len(known) == len(parts):
            on_scale = np.concatenate([one for one, _ in known]), np.concatenate([one for _, one in known])
        return cls(mean, std, lower, upper, ood_score, on_scale, parts[0].scale)

    def __len__(self) -> int:
        return len(self.mean)
