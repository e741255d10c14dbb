"""Intervals that hold their promised coverage.

Two corrections multiply the half-width of an interval: one learned offline, for each number of observations, from tasks that
the surrogate was not trained on; and one from this task's own leave-one-out errors, shrunk towards the first while there
are few of them. Before anything was measured there is none: how much tasks differ is known from those that were trained on.

Notation: S observations.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from predictor.prediction import NORMAL_90

WIDTHS = ("widths", "widths_with_related", "widths_of_costs_with_related")
"""What a manifest calls its factors (see `Widths`)."""

_PRIOR_COUNT = 20.0


@dataclass(frozen=True)
class WidthTable:
    """Factors on the half-width by number of observations, interpolated in log(1 + number)."""

    numbers: tuple[int, ...] = (0,)
    factors: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not 0 < len(self.numbers) == len(self.factors):
            raise ValueError(f"expected a factor for each number, got {len(self.factors)} for {len(self.numbers)}")
        if not all(math.isfinite(factor) and factor > 0.0 for factor in self.factors):
            raise ValueError(f"expected finite factors larger than 0, got {list(self.factors)}")
        if self.numbers[0] < 0 or any(first >= second for first, second in itertools.pairwise(self.numbers)):
            raise ValueError(f"expected increasing numbers of observations, got {list(self.numbers)}")

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


@dataclass(frozen=True)
class Widths:
    """A model version's factors: of tasks alone, and of those that have related tasks to rely on, for quality and for costs."""

    alone: WidthTable = WidthTable()
    quality_with_related: WidthTable | None = None
    costs_with_related: WidthTable | None = None

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> Widths:
        """Those that it names; those of before name fewer."""
        found = (manifest.get(name) for name in WIDTHS)
        alone, quality, costs = (None if table is None else WidthTable.from_json(table) for table in found)
        return cls(alone or WidthTable(), quality, costs)

    def to_manifest(self) -> dict[str, dict[str, list[float]]]:
        """Those that there are, by name."""
        tables = zip(WIDTHS, (self.alone, self.quality_with_related, self.costs_with_related), strict=True)
        return {name: table.to_json() for name, table in tables if table is not None}

    def table(self, *, has_related: bool, is_cost: bool) -> WidthTable:
        """The one for such a task, or the nearest that there is."""
        beside = self.costs_with_related if is_cost else None
        return (beside or self.quality_with_related or self.alone) if has_related else self.alone


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
