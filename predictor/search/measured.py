"""What a history holds for who learns from measured values alone."""

from __future__ import annotations

from predictor.architecture import Architecture
from predictor.search.base import Outcome, SearchProblem
from predictor.search.history import History


class Measured:
    """A view of a history: measured outcomes of the final fidelity, and what is out."""

    def __init__(self, problem: SearchProblem, history: History) -> None:
        self._problem, self._history = problem, history

    @property
    def outcomes(self) -> list[Outcome]:
        """In the order in which their architectures were first told; forecasts are left out."""
        return [one for one in self._history.outcomes() if not one.is_forecast]

    @property
    def good(self) -> list[Outcome]:
        """Those with values under which all constraints hold, the best by the first objective first."""
        return [one for one in self.ranked if one.violation == 0.0]

    @property
    def ranked(self) -> list[Outcome]:
        """Those with values: constraints first, then the first objective."""
        known = [(self._problem.goodness(one.values), one) for one in self.outcomes if one.values is not None]
        return [one for _, one in sorted(known, key=lambda pair: (pair[1].violation, -pair[0][0]))]

    @property
    def out(self) -> list[Architecture]:
        """Architectures that somebody is measuring."""
        return [self._history.architecture(key) for key in dict.fromkeys(key for key, _ in self._history.out)]

    def is_new(self, architecture: Architecture) -> bool:
        """Whether it was neither proposed nor measured, whatever was forecast."""
        return self._history.is_new(architecture)
