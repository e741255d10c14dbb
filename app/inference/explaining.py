"""Why forecasts are what they are. Forecasts come from the memory of forecasts, and work ends with the request's deadline.

Notation: Q architectures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import predictor
from app import deadlines
from app.inference.errors import translated
from app.inference.forecasts import Forecaster, ServedTask
from app.inference.notations import ParsedArchitecture
from predictor import Architecture, GradientExplanation, ShapleyExplanation, SwapExplanation, TaskSummary


@dataclass(frozen=True)
class ExplainedTask:
    """A task as it answers now, to be explained. May be used from any thread."""

    served: ServedTask
    forecaster: Forecaster

    def mean(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:  # (Q,)
        """Forecasts in the metric's unit."""
        parsed = [ParsedArchitecture(one.hash, one.genotype or "", one) for one in architectures]
        return np.array([one.mean for one in self.forecaster.forecast(self.served, parsed)])

    def difference_std(self, architecture: Architecture, others: Sequence[Architecture]) -> NDArray[np.float64]:  # (Q,)
        """How uncertain differences from the architecture are, in the metric's unit; NaN where nothing tells."""
        return self.served.adapted.difference_std(architecture, others)

    def swaps(self, architecture: ParsedArchitecture) -> SwapExplanation:
        """Every part decided otherwise; raises InvalidContentError if that is too much, or TimedOutError."""
        with translated():
            parts = predictor.parts_of(self.served.space, architecture.architecture, deadlines.check)
            return predictor.explain_swaps(parts, self, deadlines.check)

    def shapley(
        self, architecture: ParsedArchitecture, seed: int, num_variants: int, num_pairs: int
    ) -> ShapleyExplanation:
        """What every part contributes; raises as `swaps` does."""
        with translated():
            config = predictor.ShapleyConfig(num_variants, num_pairs)
            parts = predictor.parts_of(self.served.space, architecture.architecture, deadlines.check)
            return predictor.explain_shapley(parts, self, np.random.default_rng(seed), config, deadlines.check)

    def gradients(
        self, architecture: ParsedArchitecture, seed: int, num_steps: int, num_variants: int
    ) -> GradientExplanation:
        """The shares of nodes and edges; raises as `swaps` does, and InvalidContentError where captum is not installed."""
        with translated():
            space = self.served.space
            config = predictor.GradientConfig(num_steps, num_variants)
            parts = predictor.parts_of(space, architecture.architecture, deadlines.check)
            rng, names = np.random.default_rng(seed), predictor.decision_names(space)
            return predictor.explain_gradients(parts, self.served.adapted, names, rng, config, deadlines.check)

    def summary(self, given: Sequence[ParsedArchitecture], seed: int, num_architectures: int) -> TaskSummary:
        """Average effects over the given architectures or, where there are none, random ones; raises as `swaps` does."""
        with translated():
            return predictor.summarise(
                self.served.space,
                self,
                np.random.default_rng(seed),
                num_architectures,
                [one.architecture for one in given],
                deadlines.check,
            )
