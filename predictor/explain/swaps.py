"""Counterfactual swaps: what the forecast would be if one part had been decided otherwise.

The plainest explanation, and exact about the forecast by definition. It speaks of one change at a time; `shapley` says how parts
share what they do together.

Notation: A alternatives of a part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictor.architecture import Architecture
from predictor.explain.asking import Asked, Forecaster, never
from predictor.explain.parts import Part, Parts
from predictor.explain.wording import in_unit
from predictor.tasks import Metric


@dataclass(frozen=True)
class Swap:
    """One part decided otherwise. `effect` is the forecast of what comes of it less the architecture's own, in the metric's unit;
    `std_error` its standard deviation as observations leave it open, None where nothing tells."""

    label: str
    architecture: Architecture
    forecast: float
    effect: float
    std_error: float | None


@dataclass(frozen=True)
class PartSwaps:
    """All swaps of one part."""

    part: Part
    swaps: tuple[Swap, ...]  # (A,) at least one

    @property
    def worth(self) -> float:
        """The architecture's forecast less the average of the alternatives: how much hangs on the way it was decided."""
        return -float(np.mean([one.effect for one in self.swaps]))

    @property
    def spread(self) -> float:
        """Standard deviation of the forecasts over all ways to decide the part."""
        return float(np.std([0.0, *(one.effect for one in self.swaps)]))

    def sentence(self, metric: Metric) -> str:
        """The worth in words, and the best swap if it is an improvement."""
        best = max(self.swaps, key=lambda one: metric.sign * one.effect)
        better = f"; {best.label} would change it by {in_unit(best.effect, metric)}"
        return (
            f"{self.part.chosen} as {self.part.name} is worth {in_unit(self.worth, metric)} here, against the average "
            f"alternative{better if metric.sign * best.effect > 0.0 else ''}."
        )


@dataclass(frozen=True)
class SwapExplanation:
    """The parts of an architecture that have alternatives, in the order of `Parts.parts`."""

    architecture: Architecture
    forecast: float
    parts: tuple[PartSwaps, ...]


def explain_swaps(parts: Parts[Any], forecaster: Forecaster, check: Callable[[], None] = never) -> SwapExplanation:
    """Every part with every alternative.

    Raises:
        ExplanationError: if there are too many.
    """
    asked = Asked(forecaster, check)
    alternatives = [parts.alternatives(number) for number in range(len(parts.parts))]
    others = [choice.architecture for choices in alternatives for choice in choices]
    own, *forecasts = asked.values([parts.architecture, *others]).tolist()
    check()
    errors = forecaster.difference_std(parts.architecture, others).tolist() if others else []
    rows = iter(zip(forecasts, errors, strict=True))
    found = []
    for part, choices in zip(parts.parts, alternatives, strict=True):
        swaps = [
            Swap(choice.label, choice.architecture, forecast, forecast - own, None if np.isnan(error) else error)
            for choice, (forecast, error) in ((choice, next(rows)) for choice in choices)
        ]
        if swaps:
            found.append(PartSwaps(part, tuple(swaps)))
    return SwapExplanation(parts.architecture, own, tuple(found))
