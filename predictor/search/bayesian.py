"""Bayesian optimisation on the adapted surrogate (Snoek, Larochelle & Adams, NeurIPS 2012; on architectures with a neural
surrogate: White et al., "BANANAS", AAAI 2021): candidates are forecast, and those with the best acquisition proposed.

Works on every search space. Acquisitions: expected improvement, upper confidence bound, Thompson sampling, or the mean; with
several objectives expected hypervolume improvement (`improvement.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from predictor.errors import SearchError
from predictor.search.base import Forecaster, Outcome, Proposal, SearchProblem, State
from predictor.search.measured import Measured
from predictor.search.pools import CandidatePool, PoolSettings
from predictor.search.remembering import RememberingStrategy
from predictor.search.selection import SelectionSettings, Selector


@dataclass(frozen=True)
class BayesianSettings(SelectionSettings, PoolSettings):
    """What is looked at and how it is chosen."""


class BayesianSearch(RememberingStrategy):
    """Every round looks at new candidates; nothing but the history is kept from one to the next."""

    name = "bayesian"
    description = "Forecasts candidates and measures those that promise most, knowing how sure the forecast is."
    source = (
        "Snoek, Larochelle & Adams, Practical Bayesian Optimization of Machine Learning Algorithms, NeurIPS 2012; "
        "Daulton, Balandat & Bakshy, Differentiable Expected Hypervolume Improvement, NeurIPS 2020"
    )
    settings_type = BayesianSettings
    takes_several_objectives = True
    needs_forecaster = True

    def __init__(self, problem: SearchProblem, settings: BayesianSettings, seed: int) -> None:
        super().__init__(problem, settings, seed)
        self._chosen_by = settings.acquisition if len(problem.objectives) == 1 else "hypervolume"
        measured = Measured(problem, self._history)
        self._pool = CandidatePool(problem.space, settings, self._fresh, measured)
        self._selector = Selector(problem, settings, measured)

    @classmethod
    def refusal(cls, problem: SearchProblem) -> str | None:
        return None

    def _propose(self, count: int, forecaster: Forecaster | None) -> list[Proposal]:
        if forecaster is None:
            raise SearchError(f"{self.name}: expected a forecaster, got none")
        candidates = self._pool.climbed(lambda found: self._selector.scores(found, forecaster, self._rng), self._rng)
        chosen = self._selector.chosen(candidates, forecaster, count, self._rng)
        return [Proposal(one, origin=f"{self._chosen_by} of its forecast") for one in chosen]

    def _learn(self, outcome: Outcome, is_first: bool) -> None:
        pass  # the forecaster learns; the rest is in the history

    def _own_state(self) -> State:
        return {}

    def _restore_own(self, state: Mapping[str, Any]) -> None:
        pass  # the history is all there is
