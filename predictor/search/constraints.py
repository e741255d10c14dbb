"""Constraints such as `latency_ms <= 12`: a bound on one metric of an architecture.

Notation: S architectures.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictor.architecture import Architecture
from predictor.errors import SearchError

Column = NDArray[np.float64]
_FORM = re.compile(r"\s*(.{1,128}?)\s*(<=|>=|<|>)\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*")


@dataclass(frozen=True)
class Constraint:
    """One bound on one metric."""

    metric: str
    operator: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Reads `metric <= number`.

        Raises:
            SearchError: if it is something else.
        """
        match = _FORM.fullmatch(text)
        try:
            bound = float(match[3]) if match else math.nan
        except ValueError:
            bound = math.nan
        if match is None or not math.isfinite(bound):
            raise SearchError(
                f"expected a constraint such as 'latency_ms<=12' (with <=, >=, < or >), got {text[:200]!r}"
            )
        return cls(match[1], match[2], bound)

    @property
    def is_upper(self) -> bool:
        """Whether small values satisfy it."""
        return self.operator.startswith("<")

    def probability(self, mean: Column, std: Column) -> Column:  # (S,)
        """How probable it is that normal values satisfy it; 0 where nothing is known."""
        distance = (self.bound - mean) if self.is_upper else (mean - self.bound)
        with np.errstate(divide="ignore", invalid="ignore"):
            forecast = _normal_cdf(distance / std)
        strict = self.operator in ("<", ">")
        exact = (distance > 0.0) if strict else (distance >= 0.0)
        return np.where(np.isnan(mean), 0.0, np.where(std > 0.0, forecast, exact))

    def violation(self, value: float) -> float:
        """By how much a value breaks it, as a share of the bound (or as it is, where that is 0); 0 where it holds. Where nothing
        is known (NaN), 1.

        A strict bound that is met exactly is broken by the smallest amount there is.
        """
        if math.isnan(value):
            return 1.0
        beyond = (value - self.bound) if self.is_upper else (self.bound - value)
        if beyond == 0.0 and self.operator in ("<", ">"):
            return float(np.finfo(np.float64).tiny)
        return max(0.0, beyond) / (abs(self.bound) or 1.0)

    def stated(self, architectures: Sequence[Architecture]) -> Column:  # (S,)
        """What architectures state of the metric themselves (params, flops …); NaN where they do not."""
        return np.array([_stated(one, self.metric) for one in architectures], dtype=np.float64)


def _stated(architecture: Architecture, name: str) -> float:
    value = dict(architecture.global_attributes).get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _normal_cdf(values: Column) -> Column:
    """Exact to double precision, without a statistics library: math.erf for each value."""
    return np.asarray([0.5 * (1.0 + math.erf(value / math.sqrt(2.0))) for value in values.tolist()])
