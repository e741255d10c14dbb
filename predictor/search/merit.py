"""Which of two outcomes of one objective is better, constraints and failures included (the rules of Deb, "An Efficient
Constraint Handling Method for Genetic Algorithms", CMAME 2000), and outcomes as rewards."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from predictor.search.base import Outcome, SearchProblem

Merit = tuple[int, float]
"""Larger is better."""

_FENCE = 3.0  # Tukey's for what is far out, in interquartile ranges


def merit(problem: SearchProblem, outcome: Outcome) -> Merit:
    """By the first objective: what violates nothing is better than what does, and a failure is the worst."""
    if outcome.values is None:
        return 0, 0.0
    if outcome.violation > 0.0:
        return 1, -outcome.violation
    return 2, problem.goodness(outcome.values)[0]


class RewardScale:
    """Turns outcomes into rewards: 0 to 1 from the worst to the best that is known and violates nothing, less than 0 down to
    -1 the more is violated, and -1 for a failure.

    What is far below the rest (a training that diverged) counts as 0 and does not stretch the scale.
    """

    def __init__(self, problem: SearchProblem, known: Iterable[Outcome]) -> None:
        self._problem = problem
        merits = [merit(problem, outcome) for outcome in known]
        values = np.array([value for rank, value in merits if rank == 2])
        self._low, self._high = (0.0, 0.0) if not len(values) else (float(values.min()), float(values.max()))
        if len(values):
            quarter, three_quarters = np.quantile(values, (0.25, 0.75))
            self._low = max(self._low, float(quarter - _FENCE * (three_quarters - quarter)))

    def reward(self, outcome: Outcome) -> float:
        """Of one outcome."""
        rank, value = merit(self._problem, outcome)
        if rank == 0:
            return -1.0
        if rank == 1:
            return value / (1.0 - value)
        if self._high <= self._low:
            return 0.5
        return min(1.0, max(0.0, (value - self._low) / (self._high - self._low)))
